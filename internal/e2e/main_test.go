package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The main job, as its user lives it: commits become running apps.
func TestCommitBecomesRunningApp(t *testing.T) {
	w := newWorld(t)
	w.probe("apps/one")
	w.probe("apps/two")
	w.tenant("one", "apps/one")
	w.tenant("two", "apps/two")
	first := w.commit("Add one and two")
	w.start()
	w.done(first)

	w.equal("version of one", w.get("one", "/version"), "v1")
	w.equal("static file", w.get("one", "/hello.txt"), "static of the probe\n")
	for _, tenant := range []string{"one", "two"} {
		w.post(tenant, "/row", "row of "+tenant)
		w.post(tenant, "/key", "key of "+tenant)
	}

	w.version("apps/one", "v2")
	edit := w.commit("Edit the app of one")
	w.done(edit)
	w.equal("version after the edit", w.get("one", "/version"), "v2")
	w.equal("the other's version", w.get("two", "/version"), "v1")
	w.equal("rows after the edit", w.get("one", "/rows"), "row of one")

	w.tenant("three", "apps/two")
	added := w.commit("Add three")
	w.done(added)
	w.equal("rows of the new tenant", w.get("three", "/rows"), "")

	w.git("revert", "--no-edit", edit)
	revert := w.git("rev-parse", "HEAD")
	w.done(revert)
	w.equal("version after the revert", w.get("one", "/version"), "v1")

	t.Run("isolation", func(t *testing.T) { isolation(t, w) })

	w.remove("tenants/three.yaml")
	gone := w.commit("Delete three")
	w.done(gone)
	w.absent("three")
	w.equal("rows of one at the end", w.get("one", "/rows"), "row of one")
	w.equal("key of two at the end", w.get("two", "/key"), "key of two")

	// Everything ends with Ctrl-C, and comes back with its data.
	w.stop()
	if left := w.processes(); left != "" {
		t.Errorf("processes left after Ctrl-C:\n%s", left)
	}
	w.start()
	w.eventually(30*time.Second, "tenants serve again", func() error {
		r, _, err := w.request(http.MethodGet, "one", "/rows", "")
		if err != nil {
			return err
		}
		return expectStatus(r, http.StatusOK)
	})
	w.equal("rows after a restart", w.get("one", "/rows"), "row of one")
	w.equal("key after a restart", w.get("one", "/key"), "key of one")

	for _, commit := range []string{first, edit, added, revert, gone} {
		w.oneTerminalStatus(commit)
	}
}

// absent checks that a tenant's receipt lists every kind of thing as absent,
// and looks for some of them itself.
func (w *world) absent(tenant string) {
	w.t.Helper()
	r, _, err := w.request(http.MethodGet, tenant, "/version", "")
	w.must(err)
	if err := expectStatus(r, http.StatusNotFound); err != nil {
		w.t.Errorf("route of %s: %v", tenant, err)
	}
	out, errs, code := w.cli("get", "receipts", "-o", "json")
	if code != 0 {
		w.t.Fatalf("get receipts: %s", errs)
	}
	var receipts []struct {
		Tenant    string
		Resources []struct {
			Kind, Name string
			Present    bool
		}
	}
	w.must(json.Unmarshal([]byte(out), &receipts))
	kinds := map[string]bool{}
	for _, r := range receipts {
		if r.Tenant != tenant {
			continue
		}
		for _, x := range r.Resources {
			kinds[x.Kind] = true
			if x.Present {
				w.t.Errorf("%s %s is in the receipt as present", x.Kind, x.Name)
			}
		}
	}
	for _, kind := range []string{"database", "role", "cache-user", "dns", "route", "process", "volume"} {
		if !kinds[kind] {
			w.t.Errorf("the receipt of %s says nothing of its %s:\n%s", tenant, kind, out)
		}
	}
	if out, err := exec.Command("pgrep", "-af", w.data+"/instances/"+tenant+"/").Output(); err == nil {
		w.t.Errorf("processes of %s:\n%s", tenant, out)
	}
	for _, dir := range []string{"volume", "instances", "buckets"} {
		if _, err := os.Stat(filepath.Join(w.data, dir, tenant)); err == nil {
			w.t.Errorf("%s of %s is still there", dir, tenant)
		}
	}
}

// processes lists what runs below the data directory.
func (w *world) processes() string {
	out, _ := exec.Command("pgrep", "-af", w.data).Output()
	return string(out)
}

// oneTerminalStatus checks that a commit has come to an end, and that it is the
// one it keeps: the outbox never takes a second.
func (w *world) oneTerminalStatus(commit string) {
	w.t.Helper()
	w.eventually(10*time.Second, "commit "+commit[:7]+" has a terminal status", func() error {
		out, errs, code := w.cli("status", commit, "-o", "json")
		if code > 1 {
			return fmt.Errorf("status ended with %d: %s", code, errs)
		}
		var p struct {
			Status struct{ State, Description string }
		}
		if err := json.Unmarshal([]byte(out), &p); err != nil {
			return err
		}
		if s := p.Status.State; s != "success" && s != "failure" {
			return fmt.Errorf("it is %q", s)
		}
		return nil
	})
}

// isolation lets one tenant try to reach what is another's.
func isolation(t *testing.T, w *world) {
	refused := func(what, path string, form url.Values) {
		t.Helper()
		r, text, err := w.request(http.MethodPost, "one", path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
		if err != nil {
			t.Fatal(err)
		}
		if r.StatusCode == http.StatusOK {
			t.Errorf("%s is possible: %s", what, text)
		}
	}
	for _, database := range []string{"t_two", "gitopsd", "postgres", "template1"} {
		refused("connecting to database "+database, "/try/postgres", url.Values{"database": {database}, "query": {"SELECT 1"}})
	}
	for _, query := range []string{"DROP DATABASE t_two", "ALTER ROLE t_two LOGIN PASSWORD 'x'", "SET ROLE t_two", "CREATE ROLE x", "COPY (SELECT 1) TO PROGRAM 'id'"} {
		refused(query, "/try/postgres", url.Values{"database": {"t_one"}, "query": {query}})
	}
	for _, command := range []string{
		"GET two:key", "SET two:key x", "DEL two:key", "KEYS *", "SCAN 0", "RANDOMKEY", "DBSIZE", "FLUSHALL", "FLUSHDB",
		"CONFIG GET *", "ACL LIST", "CLIENT LIST", "PUBLISH two:x y", "COPY one:key two:key2", "RENAME one:key two:key2",
	} {
		refused("redis "+command, "/try/redis", url.Values{"command": {command}})
	}
	for _, dir := range []string{
		"volume/two", "instances/two", "instances/two/0/env.json", "buckets/two", "secrets", "secrets/tenants/two.json", "postgres", "redis", "repository", "repository/mirror.git", "build", "build/work", "edge/routes", "logs/gitopsd.log", "logs/edge.log", "logs/access.log", "run", "snapshots", "tenants/two.json",
	} {
		refused("reading "+dir, "/try/read", url.Values{"path": {filepath.Join(w.data, dir)}})
	}
	refused("the API without its token", "/try/get", url.Values{"url": {"http://" + w.console + "/api/v1/tenants"}})
	out, _, _ := w.cli("describe", "two", "-o", "json")
	var two struct {
		Instances []struct{ Addr string }
	}
	if err := json.Unmarshal([]byte(out), &two); err != nil || len(two.Instances) == 0 {
		t.Fatalf("describe two: %v\n%s", err, out)
	}
	refused("asking another tenant past the edge", "/try/get", url.Values{"url": {"http://" + two.Instances[0].Addr + "/rows"}})

	// A client's own tenant header never counts.
	for _, header := range [][]string{{"X-Tenant", "two"}, {"x-tenant", "two", "X-Tenant", "two"}, {"X-Gitopsd-Edge", "x"}, {"X-Gitopsd-Secret", "x"}} {
		r, text, err := w.request(http.MethodGet, "one", "/rows", "", header...)
		if err != nil {
			t.Fatal(err)
		}
		if r.StatusCode != http.StatusOK || text != "row of one" {
			t.Errorf("with %v one answers %d %q", header, r.StatusCode, text)
		}
	}
	seen := strings.ToLower(w.get("one", "/headers"))
	for _, secret := range []string{"x-gitopsd-edge", "x-gitopsd-secret", "x-tenant"} {
		if strings.Contains(seen, secret) {
			t.Errorf("the app sees header %s: %s", secret, seen)
		}
	}
	var env []string
	if err := json.Unmarshal([]byte(w.get("one", "/env")), &env); err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{}
	for _, name := range []string{"PORT", "DATABASE_URL", "REDIS_URL", "REDIS_PREFIX", "TENANT", "RELEASE", "COMMIT", "TMPDIR", "HOME", "PATH"} {
		allowed[name] = true
	}
	for _, e := range env {
		if name, _, _ := strings.Cut(e, "="); !allowed[name] {
			t.Errorf("the app's environment has %s", name)
		}
	}
}

// Thirty commits in a row, under constant requests: no request fails.
func TestThirtyCommitsInARow(t *testing.T) {
	w := newWorld(t)
	w.probe("apps/busy")
	w.tenant("busy", "apps/busy")
	commit := w.commit("Add busy")
	w.start()
	w.done(commit)
	l := w.startLoad(8, "busy")
	var commits []string
	for i := range 30 {
		w.version("apps/busy", fmt.Sprintf("edit-%d", i))
		commits = append(commits, w.commit(fmt.Sprintf("Edit %d", i)))
		if i%3 == 0 { // some pushed while the one before is under way
			w.done(commits[i])
		}
	}
	w.done(commits[29])
	w.equal("version in the end", w.get("busy", "/version"), "edit-29")
	l.stop(t)
	for _, c := range commits {
		w.oneTerminalStatus(c)
	}
}
