package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/github/githubtest"
)

const webhookSecret = "a secret of the test, long enough"

// forge is a platform that follows a repository on a GitHub.
type forge struct {
	*world
	github *githubtest.Server
	auth   []string // lines of the configuration below github; nil for a token
}

// newForge starts a GitHub and a platform that knows of it what a user would
// configure. Without webhooks it polls.
func newForge(t testing.TB, webhooks bool) *forge {
	t.Helper()
	f := &forge{world: newWorld(t)}
	f.github = githubtest.Start(t, githubtest.Options{Violation: func(err error) { t.Errorf("GitHub's description: %v", err) }})
	f.follow(webhooks)
	return f
}

// follow configures the platform to follow the GitHub's repository from its next
// start on, by webhooks or by polling.
func (f *forge) follow(webhooks bool) {
	f.t.Helper()
	f.t.Cleanup(func() {
		if f.t.Failed() {
			for _, d := range f.github.Deliveries() {
				f.t.Logf("webhook %s %s was answered %d", d.Event, d.Action, d.Status)
			}
		}
	})
	for name, permission := range map[string]string{"ann": "admin", "bob": "write", "eve": "read"} {
		f.github.SetPermission(name, permission)
	}
	interval := "1s"
	if webhooks {
		interval = "1h" // nothing but webhooks may be what brings news
	}
	root := filepath.Dir(f.data)
	write := func(name, text string) string {
		file := filepath.Join(root, name)
		f.must(os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	auth := f.auth
	if auth == nil {
		auth = []string{"  tokenFile: " + write("token", githubtest.Token)}
	}
	f.configured(write("gitopsd.yaml", strings.Join(append([]string{
		"repo: " + f.github.CloneURL(),
		"data: " + f.data,
		"edgeAddr: " + f.edge,
		"consoleAddr: " + f.console,
		"buildCache: " + buildCache,
		"consoleURL: http://" + f.console,
		"github:",
		"  apiURL: " + f.github.URL(),
		"  webhookSecretFile: " + write("webhook-secret", webhookSecret),
		"  interval: " + interval,
	}, auth...), "\n")))
	if webhooks {
		f.github.SendWebhooks("http://"+f.console+"/webhooks/github", webhookSecret)
	}
}

// configured has the platform run as a service does, with a configuration file.
func (w *world) configured(file string) {
	w.command = func() *exec.Cmd { return exec.Command(filepath.Join(binDir, "gitopsd"), "run", "-c", file) }
	w.t.Cleanup(func() { // run leaves what it started running: up takes it up, and ends it
		if w.up != nil {
			_ = w.up.Process.Signal(syscall.SIGTERM)
			_ = w.up.Wait()
			w.up = nil
		}
		w.command = nil
	})
}

// plan waits for the terminal plan of a head and returns its description.
func (f *forge) plan(head, state string) string {
	f.t.Helper()
	return f.status(head, "gitopsd/plan", state)
}

// status waits until the newest status of a commit and context has the state.
func (f *forge) status(sha, context, state string) (description string) {
	f.t.Helper()
	f.eventually(time.Minute, fmt.Sprintf("%s of %s is %s", context, sha[:7], state), func() error {
		last := f.last(sha, context)
		if last.State != state {
			return fmt.Errorf("it is %q: %s", last.State, last.Description)
		}
		description = last.Description
		return nil
	})
	return description
}

func (f *forge) last(sha, context string) (last githubtest.Status) {
	for _, s := range f.github.Statuses(sha) {
		if s.Context == context {
			last = s
		}
	}
	return last
}

// terminals counts the terminal statuses of a commit of the branch.
func (f *forge) terminals(sha string) (n int) {
	for _, s := range f.github.Statuses(sha) {
		if s.Context == "gitopsd/sync" && s.State != "pending" {
			n++
		}
	}
	return n
}

func (f *forge) push(branch string, c githubtest.Commit) string {
	f.t.Helper()
	sha, err := f.github.Commit(branch, c)
	f.must(err)
	return sha
}

func (f *forge) open(p githubtest.Pull) int {
	f.t.Helper()
	number, err := f.github.OpenPull(p)
	f.must(err)
	return number
}

func (f *forge) merge(number int, method githubtest.Method) string {
	f.t.Helper()
	sha, err := f.github.Merge(number, method)
	f.must(err)
	return sha
}

// probeFiles are the files of the probe app below a directory.
func (f *forge) probeFiles(dir string) map[string]string {
	f.t.Helper()
	f.probe("probe")
	files := map[string]string{}
	root := filepath.Join(f.repo, "probe")
	f.must(filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files[dir+strings.TrimPrefix(path, root)] = string(b)
		return err
	}))
	return files
}

// The way people use it on GitHub: a pull request is planned, merged, made real,
// and shown; a deletion is loud, and a revert takes it back; all of it by webhook
// alone or by polling alone, and through a GitHub that fails for a while.
func TestPullRequestBecomesTenant(t *testing.T) {
	for name, webhooks := range map[string]bool{"webhooks": true, "polling": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting for a GitHub that fails
			story(t, newForge(t, webhooks))
		})
	}
}

func story(t *testing.T, f *forge) {
	files := f.probeFiles("apps/acme")
	files["tenants/other.yaml"] = tenantFile("other", "apps/acme", "  suspend: true\n") // so that acme is not the last one
	first := f.push("main", githubtest.Commit{Message: "Add the app", Files: files})
	f.start()
	f.status(first, "gitopsd/sync", "success")

	// A pull request that adds a tenant gets a plan, and a comment that shows it.
	file := tenantFile("acme", "apps/acme")
	file = strings.Replace(file, "grace: 0s", "grace: 1h", 1)
	f.push("add-acme", githubtest.Commit{Message: "Add acme", Files: map[string]string{"tenants/acme.yaml": strings.Replace(file, "path:", "pth:", 1)}})
	number := f.open(githubtest.Pull{Branch: "add-acme", Title: "Add acme", Author: "bob"})
	if text := f.plan(f.github.Head("add-acme"), "failure"); !strings.Contains(text, "acme") {
		t.Errorf("the plan of a broken file says %q", text)
	}
	head := f.push("add-acme", githubtest.Commit{Message: "Correct it", Files: map[string]string{"tenants/acme.yaml": file}})
	if text := f.plan(head, "success"); !strings.Contains(text, "provision") {
		t.Errorf("the plan of a new tenant says %q", text)
	}
	f.eventually(20*time.Second, "the comment shows the plan", func() error {
		comments := f.github.CommentsOf(number)
		if len(comments) != 1 || !strings.Contains(comments[0].Body, "acme.localhost") {
			return fmt.Errorf("comments are %+v", comments)
		}
		return nil
	})
	r, _, err := f.request(http.MethodGet, "acme", "/version", "")
	f.must(err)
	f.must(expectStatus(r, http.StatusNotFound)) // a plan makes nothing

	// Merging makes it real: pending, then success, and the link leads to a page.
	added := f.merge(number, githubtest.MergeCommit)
	f.status(added, "gitopsd/sync", "success")
	f.equal("version", f.get("acme", "/version"), "v1")
	f.link(f.last(added, "gitopsd/sync").URL)
	f.post("acme", "/row", "a row")
	f.post("acme", "/key", "a key")

	edited := f.troubled(t)

	// A deletion says what it takes, merged it is out of traffic, reverted it is
	// back with its data.
	before := f.github.Head("main")
	f.push("drop-acme", githubtest.Commit{Message: "Drop acme", Remove: []string{"tenants/acme.yaml"}})
	number = f.open(githubtest.Pull{Branch: "drop-acme", Title: "Drop acme", Author: "ann"})
	if text := f.plan(f.github.Head("drop-acme"), "success"); !strings.Contains(text, "deprovision") {
		t.Errorf("the plan of a deletion says %q", text)
	}
	dropped := f.merge(number, githubtest.Squash)
	f.status(dropped, "gitopsd/sync", "success")
	f.eventually(20*time.Second, "acme is out of traffic", func() error {
		r, _, err := f.request(http.MethodGet, "acme", "/version", "")
		if err != nil {
			return err
		}
		return expectStatus(r, http.StatusGone)
	})
	if before == dropped {
		t.Fatal("nothing was merged")
	}
	reverted := f.push("main", githubtest.Commit{Message: "Revert", Files: map[string]string{"tenants/acme.yaml": file}})
	f.status(reverted, "gitopsd/sync", "success")
	f.equal("rows after the revert", f.get("acme", "/rows"), "a row")
	f.equal("key after the revert", f.get("acme", "/key"), "a key")

	for _, sha := range append(edited, added, dropped, reverted) {
		if n := f.terminals(sha); n != 1 {
			t.Errorf("commit %s has %d terminal statuses, want 1: %+v", sha[:7], n, f.github.Statuses(sha))
		}
	}
}

// troubled merges edits while GitHub fails in every way, and returns their
// commits once all is well again.
func (f *forge) troubled(t *testing.T) []string {
	t.Helper()
	api := func(r *http.Request) bool { return !strings.Contains(r.URL.Path, ".git/") }
	var commits []string
	for i, kind := range []githubtest.FaultKind{githubtest.ServerError, githubtest.Limited, githubtest.Reset, githubtest.Lost, githubtest.Hold} {
		end := f.github.Fail(githubtest.Fault{Kind: kind, Match: api})
		sha := f.push("main", githubtest.Commit{Message: "Edit", Files: map[string]string{
			"apps/acme/version.go": fmt.Sprintf("package main\n\nconst Version = \"edit-%d\"\n", i),
		}})
		commits = append(commits, sha)
		f.eventually(time.Minute, "the edit is served while GitHub fails", func() error {
			_, text, err := f.request(http.MethodGet, "acme", "/version", "")
			if err == nil && text != fmt.Sprintf("edit-%d", i) {
				err = fmt.Errorf("version is %q", text)
			}
			return err
		})
		end()
	}
	for _, sha := range commits {
		f.status(sha, "gitopsd/sync", "success")
	}
	return commits
}

// link checks that what a status leads to is a page of the console.
func (f *forge) link(url string) {
	f.t.Helper()
	r, err := http.Get(url)
	f.must(err)
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") {
		f.t.Errorf("%s answers %d %s", url, r.StatusCode, r.Header.Get("Content-Type"))
	}
}
