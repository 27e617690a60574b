package sync_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/sync"
)

func TestCommitIsCarriedOutAndSettled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("a", "hello")
	w.put("b", "hello")
	first := w.commit("Add a and b")
	w.turn()
	w.wantStarted("provision a", "provision b")
	w.wantStatus(first, sync.StatePending, "2 provision")
	w.finish()
	w.wantStatus(first, sync.StateSuccess, "2 provision: done")

	w.put("a", "bye")
	edit := w.commit("Edit the app of a")
	w.turn()
	w.wantStarted("deploy a")
	w.finish("a")
	w.wantStatus(edit, sync.StateFailure, "a: main.go:1:1")

	other := w.commit("Touch nothing")
	w.done()
	w.wantStatus(other, sync.StateSuccess, "No tenant is touched")

	w.must(w.loop.Retry(w.ctx, "a"))
	w.must(w.loop.Turn(w.ctx, false))
	w.wantStarted("deploy a")
	w.finish()
	w.wantStatus(edit, sync.StateFailure, "a: main.go:1:1") // what was said of the commit stays
	if err := w.loop.Retry(w.ctx, "a"); !fault.Is(err, fault.Conflict) {
		t.Errorf("retrying what did not fail: %v", err)
	}

	w.put("a", "bye", "compute: {cpu: 512}")
	w.drop("b")
	both := w.commit("Resize a, delete b")
	w.turn()
	w.wantStarted("update a", "deprovision b")
	w.finish()
	w.wantStatus(both, sync.StateSuccess, "1 update, 1 deprovision: done")
}

func TestBadFileHidesNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("good", "hello")
	w.must(os.WriteFile(filepath.Join(w.repo, "tenants/bad.yaml"), []byte("kind: [\n"), 0o644))
	c := w.commit("One good, one bad")
	w.turn()
	w.wantStarted("provision good")
	w.finish()
	w.wantStatus(c, sync.StateFailure, "1 of 2 failed: bad: tenants/bad.yaml:")

	w.drop("bad")
	mended := w.commit("Delete the bad one")
	w.done()
	w.wantStatus(mended, sync.StateSuccess, "No tenant is touched")
}

func TestDeletionsAreGuarded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 6 {
		w.put(fmt.Sprintf("t%d", i), "hello")
	}
	w.put("kept", "hello", "deletion: {protect: true}")
	w.commit("Add seven")
	w.done()

	for i := range 4 {
		w.drop(fmt.Sprintf("t%d", i))
	}
	many := w.commit("Delete four of seven")
	w.turn()
	w.wantStarted()
	w.wantStatus(many, sync.StatePending, "gitopsd approve "+many[:7])
	w.turn()
	w.wantStarted()

	w.git("revert", "--no-edit", many)
	back := w.git("rev-parse", "HEAD")
	w.done()
	w.wantStatus(many, sync.StateSuccess, "Superseded by "+back[:7])

	w.git("revert", "--no-edit", "HEAD")
	again := w.git("rev-parse", "HEAD")
	w.turn()
	w.wantStarted()
	w.must(w.ledger.Approve(w.ctx, again, "ann"))
	w.turn()
	w.wantStarted("deprovision t0", "deprovision t1", "deprovision t2", "deprovision t3")
	w.finish()
	w.wantStatus(again, sync.StateSuccess, "4 deprovision: done")

	w.drop("kept")
	protected := w.commit("Delete a protected tenant")
	w.done()
	w.wantStatus(protected, sync.StateFailure, "kept is protected")

	w.git("rm", "-rq", "tenants")
	empty := w.commit("Delete everything")
	w.turn()
	w.wantStarted()
	w.wantStatus(empty, sync.StatePending, "no tenant file at all")
}

func TestRewrittenHistoryIsHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("a", "hello")
	w.commit("Add a")
	w.put("b", "hello")
	w.commit("Add b")
	w.done()
	w.git("reset", "-q", "--hard", "HEAD~1")
	w.put("a", "rewritten")
	rewritten := w.commit("Another history, without b")
	w.turn()
	w.wantStarted()
	w.wantStatus(rewritten, sync.StatePending, "history was rewritten")
	w.must(w.ledger.Approve(w.ctx, rewritten, "ann"))
	w.turn()
	w.wantStarted("deploy a", "deprovision b")
	w.finish()
	w.wantStatus(rewritten, sync.StateSuccess, "done")
}

func TestUnreachableRepositoryChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("a", "hello")
	w.commit("Add a")
	w.done()
	w.must(os.Rename(w.repo, w.repo+".away"))
	w.turn()
	w.wantStarted()
	if w.loop.Health().Failing == "" {
		t.Error("nothing says that the repository is not there")
	}
	w.must(os.Rename(w.repo+".away", w.repo))
	w.put("a", "again")
	w.commit("Edit")
	w.turn()
	w.wantStarted("deploy a")
	if why := w.loop.Health().Failing; why != "" {
		t.Errorf("still failing: %s", why)
	}
}

func TestNewerCommitsTakeThePlaceOfWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("a", "hello")
	first := w.commit("Add a")
	w.turn()
	w.wantStarted("provision a") // under way: not to be touched
	w.put("a", "two")
	second := w.commit("Second, waits")
	w.turn()
	w.put("a", "three")
	passed := w.commit("Third, passed over by the fourth")
	w.put("a", "four")
	last := w.commit("Fourth")
	w.turn()
	w.wantStarted("provision a")
	w.wantStatus(passed, sync.StateSuccess, "Superseded by "+last[:7])
	w.wantStatus(second, sync.StateSuccess, "Superseded")
	w.finish()
	w.wantStarted("provision a") // planned when nothing of it was made yet
	if run := w.engine.started()[0]; run.Commit != last {
		t.Errorf("the run that follows is of %s, want the newest", run.Commit[:7])
	}
	w.finish()
	w.wantStatus(first, sync.StateSuccess, "1 provision: done")
	w.wantStatus(last, sync.StateSuccess, "1 provision: done")
}

func TestGraceAndPurge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("a", "hello")
	w.put("b", "hello")
	w.commit("Add a and b")
	w.done()
	w.drop("a")
	deleted := w.commit("Delete a")
	w.turn()
	w.wantStarted("deprovision a")
	// Its file is back, but broken: the grace period is over, and yet nothing goes.
	for _, run := range w.engine.take() {
		w.made(run)
		w.must(w.ledger.Finish(w.ctx, run.ID, nil))
	}
	w.must(os.WriteFile(filepath.Join(w.repo, "tenants/a.yaml"), []byte("kind: [\n"), 0o644))
	w.commit("Bring a back, badly")
	w.turn()
	w.wantStarted()
	w.wantStatus(deleted, sync.StateSuccess, "1 deprovision: done")
	w.drop("a")
	w.commit("Delete it again")
	w.turn()
	w.wantStarted("purge a")
	w.finish()
	if known, err := w.ledger.Applied(w.ctx, []string{"a"}); err != nil || len(known) != 0 {
		t.Errorf("after the purge the ledger knows %v, %v", known, err)
	}
}

func TestRestartGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 6 {
		w.put(fmt.Sprintf("t%d", i), "hello")
	}
	c := w.commit("Add six")
	w.turn()
	if n := len(w.engine.started()); n != 4 {
		t.Fatalf("%d runs at a time, want 4", n)
	}
	w.restart()
	if n := len(w.engine.started()); n != 4 {
		t.Fatalf("%d runs go on after a restart, want 4", n)
	}
	w.finish()
	if n := len(w.engine.started()); n != 2 {
		t.Fatalf("%d runs follow, want 2", n)
	}
	w.finish()
	w.wantStatus(c, sync.StateSuccess, "6 provision: done")
}

func TestTenantKeepsItsHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("b", "hello", "domains: [shop.example.com]")
	w.commit("Add b")
	w.done()
	w.put("a", "hello", "domains: [shop.example.com]")
	w.put("b", "changed", "domains: [shop.example.com]")
	c := w.commit("a wants the host of b")
	w.turn()
	w.wantStarted("deploy b")
	w.finish()
	w.wantStatus(c, sync.StateFailure, "shop.example.com")
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 300)
	failed := func(message string) sync.Progress {
		return sync.Progress{Items: []sync.ItemProgress{{
			Item: sync.Item{Tenant: "a", Operation: "deploy"}, Status: pipeline.Failed,
			Cause: &fault.Record{Message: message},
		}}}
	}
	for name, c := range map[string]struct {
		p     sync.Progress
		state sync.CommitState
		text  string
	}{
		"long":       {failed(long), sync.StateFailure, "1 of 1 failed: a: " + strings.Repeat("é", 140-19) + "…"},
		"many lines": {failed("one\ntwo"), sync.StateFailure, "1 of 1 failed: a: one"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state, text := sync.Describe(c.p)
			if state != c.state || text != c.text {
				t.Errorf("got %s %q, want %s %q", state, text, c.state, c.text)
			}
			if n := len([]rune(text)); n > sync.MaxDescription {
				t.Errorf("%d characters", n)
			}
		})
	}
}
