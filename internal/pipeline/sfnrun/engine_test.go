package sfnrun_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	gosync "sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/pipeline/sfnrun"
	"github.com/gitopsd/gitopsd/internal/pipeline/sfnrun/sfnruntest"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// one has a run of a tenant queued and claimed.
func (b *bench) one(op plan.Operation, id string) pipeline.Run {
	b.tb.Helper()
	return b.queue([]sync.Item{{
		Tenant: "acme", Operation: op, Run: id, Reason: "test", Spec: &tenant.Tenant{Name: "acme"}, Infra: "i", App: "a",
	}})[0]
}

// worker is one whose tasks all do the same.
func (b *bench) worker(do pipeline.Task) *sfnrun.Worker {
	tasks := map[string]pipeline.Task{}
	for name := range pipeline.Tasks(pipeline.Deps{Platform: noPlatform{}}) {
		tasks[name] = do
	}
	return &sfnrun.Worker{
		Machines: fast(), Logger: slog.New(slog.DiscardHandler),
		Ledger: func(run string) sfnrun.Ledger { return b.ledger.ForRun(run) },
		Tasks:  func(pipeline.Ledger) map[string]pipeline.Task { return tasks },
	}
}

func fine(context.Context, pipeline.Input) (any, error) { return map[string]bool{"over": true}, nil }

func TestARunHasOneExecution(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	w := b.worker(fine)
	a := newAccount(t, fast(), func(resource string, in json.RawMessage) (any, *sfnruntest.TaskError) {
		return answerBy(t, w, resource, in)
	})
	id := "acme/" + strings.Repeat("ü", 60) // no name of an execution
	run := b.one(plan.Deploy, id)
	var group gosync.WaitGroup
	engines := []*sfnrun.Engine{b.stepFunctions(a), b.stepFunctions(a)}
	for _, e := range engines {
		for range 5 {
			group.Go(func() {
				if err := e.Start(t.Context(), run); err != nil {
					t.Error(err)
				}
			})
		}
	}
	group.Wait()
	if e := b.await(id); e.run.Status != pipeline.Succeeded || len(e.story) != 2*7 {
		t.Errorf("run is %s: %q", e.run.Status, e.story)
	}
	// A daemon that starts later and does not know.
	must(t, b.stepFunctions(a).Start(t.Context(), run))
	b.until("the late engine sees that it is over", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.finished[id] >= 3
	})
	if n := a.Executions(); n != 1 {
		t.Errorf("%d executions", n)
	}
}

func TestAnEngineTakesUpWhatAnotherStarted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	release := make(chan struct{})
	w := b.worker(func(ctx context.Context, in pipeline.Input) (any, error) {
		<-release
		return fine(ctx, in)
	})
	a := newAccount(t, fast(), func(resource string, in json.RawMessage) (any, *sfnruntest.TaskError) {
		return answerBy(t, w, resource, in)
	})
	run := b.one(plan.Deploy, "acme-1")
	first := b.stepFunctions(a)
	must(t, first.Start(t.Context(), run))
	must(t, first.Close(time.Second))
	// The next one has a newer version of the machine, too.
	machines := stateMachines(pipeline.Machines())
	machines["deploy"] = append([]string{machineARN("deploy", 9)}, machines["deploy"]...)
	second, err := sfnrun.New(t.Context(), sfnrun.Config{
		Client: a, StateMachines: machines, Ledger: b.ledger, Finished: b.over, Logger: slog.New(slog.DiscardHandler), Interval: 5 * time.Millisecond,
	})
	must(t, err)
	t.Cleanup(func() { must(t, second.Close(time.Second)) })
	must(t, second.Start(t.Context(), run))
	close(release)
	if e := b.await("acme-1"); e.run.Status != pipeline.Succeeded {
		t.Errorf("run is %s: %+v", e.run.Status, e.run.Failure)
	}
}

func TestExecutionsThatEndWithoutAWord(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		operation plan.Operation
		at        string // that does not answer
		failed    sfnruntest.TaskError
		state     string // of the run in the end
		says      string
		tries     int
	}{
		"a function that dies":         {plan.Deploy, "Compile", sfnruntest.TaskError{Type: "Runtime.ExitError", Message: "signal: killed"}, "Compile", "Runtime.ExitError", 3},
		"a function that is not there": {plan.Deploy, "Compile", sfnruntest.TaskError{Type: "Lambda.ResourceNotFoundException", Message: "gone"}, "Compile", "ResourceNotFound", 1},
		"a state out of time":          {plan.Deploy, "Compile", sfnruntest.TaskError{Type: "States.Timeout"}, "Compile", "did not answer", 1},
		"a caught state out of time":   {plan.Deploy, "AwaitHealthy", sfnruntest.TaskError{Type: "States.Timeout"}, "", "did not answer", 1},
		"a nested state out of time":   {plan.Provision, "Compile", sfnruntest.TaskError{Type: "States.Timeout"}, "Deploy", "did not answer", 1},
		"a container that is killed":   {plan.Provision, "EnsureInfrastructure", sfnruntest.TaskError{Type: "States.TaskFailed"}, "EnsureInfrastructure", "ended without a word 4 times", 4},
		"no container to be had":       {plan.Provision, "EnsureInfrastructure", sfnruntest.TaskError{Type: "ECS.AmazonECSException"}, "EnsureInfrastructure", "ended without a word 4 times", 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			var tries atomic.Int32
			w := b.worker(fine)
			a := newAccount(t, fast(), func(resource string, in json.RawMessage) (any, *sfnruntest.TaskError) {
				var c sfnrun.Call
				if resource == sfnruntest.RunTask {
					c = containerCall(t, in)
				} else {
					must(t, json.Unmarshal(in, &c))
				}
				if c.State == tt.at && !c.Outcome {
					tries.Add(1)
					return nil, &tt.failed
				}
				return answerBy(t, w, resource, in)
			})
			must(t, b.stepFunctions(a).Start(t.Context(), b.one(tt.operation, "acme-1")))
			e := b.await("acme-1")
			f := e.run.Failure
			if e.run.Status != pipeline.Failed || f.Kind != fault.Stalled || !strings.Contains(f.Message, tt.says) {
				t.Errorf("run is %s: %+v\n%s", e.run.Status, f, strings.Join(e.story, "\n"))
			}
			if tt.state != "" && e.run.State != tt.state {
				t.Errorf("it failed in %s, not in %s\n%s", e.run.State, tt.state, strings.Join(e.story, "\n"))
			}
			if int(tries.Load()) != tt.tries {
				t.Errorf("it was tried %d times, not %d", tries.Load(), tt.tries)
			}
		})
	}
}

func TestAStoppedRunIsOverForItsWorker(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	entered, release := make(chan struct{}), make(chan struct{})
	answered := make(chan error, 1)
	w := b.worker(func(ctx context.Context, in pipeline.Input) (any, error) {
		close(entered)
		<-release
		return fine(ctx, in)
	})
	a := newAccount(t, fast(), func(_ string, in json.RawMessage) (any, *sfnruntest.TaskError) {
		var c sfnrun.Call
		must(t, json.Unmarshal(in, &c))
		_, err := w.Call(t.Context(), c)
		answered <- err
		return nil, &sfnruntest.TaskError{Type: "Over", Message: "{}"}
	})
	e := b.stepFunctions(a)
	run := b.one(plan.Deploy, "acme-1")
	must(t, e.Start(t.Context(), run))
	<-entered
	must(t, e.Stop(t.Context(), run))
	if end := b.await("acme-1"); end.run.Status != pipeline.Failed || end.run.Failure.Kind != fault.Stalled || !strings.Contains(end.run.Failure.Message, "stopped") {
		t.Errorf("run is %s: %+v", end.run.Status, end.run.Failure)
	}
	before := b.await("acme-1").story
	close(release)
	var told *sfnrun.Error
	if err := <-answered; !errors.As(err, &told) || told.Name != "Over" {
		t.Errorf("the worker ends with %v", err)
	}
	if after := b.await("acme-1").story; len(after) != len(before) {
		t.Errorf("the worker went on writing: %q", after)
	}
	if err := e.Stop(t.Context(), run); !fault.Is(err, fault.NotFound) {
		t.Errorf("stopping it again: %v", err)
	}
}

func TestWhatAWorkerSaysOfCalls(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	run := b.one(plan.Deploy, "acme-1")
	var ran atomic.Int32
	w := b.worker(func(ctx context.Context, in pipeline.Input) (any, error) {
		ran.Add(1)
		return fine(ctx, in)
	})
	call := sfnrun.Call{
		Machine: "deploy", Version: 1, State: "Compile", Task: "Compile", Doc: pipeline.Document{},
		Run: sfnrun.Reference{ID: run.ID, Tenant: "acme"}, Cause: sfnrun.Cause{Error: "None"},
	}
	named := func(ctx context.Context, w *sfnrun.Worker, c sfnrun.Call) string {
		t.Helper()
		_, err := w.Call(ctx, c)
		var told *sfnrun.Error
		if !errors.As(err, &told) {
			return fmt.Sprint(err)
		}
		return told.Name
	}

	interrupted, cancel := context.WithCancel(t.Context())
	slow := b.worker(func(ctx context.Context, _ pipeline.Input) (any, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	})
	if got := named(interrupted, slow, call); got != "Unavailable" {
		t.Errorf("a worker that is ended says %s", got)
	}
	for range 3 { // the answer may get lost
		if got := named(t.Context(), w, call); got != "<nil>" {
			t.Errorf("a fine task says %s", got)
		}
	}
	if ran.Load() != 1 {
		t.Errorf("the task ran %d times", ran.Load())
	}

	other := call
	other.State, other.Task, other.Version = "Publish", "Publish", 7
	if got := named(t.Context(), w, other); got != "Stalled" {
		t.Errorf("a machine of another version: %s", got)
	}
	if got := named(t.Context(), w, other); got != "Stalled" { // from the record
		t.Errorf("again: %s", got)
	}
	other.State, other.Version = "Migrate", 1 // with the task of another state
	if got := named(t.Context(), w, other); got != "Stalled" {
		t.Errorf("a task of another state: %s", got)
	}
	huge := b.worker(func(context.Context, pipeline.Input) (any, error) { return strings.Repeat("x", 200<<10), nil })
	other = call
	other.State, other.Task, other.Doc = "Bundle", "Bundle", pipeline.Document{"Compile": json.RawMessage(strings.Repeat("1", 60<<10))}
	if got := named(t.Context(), huge, other); got != "Stalled" {
		t.Errorf("more than an execution keeps: %s", got)
	}
	other.Run.ID = "nobody"
	if got := named(t.Context(), w, other); got != "Over" {
		t.Errorf("a run that is unknown: %s", got)
	}

	down, err := postgres.Open(t.Context(), b.url)
	must(t, err)
	down.Close()
	w.Ledger = func(run string) sfnrun.Ledger { return down.ForRun(run) }
	if got := named(t.Context(), w, call); got != "Unavailable" {
		t.Errorf("a ledger that does not answer: %s", got)
	}
}

// refusing is Step Functions that refuses every start.
type refusing struct {
	sfnrun.Client
	err error
}

func (r refusing) StartExecution(context.Context, *sfn.StartExecutionInput, ...func(*sfn.Options)) (*sfn.StartExecutionOutput, error) {
	return nil, r.err
}

func TestRefusedStartsHaveAKind(t *testing.T) {
	t.Parallel()
	for kind, err := range map[fault.Kind]error{
		fault.Transient: &types.ExecutionLimitExceeded{},
		fault.Stalled:   &types.StateMachineDoesNotExist{},
	} {
		e, failed := sfnrun.New(t.Context(), sfnrun.Config{
			Client: refusing{err: err}, StateMachines: stateMachines(pipeline.Machines()), Logger: slog.New(slog.DiscardHandler),
		})
		must(t, failed)
		if err := e.Start(t.Context(), pipeline.Run{ID: "acme-1", Operation: plan.Deploy}); !fault.Is(err, kind) {
			t.Errorf("start says %v, which is no %s", err, kind)
		}
		must(t, e.Close(time.Second))
	}
	_, err := sfnrun.New(t.Context(), sfnrun.Config{StateMachines: map[string][]string{"deploy": {"x"}}})
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("without state machines: %v", err)
	}
}
