package e2e_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gitopsd/gitopsd/internal/github/githubtest"
)

// From what happens on GitHub to the status that answers it, among many tenants:
// by webhook, with a GitHub that is as far away as the real one, and by polling.
// Beside it the bare exchange: git's own fetch and the requests, with nothing
// between them.
func BenchmarkForge(b *testing.B) {
	for _, tenants := range []int{100, 1000} {
		b.Run(fmt.Sprintf("tenants=%d", tenants), func(b *testing.B) {
			f := newForgeFleet(b, tenants)
			f.begin()
			measure := func(way string) {
				b.Run(way+"/opened→plan", f.opened)
				b.Run(way+"/push→pending", f.pushed)
			}
			measure("webhook")
			f.rest()
			f.away(100 * time.Millisecond)
			f.start()
			measure("webhook+100ms")
			f.rest()
			f.github.SendWebhooks("", "")
			f.follow(false)
			f.start()
			f.at, f.pause = f.github.URL(), time.Second
			measure("poll-1s")
		})
	}
}

// forgeFleet is a platform that follows a repository with many tenants on a GitHub.
// All but one are suspended: they are read, compared and planned, and nothing runs.
type forgeFleet struct {
	*forge
	tenants int
	clone   string // that the reference fetches into
	edits   int
	ledger  *pgxpool.Pool
	at      string        // URL where GitHub answers
	pause   time.Duration // between what people do, at most
}

// newForgeFleet makes the GitHub, whose exchanges are not held against its
// description here: that would take longer than all that is measured.
func newForgeFleet(b *testing.B, tenants int) *forgeFleet {
	f := &forgeFleet{forge: &forge{world: newWorld(b)}, tenants: tenants, pause: 300 * time.Millisecond}
	root := filepath.Dir(f.data)
	server, err := githubtest.New(filepath.Join(root, "github"), githubtest.Options{Limit: 1 << 30})
	f.must(err)
	f.must(server.Listen("127.0.0.1:0"))
	b.Cleanup(server.Close)
	f.github, f.at, f.clone = server, server.URL(), filepath.Join(root, "clone.git")
	f.follow(true)
	return f
}

// begin has the fleet accepted, and its one tenant that is not suspended running.
func (f *forgeFleet) begin() {
	f.t.Helper()
	files := map[string]string{"tenants/live.yaml": benchTenant("live", false, "hello")}
	for i := range f.tenants - 1 {
		name := fleetName(i)
		files["tenants/"+name+".yaml"] = benchTenant(name, true, "hello")
	}
	first := f.push("main", githubtest.Commit{Message: "Add the fleet", Files: files})
	f.start()
	f.status(first, "gitopsd/sync", "success")
	ledger, err := pgxpool.New(f.t.Context(), f.ledgerURL())
	f.must(err)
	f.t.Cleanup(ledger.Close)
	f.ledger = ledger
	f.must(exec.Command("git", "init", "-q", "--bare", f.clone).Run())
	f.fetch("refs/heads/main")
}

// rest ends the control plane as a service manager does.
func (f *forgeFleet) rest() {
	f.t.Helper()
	f.must(f.up.Process.Signal(syscall.SIGTERM))
	f.must(f.up.Wait())
	f.up = nil
}

// away has each request take longer from the next start of the control plane on.
func (f *forgeFleet) away(by time.Duration) {
	f.t.Helper()
	to, err := url.Parse(f.github.URL())
	f.must(err)
	proxy := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(by)
		proxy.ServeHTTP(w, r)
	}))
	f.t.Cleanup(server.Close)
	f.at = server.URL
	file := filepath.Join(filepath.Dir(f.data), "gitopsd.yaml")
	text, err := os.ReadFile(file)
	f.must(err)
	f.must(os.WriteFile(file, bytes.ReplaceAll(text, []byte(f.github.URL()), []byte(f.at)), 0o600))
}

func fleetName(i int) string { return fmt.Sprintf("t%05d", i) }

func benchTenant(name string, suspend bool, greeting string) string {
	return fmt.Sprintf(`apiVersion: gitopsd.dev/v1
kind: Tenant
metadata:
  name: %s
spec:
  suspend: %t
  app:
    design: {models: [{name: task, fields: [{name: title, type: string}]}]}
    env: {GREETING: %q}
  deletion: {grace: 0s}
`, name, suspend, greeting)
}

// change is the file of a pull request: by turns one that adds a tenant, and one
// that takes a tenant out of suspension.
func (f *forgeFleet) change() (branch string, files map[string]string) {
	f.edits++
	name := fleetName(f.edits % (f.tenants - 1))
	if f.edits%2 == 0 {
		name = fmt.Sprintf("new%05d", f.edits)
	}
	return fmt.Sprintf("change-%d", f.edits), map[string]string{
		"tenants/" + name + ".yaml": benchTenant(name, false, fmt.Sprintf("edit %d", f.edits)),
	}
}

// opened measures from a pull request that is opened to the status of its plan.
func (f *forgeFleet) opened(b *testing.B) {
	defer f.in(b)()
	var ours, bare []time.Duration
	for i := -2; b.Loop(); i++ { // the first two warm every cache
		branch, files := f.change()
		head := f.push(branch, githubtest.Commit{Message: "Change", Files: files})
		f.idle()
		begin := time.Now()
		number := f.open(githubtest.Pull{Branch: branch, Author: "bob"})
		took := f.shown(begin, head, "gitopsd/plan", "success")
		f.commented(number)
		alone := f.bare(fmt.Sprintf("refs/pull/%d/head", number), head, fmt.Sprintf("pulls/%d", number))
		if i >= 0 {
			ours, bare = append(ours, took), append(bare, alone)
		}
	}
	reportTimes(b, ours, bare)
}

// pushed measures from a commit on the followed branch to its pending status. The
// commit changes the tenant that runs, so that there is something to wait for.
func (f *forgeFleet) pushed(b *testing.B) {
	defer f.in(b)()
	var ours, bare []time.Duration
	for i := -2; b.Loop(); i++ {
		f.edits++
		sha := f.commitTo("refs/bench/next", fmt.Sprintf("edit %d", f.edits))
		f.idle()
		begin := time.Now()
		f.gitHub(nil, "update-ref", "refs/heads/main", sha)
		f.must(f.github.Refresh())
		took := f.shown(begin, sha, "gitopsd/sync", "pending")
		f.status(sha, "gitopsd/sync", "success")
		alone := f.bare("refs/heads/main", sha, "commits/"+sha+"/statuses")
		if i >= 0 {
			ours, bare = append(ours, took), append(bare, alone)
		}
	}
	reportTimes(b, ours, bare)
}

// in has failures be those of a sub-benchmark, until what it returns is called.
func (f *forgeFleet) in(b *testing.B) func() {
	outer := f.t
	f.t = b
	return func() { f.t = outer }
}

// idle lets time pass, as between what people do: what the last step left to do
// comes to an end, and polls are not met always at the same moment.
func (f *forgeFleet) idle() {
	time.Sleep(100*time.Millisecond + rand.N(f.pause)) //nolint:gosec // jitter
}

// shown waits until a commit has the status and returns the time since begin.
func (f *forgeFleet) shown(begin time.Time, sha, context, state string) time.Duration {
	f.t.Helper()
	for deadline := begin.Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, s := range f.github.Statuses(sha) {
			switch {
			case s.Context == context && s.State == state:
				return time.Since(begin)
			case s.Context == context && s.State == "failure":
				f.t.Fatalf("%s of %s: %s", context, sha, s.Description)
			}
		}
	}
	f.t.Fatalf("%s of %s is not %s", context, sha, state)
	return 0
}

func (f *forgeFleet) commented(number int) {
	f.t.Helper()
	f.eventually(time.Minute, "the plan is commented", func() error {
		if len(f.github.CommentsOf(number)) == 0 {
			return fmt.Errorf("pull request %d has no comment", number)
		}
		return nil
	})
}

// bare measures what nobody can do without: one fetch by git and two requests.
func (f *forgeFleet) bare(ref, sha, read string) time.Duration {
	f.t.Helper()
	begin := time.Now()
	f.fetch(ref)
	f.ask(http.MethodGet, read, "")
	f.ask(http.MethodPost, "statuses/"+sha, `{"state":"success","context":"bare"}`)
	return time.Since(begin)
}

func (f *forgeFleet) fetch(ref string) {
	f.t.Helper()
	basic := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + githubtest.Token))
	c := exec.Command("git", "-c", "http.extraHeader=Authorization: Basic "+basic, "fetch", "-q", "--no-auto-maintenance", f.at+"/"+f.github.Repository()+".git", "+"+ref+":"+ref)
	c.Dir = f.clone
	if out, err := c.CombinedOutput(); err != nil {
		f.t.Fatalf("git fetch: %v\n%s", err, out)
	}
}

func (f *forgeFleet) ask(method, part, body string) {
	f.t.Helper()
	r, err := http.NewRequest(method, f.at+"/repos/"+f.github.Repository()+"/"+part, strings.NewReader(body))
	f.must(err)
	r.Header.Set("Authorization", "Bearer "+githubtest.Token)
	resp, err := http.DefaultClient.Do(r)
	f.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	f.must(err)
	if resp.StatusCode >= 300 {
		f.t.Fatalf("%s %s answers %d: %s", method, part, resp.StatusCode, text)
	}
}

// commitTo makes a commit upon main that changes the tenant that runs, at a ref
// that GitHub tells nobody of.
func (f *forgeFleet) commitTo(ref, greeting string) (sha string) {
	f.t.Helper()
	var in bytes.Buffer
	writeCommit(&in, ref, f.github.Head("main"), map[string]string{"tenants/live.yaml": benchTenant("live", false, greeting)})
	f.gitHub(in.Bytes(), "fast-import", "--quiet", "--force")
	return f.gitHub(nil, "rev-parse", ref)
}

// writeCommit writes a commit for git fast-import.
func writeCommit(in *bytes.Buffer, ref, from string, files map[string]string) {
	const message = "Change"
	fmt.Fprintf(in, "commit %s\ncommitter Octocat <octocat@example.com> %d +0000\ndata %d\n%s\nfrom %s\n", ref, time.Now().Unix(), len(message), message, from)
	for path, text := range files {
		fmt.Fprintf(in, "M 100644 inline %s\ndata %d\n%s\n", path, len(text), text)
	}
}

// gitHub runs git where GitHub has the repository.
func (f *forgeFleet) gitHub(stdin []byte, args ...string) string {
	f.t.Helper()
	c := exec.Command("git", args...)
	c.Dir, c.Stdin = f.github.GitDir(), bytes.NewReader(stdin)
	c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := c.Output()
	if err != nil {
		f.t.Fatalf("git %v: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// reportTimes reports how long it took, beside the reference.
func reportTimes(b *testing.B, ours, bare []time.Duration) {
	if len(ours) == 0 {
		b.Skip("only warmed up: use -benchtime 42x")
	}
	slices.Sort(ours)
	at := func(percent int) float64 { return milliseconds(ours[(len(ours)*percent+99)/100-1]) }
	reference := median(bare)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(at(50), "ms/p50")
	b.ReportMetric(at(95), "ms/p95")
	b.ReportMetric(at(100), "ms/max")
	b.ReportMetric(reference, "ms/bare")
	b.ReportMetric(at(50)/reference, "ratio")
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Many open pull requests at once, among 1,000 tenants: seen for the first time,
// after a restart, after the followed branch moved, and after a tenant's release.
func BenchmarkForgePulls(b *testing.B) {
	for _, pulls := range []int{100, 1000} {
		b.Run(fmt.Sprintf("pulls=%d", pulls), func(b *testing.B) {
			f := newForgeFleet(b, 1000)
			f.begin()
			f.rest()
			f.openMany(pulls)
			b.Run("first", func(b *testing.B) {
				f.costs(b, 0, f.start, func() error { return f.planned(pulls, f.github.Head("main")) })
			})
			f.rest()
			b.Run("restart", func(b *testing.B) {
				began := time.Now()
				f.costs(b, 0, f.start, func() error { return f.planned(pulls, f.github.Head("main"), began) })
			})
			f.idle()
			b.Run("main-moves", func(b *testing.B) {
				f.moved(b, pulls, map[string]string{"README.md": "tenants\n"})
			})
			f.idle()
			b.Run("release", func(b *testing.B) {
				f.moved(b, pulls, map[string]string{"tenants/live.yaml": benchTenant("live", false, "another")})
			})
		})
	}
}

// openMany opens pull requests that nobody is told of.
func (f *forgeFleet) openMany(n int) {
	f.t.Helper()
	f.github.SendWebhooks("", "")
	var in bytes.Buffer
	var branches []string
	main := f.github.Head("main")
	for range n {
		branch, files := f.change()
		writeCommit(&in, "refs/heads/"+branch, main, files)
		branches = append(branches, branch)
	}
	f.gitHub(in.Bytes(), "fast-import", "--quiet")
	f.must(f.github.Refresh())
	for _, branch := range branches {
		f.open(githubtest.Pull{Branch: branch, Author: "bob"})
	}
	f.gitHub(nil, "pack-refs", "--all") // as GitHub's are
	f.github.SendWebhooks("http://"+f.console+"/webhooks/github", webhookSecret)
}

// moved moves the followed branch and measures until every plan is of it.
func (f *forgeFleet) moved(b *testing.B, pulls int, files map[string]string) {
	sha := ""
	f.costs(b, f.processor(), func() {
		sha = f.push("main", githubtest.Commit{Message: "Move", Files: files})
	}, func() error {
		if last := f.last(sha, "gitopsd/sync"); last.State != "success" && files["README.md"] == "" {
			return fmt.Errorf("the commit is %q: %s", last.State, last.Description)
		}
		return f.planned(pulls, sha)
	})
}

// costs reports what it costs from begin until done has nothing to complain of:
// time, processor time of the control plane beyond what it had used before, and
// what GitHub was asked for.
func (f *forgeFleet) costs(b *testing.B, before time.Duration, begin func(), done func() error) {
	defer f.in(b)()
	asked := f.github.Requests()
	began := time.Now()
	begin()
	f.eventually(10*time.Minute, "every plan is made", done)
	took, used := time.Since(began), f.processor()-before
	requests, git := 0, 0
	for what, n := range f.github.Requests() {
		if n -= asked[what]; what == "git" {
			git = n
		} else {
			requests += n
		}
		if n > 0 {
			b.Logf("%5d %s", n, what)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(took.Seconds(), "s/total")
	b.ReportMetric(used.Seconds(), "s/processor")
	b.ReportMetric(float64(requests), "requests")
	b.ReportMetric(float64(git), "git-requests")
}

// processor returns the processor time that the control plane used, in all its threads.
func (f *forgeFleet) processor() time.Duration {
	f.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", f.up.Process.Pid))
	if err != nil {
		f.t.Skip("processor time is read from /proc")
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const tick = 10 * time.Millisecond // of every Linux that Go runs on
	var used time.Duration
	for _, field := range fields[11:13] { // user and system
		ticks, err := strconv.Atoi(field)
		f.must(err)
		used += time.Duration(ticks) * tick
	}
	return used
}

// planned complains until every pull request has a plan of the base and of what is
// applied now, made since, and GitHub shows all there is to show.
func (f *forgeFleet) planned(pulls int, base string, since ...time.Time) error {
	var made, waiting int
	err := f.ledger.QueryRow(f.t.Context(), `SELECT
		(SELECT count(*) FROM gitopsd.pulls, gitopsd.repository r, gitopsd.clock c WHERE NOT closed AND updated > $2
			AND report->>'base' = $1 AND report->>'live' = r.head || '@' || c.ticks),
		(SELECT count(*) FROM gitopsd.notices WHERE settled < version)`, base, append(since, time.Time{})[0]).Scan(&made, &waiting)
	if err == nil && (made < pulls || waiting > 0) {
		err = fmt.Errorf("%d plans are made, %d notices are not shown", made, waiting)
	}
	return err
}

// ledgerURL returns where the control plane keeps what it knows.
func (f *forgeFleet) ledgerURL() string {
	f.t.Helper()
	var keys struct{ PostgresMaster string }
	var running struct{ Ports map[string]int }
	for file, into := range map[string]any{"secrets/keys.json": &keys, "run/postgres.json": &running} {
		text, err := os.ReadFile(filepath.Join(f.data, file))
		f.must(err)
		f.must(json.Unmarshal(text, into))
	}
	return fmt.Sprintf("postgres://gitopsd:%s@127.0.0.1:%d/gitopsd?sslmode=disable", keys.PostgresMaster, running.Ports["postgres"])
}
