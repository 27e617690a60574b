package sfnrun_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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

	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/pipeline/asl"
)

const place = "eu-central-1:123456789012:"

func machineARN(name string, version int) string {
	return fmt.Sprintf("arn:aws:states:%sstateMachine:%s-v%d", place, name, version)
}

// stateMachines are the ARNs of the machines, as the engine is told.
func stateMachines(machines []pipeline.Machine) map[string][]string {
	all := map[string][]string{}
	for _, m := range machines {
		all[m.Name] = append([]string{machineARN(m.Name, m.Version)}, all[m.Name]...)
	}
	return all
}

// account stands for Step Functions: documents executed by an interpreter that is
// not ours, and tasks answered by the test. It holds to what Step Functions says of
// names and sizes.
type account struct {
	tb     testing.TB
	answer func(kind, execution string, input json.RawMessage) (any, *taskError)
	in     io.WriteCloser

	mu         gosync.Mutex
	executions map[string]*execution // by ARN
	started    map[string]int        // calls, by ARN
}

// taskError is how a task of Step Functions fails.
type taskError struct {
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

// newAccount has the machines' documents ready to be executed.
func newAccount(tb testing.TB, machines []pipeline.Machine, answer func(kind, execution string, input json.RawMessage) (any, *taskError)) *account {
	tb.Helper()
	dir, err := filepath.Abs("../../../bin/asl")
	must(tb, err)
	if _, err := os.Stat(filepath.Join(dir, "installed.json")); err != nil {
		if os.Getenv("GITOPSD_TEST_AWS") != "" {
			tb.Fatal("the interpreter is not here: run scripts/asl")
		}
		tb.Skip("the interpreter is not here: run scripts/asl")
	}
	a := &account{tb: tb, answer: answer, executions: map[string]*execution{}, started: map[string]int{}}
	server := httptest.NewServer(http.HandlerFunc(a.serve))
	tb.Cleanup(server.Close)

	documents := map[string]string{}
	for _, m := range machines {
		d, err := asl.Document(m, machines, asl.Targets{
			Function: "arn:aws:lambda:" + place + "function:task", StateMachine: machineARN,
			Cluster: "arn:aws:ecs:" + place + "cluster/c", TaskDefinition: "task:1", Container: "task",
		})
		must(tb, err)
		documents[machineARN(m.Name, m.Version)] = string(d)
	}
	node := exec.Command("node", "testdata/execute.js", dir)
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

func (a *account) send(v any) {
	a.tb.Helper()
	raw, err := json.Marshal(v)
	must(a.tb, err)
	_, err = a.in.Write(append(raw, '\n'))
	must(a.tb, err)
}

func (a *account) read(out io.Reader) {
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
func (a *account) serve(w http.ResponseWriter, r *http.Request) {
	input, err := io.ReadAll(r.Body)
	if err != nil || len(input) > 256<<10 {
		a.tb.Errorf("input of %d bytes: %v", len(input), err)
	}
	out, failed := a.answer(strings.TrimPrefix(r.URL.Path, "/"), r.Header.Get("X-Execution"), input)
	if failed != nil {
		w.WriteHeader(http.StatusInternalServerError)
		out = failed
	}
	if err := json.NewEncoder(w).Encode(out); err != nil {
		a.tb.Error(err)
	}
}

var executionName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

func (a *account) StartExecution(_ context.Context, in *sfn.StartExecutionInput, _ ...func(*sfn.Options)) (*sfn.StartExecutionOutput, error) {
	if !executionName.MatchString(*in.Name) {
		return nil, &types.InvalidName{Message: in.Name}
	}
	arn := strings.Replace(*in.StateMachineArn, ":stateMachine:", ":execution:", 1) + ":" + *in.Name
	a.mu.Lock()
	defer a.mu.Unlock()
	a.started[arn]++
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

func (a *account) DescribeExecution(_ context.Context, in *sfn.DescribeExecutionInput, _ ...func(*sfn.Options)) (*sfn.DescribeExecutionOutput, error) {
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

func (a *account) GetExecutionHistory(_ context.Context, in *sfn.GetExecutionHistoryInput, _ ...func(*sfn.Options)) (*sfn.GetExecutionHistoryOutput, error) {
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

func (a *account) StopExecution(_ context.Context, in *sfn.StopExecutionInput, _ ...func(*sfn.Options)) (*sfn.StopExecutionOutput, error) {
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
