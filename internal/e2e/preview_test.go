package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/github/githubtest"
)

// A pull request is shown beside what runs: only when somebody who may asks for
// that very head, alone and without secrets, and gone when it is not wanted any
// more. The first half is told by webhooks, the second is found out by polling.
func TestPreviewOfPullRequest(t *testing.T) {
	t.Parallel() // its end is the end of a preview's shortest life, a minute
	p := newPreviewed(t)
	defer p.load.stop(t)
	one, first, two, asked := p.asked()

	// By polling from here on. What was asked for is made as soon as there is room.
	p.again(false)
	p.status(p.push("main", githubtest.Commit{Message: "Make room", Files: previewPolicy(2, "1h")}), "gitopsd/sync", "success")
	p.shows("acme-pr-1", first, "first")
	p.alone(t, "acme-pr-1")
	next := p.change("first", "first again")
	p.plan(next, "success")
	p.says(one, "Preview of "+first[:7], "was set before "+next[:7])
	p.equal("the old preview", p.get("acme-pr-1", "/version"), "first")
	p.label(one, "bob")
	p.shows("acme-pr-1", next, "first again")

	// It goes with its pull request, and all of it.
	p.must(p.github.ClosePull(one))
	p.goes("acme-pr-1")
	p.absent("acme-pr-1")

	// And when it is too old: then the label goes, too.
	p.goes("acme-pr-2")
	if lived := time.Since(asked); lived < time.Minute {
		t.Errorf("the preview lived for %s, and a minute was allowed", lived)
	}
	p.eventually(10*time.Second, "the label is taken off", func() error {
		if slices.Contains(p.github.Labels(two), "preview") {
			return errors.New("it is there")
		}
		return nil
	})
	p.absent("acme-pr-2")
	p.untouched()
}

// asked opens two pull requests: the first one is refused a preview, and its label
// stays; the second one has a preview of an older head.
func (p *previewed) asked() (one int, first string, two int, asked time.Time) {
	p.t.Helper()
	// Who may only read gets a refusal, and nothing runs.
	first = p.change("first", "first")
	one = p.open(githubtest.Pull{Branch: "first", Title: "Change acme", Author: "bob"})
	p.plan(first, "success")
	p.label(one, "eve")
	p.says(one, "No preview: eve may not write to the repository")
	p.none("acme-pr-1")

	// Who may write gets what there is room for.
	old := p.change("second", "second")
	two = p.open(githubtest.Pull{Branch: "second", Title: "Change acme in another way", Author: "eve"})
	p.plan(old, "success")
	asked = time.Now()
	p.label(two, "bob")
	p.shows("acme-pr-2", old, "second")
	p.label(one, "ann")
	p.says(one, "No preview: there is room for 1 at a time")
	p.none("acme-pr-1")

	// A push needs the label set again: nobody's new code runs on an old wish.
	pushed := p.change("second", "pushed later")
	p.plan(pushed, "success")
	p.says(two, "Preview of "+old[:7], "was set before "+pushed[:7])
	p.equal("the old preview", p.get("acme-pr-2", "/version"), "second")
	return one, first, two, asked
}

// previewed is a platform with a tenant whose pull requests get previews, and
// which is asked all the time.
type previewed struct {
	*forge
	load *load
	acme int // deployments that acme had in the beginning
}

func previewPolicy(most int, maxAge string) map[string]string {
	return map[string]string{"gitopsd.yaml": fmt.Sprintf(
		"apiVersion: gitopsd.dev/v1\nkind: Policy\nspec:\n  preview: {max: %d, maxAge: %s, seed: seed.sql}\n", most, maxAge)}
}

// acmeFile is the file of a tenant that has all that its previews must not have.
func acmeFile(greeting string) string {
	return strings.Replace(tenantFile("acme", "apps/acme", "  domains: [app.acme.example]\n"), "path: apps/acme",
		"path: apps/acme\n    secrets: [STRIPE_KEY]\n    env: {GREETING: "+greeting+"}", 1)
}

func newPreviewed(t *testing.T) *previewed {
	t.Helper()
	p := &previewed{forge: newForge(t, true)}
	files := p.probeFiles("apps/acme")
	files["apps/acme/seed.sql"] = "INSERT INTO rows (text) VALUES ('a seed');\n"
	files["gitopsd.yaml"] = previewPolicy(1, "1m")["gitopsd.yaml"]
	files["tenants/other.yaml"] = tenantFile("other", "apps/acme", "  suspend: true\n") // a secret needs a platform that is up
	first := p.push("main", githubtest.Commit{Message: "Add the app", Files: files})
	p.start()
	p.status(first, "gitopsd/sync", "success")
	p.secret("acme", "STRIPE_KEY", "sk_live_of_acme")
	added := p.push("main", githubtest.Commit{Message: "Add acme", Files: map[string]string{"tenants/acme.yaml": acmeFile("hello")}})
	p.status(added, "gitopsd/sync", "success")
	p.post("acme", "/row", "a row of acme")
	p.post("acme", "/key", "a key of acme")
	p.eventually(10*time.Second, "acme is deployed", func() error { return p.deployed("acme", added, "success") })
	p.acme = len(p.deployments("acme"))
	p.load = p.startLoad(1, "acme")
	return p
}

// change pushes to a pull request's branch what changes acme's file and its code.
func (p *previewed) change(branch, version string) string {
	p.t.Helper()
	return p.push(branch, githubtest.Commit{Message: "Change acme", Files: map[string]string{
		"tenants/acme.yaml":    acmeFile(branch),
		"apps/acme/version.go": "package main\n\nconst Version = \"" + version + "\"\n",
	}})
}

// label sets the label anew in somebody's name, in a later second than all before:
// GitHub's times are no finer, and what is not later does not count.
func (p *previewed) label(number int, by string) {
	p.t.Helper()
	p.later()
	p.must(p.github.TakeLabel(number, "preview", by))
	p.must(p.github.SetLabel(number, "preview", by))
}

// says waits until our one comment on a pull request has all the parts.
func (f *forge) says(number int, parts ...string) {
	f.t.Helper()
	f.eventually(20*time.Second, fmt.Sprintf("the comment says %q", parts), func() error {
		comments := slices.DeleteFunc(f.github.CommentsOf(number), func(c githubtest.Comment) bool { return c.By != githubtest.Bot })
		if len(comments) != 1 {
			return fmt.Errorf("there are %d comments of ours", len(comments))
		}
		for _, part := range parts {
			if !strings.Contains(comments[0].Body, part) {
				return fmt.Errorf("it lacks %q:\n%s", part, comments[0].Body)
			}
		}
		return nil
	})
}

// deployments returns those to an environment, oldest first.
func (f *forge) deployments(environment string) []githubtest.Deployment {
	return slices.DeleteFunc(f.github.Deployments(), func(d githubtest.Deployment) bool { return d.Environment != environment })
}

// deployed complains unless the newest deployment to an environment is of the
// commit and in the state. One that succeeded was under way before; one that
// failed at once need not have been shown earlier.
func (f *forge) deployed(environment, sha, state string) error {
	all := f.deployments(environment)
	if len(all) == 0 {
		return errors.New("there is no deployment")
	}
	last := all[len(all)-1]
	var states []string
	for _, s := range last.Statuses {
		states = append(states, s.State)
	}
	if n := len(states); last.SHA != sha || n == 0 || states[n-1] != state {
		return fmt.Errorf("the newest deployment is of %s: %v", last.SHA[:7], states)
	}
	if state != "success" {
		return nil
	}
	_, port, _ := strings.Cut(f.edge, ":")
	if url := last.Statuses[len(states)-1].URL; url != "http://"+environment+".localhost:"+port+"/" || states[0] != "in_progress" {
		return fmt.Errorf("it is at %q, after %v", url, states)
	}
	return nil
}

// none checks that nothing runs by a name, nor did.
func (p *previewed) none(name string) {
	p.t.Helper()
	r, _, err := p.request(http.MethodGet, name, "/version", "")
	p.must(err)
	p.must(expectStatus(r, http.StatusNotFound))
	if all := p.deployments(name); len(all) > 0 {
		p.t.Errorf("%s was deployed: %+v", name, all)
	}
	if out, _, _ := p.cli("get", "tenants", "-o", "json"); strings.Contains(out, name) {
		p.t.Errorf("there is a %s:\n%s", name, out)
	}
}

// shows waits until a preview serves the code of a head, and GitHub says where.
func (p *previewed) shows(name, head, version string) {
	p.t.Helper()
	p.eventually(time.Minute, name+" serves "+version, func() error {
		r, text, err := p.request(http.MethodGet, name, "/version", "")
		if err == nil && text != version {
			err = fmt.Errorf("%s: %q", r.Status, text)
		}
		return err
	})
	p.eventually(20*time.Second, name+" is deployed", func() error { return p.deployed(name, head, "success") })
	all := p.deployments(name)
	if last := all[len(all)-1]; !last.Transient || last.Production {
		p.t.Errorf("%s is not shown as transient: %+v", name, last)
	}
	p.equal("version of acme", p.get("acme", "/version"), "v1")
}

// goes waits until a preview is out of traffic and GitHub shows that it is gone.
func (p *previewed) goes(name string) {
	p.t.Helper()
	p.eventually(2*time.Minute, name+" is gone", func() error {
		r, _, err := p.request(http.MethodGet, name, "/version", "")
		if err != nil {
			return err
		}
		return expectStatus(r, http.StatusNotFound)
	})
	p.eventually(20*time.Second, "every deployment of "+name+" is inactive", func() error {
		for _, d := range p.deployments(name) {
			if last := d.Statuses[len(d.Statuses)-1]; last.State != "inactive" {
				return fmt.Errorf("that of %s is %s", d.SHA[:7], last.State)
			}
		}
		return nil
	})
}

// alone checks that a preview has its own and nothing of acme.
func (p *previewed) alone(t *testing.T, name string) {
	t.Helper()
	p.equal("rows of the preview", p.get(name, "/rows"), "a seed")
	if r, text, err := p.request(http.MethodGet, name, "/key", ""); err != nil || r.StatusCode == http.StatusOK {
		t.Errorf("the preview has a key: %q, %v", text, err)
	}
	var env []string
	p.must(json.Unmarshal([]byte(p.get(name, "/env")), &env))
	values := map[string]string{}
	for _, e := range env {
		key, value, _ := strings.Cut(e, "=")
		values[key] = value
	}
	p.equal("GREETING of the preview", values["GREETING"], "first")
	p.equal("TENANT of the preview", values["TENANT"], name)
	if _, has := values["STRIPE_KEY"]; has || strings.Contains(strings.Join(env, " "), "sk_live_of_acme") {
		t.Error("the preview has acme's secret")
	}
	own, err := url.Parse(values["DATABASE_URL"])
	p.must(err)
	try := func(what string, form url.Values) int {
		r, _, err := p.request(http.MethodPost, name, "/try/"+what, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
		p.must(err)
		return r.StatusCode
	}
	for database, want := range map[string]int{strings.Trim(own.Path, "/"): http.StatusOK, "t_acme": http.StatusForbidden} {
		if got := try("postgres", url.Values{"database": {database}, "query": {"SELECT 1"}}); got != want {
			t.Errorf("the preview's connection to database %s: %d, want %d", database, got, want)
		}
	}
	for command, want := range map[string]int{
		"SET " + name + ":x 1": http.StatusOK, "GET acme:key": http.StatusForbidden, "SET acme:key x": http.StatusForbidden,
	} {
		if got := try("redis", url.Values{"command": {command}}); got != want {
			t.Errorf("the preview's %s: %d, want %d", command, got, want)
		}
	}
	for _, dir := range []string{"volume/acme", "instances/acme", "secrets"} {
		if got := try("read", url.Values{"path": {filepath.Join(p.data, dir)}}); got != http.StatusForbidden {
			t.Errorf("the preview's reading of %s: %d", dir, got)
		}
	}
}

// untouched checks that acme is as it was in the beginning.
func (p *previewed) untouched() {
	p.t.Helper()
	p.equal("version of acme", p.get("acme", "/version"), "v1")
	p.equal("rows of acme", p.get("acme", "/rows"), "a row of acme")
	p.equal("key of acme", p.get("acme", "/key"), "a key of acme")
	r, err := http.NewRequest(http.MethodGet, "http://"+p.edge+"/version", nil)
	p.must(err)
	r.Host = "app.acme.example"
	answer, err := http.DefaultClient.Do(r)
	p.must(err)
	defer answer.Body.Close()
	p.must(expectStatus(answer, http.StatusOK))
	if n := len(p.deployments("acme")); n != p.acme {
		p.t.Errorf("acme has %d deployments, and had %d", n, p.acme)
	}
}

// secret sets the value of a tenant's secret.
func (w *world) secret(tenant, name, value string) {
	w.t.Helper()
	c := exec.Command(filepath.Join(binDir, "gitopsd"), "secret", "set", tenant, name)
	c.Env = append(os.Environ(), "GITOPSD_DATA="+w.data)
	c.Stdin = strings.NewReader(value)
	if out, err := c.CombinedOutput(); err != nil {
		w.t.Fatalf("secret set: %v\n%s", err, out)
	}
}

// rest ends the control plane as a service manager does; what it started goes on.
func (w *world) rest() {
	w.t.Helper()
	w.must(w.up.Process.Signal(syscall.SIGTERM))
	w.must(w.up.Wait())
	w.up = nil
}

// again restarts the control plane, to follow by webhooks or by polling.
func (f *forge) again(webhooks bool) {
	f.t.Helper()
	f.rest()
	f.github.SendWebhooks("", "")
	f.follow(webhooks)
	f.start()
}
