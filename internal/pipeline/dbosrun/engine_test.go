package dbosrun_test

import (
	"bytes"
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

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/pipeline/dbosrun"
)

func TestARunGoesThroughItsStates(t *testing.T) {
	t.Parallel()
	type made struct {
		Key   string `json:"key"`
		Built bool   `json:"built,omitempty"`
	}
	var seen pipeline.Input
	b := setUp(t, map[string]pipeline.Task{
		"Make": func(_ context.Context, in pipeline.Input) (any, error) { return made{Key: in.Run.Tenant}, nil },
		"Use": func(_ context.Context, in pipeline.Input) (any, error) {
			seen = in
			return nil, nil
		},
	}, machine(task("Make", "Use"), task("Use", "")))
	r := b.run("acme")
	if r.Status != pipeline.Succeeded || r.State != "Use" || r.Failure != nil {
		t.Errorf("run is %+v", r)
	}
	if string(seen.Doc["Make"]) != `{"key":"acme"}` || seen.Run.Spec.Name != "acme" || seen.Cause != nil {
		t.Errorf("the second task got %s %+v", seen.Doc["Make"], seen)
	}
	wanted := []string{"Make entered 1", "Make completed 1", "Use entered 1", "Use completed 1"}
	if diff := cmp.Diff(wanted, b.story(r.ID)); diff != "" {
		t.Errorf("story (-want +got):\n%s", diff)
	}
}

func TestErrorsAreTriedAgainByTheirKind(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err    error
		fails  int // that many times, then succeeds
		tries  int
		status pipeline.Status
	}{
		"transient, then fine": {fault.Errorf(fault.Transient, "busy"), 2, 3, pipeline.Succeeded},
		"conflict, then fine":  {fault.Errorf(fault.Conflict, "held"), 1, 2, pipeline.Succeeded},
		"unclassified":         {errors.New("odd"), 1, 2, pipeline.Succeeded},
		"tries run out":        {fault.Errorf(fault.Transient, "busy"), 9, 3, pipeline.Failed},
		"invalid":              {fault.Errorf(fault.Invalid, "bad").WithHint("mend it").WithDetail("line 3"), 9, 1, pipeline.Failed},
		"not found":            {fault.Errorf(fault.NotFound, "none"), 9, 1, pipeline.Failed},
		"stalled":              {fault.Errorf(fault.Stalled, "hangs"), 9, 1, pipeline.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tries := 0
			s := task("Try", "")
			s.Retry = pipeline.Retry{Attempts: 3, Base: time.Millisecond, Cap: 5 * time.Millisecond}
			b := setUp(t, map[string]pipeline.Task{"Try": func(context.Context, pipeline.Input) (any, error) {
				if tries++; tries <= tt.fails {
					return nil, tt.err
				}
				return nil, nil
			}}, machine(s))
			r := b.run("acme")
			if tries != tt.tries || r.Status != tt.status {
				t.Errorf("%d tries, %s; want %d, %s", tries, r.Status, tt.tries, tt.status)
			}
			if tt.status == pipeline.Failed {
				if diff := cmp.Diff(fault.RecordOf(tt.err), r.Failure); diff != "" {
					t.Errorf("failure (-want +got):\n%s", diff)
				}
			}
			if story := b.story(r.ID); len(story) != 2*tt.tries {
				t.Errorf("story is %q", story)
			}
		})
	}
}

func TestCatchChoiceAndFail(t *testing.T) {
	t.Parallel()
	var cause *fault.Record
	tasks := map[string]pipeline.Task{
		"Look": func(_ context.Context, in pipeline.Input) (any, error) {
			return map[string]bool{"built": in.Run.Tenant == "built"}, nil
		},
		"Break": func(context.Context, pipeline.Input) (any, error) {
			return nil, fault.Errorf(fault.Stalled, "no answer")
		},
		"Mend": func(_ context.Context, in pipeline.Input) (any, error) {
			cause = in.Cause
			return nil, nil
		},
		"Other": ok,
	}
	caught := task("Break", "")
	caught.Catch = "Mend"
	b := setUp(t, tasks, machine(task("Look", "Which"),
		pipeline.State{Name: "Which", Choice: []pipeline.Branch{{State: "Look", Field: "built", Equals: true, Next: "Other"}}, Next: "Break"},
		caught, task("Mend", "Sorry"), pipeline.State{Name: "Sorry", Fail: true}, task("Other", "")))
	r := b.run("acme")
	wanted := &fault.Record{Kind: fault.Stalled, Message: "no answer"}
	if diff := cmp.Diff(wanted, r.Failure); diff != "" || r.State != "Break" {
		t.Errorf("failure in state %s (-want +got):\n%s", r.State, diff)
	}
	if diff := cmp.Diff(wanted, cause); diff != "" {
		t.Errorf("cause (-want +got):\n%s", diff)
	}
	if r := b.run("built"); r.Status != pipeline.Succeeded || r.State != "Other" {
		t.Errorf("run is %+v", r)
	}
}

func TestANestedMachine(t *testing.T) {
	t.Parallel()
	inner := pipeline.Machine{Name: "inner", Version: 2, Start: "Make", States: []pipeline.State{task("Make", "Check"), task("Check", "")}}
	var doc pipeline.Document
	b := setUp(t, map[string]pipeline.Task{
		"Make": func(context.Context, pipeline.Input) (any, error) { return 7, nil },
		"Check": func(_ context.Context, in pipeline.Input) (any, error) {
			if in.Run.Tenant == "bad" {
				return nil, fault.Errorf(fault.Invalid, "bad")
			}
			return nil, nil
		},
		"After": func(_ context.Context, in pipeline.Input) (any, error) {
			doc = in.Doc
			return nil, nil
		},
		"Caught": ok,
	}, inner, machine(pipeline.State{Name: "Nest", Machine: "inner", Next: "After", Catch: "Caught"}, task("After", ""), task("Caught", "")))
	r := b.run("good")
	wanted := []string{
		"Nest/Make entered 1", "Nest/Make completed 1", "Nest/Check entered 1", "Nest/Check completed 1", "After entered 1", "After completed 1",
	}
	if diff := cmp.Diff(wanted, b.story(r.ID)); diff != "" || string(doc["Make"]) != "7" {
		t.Errorf("document %s; story (-want +got):\n%s", doc, diff)
	}
	if r := b.run("bad"); r.Status != pipeline.Succeeded || r.State != "Caught" {
		t.Errorf("run is %+v", r)
	}
}

func TestTasksThatMisbehave(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	slow := task("Slow", "")
	slow.Timeout, slow.Retry = 30*time.Millisecond, pipeline.Retry{Attempts: 5, Base: time.Millisecond, Cap: time.Millisecond}
	for name, tt := range map[string]struct {
		do   pipeline.Task
		says string
	}{
		"out of time": {func(ctx context.Context, _ pipeline.Input) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, "did not end within 30ms"},
		"out of time, with a reason": {func(ctx context.Context, _ pipeline.Input) (any, error) {
			<-ctx.Done()
			return nil, fault.Errorf(fault.Stalled, "app never answered")
		}, "app never answered"},
		"panic":       {func(context.Context, pipeline.Input) (any, error) { panic("oops") }, "panicked: oops"},
		"huge output": {func(context.Context, pipeline.Input) (any, error) { return strings.Repeat("x", 1<<20), nil }, "more than 262144"},
		"no JSON":     {func(context.Context, pipeline.Input) (any, error) { return func() {}, nil }, "cannot be kept"},
		"binary message": {func(context.Context, pipeline.Input) (any, error) {
			return nil, fault.Errorf(fault.Stalled, "a\x00b\xff")
		}, "a\ufffdb\ufffd"},
	} {
		t.Run(name, func(t *testing.T) {
			b := setUp(t, map[string]pipeline.Task{"Slow": tt.do}, machine(slow))
			must(t, b.engine.Close(time.Second))
			b.config.Logger = slog.New(slog.NewTextHandler(&log, nil))
			b.launch()
			r := b.run("acme")
			if r.Status != pipeline.Failed || r.Failure.Kind != fault.Stalled || !strings.Contains(r.Failure.Message, tt.says) {
				t.Errorf("run is %s: %+v", r.Status, r.Failure)
			}
			if len(b.story(r.ID)) != 2 {
				t.Errorf("story is %q", b.story(r.ID))
			}
		})
	}
	if !strings.Contains(log.String(), "engine_test.go") {
		t.Error("the log has no stack of the panic")
	}
}

func TestLongErrorsAreCut(t *testing.T) {
	t.Parallel()
	b := setUp(t, map[string]pipeline.Task{"Compile": func(context.Context, pipeline.Input) (any, error) {
		return nil, fault.Errorf(fault.Invalid, "does not compile").WithDetail("first" + strings.Repeat("\n…", 1<<20) + "last")
	}}, machine(task("Compile", "")))
	d := b.run("acme").Failure.Detail
	if len(d) > 70<<10 || !strings.HasPrefix(d, "first") || !strings.HasSuffix(d, "last") {
		t.Errorf("detail has %d bytes", len(d))
	}
}

// What logs in may change while the engine runs.
func TestConnectionsLogInAsToldThen(t *testing.T) {
	t.Parallel()
	b := setUp(t, map[string]pipeline.Task{"Work": ok}, machine(task("Work", "")))
	must(t, b.engine.Close(0))
	b.config.URL = strings.Replace(b.url, "user=postgres", "user=nobody_yet", 1) // as it stands, nobody gets in
	b.config.Login = func(_ context.Context, c *pgx.ConnConfig) error {
		c.User = "postgres"
		return nil
	}
	b.launch()
	if r := b.run("acme"); r.Status != pipeline.Succeeded {
		t.Errorf("the run is %s: %+v", r.Status, r.Failure)
	}
}

func TestStartingTwiceIsOneRun(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	b := setUp(t, map[string]pipeline.Task{"Count": func(context.Context, pipeline.Input) (any, error) {
		n.Add(1)
		return nil, nil
	}}, machine(task("Count", "")))
	r := b.deploy("acme")
	var wg gosync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := b.engine.Start(t.Context(), r); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b.await(r.ID)
	must(t, b.engine.Start(t.Context(), r))
	if n.Load() != 1 {
		t.Errorf("ran %d times", n.Load())
	}
}

func TestCloseLetsTheStepEndAndTheRunGoOnLater(t *testing.T) {
	t.Parallel()
	var first, second atomic.Int64
	entered := make(chan struct{}, 9)
	release := make(chan struct{})
	b := setUp(t, map[string]pipeline.Task{
		"First": func(ctx context.Context, _ pipeline.Input) (any, error) {
			entered <- struct{}{}
			<-release
			first.Add(1)
			return nil, ctx.Err()
		},
		"Second": func(context.Context, pipeline.Input) (any, error) { second.Add(1); return nil, nil },
	}, machine(task("First", "Second"), task("Second", "")))
	r := b.deploy("acme")
	must(t, b.engine.Start(t.Context(), r))
	<-entered
	closed := make(chan error, 1)
	go func() { closed <- b.engine.Close(10 * time.Second) }()
	close(release)
	must(t, <-closed)
	if first.Load() != 1 || second.Load() != 0 {
		t.Errorf("first ran %d times, second %d; want 1 and 0", first.Load(), second.Load())
	}
	if r, err := b.ledger.Run(t.Context(), r.ID); err != nil || r.Status != pipeline.Running {
		t.Errorf("run is %+v, %v", r, err)
	}
	b.launch()
	if r := b.await(r.ID); r.Status != pipeline.Succeeded || first.Load() != 1 || second.Load() != 1 {
		t.Errorf("run is %s; first ran %d times, second %d", r.Status, first.Load(), second.Load())
	}
}

func TestCloseInterruptsWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	var tries atomic.Int64
	entered := make(chan struct{}, 9)
	waits := task("Wait", "")
	waits.Retry = pipeline.Retry{Attempts: 3, Base: time.Hour, Cap: time.Hour}
	for name, do := range map[string]pipeline.Task{
		"in the task": func(ctx context.Context, _ pipeline.Input) (any, error) {
			if tries.Add(1) == 1 {
				entered <- struct{}{}
				<-ctx.Done()
			}
			return nil, ctx.Err()
		},
		"in the back-off": func(context.Context, pipeline.Input) (any, error) {
			if tries.Add(1) == 1 {
				entered <- struct{}{}
				return nil, fault.Errorf(fault.Transient, "busy")
			}
			return nil, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			tries.Store(0)
			b := setUp(t, map[string]pipeline.Task{"Wait": do}, machine(waits))
			r := b.deploy("acme")
			must(t, b.engine.Start(t.Context(), r))
			<-entered
			began := time.Now()
			must(t, b.engine.Close(50*time.Millisecond))
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("closing took %s", took)
			}
			b.launch()
			if r := b.await(r.ID); r.Status != pipeline.Succeeded || tries.Load() != 2 {
				t.Errorf("run is %s after %d tries", r.Status, tries.Load())
			}
		})
	}
}

func TestTheCallersContextDoesNotEndRuns(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	b := setUp(t, map[string]pipeline.Task{"Wait": func(ctx context.Context, _ pipeline.Input) (any, error) {
		<-release
		return nil, ctx.Err()
	}}, machine(task("Wait", "")))
	must(t, b.engine.Close(time.Second))
	ctx, cancel := context.WithCancel(t.Context())
	engine, err := dbosrun.New(ctx, b.config)
	must(t, err)
	defer engine.Close(time.Second)
	r := b.deploy("acme")
	must(t, engine.Start(ctx, r))
	cancel()
	close(release)
	if r := b.await(r.ID); r.Status != pipeline.Succeeded {
		t.Errorf("run is %s: %+v", r.Status, r.Failure)
	}
}

func TestALostLeaseStopsTheRunAndTheNextDaemonGoesOn(t *testing.T) {
	t.Parallel()
	var first, second atomic.Int64
	entered, release := make(chan struct{}, 9), make(chan struct{})
	b := setUp(t, map[string]pipeline.Task{
		"First": func(context.Context, pipeline.Input) (any, error) {
			if first.Add(1) == 1 {
				entered <- struct{}{}
				<-release
			}
			return nil, nil
		},
		"Second": func(context.Context, pipeline.Input) (any, error) { second.Add(1); return nil, nil },
	}, machine(task("First", "Second"), task("Second", "")))
	r := b.deploy("acme")
	must(t, b.engine.Start(t.Context(), r))
	<-entered
	conn, err := pgx.Connect(t.Context(), b.url)
	must(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), `UPDATE gitopsd.leases SET expires_at = '-infinity'`)
	must(t, err)
	next := b.open()
	close(release)
	old := b.engine
	must(t, old.Close(time.Second))
	b.mu.Lock()
	if second.Load() != 0 || len(b.finished) != 0 {
		t.Errorf("the old daemon went on: second ran %d times, finished %q", second.Load(), b.finished)
	}
	b.mu.Unlock()
	b.ledger, b.config.Ledger = next, next
	b.launch()
	if r := b.await(r.ID); r.Status != pipeline.Succeeded || first.Load() != 2 || second.Load() != 1 {
		t.Errorf("run is %s; first ran %d times, second %d", r.Status, first.Load(), second.Load())
	}
}

func TestANewerProgramsMachine(t *testing.T) {
	t.Parallel()
	v1 := machine(task("Wait", "Old"), task("Old", ""))
	v2 := machine(task("Wait", "New"), task("New", ""))
	v2.Version = 2
	for name, tt := range map[string]struct {
		machines []pipeline.Machine
		status   pipeline.Status
		state    string
	}{
		"has the old version, too": {[]pipeline.Machine{v2, v1}, pipeline.Succeeded, "Old"},
		"has only the new one":     {[]pipeline.Machine{v2}, pipeline.Failed, "Wait"},
	} {
		t.Run(name, func(t *testing.T) {
			var tries atomic.Int64
			entered := make(chan struct{})
			b := setUp(t, map[string]pipeline.Task{
				"Wait": func(ctx context.Context, _ pipeline.Input) (any, error) {
					if tries.Add(1) == 1 {
						close(entered)
						<-ctx.Done()
					}
					return nil, ctx.Err()
				},
				"Old": ok, "New": ok,
			}, v1)
			r := b.deploy("acme")
			must(t, b.engine.Start(t.Context(), r))
			<-entered
			must(t, b.engine.Close(10*time.Millisecond))
			b.config.Machines = tt.machines
			b.launch()
			r = b.await(r.ID)
			if r.Status != tt.status || r.State != tt.state {
				t.Errorf("run is %s in %s: %+v", r.Status, r.State, r.Failure)
			}
			if tt.status == pipeline.Failed && !strings.Contains(r.Failure.Message, "version 1 of machine") {
				t.Errorf("failure is %+v", r.Failure)
			}
			if r := b.run("fresh"); r.State != "New" {
				t.Errorf("a fresh run is %+v", r)
			}
		})
	}
}

func TestARunWhoseWorkflowWasCancelledByHandIsFinished(t *testing.T) {
	t.Parallel()
	b := setUp(t, map[string]pipeline.Task{"Do": ok}, machine(task("Do", "")))
	r := b.run("acme")
	conn, err := pgx.Connect(t.Context(), b.url)
	must(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), `UPDATE gitopsd.runs SET status = 'running'`)
	must(t, err)
	_, err = conn.Exec(t.Context(), `UPDATE dbos.workflow_status SET status = 'CANCELLED'`)
	must(t, err)
	must(t, b.engine.Start(t.Context(), r))
	if r, err := b.ledger.Run(t.Context(), r.ID); err != nil || r.Status != pipeline.Failed || r.Failure.Kind != fault.Stalled {
		t.Errorf("run is %+v, %v", r, err)
	}
}

func TestEndedRunsAreForgotten(t *testing.T) {
	t.Parallel()
	b := setUp(t, map[string]pipeline.Task{"Do": ok}, machine(task("Do", "")))
	for i := range 3 {
		b.run(fmt.Sprintf("t%d", i))
	}
	conn, err := pgx.Connect(t.Context(), b.url)
	must(t, err)
	defer conn.Close(t.Context())
	rows := func() (n int) {
		must(t, conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM dbos.workflow_status)
			+ (SELECT count(*) FROM dbos.operation_outputs) + (SELECT count(*) FROM dbos.workflow_input)`).Scan(&n))
		return n
	}
	must(t, b.engine.Close(time.Second))
	b.launch() // keeps them a week
	must(t, b.engine.Close(time.Second))
	if rows() == 0 {
		t.Error("fresh runs are forgotten")
	}
	b.config.Keep = time.Nanosecond
	b.launch()
	b.until("the rows are gone", func() bool { return rows() == 0 })
}

func TestBadMachinesAreRefused(t *testing.T) {
	t.Parallel()
	_, err := dbosrun.New(t.Context(), dbosrun.Config{Machines: []pipeline.Machine{machine(task("Do", "Nowhere"))}})
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("error is %v", err)
	}
}

func TestRecordedInputHasReferencesOnly(t *testing.T) {
	t.Parallel()
	b := setUp(t, map[string]pipeline.Task{"Do": ok}, machine(task("Do", "")))
	r := b.run("acme")
	conn, err := pgx.Connect(t.Context(), b.url)
	must(t, err)
	defer conn.Close(t.Context())
	var raw []byte
	must(t, conn.QueryRow(t.Context(), `SELECT decode(inputs, 'base64') FROM dbos.workflow_input`).Scan(&raw))
	var in map[string]any
	must(t, json.Unmarshal(raw, &in))
	wanted := map[string]any{"run": r.ID, "machine": "deploy", "versions": map[string]any{"deploy": 1.0}}
	if diff := cmp.Diff(wanted, in); diff != "" {
		t.Errorf("input (-want +got):\n%s", diff)
	}
}
