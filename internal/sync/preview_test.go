package sync_test

import (
	"log/slog"
	"testing"

	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// Whoever looks at pull requests may ask before the loop knows where it is.
func TestPreviewWaitsForTheLoop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("a", "hello")
	w.commit("Add a")
	w.done()
	w.put("a", "two")
	edit := w.commit("Edit a")
	_, err := w.mirror.Fetch(w.ctx)
	w.must(err)
	loop := sync.New(sync.Config{
		Planner: sync.Planner{Tree: source{w.mirror}, Apps: designs{}, Dir: "tenants", Domain: "localhost", Brake: plan.DefaultBrake},
		Source:  source{w.mirror}, Ledger: w.ledger, Engine: w.engine, Reporter: w.report, Runs: 4, Log: slog.New(slog.DiscardHandler),
	})
	type answer struct {
		p   plan.Plan
		err error
	}
	asked := make(chan answer)
	go func() {
		_, p, err := loop.Preview(w.ctx, edit)
		asked <- answer{p, err}
	}()
	select {
	case a := <-asked:
		t.Fatalf("answered before anything is known: %+v", a)
	default:
	}
	w.must(loop.Load(w.ctx))
	if a := <-asked; a.err != nil || len(a.p.Steps) != 1 || a.p.Steps[0].Operation != plan.Deploy {
		t.Errorf("%+v", a)
	}
}
