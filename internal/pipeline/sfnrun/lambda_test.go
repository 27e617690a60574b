package sfnrun_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	gosync "sync"
	"syscall"
	"testing"
	"time"
)

// host stands for Lambda and ECS: it has `gitopsd task lambda` as the process of a
// function, and starts `gitopsd task run` for an ECS task. The local platform is one
// process's at a time, so the function is ended for a container, as Lambda ends one
// that is not called for a while.
type host struct {
	tb       testing.TB
	program  string
	config   string
	server   *httptest.Server
	turn     gosync.Mutex // held by what has the platform
	function *exec.Cmd
	dead     chan struct{} // closed when the function has ended
	next     chan json.RawMessage
	answers  chan invoked
	output   *os.File
	// starting is called with each container, to be killed or left alone.
	starting func(task string, container *exec.Cmd)
}

// invoked is how an invocation ended.
type invoked struct {
	output json.RawMessage
	failed *taskError
}

func newHost(tb testing.TB, program, config string, output *os.File) *host {
	h := &host{
		tb: tb, program: program, config: config, output: output,
		next: make(chan json.RawMessage), answers: make(chan invoked), starting: func(string, *exec.Cmd) {},
	}
	h.server = httptest.NewServer(h.runtime())
	tb.Cleanup(h.server.Close)
	tb.Cleanup(func() {
		h.turn.Lock()
		defer h.turn.Unlock()
		h.end()
	})
	return h
}

// runtime is the API that a function's process asks for its invocations. Source: AWS,
// "Using the Lambda runtime API for custom runtimes".
func (h *host) runtime() http.Handler {
	const base = "/2018-06-01/runtime/invocation/"
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+base+"next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case payload := <-h.next:
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", "one")
			w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:"+place+"function:task")
			w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(15*time.Minute).UnixMilli()))
			_, _ = w.Write(payload)
		}
	})
	mux.HandleFunc("POST "+base+"one/response", func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body) // what is missing of it is no JSON
		w.WriteHeader(http.StatusAccepted)
		h.answers <- invoked{output: raw}
	})
	mux.HandleFunc("POST "+base+"one/error", func(w http.ResponseWriter, r *http.Request) {
		failed := &taskError{}
		if err := json.NewDecoder(r.Body).Decode(failed); err != nil {
			h.tb.Error(err)
		}
		w.WriteHeader(http.StatusAccepted)
		h.answers <- invoked{failed: failed}
	})
	return mux
}

// begin starts the function unless it runs.
func (h *host) begin() error {
	if h.function != nil {
		return nil
	}
	c := exec.Command(h.program, "task", "lambda", "-c", h.config)
	c.Env = append(os.Environ(), "AWS_LAMBDA_RUNTIME_API="+strings.TrimPrefix(h.server.URL, "http://"))
	c.Stdout, c.Stderr = h.output, h.output
	if err := c.Start(); err != nil {
		return err
	}
	dead := make(chan struct{})
	h.function, h.dead = c, dead
	go func() {
		_ = c.Wait() // how it ended does not matter
		close(dead)
	}()
	return nil
}

// end ends the function.
func (h *host) end() {
	if h.function == nil {
		return
	}
	_ = h.function.Process.Signal(syscall.SIGTERM)
	<-h.dead
	h.function = nil
}

// invoke calls the function.
func (h *host) invoke(payload json.RawMessage) (any, *taskError) {
	h.turn.Lock()
	defer h.turn.Unlock()
	if err := h.begin(); err != nil {
		return nil, &taskError{Type: "Lambda.ServiceException", Message: err.Error()}
	}
	select {
	case h.next <- payload:
	case <-h.dead:
		h.function = nil
		return nil, &taskError{Type: "Runtime.ExitError", Message: "the process ended before it asked"}
	}
	select {
	case a := <-h.answers:
		return a.output, a.failed
	case <-h.dead:
		h.function = nil
		return nil, &taskError{Type: "Runtime.ExitError", Message: "the process ended"}
	}
}

// runTask runs an ECS task to its end.
func (h *host) runTask(input json.RawMessage) (any, *taskError) {
	h.turn.Lock()
	defer h.turn.Unlock()
	h.end()
	command, environment := containerEnvironment(h.tb, input)
	c := exec.Command(h.program, command...)
	c.Env = append(os.Environ(), "GITOPSD_CONFIG="+h.config)
	for name, value := range environment {
		c.Env = append(c.Env, name+"="+value)
	}
	c.Stdout, c.Stderr = h.output, h.output
	if err := c.Start(); err != nil {
		h.tb.Error(err)
		return nil, stopped(127)
	}
	h.starting(command[2], c)
	err := c.Wait()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return nil, stopped(exit.ExitCode())
	case err != nil:
		h.tb.Error(err)
	}
	return map[string]any{"LastStatus": "STOPPED", "Containers": []any{map[string]any{"ExitCode": 0}}}, nil
}
