package sync_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// A platform that lived through any history ends where a fresh one ends that is
// given its last accepted commit, and on the way never deletes what is protected.
func TestRandomHistories(t *testing.T) {
	// A history takes half a second; more are tried with -rapid.checks.
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		if err := checks.Value.Set("15"); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		h := &history{world: newWorld(t), rt: rt, approved: map[string]bool{}}
		h.put("base", "one")
		for _, name := range historyNames {
			h.put(name, "one")
		}
		h.commit("Begin")
		h.step()
		for range rapid.IntRange(5, 14).Draw(rt, "acts") {
			h.act()
			if rapid.IntRange(0, 3).Draw(rt, "look") > 0 {
				h.step()
			}
		}
		h.settle()
		h.compare(t)
	})
}

// history is a world whose repository changes at random.
type history struct {
	*world
	rt       *rapid.T
	approved map[string]bool // commits
	n        int             // makes texts distinct
}

var historyNames = []string{"a", "b", "c", "d", "e", "f", "g", "h"}

func (h *history) pick(label string, from []string) string {
	return rapid.SampledFrom(from).Draw(h.rt, label)
}

func (h *history) file(name string) string { return filepath.Join(h.repo, "tenants", name+".yaml") }

// act makes one or more commits, or moves the branch.
func (h *history) act() {
	h.n++
	switch act := h.pick("act", []string{"edit", "edit", "edit", "many", "wipe", "rename", "merge", "revert", "rewrite", "restart", "approve"}); act {
	case "edit":
		h.edit()
		h.commit("Edit")
	case "many":
		for range rapid.IntRange(2, 6).Draw(h.rt, "edits") {
			h.edit()
		}
		h.commit("Edit many")
	case "wipe":
		for _, name := range historyNames[:rapid.IntRange(2, len(historyNames)).Draw(h.rt, "wiped")] {
			if err := os.Remove(h.file(name)); err != nil && !os.IsNotExist(err) {
				h.must(err)
			}
		}
		h.commit("Delete many")
	case "rename":
		from, to := h.pick("from", historyNames), h.pick("to", historyNames)
		if b, err := os.ReadFile(h.file(from)); err == nil && from != to {
			h.must(os.WriteFile(h.file(to), []byte(strings.ReplaceAll(string(b), "name: "+from+"}", "name: "+to+"}")), 0o644))
			h.must(os.Remove(h.file(from)))
		}
		h.commit("Rename")
	case "merge":
		h.git("checkout", "-q", "-b", fmt.Sprintf("side%d", h.n))
		h.edit()
		h.commit("Edit aside")
		h.edit()
		h.commit("Edit aside again")
		h.git("checkout", "-q", "main")
		h.git("merge", "-q", "--no-ff", "-m", "Merge", fmt.Sprintf("side%d", h.n))
	case "revert":
		if len(strings.Fields(h.git("log", "-1", "--format=%P"))) == 1 { // neither the first one nor a merge
			h.git("revert", "--no-commit", "HEAD")
			h.commit("Revert")
		}
	case "rewrite":
		if len(strings.Fields(h.git("rev-list", "--first-parent", "HEAD"))) > 2 {
			h.git("reset", "-q", "--hard", "HEAD~1")
		}
		h.edit()
		h.commit("Rewritten")
	case "restart":
		h.restart()
	case "approve":
		head := h.git("rev-parse", "HEAD")
		if err := h.ledger.Approve(h.ctx, head, "ann"); err == nil {
			h.approved[head] = true
		} else if k := fault.KindOf(err); k != fault.NotFound && k != fault.Conflict {
			h.must(err)
		}
	}
}

// edit changes one file: adds, changes, breaks or deletes it.
func (h *history) edit() {
	name := h.pick("tenant", historyNames)
	switch h.pick("edit", []string{"put", "put", "put", "size", "protect", "keep", "suspend", "break", "drop", "drop"}) {
	case "put":
		h.put(name, fmt.Sprint("v", h.n))
	case "size":
		h.put(name, "v", "compute: {cpu: 512}")
	case "protect":
		h.put(name, fmt.Sprint("v", h.n), "deletion: {protect: true}")
	case "keep":
		h.put(name, fmt.Sprint("v", h.n), "deletion: {grace: 1h}")
	case "suspend":
		h.put(name, fmt.Sprint("v", h.n), "suspend: true")
	case "break":
		h.put(name, "v", "nonsense: true")
	case "drop":
		if err := os.Remove(h.file(name)); err != nil && !os.IsNotExist(err) {
			h.must(err)
		}
	}
}

// step takes a turn and ends what it started, some of it badly, and checks what
// must hold after it.
func (h *history) step() {
	before, err := h.ledger.Applied(h.ctx, nil)
	h.must(err)
	from, err := h.ledger.Head(h.ctx)
	h.must(err)
	h.turn()
	h.guard(from, before)
	var failing []string
	for _, run := range h.engine.started() {
		h.checkStarted(run.Operation, run.Tenant)
		if rapid.IntRange(0, 5).Draw(h.rt, "fails") == 0 {
			failing = append(failing, run.Tenant)
		}
	}
	if rapid.Bool().Draw(h.rt, "finish") {
		h.finish(failing...)
		h.guard(from, before)
	}
}

// checkStarted fails if data would go of a tenant that the accepted commit has.
func (h *history) checkStarted(op plan.Operation, name string) {
	if op != plan.Deprovision && op != plan.Purge {
		return
	}
	applied, err := h.ledger.Applied(h.ctx, []string{name})
	h.must(err)
	if a, ok := applied[name]; ok && !a.Deleted && !a.InProgress {
		h.rt.Fatalf("%s of %s was started, and it is not deleted", op, name)
	}
}

// guard checks what moving from one accepted commit to the present one deleted.
func (h *history) guard(from string, before map[string]plan.Applied) {
	head, err := h.ledger.Head(h.ctx)
	h.must(err)
	if head == from {
		return
	}
	after, err := h.ledger.Applied(h.ctx, nil)
	h.must(err)
	if from != "" && !h.approved[head] {
		if ok, err := h.mirror.IsAncestor(h.ctx, from, head); err != nil || !ok {
			h.rt.Fatalf("%s was accepted after %s, from which it does not descend: %v", head, from, err)
		}
	}
	live, deleted := 0, []string{}
	for name, a := range before {
		if a.Deleted {
			continue
		}
		live++
		if b, ok := after[name]; ok && !b.Deleted {
			continue
		}
		deleted = append(deleted, name)
		if a.Tenant.Deletion.Protect {
			h.rt.Errorf("%s was deleted, and it is protected", name)
		}
		if _, err := h.mirror.FS(head).Open("tenants/" + name + ".yaml"); err == nil {
			h.rt.Errorf("%s was deleted, and %s has its file", name, head)
		}
	}
	if n := len(deleted); n > plan.DefaultBrake.Tenants && n*100 > live*plan.DefaultBrake.Percent && !h.approved[head] {
		h.rt.Errorf("%d of %d were deleted and nobody approved it: %v", n, live, deleted)
	}
}

// settle carries everything out that is accepted; failed runs are tried again.
func (h *history) settle() {
	for range 30 {
		h.turn()
		h.finish()
		applied, err := h.ledger.Applied(h.ctx, nil)
		h.must(err)
		quiet := len(h.engine.started()) == 0
		for name, a := range applied {
			if a.Failing && !a.InProgress && !a.Tenant.Suspend {
				h.must(h.loop.Retry(h.ctx, name))
				quiet = false
			}
			quiet = quiet && !a.InProgress
		}
		if quiet {
			return
		}
	}
	h.rt.Fatal("it does not come to rest")
}

// compare holds the platform against a fresh one.
func (h *history) compare(t *testing.T) {
	head, err := h.ledger.Head(h.ctx)
	h.must(err)
	fresh := newWorld(t)
	fresh.git("fetch", "-q", h.repo, head)
	fresh.git("reset", "-q", "--hard", head)
	fresh.done()
	want, err := fresh.ledger.Applied(fresh.ctx, nil)
	h.must(err)
	got, err := h.ledger.Applied(h.ctx, nil)
	h.must(err)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		w, g := want[name], got[name]
		if w.Tenant.Suspend { // what was real before stays real, or is not known here
			w.DoneInfra, w.DoneApp, w.Failing = g.DoneInfra, g.DoneApp, g.Failing
		}
		w.Commit, w.Release = g.Commit, g.Release
		if diff := cmp.Diff(w, g); diff != "" {
			h.rt.Errorf("%s (-fresh +lived):\n%s", name, diff)
		}
	}
	for name, g := range got {
		_, err := fresh.mirror.FS(head).Open("tenants/" + name + ".yaml")
		if _, ok := want[name]; ok || g.Deleted || err == nil || g.Tenant.Deletion.Protect {
			continue // a file that is there and not in the fresh one is invalid
		}
		h.rt.Errorf("%s has no file, and lives", name)
	}
	h.statuses()
}

// statuses checks that each commit ended with one terminal status, but for one
// that is held.
func (h *history) statuses() {
	h.must(h.loop.Deliver(h.ctx))
	terminal := map[string]int{}
	for _, s := range h.report.got {
		if s.State != sync.StatePending {
			terminal[s.Commit]++
		}
	}
	known, err := h.ledger.Commits(h.ctx, 500)
	h.must(err)
	for _, c := range known {
		held := c.Hold != nil && c.SupersededBy == ""
		if n := terminal[c.Commit.SHA]; n != 1 && !(held && n == 0) {
			h.rt.Errorf("commit %s %q has %d terminal statuses: held %v, superseded by %q", c.Commit.SHA[:7], c.Commit.Subject, n, held, c.SupersededBy)
		}
	}
}
