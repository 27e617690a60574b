package local_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/platform/local"
	"github.com/gitopsd/gitopsd/internal/platform/platformtest"
	"github.com/gitopsd/gitopsd/internal/release"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// world is a place with two tenants that serve.
type world struct {
	*place
	app string
}

func config(name string) platform.Config {
	return platform.Assemble(&tenant.Tenant{
		Name:     name,
		Compute:  tenant.Compute{CPU: 512, Memory: 512, Scale: tenant.Scale{Min: 1}},
		Database: tenant.Database{Enabled: true, Connections: 5},
		Cache:    tenant.Cache{Enabled: true},
	}, "localhost")
}

func (w *world) provision(t *testing.T, name string) {
	t.Helper()
	ctx, c := t.Context(), config(name)
	begin := time.Now()
	if err := errors.Join(
		w.driver.EnsureInfrastructure(ctx, c), w.driver.EnsureDatabase(ctx, c), w.driver.EnsureCacheUser(ctx, c),
	); err != nil {
		t.Fatal(err)
	}
	t.Logf("provisioned %s in %s", name, time.Since(begin).Round(time.Millisecond))
	v, err := w.driver.Volume(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := platformtest.Stage(v, release.Manifest{Tenant: name, Build: "1", Health: "/healthz"}, w.app, "asset")
	if err != nil {
		t.Fatal(err)
	}
	p, err := v.Publish(digest, strings.Repeat("0", 40))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.driver.AwaitRelease(ctx, name, p); err != nil {
		t.Fatal(err)
	}
}

// post asks a tenant's app, by way of the edge.
func (p *place) post(ctx context.Context, name, path string, form url.Values) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.edge+path, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, "", err
	}
	req.Host, req.Close = name+".localhost", true
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, strings.TrimSpace(string(b)), err
}

func eventually(t *testing.T, complaint string, done func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for !done() {
		if time.Since(begin) > 20*time.Second {
			t.Fatal(complaint)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(begin).Round(time.Millisecond)
}

// serves reports whether the tenant's app answers with its data.
func (p *place) serves(t *testing.T, name string) bool {
	one, _, err := p.post(t.Context(), name, "/sql", url.Values{"q": {"SELECT 1"}})
	two, _, err2 := p.post(t.Context(), name, "/redis", url.Values{"arg": {"SET", name + ":k", "v"}})
	return err == nil && err2 == nil && one == http.StatusOK && two == http.StatusOK
}

func (p *place) pid(t *testing.T, process string) int {
	t.Helper()
	var record struct{ PID int }
	p.readJSON(t, &record, "run", process+".json")
	return record.PID
}

// gone reports whether a process has ended, reaped or not.
func gone(pid int) bool {
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		_, after, _ := strings.Cut(string(b), ") ")
		return strings.HasPrefix(after, "Z")
	}
	return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

func TestPlatform(t *testing.T) {
	t.Parallel()
	w := &world{place: newPlace(t), app: platformtest.Compile(t)}
	w.open(t)
	for _, name := range []string{"left", "right"} {
		w.provision(t, name)
	}
	for _, c := range []struct {
		name string
		test func(*testing.T, *world)
	}{
		{"by TLS", byTLS},
		{"an idle app", idleApp},
		{"an app's limits", limited},
		{"more load, more instances", scaled},
		{"an instance that does not serve", unready},
		{"the other's files", foreignFiles},
		{"no secret lies open", nothingOpen},
		{"a log that is a link", hostileLog},
		{"what an app leaves behind", leftBehind},
		{"everything dies in turn", deaths},
		{"nothing of the control plane", withoutControl},
		{"a second driver", second},
		{"snapshots", snapshots},
		{"a snapshot's manifest", snapshotManifest},
		{"a snapshot in use", pinned},
		{"a hostile dump", hostileDump},
		{"a dump that does not fit", unfit},
		{"new programs", newPrograms},
		{"stopped and started", stoppedAndStarted},
		{"what it takes", footprint},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, w) })
	}
}

// foreignFiles has a tenant's app try what it must not see, as its own user.
func foreignFiles(t *testing.T, w *world) {
	if os.Geteuid() != 0 {
		t.Skip("without root all tenants run as one user")
	}
	dir := w.driver.Dir()
	agent := strconv.Itoa(w.pid(t, "agent.right.0"))
	for _, path := range []string{
		"", "volume", "instances", "run", "logs", "secrets", "secrets/keys.json", "secrets/edge.key", "secrets/tenants",
		"secrets/tenants/left.json", "secrets/tenants/right.json", "tenants", "tenants/left.json", "run/postgres.json",
		"edge", "edge/routes/left.json", "buckets", "buckets/left", "dns", "snapshots", "postgres/data", "redis/data",
		"volume/right", "volume/right/current", "instances/right", "instances/right/0", "instances/right/0/agent.json",
		"instances/right/0/environment.json", "instances/right/0/local", "instances/right/0/local/app.log",
		"/proc/" + agent + "/environ", "/proc/" + agent + "/cwd", "/proc/" + agent + "/fd",
	} {
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		status, body, err := w.post(t.Context(), "left", "/read", url.Values{"path": {path}})
		if err != nil || status != http.StatusForbidden || !strings.Contains(body, "permission denied") {
			t.Errorf("left reads %s: status %d: %.100s (%v)", path, status, body, err)
		}
	}
	for _, path := range []string{
		"volume/left/current", "volume/left/x", "instances/left/0/x", "instances/left/0/agent.json", "bin/x", "x",
	} {
		status, body, err := w.post(t.Context(), "left", "/write", url.Values{"path": {filepath.Join(dir, path)}})
		if err != nil || status != http.StatusForbidden {
			t.Errorf("left writes %s: status %d: %s (%v)", path, status, body, err)
		}
	}
	for _, path := range []string{"volume/left/current", "instances/left/0/environment.json"} {
		if status, body, err := w.post(t.Context(), "left", "/read", url.Values{"path": {filepath.Join(dir, path)}}); status != http.StatusOK {
			t.Errorf("left cannot read its own %s: status %d: %s (%v)", path, status, body, err)
		}
	}
}

// nothingOpen looks for passwords in files and command lines that others may read.
func nothingOpen(t *testing.T, w *world) {
	var secrets []string
	var keys, left map[string]any
	w.readJSON(t, &keys, "secrets", "keys.json")
	w.readJSON(t, &left, "secrets", "tenants", "left.json")
	for _, m := range []map[string]any{keys, left} {
		for _, v := range m {
			if s, ok := v.(string); ok {
				secrets = append(secrets, s)
			}
		}
	}
	if len(secrets) < 7 {
		t.Fatalf("only %d secrets found to look for", len(secrets))
	}
	looked := 0
	look := func(path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			return // a file or process that is gone
		}
		looked++
		for _, s := range secrets {
			if bytes.Contains(b, []byte(s)) {
				t.Errorf("%s holds a secret", path)
			}
		}
	}
	_ = filepath.WalkDir(w.driver.Dir(), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		info, err := e.Info()
		private := err == nil && info.Mode().Perm()&0o077 == 0
		inLogs := strings.Contains(path, "/logs/") || strings.Contains(path, "/run/")
		if err == nil && info.Mode().IsRegular() && info.Size() < 1<<20 && (!private || inLogs) {
			look(path)
		}
		return nil
	})
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		look(path)
	}
	if looked < 20 {
		t.Errorf("only %d places were looked at", looked)
	}
}

// hostileLog has a tenant put a link to somebody's secret where its log is read.
func hostileLog(t *testing.T, w *world) {
	log := filepath.Join(w.driver.Dir(), "instances", "left", "0", "local", "app.log")
	if err := os.Rename(log, log+".kept"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Rename(log+".kept", log) }()
	if err := os.Symlink(filepath.Join(w.driver.Dir(), "secrets", "keys.json"), log); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := w.driver.Logs(t.Context(), "left", &out, false); err == nil || out.Len() > 0 {
		t.Errorf("a link was followed: %q, %v", out.String(), err)
	}
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(w.driver.Dir(), "secrets", "keys.json"), log); err != nil {
		t.Fatal(err)
	}
	if err := w.driver.Logs(t.Context(), "left", &out, false); err == nil || out.Len() > 0 {
		t.Errorf("another's file was read: %q, %v", out.String(), err)
	}
}

// leftBehind has an app start a process that its agent knows nothing of.
func leftBehind(t *testing.T, w *world) {
	if os.Geteuid() != 0 {
		t.Skip("without root nothing tells whose process it is")
	}
	w.provision(t, "messy")
	_, body, err := w.post(t.Context(), "messy", "/stray", nil)
	var text string
	if err != nil || json.Unmarshal([]byte(body), &text) != nil {
		t.Fatalf("stray: %s, %v", body, err)
	}
	pid, err := strconv.Atoi(text)
	if err != nil || gone(pid) {
		t.Fatalf("no stray: %q", text)
	}
	w.destroy(t, "messy")
	if !gone(pid) {
		t.Error("it still runs")
	}
}

func (w *world) destroy(t *testing.T, name string) {
	t.Helper()
	for _, do := range []func(context.Context, string) error{
		w.driver.RemoveRoute, w.driver.Drain, w.driver.DestroyInfrastructure,
		w.driver.DropCacheUser, w.driver.DropDatabase, w.driver.RemoveReleases,
	} {
		if err := do(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
}

// deaths kills every process in turn.
func deaths(t *testing.T, w *world) {
	for _, name := range []string{"agent.left.0", "dns", "edge", "redis", "postgres"} {
		before := w.pid(t, name)
		if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		took := eventually(t, name+" does not come back", func() bool {
			return w.pid(t, name) != before && w.serves(t, "left") && w.serves(t, "right")
		})
		t.Logf("%s: served again %s after it was killed", name, took)
	}
}

// withoutControl serves while nothing of the control plane runs.
func withoutControl(t *testing.T, w *world) {
	before := w.pid(t, "agent.left.0")
	w.leave(t)
	for range 5 {
		if !w.serves(t, "left") {
			t.Fatal("nothing is served without the control plane")
		}
	}
	w.open(t)
	if w.pid(t, "agent.left.0") != before {
		t.Error("the agent was not adopted")
	}
}

func second(t *testing.T, w *world) {
	if d, err := local.Open(t.Context(), w.config(t)); !fault.Is(err, fault.Conflict) {
		t.Errorf("a second driver: %v, %v, want Conflict", d, err)
	}
}

func snapshots(t *testing.T, w *world) {
	if !w.serves(t, "left") { // sets a key
		t.Fatal("not served")
	}
	var last string
	for range 7 {
		path, err := w.driver.Snapshot(t.Context(), "left")
		if err != nil || path == last {
			t.Fatalf("%q, %v", path, err)
		}
		last = path
	}
	kept, err := os.ReadDir(filepath.Dir(last))
	if err != nil || len(kept) != 5 {
		t.Errorf("%d are kept, want 5 (%v)", len(kept), err)
	}
}

// newPrograms opens the place with programs that were built anew.
func newPrograms(t *testing.T, w *world) {
	agent, edge, dns := w.pid(t, "agent.left.0"), w.pid(t, "edge"), w.pid(t, "dns")
	built := filepath.Join(filepath.Dir(w.agent), "built") // outlives this test
	if err := os.Mkdir(built, 0o755); err != nil {
		t.Fatal(err)
	}
	next := filepath.Join(built, "gitopsd-agent")
	b, err := os.ReadFile(w.agent)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(next, append(b, "another build"...), 0o755); err != nil {
		t.Fatal(err)
	}
	w.agent = next
	if b, err = os.ReadFile(w.config(t).Self); err != nil {
		t.Fatal(err)
	}
	w.self = filepath.Join(built, "gitopsd")
	if err := os.WriteFile(w.self, append(b, "another build"...), 0o755); err != nil {
		t.Fatal(err)
	}
	w.open(t)
	if w.pid(t, "agent.left.0") != agent {
		t.Error("the agent was started anew, at the cost of requests")
	}
	if w.pid(t, "edge") == edge || w.pid(t, "dns") == dns {
		t.Error("edge and DNS are still the old programs")
	}
	if err := syscall.Kill(agent, syscall.SIGKILL); err != nil { // its next start is the new one's
		t.Fatal(err)
	}
	eventually(t, "not served by the new agent", func() bool { return w.pid(t, "agent.left.0") != agent && w.serves(t, "left") })
	var record struct{ Argv []string }
	w.readJSON(t, &record, "run", "agent.left.0.json")
	var other struct{ Argv []string }
	w.readJSON(t, &other, "run", "agent.right.0.json")
	if record.Argv[0] == other.Argv[0] {
		t.Errorf("the restarted agent is %s, like the one before", record.Argv[0])
	}
}

func stoppedAndStarted(t *testing.T, w *world) {
	if status, body, err := w.post(t.Context(), "left", "/sql", url.Values{"q": {"CREATE TABLE kept (v int)"}}); status != http.StatusOK {
		t.Fatalf("status %d: %s (%v)", status, body, err)
	}
	ports := w.port(t, "postgres")
	w.shutdown(t)
	for _, name := range []string{"agent.left.0", "agent.right.0", "edge", "dns", "redis", "postgres"} {
		if pid := w.pid(t, name); pid != 0 {
			t.Errorf("%s: still recorded as process %d", name, pid)
		}
	}
	w.open(t)
	if w.port(t, "postgres") != ports {
		t.Error("Postgres moved")
	}
	took := eventually(t, "nothing is served after the start", func() bool { return w.serves(t, "left") && w.serves(t, "right") })
	t.Logf("both served %s after the open", took)
	if status, body, err := w.post(t.Context(), "left", "/sql", url.Values{"q": {"SELECT * FROM kept"}}); status != http.StatusOK {
		t.Errorf("its table: status %d: %s (%v)", status, body, err)
	}
	if _, body, err := w.post(t.Context(), "left", "/redis", url.Values{"arg": {"GET", "left:k"}}); body != `"v"` {
		t.Errorf("its key: %s (%v)", body, err)
	}
}

// footprint logs what each part takes of memory.
func footprint(t *testing.T, w *world) {
	for _, name := range []string{"postgres", "redis", "dns", "edge", "agent.left.0"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.pid(t, name)))
		if err != nil {
			t.Skip("no /proc here")
		}
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "RssAnon") {
				t.Log(name, strings.Join(strings.Fields(line), " "))
			}
		}
	}
}

func TestEdgeAddressTaken(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	l, err := net.Listen("tcp", p.edge)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = local.Open(t.Context(), p.config(t))
	if !fault.Is(err, fault.Invalid) {
		t.Fatalf("%v, want Invalid", err)
	}
	r := fault.RecordOf(err)
	if !strings.Contains(r.Message, p.edge) || !strings.Contains(r.Hint, "--edge-addr") {
		t.Errorf("it does not help: %+v", r)
	}
	if _, there := os.Stat("/proc/net/tcp"); there == nil && !strings.Contains(r.Message, strconv.Itoa(os.Getpid())) {
		t.Errorf("it does not name the process: %s", r.Message)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "postgres", "data")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("Postgres was set up before the address was looked at")
	}
}

func TestPlace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("for root alone")
	}
	home := t.TempDir() // below a directory that nobody passes
	dir := filepath.Join(home, ".gitopsd")
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o700); err != nil { // somebody was here first
		t.Fatal(err)
	}
	var said []string
	var first string
	for range 2 {
		real, err := local.Place(dir, func(s string) { said = append(said, s) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(real) })
		if first == "" {
			first = real
		}
		if real != first || filepath.Dir(real) != "/var/lib/gitopsd" {
			t.Errorf("data go to %s, before %s", real, first)
		}
	}
	if len(said) != 1 || !strings.Contains(said[0], first) {
		t.Errorf("said: %q", said)
	}
	if _, err := os.Stat(filepath.Join(first, "logs")); err != nil {
		t.Errorf("what was there did not move along: %v", err)
	}
	open := filepath.Join(newPassable(t), "data")
	if real, err := local.Place(open, func(s string) { t.Errorf("said %q", s) }); err != nil || real != open {
		t.Errorf("a directory that can be reached goes to %s, %v", real, err)
	}
	if _, err := local.Place("relative", func(string) {}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a relative directory: %v, want Invalid", err)
	}
}
