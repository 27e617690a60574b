package sfnrun_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/pipeline/sfnrun"
	"github.com/gitopsd/gitopsd/internal/pipeline/sfnrun/sfnruntest"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/platform/local"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// world is a local platform whose tasks are carried out by the real program, as the
// documents say.
type world struct {
	*bench
	root   string
	engine *sfnrun.Engine
	edge   string
	runs   int

	config   string
	log      *os.File
	turn     gosync.Mutex // of what has the platform: it is one process's at a time
	function *sfnruntest.Function
	starting func(task string, container *exec.Cmd) // to be killed or left alone

	mu   gosync.Mutex
	fail map[string][]string // errors of Lambda that a state's calls meet, by state; the work is done before
}

func (w *world) in(dir string) string { return filepath.Join(w.root, dir) }

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getenv("GITOPSD_TEST_AWS") == "" {
		t.Skip("takes minutes: make test-aws")
	}
	root, err := os.MkdirTemp("", "gitopsd-sfn-")
	must(t, err)
	must(t, os.Chmod(root, 0o755)) // the tenants' users must be able to reach their directories
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	w := &world{root: root, edge: freeAddr(t), fail: map[string][]string{}, starting: func(string, *exec.Cmd) {}}
	out, err := exec.Command("go", "build", "-o", w.in("bin")+"/", "../../../cmd/gitopsd", "../../../cmd/gitopsd-agent").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	must(t, err)
	w.config = w.in("gitopsd.yaml")
	must(t, os.WriteFile(w.config, fmt.Appendf(nil, "repo: %s\ndata: %s\nedgeAddr: %s\nconsoleAddr: %s\nbuildCache: %s\n",
		w.in("repo"), w.in("data"), w.edge, freeAddr(t), strings.TrimSpace(string(cache))), 0o600))
	w.log, err = os.Create(w.in("log"))
	must(t, err)
	t.Cleanup(func() {
		w.log.Close()
		if text, err := os.ReadFile(w.log.Name()); err == nil && t.Failed() {
			t.Logf("the workers' log:\n%s", text[max(0, len(text)-8000):])
		}
	})
	w.bench = &bench{tb: t, finished: map[string]int{}}
	w.url = w.platform(t, false)
	t.Cleanup(func() { w.platform(t, true) })
	w.ledger, err = postgres.Open(t.Context(), w.url)
	must(t, err)
	t.Cleanup(w.ledger.Close)
	must(t, w.ledger.Acquire(t.Context(), "test"))
	w.function = sfnruntest.NewFunction(t, func() *exec.Cmd { return w.worker("task", "lambda") })
	w.engine = w.stepFunctions(newAccount(t, pipeline.Machines(), w.answer))
	return w
}

// platform starts the platform, which goes on running, or ends it.
func (w *world) platform(t *testing.T, shutdown bool) (ledger string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // cleaning up comes after its end
	must(t, os.MkdirAll(w.in("data"), 0o711))
	d, err := local.Open(ctx, local.Config{
		Dir: w.in("data"), Domain: "localhost", EdgeAddr: w.edge, Self: w.in("bin/gitopsd"), Agent: w.in("bin/gitopsd-agent"),
		Logger: slog.New(slog.DiscardHandler), Progress: func(string) {},
	})
	must(t, err)
	if shutdown {
		must(t, d.Shutdown(ctx, func(string) {}))
		return ""
	}
	defer d.Close()
	return d.LedgerURL()
}

// worker is the program, which carries tasks out.
func (w *world) worker(args ...string) *exec.Cmd {
	c := exec.Command(w.in("bin/gitopsd"), args...)
	c.Env = append(os.Environ(), "GITOPSD_CONFIG="+w.config)
	c.Stdout, c.Stderr = w.log, w.log
	return c
}

// answer has the program carry a task out. The function is ended for a container.
func (w *world) answer(resource string, input json.RawMessage) (any, *sfnruntest.TaskError) {
	w.turn.Lock()
	defer w.turn.Unlock()
	if resource == sfnruntest.RunTask {
		w.function.End()
		of := sfnruntest.ReadContainer(w.tb, input)
		return sfnruntest.Run(w.tb, w.worker(), of, func(c *exec.Cmd) { w.starting(of.Task(), c) })
	}
	out, failed := w.function.Invoke(input)
	var c sfnrun.Call
	if err := json.Unmarshal(input, &c); err != nil {
		w.tb.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if names := w.fail[c.State]; len(names) > 0 {
		w.fail[c.State] = names[1:]
		return nil, &sfnruntest.TaskError{Type: names[0], Message: "the answer is lost"}
	}
	return out, failed
}

func (w *world) git(args ...string) string {
	w.tb.Helper()
	c := exec.Command("git", append([]string{"-C", w.in("repo")}, args...)...)
	c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com")
	out, err := c.CombinedOutput()
	if err != nil {
		w.tb.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// app commits the probe, at a version, and what else is in it.
func (w *world) app(version, more string) string {
	w.tb.Helper()
	dir := w.in("repo/apps/one")
	if _, err := os.Stat(dir); err != nil {
		must(w.tb, os.MkdirAll(w.in("repo"), 0o755))
		w.git("init", "-q", "-b", "main")
		must(w.tb, os.CopyFS(dir, os.DirFS("../../e2e/testdata/probe")))
		for _, name := range []string{"go.mod", "go.sum"} {
			text, err := os.ReadFile(filepath.Join("../../../apps/guestbook", name))
			must(w.tb, err)
			must(w.tb, os.WriteFile(filepath.Join(dir, name), text, 0o644))
		}
	}
	must(w.tb, os.WriteFile(dir+"/version.go", []byte("package main\n\nconst Version = \""+version+"\"\n"+more), 0o644))
	w.git("add", "-A")
	w.git("commit", "-q", "--allow-empty", "-m", version)
	return w.git("rev-parse", "HEAD")
}

// run has the ledger accept a commit that asks for the operation, and carries it out.
func (w *world) run(op plan.Operation, commit, grace, env string) ended {
	w.tb.Helper()
	file := "apiVersion: gitopsd.dev/v1\nkind: Tenant\nmetadata:\n  name: one\nspec:\n  app:\n    path: apps/one\n" + env +
		"  deletion: {grace: " + grace + "}\n"
	spec, problems := tenant.Parse("tenants/one.yaml", []byte(file))
	if len(problems) > 0 {
		w.tb.Fatal(problems)
	}
	ctx := w.tb.Context()
	head, err := w.ledger.Head(ctx)
	must(w.tb, err)
	w.runs++
	id := fmt.Sprintf("one-%s-%d", commit[:12], w.runs)
	must(w.tb, w.ledger.Accept(ctx, sync.Acceptance{
		Commit: sync.Commit{SHA: commit, When: time.Now()}, Previous: head,
		Items: []sync.Item{{Tenant: "one", Operation: op, Run: id, Reason: "test", Spec: spec, Infra: "i", App: commit}},
	}))
	return w.carryOut(id)
}

// carryOut claims the run and waits for its end.
func (w *world) carryOut(id string) ended {
	w.tb.Helper()
	runs, err := w.ledger.Claim(w.tb.Context(), 9)
	must(w.tb, err)
	if len(runs) != 1 || runs[0].ID != id {
		w.tb.Fatalf("claimed %v, not %s", runs, id)
	}
	must(w.tb, w.engine.Start(w.tb.Context(), runs[0]))
	return w.await(id)
}

func (w *world) succeeds(e ended) ended {
	w.tb.Helper()
	if e.run.Status != pipeline.Succeeded {
		w.tb.Fatalf("%s of %s is %s: %+v\n%s", e.run.Operation, e.run.ID, e.run.Status, e.run.Failure, strings.Join(e.story, "\n"))
	}
	return e
}

func (w *world) fails(e ended, kind fault.Kind, state, says string) {
	w.tb.Helper()
	f := e.run.Failure
	if e.run.Status != pipeline.Failed || f == nil || f.Kind != kind || e.run.State != state || !strings.Contains(f.Message+f.Detail, says) {
		w.tb.Errorf("%s of %s is %s in %s: %+v; want %s in %s: %q\n%s", e.run.Operation, e.run.ID, e.run.Status, e.run.State, f,
			kind, state, says, strings.Join(e.story, "\n"))
	}
}

// told checks that the story has lines of these beginnings, in their order.
func (w *world) told(e ended, lines ...string) {
	w.tb.Helper()
	rest := e.story
	for _, line := range lines {
		i := slices.IndexFunc(rest, func(s string) bool { return strings.HasPrefix(s, line) })
		if i < 0 {
			w.tb.Errorf("the story has no %q where it should:\n%s", line, strings.Join(e.story, "\n"))
			return
		}
		rest = rest[i+1:]
	}
}

// ask asks the tenant through the edge and checks the answer.
func (w *world) ask(method, path, body, want string) {
	w.tb.Helper()
	r, err := http.NewRequestWithContext(w.tb.Context(), method, "http://"+w.edge+path, strings.NewReader(body))
	must(w.tb, err)
	r.Host = "one.localhost"
	answer, err := http.DefaultClient.Do(r)
	must(w.tb, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(w.tb, err)
	if got := fmt.Sprintf("%d %s", answer.StatusCode, text); got != want {
		w.tb.Errorf("%s %s answers %q, want %q", method, path, got, want)
	}
}

// The life of a tenant by state machines, whose tasks are carried out by the program
// as Lambda functions and containers, killed and cut off here and there.
func TestATenantsLifeOnStepFunctions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.app("v1", "")
	killed := false
	w.starting = func(task string, c *exec.Cmd) {
		if task == "EnsureInfrastructure" && !killed {
			killed = true
			must(t, c.Process.Kill())
		}
	}
	w.fail["Publish"] = []string{"Lambda.ServiceException", "Runtime.ExitError"}
	e := w.succeeds(w.run(plan.Provision, first, "168h", ""))
	w.told(e, "EnsureInfrastructure retrying 1 the container ended", "EnsureInfrastructure entered 1", "EnsureInfrastructure completed 1",
		"EnsureDatabase completed 1", "Deploy/Generate entered 1", "Deploy/Publish completed 1", "Deploy/Record completed 1")
	if n := strings.Count(strings.Join(e.story, "\n"), "Publish entered"); n != 1 || !killed {
		t.Errorf("a state whose answer was lost ran %d times; a container was killed: %t", n, killed)
	}
	w.ask(http.MethodGet, "/version", "", "200 v1")
	w.ask(http.MethodPost, "/row", "before", "200 ")

	w.fails(w.run(plan.Deploy, w.app("broken", "var _ = nothing\n"), "168h", ""), fault.Invalid, "Compile", "undefined: nothing")
	w.ask(http.MethodGet, "/version", "", "200 v1")

	crash := w.run(plan.Deploy, w.app("v2", ""), "168h", "    env: {FAULT: crash}\n")
	w.fails(crash, fault.Stalled, "AwaitHealthy", "crashes at start")
	w.told(crash, "AwaitHealthy failed 1", "Restore entered 1", "Restore completed 1")
	w.ask(http.MethodGet, "/version", "", "200 v1")

	w.succeeds(w.run(plan.Deploy, w.app("v3", ""), "168h", ""))
	w.ask(http.MethodGet, "/version", "", "200 v3")

	gone := w.succeeds(w.run(plan.Deprovision, w.app("gone", ""), "168h", ""))
	w.told(gone, "Snapshot completed 1", "Grace completed 1", "Entomb completed 1")
	w.ask(http.MethodGet, "/version", "", "410 one is gone\nIt was deleted.\n")
	graves, err := w.ledger.Tombstones(t.Context())
	must(t, err)
	if len(graves) != 1 || graves[0].Snapshot == "" {
		t.Fatalf("tombstones: %+v", graves)
	}

	back := w.succeeds(w.run(plan.Provision, w.app("v4", ""), "0s", ""))
	w.ask(http.MethodGet, "/version", "", "200 v4")
	w.ask(http.MethodPost, "/row", "after", "200 ")
	w.ask(http.MethodGet, "/rows", "", "200 before,after")
	restore := back.run
	restore.ID, restore.Operation, restore.Argument = "one-restore", plan.Restore, path.Base(graves[0].Snapshot)
	must(t, w.ledger.Enqueue(t.Context(), restore))
	w.told(w.succeeds(w.carryOut(restore.ID)), "Snapshot completed 1", "RestoreData completed 1", "AwaitServing completed 1")
	w.ask(http.MethodGet, "/rows", "", "200 before")

	restore.ID, restore.Argument = "one-restore-nothing", "20200101T000000.000000Z"
	must(t, w.ledger.Enqueue(t.Context(), restore))
	e = w.carryOut(restore.ID)
	w.fails(e, fault.NotFound, "VerifySnapshot", "")
	w.told(e, "VerifySnapshot failed 1", "ReturnDatabase completed 1", "ReturnInfrastructure completed 1", "ReturnRecord completed 1")
	w.ask(http.MethodGet, "/rows", "", "200 before")

	w.succeeds(w.run(plan.Deprovision, w.app("end", ""), "0s", ""))
	receipts, err := w.ledger.Receipts(t.Context(), "one")
	must(t, err)
	if len(receipts) != 1 || len(receipts[0].Resources) < 5 {
		t.Fatalf("receipts: %+v", receipts)
	}
	for _, r := range receipts[0].Resources {
		if r.Present {
			t.Errorf("the receipt has %s", r)
		}
	}
	if out, err := exec.Command("pgrep", "-af", w.in("data/instances/one/")).Output(); err == nil {
		t.Errorf("processes left:\n%s", out)
	}
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}
