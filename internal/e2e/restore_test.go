package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A deletion can be taken back: within the grace period by a revert, with the
// data in place; after it by the file and a snapshot.
func TestDeletionIsReversible(t *testing.T) {
	w := newWorld(t)
	w.probe("apps/one")
	w.write("tenants/one.yaml", strings.Replace(tenantFile("one", "apps/one"), "grace: 0s", "grace: 1h", 1))
	w.tenant("two", "apps/one")
	commit := w.commit("Add one and two")
	w.start()
	w.done(commit)
	for _, tenant := range []string{"one", "two"} {
		w.post(tenant, "/row", "row of "+tenant)
		w.post(tenant, "/key", "key of "+tenant)
	}

	w.remove("tenants/one.yaml")
	gone := w.commit("Delete one")
	w.done(gone)
	w.routed("one", http.StatusGone)
	if out, _ := w.succeeds("tombstones"); !strings.Contains(out, "one") || !strings.Contains(out, gone[:7]) {
		t.Errorf("tombstones: %s", out)
	}
	out, errs, _ := w.cli("restore", "one")
	if !strings.HasPrefix(out, "git revert "+gone[:7]) {
		t.Errorf("restore of a deleted tenant: %s%s", out, errs)
	}
	w.git("revert", "--no-edit", gone)
	w.done(w.git("rev-parse", "HEAD"))
	w.hasData("row of one", "key of one")

	// Data that were spoilt come back from what the deletion saved, and go again.
	w.post("one", "/row", "spoilt")
	w.post("one", "/key", "spoilt")
	w.succeeds("restore", "one", "--yes")
	w.hasData("row of one", "key of one")
	w.succeeds("restore", "one", "--yes", "--snapshot", w.snapshots("one")[0])
	w.hasData("row of one,spoilt", "spoilt")

	oldest := w.snapshots("one")
	w.killRestore("one", oldest[len(oldest)-1])
	w.hasData("row of one", "key of one")

	w.remove("tenants/one.yaml")
	w.done(w.commit("Delete one again"))
	w.succeeds("purge", "one", "--yes")
	w.absent("one")
	last := w.snapshots("one")[0]
	w.git("revert", "--no-edit", "HEAD")
	w.done(w.git("rev-parse", "HEAD"))
	w.equal("rows after the purge", w.get("one", "/rows"), "")
	w.succeeds("restore", "one", "--yes", "--snapshot", last)
	w.hasData("row of one", "key of one")
	w.equal("the other's rows", w.get("two", "/rows"), "row of two")
	w.equal("the other's key", w.get("two", "/key"), "key of two")
}

// succeeds runs gitopsd, which must succeed.
func (w *world) succeeds(args ...string) (out, errs string) {
	w.t.Helper()
	out, errs, code := w.cli(args...)
	if code != 0 {
		w.t.Fatalf("%v: exit code %d:\n%s%s", args, code, out, errs)
	}
	return out, errs
}

func (w *world) hasData(rows, key string) {
	w.t.Helper()
	w.equal("rows of one", w.get("one", "/rows"), rows)
	w.equal("key of one", w.get("one", "/key"), key)
}

func (w *world) routed(tenant string, status int) {
	w.t.Helper()
	r, _, err := w.request(http.MethodGet, tenant, "/version", "")
	w.must(err)
	if err := expectStatus(r, status); err != nil {
		w.t.Errorf("route of %s: %v", tenant, err)
	}
}

func (w *world) snapshots(tenant string) (names []string) {
	w.t.Helper()
	out, _ := w.succeeds("snapshots", tenant, "-o", "json")
	var found []struct{ Name string }
	w.must(json.Unmarshal([]byte(out), &found))
	for _, s := range found {
		names = append(names, s.Name)
	}
	if len(names) == 0 {
		w.t.Fatalf("%s has no snapshots", tenant)
	}
	return names
}

// killRestore kills the control plane in the middle of a restore, and waits for
// the next one to bring it to its end.
func (w *world) killRestore(tenant, snapshot string) {
	w.t.Helper()
	c := exec.Command(filepath.Join(binDir, "gitopsd"), "restore", tenant, "--yes", "--snapshot", snapshot)
	c.Dir, c.Env = w.repo, append(c.Environ(), "GITOPSD_DATA="+w.data)
	w.must(c.Start())
	w.eventually(30*time.Second, "the tenant is taken out of traffic", func() error {
		r, _, err := w.request(http.MethodGet, tenant, "/version", "")
		if err == nil && r.StatusCode == http.StatusOK {
			err = fmt.Errorf("it serves")
		}
		return err
	})
	w.kill()
	w.start()
	if err := c.Wait(); err != nil { // which went on asking
		w.t.Errorf("the restore ended with %v", err)
	}
}
