package sfnruntest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Function stands for a Lambda function that answers one invocation at a time.
type Function struct {
	tb      testing.TB
	command func() *exec.Cmd
	server  *httptest.Server
	next    chan json.RawMessage
	answers chan invoked

	turn    sync.Mutex // of invocations
	process *exec.Cmd  // nil while there is none
	dead    chan struct{}
}

// invoked is how an invocation ended.
type invoked struct {
	output json.RawMessage
	failed *TaskError
}

// NewFunction has a command as the process of a function, started when it is needed.
// It ends with the test.
func NewFunction(tb testing.TB, command func() *exec.Cmd) *Function {
	tb.Helper()
	f := &Function{tb: tb, command: command, next: make(chan json.RawMessage), answers: make(chan invoked)}
	f.server = httptest.NewServer(f.runtime())
	tb.Cleanup(f.server.Close)
	tb.Cleanup(f.End)
	return f
}

// runtime is the API that a function's process asks for its invocations. Source: AWS,
// "Using the Lambda runtime API for custom runtimes".
func (f *Function) runtime() http.Handler {
	const base = "/2018-06-01/runtime/invocation/"
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+base+"next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case payload := <-f.next:
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", "one")
			w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:123456789012:function:task")
			w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(15*time.Minute).UnixMilli()))
			_, _ = w.Write(payload)
		}
	})
	mux.HandleFunc("POST "+base+"one/response", func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body) // what is missing of it is no JSON
		w.WriteHeader(http.StatusAccepted)
		f.answers <- invoked{output: raw}
	})
	mux.HandleFunc("POST "+base+"one/error", func(w http.ResponseWriter, r *http.Request) {
		failed := &TaskError{}
		if err := json.NewDecoder(r.Body).Decode(failed); err != nil {
			f.tb.Error(err)
		}
		w.WriteHeader(http.StatusAccepted)
		f.answers <- invoked{failed: failed}
	})
	return mux
}

// begin starts the process unless it runs.
func (f *Function) begin() error {
	if f.process != nil {
		return nil
	}
	c := f.command()
	c.Env = append(c.Environ(), "AWS_LAMBDA_RUNTIME_API="+strings.TrimPrefix(f.server.URL, "http://"))
	if err := c.Start(); err != nil {
		return err
	}
	dead := make(chan struct{})
	f.process, f.dead = c, dead
	go func() {
		_ = c.Wait() // how it ended does not matter
		close(dead)
	}()
	return nil
}

// End ends the process, as Lambda ends one that is not called for a while.
func (f *Function) End() {
	f.turn.Lock()
	defer f.turn.Unlock()
	if f.process == nil {
		return
	}
	_ = f.process.Process.Signal(syscall.SIGTERM)
	<-f.dead
	f.process = nil
}

// Invoke calls the function.
func (f *Function) Invoke(payload json.RawMessage) (any, *TaskError) {
	f.turn.Lock()
	defer f.turn.Unlock()
	if err := f.begin(); err != nil {
		return nil, &TaskError{Type: "Lambda.ServiceException", Message: err.Error()}
	}
	select {
	case f.next <- payload:
	case <-f.dead:
		f.process = nil
		return nil, &TaskError{Type: "Runtime.ExitError", Message: "the process ended before it asked"}
	}
	select {
	case a := <-f.answers:
		return a.output, a.failed
	case <-f.dead:
		f.process = nil
		return nil, &TaskError{Type: "Runtime.ExitError", Message: "the process ended"}
	}
}
