// Package sfnruntest stands for Step Functions, Lambda and ECS: it executes documents
// by an interpreter that is not ours, and has processes carry out their tasks.
package sfnruntest

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
)

// RunTask is the resource of a state that runs an ECS task to its end. Any other
// resource of a task is the ARN of a function.
const RunTask = "arn:aws:states:::ecs:runTask.sync"

// Answer carries a task out.
type Answer func(resource string, input json.RawMessage) (any, *TaskError)

// Account stands for Step Functions: documents executed by an interpreter that is
// not ours, and tasks answered by the test. It holds to what Step Functions says of
// names and sizes.
type Account struct {
	tb     testing.TB
	answer Answer
	in     io.WriteCloser

	mu         gosync.Mutex
	executions map[string]*execution // by ARN
}

// TaskError is how a task of Step Functions fails.
type TaskError struct {
	Type    string  `json:"errorType"`
	Message string  `json:"errorMessage"`
	Cause   *string `json:"cause,omitempty"` // of a task that is no function
}

type execution struct {
	ARN     string `json:"arn"`
	Status  types.ExecutionStatus
	Error   string
	Cause   string
	Output  json.RawMessage
	Entered []string
	input   string
}

//go:embed execute.js
var executor []byte

// NewAccount has documents, by the ARNs of their state machines, ready to be executed.
// It ends with the test, which is skipped where the interpreter is not installed.
func NewAccount(tb testing.TB, documents map[string]string, answer Answer) *Account {
	tb.Helper()
	dir := interpreter(tb)
	a := &Account{tb: tb, answer: answer, executions: map[string]*execution{}}
	server := httptest.NewServer(http.HandlerFunc(a.serve))
	tb.Cleanup(server.Close)
	script := filepath.Join(tb.TempDir(), "execute.js")
	must(tb, os.WriteFile(script, executor, 0o600))
	node := exec.Command("node", script, dir)
	var errs bytes.Buffer
	node.Stderr = &errs
	out, err := node.StdoutPipe()
	must(tb, err)
	a.in, err = node.StdinPipe()
	must(tb, err)
	must(tb, node.Start())
	read := make(chan struct{})
	go func() {
		defer close(read)
		a.read(out)
	}()
	tb.Cleanup(func() {
		_ = a.in.Close()
		_ = node.Process.Kill()
		<-read
		_ = node.Wait() // killed
		if tb.Failed() && errs.Len() > 0 {
			tb.Logf("node: %s", &errs)
		}
	})
	a.send(map[string]any{"url": server.URL, "documents": documents, "retry": 5, "wait": 5})
	return a
}

// interpreter returns where scripts/asl installs, from any directory of the module.
func interpreter(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	must(tb, err)
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "bin/asl/installed.json")); err == nil {
			return filepath.Join(dir, "bin/asl")
		}
	}
	if os.Getenv("GITOPSD_TEST_AWS") != "" {
		tb.Fatal("the interpreter is not here: run scripts/asl")
	}
	tb.Skip("the interpreter is not here: run scripts/asl")
	return ""
}

func (a *Account) send(v any) {
	raw, err := json.Marshal(v)
	if err == nil {
		_, err = a.in.Write(append(raw, '\n'))
	}
	if err != nil {
		a.tb.Errorf("tell the interpreter: %v", err)
	}
}

func (a *Account) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var e execution
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			a.tb.Errorf("the interpreter says %q: %v", lines.Text(), err)
			continue
		}
		a.mu.Lock()
		if old := a.executions[e.ARN]; old.Status == types.ExecutionStatusRunning {
			e.input = old.input
			a.executions[e.ARN] = &e
		}
		a.mu.Unlock()
	}
}

// serve answers a task.
func (a *Account) serve(w http.ResponseWriter, r *http.Request) {
	input, err := io.ReadAll(r.Body)
	if err != nil || len(input) > 256<<10 {
		a.tb.Errorf("input of %d bytes: %v", len(input), err)
	}
	out, failed := a.answer(r.Header.Get("X-Resource"), input)
	if failed != nil {
		w.WriteHeader(http.StatusInternalServerError)
		out = failed
	}
	if err := json.NewEncoder(w).Encode(out); err != nil {
		a.tb.Error(err)
	}
}

// Executions returns how many were started, nested ones apart.
func (a *Account) Executions() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.executions)
}

var executionName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// StartExecution implements sfnrun.Client.
func (a *Account) StartExecution(_ context.Context, in *sfn.StartExecutionInput, _ ...func(*sfn.Options)) (*sfn.StartExecutionOutput, error) {
	if !executionName.MatchString(*in.Name) {
		return nil, &types.InvalidName{Message: in.Name}
	}
	arn := strings.Replace(*in.StateMachineArn, ":stateMachine:", ":execution:", 1) + ":" + *in.Name
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.executions[arn]; ok {
		if e.Status == types.ExecutionStatusRunning && e.input == *in.Input {
			return &sfn.StartExecutionOutput{ExecutionArn: &arn, StartDate: aws.Time(time.Now())}, nil
		}
		return nil, &types.ExecutionAlreadyExists{Message: &arn}
	}
	a.executions[arn] = &execution{ARN: arn, Status: types.ExecutionStatusRunning, input: *in.Input}
	a.send(map[string]any{"arn": arn, "machine": *in.StateMachineArn, "name": *in.Name, "input": json.RawMessage(*in.Input)})
	return &sfn.StartExecutionOutput{ExecutionArn: &arn, StartDate: aws.Time(time.Now())}, nil
}

// DescribeExecution implements sfnrun.Client.
func (a *Account) DescribeExecution(_ context.Context, in *sfn.DescribeExecutionInput, _ ...func(*sfn.Options)) (*sfn.DescribeExecutionOutput, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, ok := a.executions[*in.ExecutionArn]
	if !ok {
		return nil, &types.ExecutionDoesNotExist{Message: in.ExecutionArn}
	}
	d := &sfn.DescribeExecutionOutput{ExecutionArn: &e.ARN, Status: e.Status, Input: &e.input}
	if e.Status != types.ExecutionStatusSucceeded && e.Error != "" {
		cause := e.Cause
		if len(cause) > 32768 { // as much as Step Functions keeps
			cause = cause[:32768]
		}
		d.Error, d.Cause = &e.Error, &cause
	}
	return d, nil
}

// GetExecutionHistory implements sfnrun.Client.
func (a *Account) GetExecutionHistory(_ context.Context, in *sfn.GetExecutionHistoryInput, _ ...func(*sfn.Options)) (*sfn.GetExecutionHistoryOutput, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, ok := a.executions[*in.ExecutionArn]
	if !ok {
		return nil, &types.ExecutionDoesNotExist{Message: in.ExecutionArn}
	}
	var out sfn.GetExecutionHistoryOutput
	for i := len(e.Entered) - 1; i >= 0; i-- {
		out.Events = append(out.Events, types.HistoryEvent{StateEnteredEventDetails: &types.StateEnteredEventDetails{Name: &e.Entered[i]}})
	}
	return &out, nil
}

// StopExecution implements sfnrun.Client.
func (a *Account) StopExecution(_ context.Context, in *sfn.StopExecutionInput, _ ...func(*sfn.Options)) (*sfn.StopExecutionOutput, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.executions[*in.ExecutionArn]; ok && e.Status == types.ExecutionStatusRunning {
		e.Status, e.Error, e.Cause = types.ExecutionStatusAborted, aws.ToString(in.Error), aws.ToString(in.Cause)
	}
	return &sfn.StopExecutionOutput{}, nil
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
