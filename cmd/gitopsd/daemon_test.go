package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/console/consoletest"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/postgres/postgrestest"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// screen is a terminal that remembers.
type screen struct {
	mu gosync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *screen) until(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(s.String(), text); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never shown: %s\n%s", text, s)
		}
	}
}

// command runs a command line against the daemon of a data directory.
func command(data string, args ...string) (out *screen, code <-chan int) {
	out = &screen{}
	ended := make(chan int, 1)
	go func() { ended <- execute(append(args, "--data", data), &terminal{in: os.Stdin, out: out, err: out}) }()
	return out, ended
}

// TestWaitOutlivesTheDaemon restarts the daemon while someone waits.
func TestWaitOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	world, data := consoletest.New(busy(time.Now())), t.TempDir()
	stop, err := serveWorld(world, data, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out, code := command(data, "wait", openSHA)
	out.until(t, "moving: deploy running in Compile")
	b, err := os.ReadFile(filepath.Join(data, console.EndpointFile))
	if err != nil {
		t.Fatal(err)
	}
	stop()
	out.until(t, "the daemon does not answer; trying again")
	addr := strings.TrimSuffix(strings.TrimPrefix(string(b), `{"url":"http://`), "\"}\n")
	if stop, err = serveWorld(world, data, addr); err != nil {
		t.Fatal(err)
	}
	defer stop()
	world.Update(func(s *consoletest.State) {
		for i := range s.Commits {
			if s.Commits[i].Commit.SHA == openSHA {
				s.Commits[i].Items = []sync.ItemProgress{{Item: sync.Item{Tenant: "moving", Operation: plan.Deploy}, Status: pipeline.Succeeded}}
			}
		}
	})
	if c := <-code; c != exitDone {
		t.Errorf("wait ends with %d:\n%s", c, out)
	}
}

// TestRealLedger shows what the real ledger has, and waits on its changes.
func TestRealLedger(t *testing.T) {
	t.Parallel()
	server, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	ledger, err := postgres.Open(t.Context(), server.Database(t), postgres.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ledger.Close)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(ledger.Acquire(t.Context(), "test"))
	data, world := t.TempDir(), consoletest.New(consoletest.State{})
	api, err := console.New(console.Config{
		Ledger: records{ledger}, Platform: world, Loop: world, Secrets: world, Addr: "127.0.0.1:0", Data: data, Domain: "localhost",
	})
	must(err)
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- api.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})

	out, code := command(data, "wait", goodSHA)
	out.until(t, "is not known yet")
	must(ledger.Accept(t.Context(), sync.Acceptance{
		Commit: sync.Commit{SHA: goodSHA, Subject: "Begin", Author: "Ann", When: time.Now()},
		Items: []sync.Item{
			{Tenant: "acme", Operation: plan.Provision, Reason: "new tenant", Run: "run-1", Spec: spec("acme"), Infra: "i", App: "a"},
			{Tenant: "typo", Reason: "invalid file", Failure: &fault.Record{Kind: fault.Invalid, Message: "no"}, Problems: tenant.Problems{{File: "f", Message: "no"}}},
		},
	}))
	out.until(t, "acme: provision queued")
	runs, err := ledger.Claim(t.Context(), 1)
	must(err)
	must(ledger.Enter(t.Context(), pipeline.Event{Run: "run-1", State: "Deploy/Compile", Kind: pipeline.Entered, Try: 1}))
	must(ledger.RecordInfrastructure(t.Context(), runs[0]))
	must(ledger.RecordRelease(t.Context(), runs[0], acmeBuild))
	must(ledger.Finish(t.Context(), "run-1", nil))
	if c := <-code; c != exitFailed {
		t.Errorf("wait ends with %d, want %d for the invalid file:\n%s", c, exitFailed, out)
	}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"get", "tenants"}, []string{"acme  Ready  ac3e111  600d000", "https://acme.localhost/"}},
		{[]string{"get", "commits"}, []string{"600d000", "Begin"}},
		{[]string{"get", "receipts"}, []string{"no receipts"}},
		{[]string{"get", "tombstones"}, []string{"no tombstones"}},
		{[]string{"status"}, []string{"failure: 1 of 2 failed", "acme    provision  succeeded  Deploy/Compile"}},
		{[]string{"describe", "acme"}, []string{"Phase:     Ready", "Deploy/Compile  entered", "run-1"}},
		{[]string{"describe", "typo"}, []string{"Phase:    Refused", "f: no"}},
	} {
		out, code := command(data, c.args...)
		if c := <-code; c != exitDone {
			t.Errorf("exit code %d", c)
		}
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%v does not show %q:\n%s", c.args, want, out)
			}
		}
	}
}
