package dbosrun_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	gosync "sync"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/pipeline/dbosrun"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/postgres/postgrestest"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

var server *postgrestest.Server

func TestMain(m *testing.M) {
	if url := os.Getenv("DBOSRUN_TEST_CHILD"); url != "" {
		if err := child(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	postgrestest.Main(m, func(s *postgrestest.Server) { server = s })
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// bench is a ledger and the engine that works on it.
type bench struct {
	tb     testing.TB
	url    string
	ledger *postgres.Ledger
	engine *dbosrun.Engine
	config dbosrun.Config

	mu       gosync.Mutex
	finished []string
	commits  int
}

// setUp starts an engine with one machine that every deploy runs.
func setUp(tb testing.TB, tasks map[string]pipeline.Task, machines ...pipeline.Machine) *bench {
	tb.Helper()
	b := &bench{tb: tb, url: server.Database(tb)}
	b.ledger = b.open()
	b.config = dbosrun.Config{
		URL: b.url, Machines: machines, Tasks: tasks, Ledger: b.ledger, Logger: slog.New(slog.DiscardHandler),
		Finished: func(run string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.finished = append(b.finished, run)
		},
	}
	b.launch()
	return b
}

// open returns a ledger that holds the lease.
func (b *bench) open() *postgres.Ledger {
	b.tb.Helper()
	l, err := postgres.Open(b.tb.Context(), b.url)
	must(b.tb, err)
	b.tb.Cleanup(l.Close)
	must(b.tb, l.Acquire(b.tb.Context(), "test"))
	return l
}

// launch starts an engine as configured.
func (b *bench) launch() {
	b.tb.Helper()
	engine, err := dbosrun.New(b.tb.Context(), b.config)
	must(b.tb, err)
	b.engine = engine
	b.tb.Cleanup(func() {
		if err := engine.Close(10 * time.Second); err != nil {
			b.tb.Error(err)
		}
	})
}

// deploy has the ledger queue and claim a deploy of the tenant.
func (b *bench) deploy(name string) pipeline.Run {
	b.tb.Helper()
	ctx := b.tb.Context()
	head, err := b.ledger.Head(ctx)
	must(b.tb, err)
	b.commits++
	must(b.tb, b.ledger.Accept(ctx, sync.Acceptance{
		Commit: sync.Commit{SHA: fmt.Sprintf("%040x", b.commits), When: time.Now()}, Previous: head,
		Items: []sync.Item{{
			Tenant: name, Operation: plan.Deploy, Run: fmt.Sprintf("%s-%d", name, b.commits), Reason: "test",
			Spec: &tenant.Tenant{Name: name}, Infra: "i", App: "a",
		}},
	}))
	runs, err := b.ledger.Claim(ctx, 1)
	must(b.tb, err)
	if len(runs) != 1 {
		b.tb.Fatalf("claimed %d runs", len(runs))
	}
	return runs[0]
}

// run deploys the tenant and waits for the end.
func (b *bench) run(name string) pipeline.Run {
	b.tb.Helper()
	r := b.deploy(name)
	must(b.tb, b.engine.Start(b.tb.Context(), r))
	return b.await(r.ID)
}

// await waits until the engine says the run is over.
func (b *bench) await(id string) pipeline.Run {
	b.tb.Helper()
	b.until("run "+id+" is over", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return slices.Contains(b.finished, id)
	})
	r, err := b.ledger.Run(b.tb.Context(), id)
	must(b.tb, err)
	return r
}

func (b *bench) until(what string, holds func() bool) {
	b.tb.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			b.tb.Fatalf("not in time: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// story is the run's events in short.
func (b *bench) story(id string) []string {
	b.tb.Helper()
	events, err := b.ledger.Events(b.tb.Context(), id, 0)
	must(b.tb, err)
	var lines []string
	for _, e := range events {
		lines = append(lines, fmt.Sprintf("%s %s %d", e.State, e.Kind, e.Try))
	}
	return lines
}

// task is a state that runs the task of its name.
func task(name, next string) pipeline.State {
	return pipeline.State{Name: name, Task: name, Timeout: 10 * time.Second, Next: next}
}

func machine(states ...pipeline.State) pipeline.Machine {
	return pipeline.Machine{Name: "deploy", Version: 1, Start: states[0].Name, States: states}
}

// ok is a task that succeeds.
func ok(context.Context, pipeline.Input) (any, error) { return struct{}{}, nil }
