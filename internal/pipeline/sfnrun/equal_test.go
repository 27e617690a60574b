package sfnrun_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/pipeline/asl"
	"github.com/gitopsd/gitopsd/internal/pipeline/dbosrun"
	"github.com/gitopsd/gitopsd/internal/pipeline/sfnrun"
	"github.com/gitopsd/gitopsd/internal/pipeline/sfnrun/sfnruntest"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/postgres/postgrestest"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

var server *postgrestest.Server

func TestMain(m *testing.M) {
	postgrestest.Main(m, func(s *postgrestest.Server) { server = s })
}

// scenario is a run in which a task fails.
type scenario struct {
	operation plan.Operation
	task      string // that fails
	caused    bool   // where an error led to it
	times     int
	err       error
	before    string // another task, whose failure leads there
	yes       bool   // what choices look at
	waits     bool   // it does not fail, but says when to look again
}

func (s scenario) String() string {
	text := fmt.Sprintf("%s: choices %t", s.operation, s.yes)
	if s.before != "" {
		text += fmt.Sprintf(", %s is Invalid", s.before)
	}
	if s.task != "" {
		text += fmt.Sprintf(", %s fails %d times: %v (%s)", s.task, s.times, s.err, fault.KindOf(s.err))
	}
	return text
}

// play is what the tasks of many runs do, and what they were given.
type play struct {
	mu     gosync.Mutex
	scenes map[string]*scenario // by tenant
	traces map[string][]string
}

func (p *play) task(name string) pipeline.Task {
	return func(_ context.Context, in pipeline.Input) (any, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		var known []string
		for state, out := range in.Doc {
			var v any
			if err := json.Unmarshal(out, &v); err != nil {
				return nil, err
			}
			known = append(known, fmt.Sprint(state, "=", v)) // whatever the order of its fields
		}
		slices.Sort(known)
		p.traces[in.Run.Tenant] = append(p.traces[in.Run.Tenant], fmt.Sprintf("%s %v %v", name, in.Cause, known))
		s := p.scenes[in.Run.Tenant]
		if name == s.before && in.Cause == nil {
			return nil, fault.Errorf(fault.Invalid, "the first error").WithDetail(strings.Repeat("detail\n", 5000))
		}
		if name == s.task && s.caused == (in.Cause != nil) && s.times > 0 {
			if s.times--; s.err == nil && !s.waits {
				panic("oops")
			}
			if s.waits {
				return nil, fault.Errorf(fault.Transient, "it goes on by itself").WithAfter(time.Now().Add(30 * time.Millisecond))
			}
			return nil, s.err
		}
		return map[string]any{"task": name, "built": s.yes, "over": s.yes, "text": `"quoted" $.path {}`}, nil
	}
}

// trace returns what a tenant's tasks were given.
func (p *play) trace(tenant string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.traces[tenant]
}

// fast returns the machines with waits that a test has time for.
func fast() []pipeline.Machine {
	machines := pipeline.Machines()
	for i := range machines {
		for j := range machines[i].States {
			if r := &machines[i].States[j].Retry; r.Attempts > 0 {
				r.Base, r.Cap = time.Millisecond, 2*time.Millisecond
			}
		}
	}
	return machines
}

// scenarios has every task state fail once, for good and with its tries used up, on
// the way on and, where errors lead to it, on the way back.
func scenarios() []scenario {
	var all []scenario
	operations := map[string]plan.Operation{
		"provision": plan.Provision, "deploy": plan.Deploy, "deprovision": plan.Deprovision, "restore": plan.Restore,
	}
	for _, m := range pipeline.Machines() {
		op := operations[m.Name]
		all = append(all, scenario{operation: op, yes: true}, scenario{operation: op})
		caught := map[string]string{} // states that errors lead to, by a task that fails
		for _, s := range m.States {
			if s.Catch != "" && caught[s.Catch] == "" {
				caught[s.Catch] = s.Task
			}
			if s.Next != "" && caught[s.Name] != "" && caught[s.Next] == "" && !s.Fail {
				caught[s.Next] = caught[s.Name]
			}
		}
		for _, s := range m.States {
			if s.Task == "" {
				continue
			}
			if s.Waits && s.Name == s.Task {
				all = append(all, scenario{operation: op, task: s.Task, times: 9, waits: true, yes: op == plan.Deprovision})
			}
			before := ""
			if s.Name != s.Task || s.Task == "Restore" || s.Task == "ReturnData" {
				before = caught[s.Name]
			}
			for _, err := range []struct {
				times int
				err   error
			}{
				{1, fault.Errorf(fault.Transient, "busy")},
				{99, fault.Errorf(fault.Conflict, "held by another")},
				{99, fault.Errorf(fault.Stalled, "no answer").WithHint("look at the app")},
				{99, nil},
			} {
				all = append(all, scenario{operation: op, task: s.Task, caused: before != "", times: err.times, err: err.err, before: before})
			}
		}
	}
	return all
}

// The two engines take the same way through every machine, tell the same story and
// give tasks the same to work with.
func TestBothEnginesDoTheSame(t *testing.T) {
	t.Parallel()
	n := 0
	all := scenarios()
	if os.Getenv("GITOPSD_TEST_AWS") == "" { // some of each kind; make test-aws plays all
		all = slices.DeleteFunc(all, func(scenario) bool { n++; return n%7 != 0 })
	}
	p := &play{scenes: map[string]*scenario{}, traces: map[string][]string{}}
	b := newBench(t)
	tasks := map[string]pipeline.Task{}
	for name := range pipeline.Tasks(pipeline.Deps{Platform: noPlatform{}}) {
		tasks[name] = p.task(name)
	}
	worker := &sfnrun.Worker{
		Machines: fast(), Logger: slog.New(slog.DiscardHandler),
		Ledger: func(run string) sfnrun.Ledger { return b.ledger.ForRun(run) },
		Tasks:  func(pipeline.Ledger) map[string]pipeline.Task { return tasks },
	}
	a := newAccount(t, fast(), func(resource string, input json.RawMessage) (any, *sfnruntest.TaskError) {
		return answerBy(t, worker, resource, input)
	})
	onSteps := b.stepFunctions(a)
	onDBOS, err := dbosrun.New(t.Context(), dbosrun.Config{
		URL: b.url, Machines: fast(), Tasks: tasks, Ledger: b.ledger, Finished: b.over, Logger: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	t.Cleanup(func() { must(t, onDBOS.Close(10*time.Second)) })

	var items []sync.Item
	for i := range all {
		for _, engine := range []string{"d", "s"} {
			name := fmt.Sprintf("t%d%s", i, engine)
			s := all[i]
			p.scenes[name] = &s
			items = append(items, sync.Item{
				Tenant: name, Operation: s.operation, Run: "run-" + name, Reason: "test", Spec: &tenant.Tenant{Name: name}, Infra: "i", App: "a",
			})
		}
	}
	for _, run := range b.queue(items) {
		if strings.HasSuffix(run.ID, "d") {
			must(t, onDBOS.Start(t.Context(), run))
		} else {
			must(t, onSteps.Start(t.Context(), run))
		}
	}
	kinds := map[pipeline.Status]int{}
	for i, s := range all {
		d, st := b.await(fmt.Sprintf("run-t%dd", i)), b.await(fmt.Sprintf("run-t%ds", i))
		kinds[st.run.Status]++
		if diff := cmp.Diff(d.outcome(), st.outcome()); diff != "" {
			t.Errorf("%s: ends otherwise (-dbos +step functions):\n%s", s, diff)
		}
		if diff := cmp.Diff(d.story, st.story); diff != "" {
			t.Errorf("%s: another story (-dbos +step functions):\n%s", s, diff)
		}
		if diff := cmp.Diff(p.trace(d.run.Tenant), p.trace(st.run.Tenant)); diff != "" {
			t.Errorf("%s: tasks get something else (-dbos +step functions):\n%s", s, diff)
		}
	}
	t.Logf("%d scenarios: %v", len(all), kinds)
	if kinds[pipeline.Succeeded] < len(all)/5 || kinds[pipeline.Failed] < len(all)/5 {
		t.Errorf("too few of a kind: %v", kinds)
	}
}

// answerBy has a worker of this process carry tasks out.
func answerBy(tb testing.TB, w *sfnrun.Worker, resource string, input json.RawMessage) (any, *sfnruntest.TaskError) {
	var c sfnrun.Call
	if resource == sfnruntest.RunTask {
		c = containerCall(tb, input)
		if _, err := w.Contain(tb.Context(), c); err != nil {
			return nil, sfnruntest.Stopped(1)
		}
		return map[string]any{"LastStatus": "STOPPED"}, nil
	}
	must(tb, json.Unmarshal(input, &c))
	out, err := w.Call(tb.Context(), c)
	var failed *sfnrun.Error
	if errors.As(err, &failed) {
		return nil, &sfnruntest.TaskError{Type: failed.Name, Message: failed.Message()}
	}
	must(tb, err)
	return out, nil
}

func containerCall(tb testing.TB, input json.RawMessage) sfnrun.Call {
	tb.Helper()
	container := sfnruntest.ReadContainer(tb, input)
	env := container.Environment
	c := sfnrun.Call{
		Machine: env["GITOPSD_TASK_MACHINE"], State: env["GITOPSD_TASK_STATE"], Task: container.Task(),
		Path: env["GITOPSD_TASK_PATH"], Cause: sfnrun.Cause{Error: env["GITOPSD_TASK_ERROR"]},
	}
	must(tb, json.Unmarshal([]byte(env["GITOPSD_TASK_VERSION"]), &c.Version))
	must(tb, json.Unmarshal([]byte(env["GITOPSD_TASK_RUN"]), &c.Run))
	return c
}

// bench is a ledger with runs on it.
type bench struct {
	tb     testing.TB
	url    string
	ledger *postgres.Ledger

	mu       gosync.Mutex
	finished map[string]int
	commits  int
}

func newBench(tb testing.TB) *bench {
	tb.Helper()
	b := &bench{tb: tb, url: server.Database(tb), finished: map[string]int{}}
	l, err := postgres.Open(tb.Context(), b.url)
	must(tb, err)
	tb.Cleanup(l.Close)
	must(tb, l.Acquire(tb.Context(), "test"))
	b.ledger = l
	return b
}

// stepFunctions starts an engine on the account.
func (b *bench) stepFunctions(a *sfnruntest.Account) *sfnrun.Engine {
	b.tb.Helper()
	e, err := sfnrun.New(b.tb.Context(), sfnrun.Config{
		Client: a, StateMachines: stateMachines(pipeline.Machines()), Ledger: b.ledger, Finished: b.over,
		Logger: slog.New(slog.DiscardHandler), Interval: 10 * time.Millisecond,
	})
	must(b.tb, err)
	b.tb.Cleanup(func() { must(b.tb, e.Close(10*time.Second)) })
	return e
}

func (b *bench) over(run string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.finished[run]++
}

// queue accepts a commit with the items and claims their runs.
func (b *bench) queue(items []sync.Item) []pipeline.Run {
	b.tb.Helper()
	head, err := b.ledger.Head(b.tb.Context())
	must(b.tb, err)
	b.commits++
	must(b.tb, b.ledger.Accept(b.tb.Context(), sync.Acceptance{
		Commit: sync.Commit{SHA: fmt.Sprintf("%040x", b.commits), When: time.Now()}, Previous: head, Items: items,
	}))
	runs, err := b.ledger.Claim(b.tb.Context(), len(items))
	must(b.tb, err)
	if len(runs) != len(items) {
		b.tb.Fatalf("claimed %d runs, not %d", len(runs), len(items))
	}
	return runs
}

// ended is what is to be seen of a run that is over.
type ended struct {
	run   pipeline.Run
	story []string
}

func (e ended) outcome() []any { return []any{e.run.Status, e.run.State, e.run.Failure} }

// await waits until the run is over.
func (b *bench) await(id string) ended {
	b.tb.Helper()
	b.until("run "+id+" is over", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.finished[id] > 0
	})
	run, err := b.ledger.Run(b.tb.Context(), id)
	must(b.tb, err)
	events, err := b.ledger.Events(b.tb.Context(), id, 0)
	must(b.tb, err)
	out := ended{run: run}
	for _, e := range events {
		out.story = append(out.story, fmt.Sprintf("%s %s %d %s", e.State, e.Kind, e.Try, e.Message))
	}
	return out
}

func (b *bench) until(what string, holds func() bool) {
	b.tb.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			b.tb.Fatalf("not in time: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// newAccount has the machines' documents ready to be executed.
func newAccount(tb testing.TB, machines []pipeline.Machine, answer sfnruntest.Answer) *sfnruntest.Account {
	tb.Helper()
	documents := map[string]string{}
	for _, m := range machines {
		d, err := asl.Document(m, machines, asl.Targets{
			Function: "arn:aws:lambda:" + place + "function:task", StateMachine: machineARN,
			Cluster: "arn:aws:ecs:" + place + "cluster/c", TaskDefinition: "task:1", Container: "task",
		})
		must(tb, err)
		documents[machineARN(m.Name, m.Version)] = string(d)
	}
	return sfnruntest.NewAccount(tb, documents, answer)
}

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

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
