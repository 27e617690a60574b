package sync_test

import (
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
)

func TestRestore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refused := func(name string, kind fault.Kind) {
		t.Helper()
		if id, err := w.loop.Restore(w.ctx, name, "snap"); !fault.Is(err, kind) || id != "" {
			t.Errorf("restore of %s: %q, %v, want %s", name, id, err, kind)
		}
	}
	refused("a", fault.NotFound)
	w.put("a", "one", "deletion: {grace: 1h}")
	w.put("s", "one", "suspend: true")
	first := w.commit("two tenants")
	w.turn()
	refused("a", fault.Conflict) // it is being made
	w.finish()
	refused("s", fault.Conflict) // it was never made
	id, err := w.loop.Restore(w.ctx, "a", "snap")
	w.must(err)
	refused("a", fault.Conflict) // one waits
	w.must(w.loop.Turn(w.ctx, false))
	w.wantStarted("restore a")
	run := w.engine.started()[0]
	if run.ID != id || run.Argument != "snap" || run.Commit != first || run.Spec == nil {
		t.Errorf("started %+v", run)
	}

	// A commit waits for the restore that is under way, and is carried out after it.
	w.put("a", "two", "deletion: {grace: 1h}")
	w.commit("change it")
	w.turn()
	w.wantStarted("restore a")
	w.engine.take()
	w.must(w.ledger.RecordInfrastructure(w.ctx, run))
	w.must(w.ledger.Finish(w.ctx, run.ID, nil))
	w.must(w.loop.Turn(w.ctx, false))
	w.wantStarted("update a")
	w.finish()

	// One that fails half-way leads to an update, not to a lost tenant.
	_, err = w.loop.Restore(w.ctx, "a", "snap")
	w.must(err)
	w.must(w.loop.Turn(w.ctx, false))
	w.wantStarted("restore a")
	w.finish("a")
	w.must(w.loop.Retry(w.ctx, "a"))
	w.must(w.loop.Turn(w.ctx, false))
	w.wantStarted("update a")
	w.finish()

	// One that waits gives way to a commit.
	id, err = w.loop.Restore(w.ctx, "a", "snap")
	w.must(err)
	w.put("a", "three", "deletion: {grace: 1h}")
	w.commit("change it again")
	w.turn()
	w.wantStarted("deploy a")
	if run, err := w.ledger.Run(w.ctx, id); err != nil || run.Status != pipeline.Superseded {
		t.Errorf("the restore is %+v, %v", run, err)
	}
	w.finish()
	w.drop("a")
	w.commit("delete it")
	w.turn()
	refused("a", fault.Conflict)
	w.done()
	refused("a", fault.NotFound)
}

func TestPreviewsAreNotRetriedByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, restored := w.loop.Restore(w.ctx, "acme-pr-7", "20260102T030405.000000Z")
	for what, err := range map[string]error{"retry": w.loop.Retry(w.ctx, "acme-pr-7"), "restore": restored} {
		if !fault.Is(err, fault.Conflict) || !strings.Contains(fault.RecordOf(err).Hint, "label") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
