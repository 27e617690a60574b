package sync_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	gosync "sync"
	"testing"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/postgres/postgrestest"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

var server *postgrestest.Server

func TestMain(m *testing.M) { postgrestest.Main(m, func(s *postgrestest.Server) { server = s }) }

// world is a loop between a real repository and a real ledger. Turns are taken
// by hand, and the engine does what the test says.
type world struct {
	t      testing.TB
	ctx    context.Context
	repo   string
	mirror *git.Mirror
	ledger *postgres.Ledger
	engine *engine
	report *reporter
	loop   *sync.Loop
	grace  string // of tenant a
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, ctx: context.Background(), repo: filepath.Join(t.TempDir(), "repo"), report: &reporter{}}
	w.must(os.Mkdir(w.repo, 0o755))
	w.git("init", "-q", "-b", "main")
	w.commit("start")
	mirror, err := git.Open(w.ctx, git.Config{URL: w.repo, Branch: "main", Dir: filepath.Join(t.TempDir(), "mirror.git")})
	w.must(err)
	t.Cleanup(func() { _ = mirror.Close() })
	w.mirror = mirror
	w.ledger, err = postgres.Open(w.ctx, server.Database(t), postgres.WithLogger(slog.New(slog.DiscardHandler)))
	w.must(err)
	t.Cleanup(w.ledger.Close)
	w.must(w.ledger.Acquire(w.ctx, t.Name()))
	w.restart()
	return w
}

// restart makes a new loop, as a daemon that starts does.
func (w *world) restart() {
	w.t.Helper()
	w.engine = &engine{}
	w.loop = sync.New(sync.Config{
		Planner: sync.Planner{Tree: source{w.mirror}, Apps: designs{}, Dir: "tenants", Domain: "localhost", Brake: plan.DefaultBrake},
		Source:  source{w.mirror}, Ledger: w.ledger, Engine: w.engine, Reporter: w.report, Runs: 4,
		Log: slog.New(slog.DiscardHandler),
	})
	w.must(w.loop.Load(w.ctx))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) git(args ...string) string {
	w.t.Helper()
	c := exec.Command("git", args...)
	c.Dir = w.repo
	c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com")
	out, err := c.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (w *world) commit(message string) string {
	w.t.Helper()
	w.git("add", "-A")
	w.git("commit", "-q", "--allow-empty", "-m", message)
	return w.git("rev-parse", "HEAD")
}

// put writes a tenant's file; more lines go below spec.
func (w *world) put(name, greeting string, more ...string) {
	w.t.Helper()
	dir := filepath.Join(w.repo, "tenants")
	w.must(os.MkdirAll(dir, 0o755))
	text := "apiVersion: gitopsd.dev/v1\nkind: Tenant\nmetadata: {name: " + name + "}\nspec:\n  app:\n    design: {models: [{name: task, fields: [{name: title, type: string}]}]}\n" +
		"    env: {GREETING: " + greeting + "}\n"
	for _, line := range more {
		text += "  " + line + "\n"
	}
	w.must(os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o644))
}

func (w *world) drop(name string) {
	w.t.Helper()
	w.must(os.Remove(filepath.Join(w.repo, "tenants", name+".yaml")))
}

// turn takes one turn that fetches.
func (w *world) turn() {
	w.t.Helper()
	w.must(w.loop.Turn(w.ctx, true))
}

// finish ends the started runs as the machines would, then takes a turn. Runs
// of tenants in failing fail.
func (w *world) finish(failing ...string) {
	w.t.Helper()
	for _, run := range w.engine.take() {
		var cause *fault.Record
		for _, name := range failing {
			if name == run.Tenant {
				cause = fault.RecordOf(fault.Errorf(fault.Invalid, "main.go:1:1: it does not compile"))
			}
		}
		if cause == nil {
			w.made(run)
		}
		w.must(w.ledger.Finish(w.ctx, run.ID, cause))
	}
	w.must(w.loop.Turn(w.ctx, false))
}

// made records what a run that ends well makes real.
func (w *world) made(run pipeline.Run) {
	w.t.Helper()
	switch run.Operation {
	case plan.Deprovision:
		if run.Spec.Deletion.Grace > 0 {
			w.must(w.ledger.RecordTombstone(w.ctx, run, pipeline.Tombstone{Tenant: run.Tenant, Commit: run.Commit, PurgeAfter: run.Queued}))
			return
		}
		fallthrough
	case plan.Purge:
		w.must(w.ledger.RecordReceipt(w.ctx, run, pipeline.Receipt{Tenant: run.Tenant, Commit: run.Commit, Run: run.ID}))
	case plan.Provision, plan.Update:
		w.must(w.ledger.RecordInfrastructure(w.ctx, run))
		fallthrough
	default:
		w.must(w.ledger.RecordRelease(w.ctx, run, "release-of-"+run.Commit))
	}
}

// done takes turns until nothing runs.
func (w *world) done() {
	w.t.Helper()
	w.turn()
	for len(w.engine.started()) > 0 {
		w.finish()
	}
}

func (w *world) progress(commit string) sync.Progress {
	w.t.Helper()
	p, err := w.ledger.Commit(w.ctx, commit)
	w.must(err)
	return p
}

// wantStatus checks a commit's last status.
func (w *world) wantStatus(commit string, state sync.CommitState, text string) {
	w.t.Helper()
	p := w.progress(commit)
	if p.Status == nil || p.Status.State != state || !strings.Contains(p.Status.Description, text) {
		w.t.Errorf("status of %s is %+v, want %s with %q", commit[:7], p.Status, state, text)
	}
}

// wantStarted checks which runs the engine was told to start.
func (w *world) wantStarted(want ...string) {
	w.t.Helper()
	var got []string
	for _, run := range w.engine.started() {
		got = append(got, fmt.Sprintf("%s %s", run.Operation, run.Tenant))
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		w.t.Errorf("started %q, want %q", got, want)
	}
}

// engine notes what it is told to start.
type engine struct {
	mu   gosync.Mutex
	runs []pipeline.Run
}

func (e *engine) Start(_ context.Context, run pipeline.Run) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.runs = append(e.runs, run)
	return nil
}

func (e *engine) started() []pipeline.Run {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.runs
}

func (e *engine) take() []pipeline.Run {
	e.mu.Lock()
	defer e.mu.Unlock()
	runs := e.runs
	e.runs = nil
	return runs
}

// reporter keeps what it is told, unless it is down.
type reporter struct {
	mu   gosync.Mutex
	down bool
	got  []sync.CommitStatus
}

func (r *reporter) Report(_ context.Context, s sync.CommitStatus) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return errors.New("the forge is down")
	}
	r.got = append(r.got, s)
	return nil
}

// source shows the mirror to the loop.
type source struct{ *git.Mirror }

func (s source) Changed(ctx context.Context, from, to string, paths []string) ([]string, error) {
	changes, err := s.Mirror.Changed(ctx, from, to, paths)
	files := make([]string, len(changes))
	for i, c := range changes {
		files[i] = c.Path
	}
	return files, err
}

func (s source) Commits(ctx context.Context, from, to string, limit int) ([]sync.Commit, error) {
	found, err := s.Mirror.Commits(ctx, from, to, limit)
	commits := make([]sync.Commit, len(found))
	for i, c := range found {
		commits[i] = sync.Commit{SHA: c.SHA, Subject: c.Subject, Author: c.Author, When: c.When}
	}
	return commits, err
}

// designs are apps without source.
type designs struct{}

func (designs) Sources(context.Context, string, *tenant.Tenant) ([]string, string, error) {
	return nil, "", nil
}
