package sync_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// Whatever is edited while a run changes infrastructure: what follows it must
// not take the infrastructure for what it was before.
func TestEditsWhileInfrastructureChanges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		grace   string
		edits   []func(w *world) // one a commit, the first of which is carried out while the others come
		failing bool             // does the first fail?
		want    string
	}{
		"brought back while it goes, then edited": {
			"0s", []func(*world){dropA, putA("hello"), putA("two")}, false, "provision a",
		},
		"brought back while it is stopped, then edited": {
			"1h", []func(*world){dropA, putA("hello"), putA("two")}, false, "provision a",
		},
		"brought back though it did not go, then edited": {
			"1h", []func(*world){dropA, putA("hello"), putA("two")}, true, "provision a",
		},
		"suspended when it is brought back": {
			"1h", []func(*world){dropA, putA("hello", "suspend: true"), putA("hello")}, false, "provision a",
		},
		"resized and back, then edited": {
			"1h", []func(*world){putA("hello", "compute: {cpu: 512}"), putA("hello"), putA("two")}, false, "update a",
		},
		"failed to resize and back, then edited": {
			"1h", []func(*world){putA("hello", "compute: {cpu: 512}"), putA("hello"), putA("two")}, true, "update a",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.grace = c.grace
			w.put("keep", "hello")
			putA("hello")(w)
			w.commit("Start")
			w.done()
			for _, edit := range c.edits {
				edit(w)
				w.commit("Edit")
				w.turn()
			}
			var failing []string
			if c.failing {
				failing = []string{"a"}
			}
			w.finish(failing...)
			w.wantStarted(c.want)
		})
	}
}

func dropA(w *world) { w.drop("a") }

func putA(greeting string, more ...string) func(*world) {
	return func(w *world) { w.put("a", greeting, append(more, "deletion: {grace: "+w.grace+"}")...) }
}

// A retry of an update that was to put things back is that update again.
func TestRetryOfAnUpdateThatFailed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("a", "hello")
	w.commit("Start")
	w.done()
	w.put("a", "hello", "compute: {cpu: 512}")
	w.commit("Resize")
	w.turn()
	w.finish("a")
	w.put("a", "hello")
	w.commit("And back")
	w.turn()
	w.wantStarted("update a")
	w.finish("a")
	w.must(w.loop.Retry(w.ctx, "a"))
	w.turn()
	w.wantStarted("update a")
}

func TestHostNameGoesFromOneToAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("b", "hello", "domains: [shop.example.com]")
	w.put("old", "hello", "domains: [old.example.com]")
	w.put("kept", "hello", "domains: [kept.example.com]", "deletion: {protect: true}")
	w.commit("Start")
	w.done()

	w.put("a", "hello", "domains: [shop.example.com]")
	w.put("b", "hello")
	w.commit("a takes over the host of b")
	w.done()
	w.put("c", "hello", "domains: [shop.example.com]")
	late := w.commit("c wants it, too")
	w.done()
	w.wantStatus(late, sync.StateFailure, "shop.example.com")

	w.drop("old")
	w.put("new", "hello", "domains: [old.example.com]")
	renamed := w.commit("Rename old")
	w.done()
	w.wantStatus(renamed, sync.StateSuccess, "1 provision, 1 deprovision: done")

	w.drop("kept")
	w.put("thief", "hello", "domains: [kept.example.com]")
	refused := w.commit("Rename what is protected")
	w.done()
	w.wantStatus(refused, sync.StateFailure, "2 of 2 failed")
}

// A file name that can't even be stored must not hold up the other files.
func TestFileNamesThatAreNoText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("good", "hello")
	for _, name := range []string{"\xff", "\xfe", "a\nb", "x y", "'; --"} {
		w.must(os.WriteFile(filepath.Join(w.repo, "tenants", name+".yaml"), []byte("kind: x\n"), 0o644))
	}
	c := w.commit("Odd names")
	w.turn()
	w.wantStarted("provision good")
	w.finish()
	w.wantStatus(c, sync.StateFailure, "3 of 4 failed")
}

func TestRunsThatDidNotStartAreStartedLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("a", "hello")
	w.put("b", "hello")
	w.commit("Start")
	w.loop.Engine = refusing{w.engine, "a"}
	if err := w.loop.Turn(w.ctx, true); err == nil {
		t.Error("nothing says that a run did not start")
	}
	w.wantStarted("provision b")
	w.loop.Engine = w.engine
	w.must(w.loop.Turn(w.ctx, false))
	w.wantStarted("provision b", "provision a")
	w.must(w.loop.Turn(w.ctx, false))
	w.wantStarted("provision b", "provision a")
}

// refusing is an engine that cannot start the runs of a tenant.
type refusing struct {
	*engine
	tenant string
}

func (e refusing) Start(ctx context.Context, run pipeline.Run) error {
	if run.Tenant == e.tenant {
		return errors.New("the engine is away")
	}
	return e.engine.Start(ctx, run)
}

// What fails for a moment is taken up by the next turn, though nothing new arrives.
func TestCommitIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	lost := errors.New("the connection is lost")
	for name, fail := range map[string]func(*world){
		"when its tree was unreadable":        func(w *world) { w.loop.Planner.Apps = broken{lost} },
		"when the ledger was away":            func(w *world) { w.loop.Ledger = deaf{w.ledger, lost} },
		"when it was accepted without a word": func(w *world) { w.loop.Ledger = mute{w.ledger, lost} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.put("a", "hello")
			c := w.commit("Add a")
			ledger, apps := w.loop.Ledger, w.loop.Planner.Apps
			fail(w)
			_ = w.loop.Turn(w.ctx, true) // may fail
			w.loop.Ledger, w.loop.Planner.Apps = ledger, apps
			w.must(w.loop.Turn(w.ctx, false))
			w.wantStarted("provision a")
			w.wantStatus(c, sync.StatePending, "1 provision")
			w.put("b", "hello")
			w.commit("Add b")
			w.turn()
			w.wantStarted("provision a", "provision b")
		})
	}
}

// broken cannot find out what an app is built from.
type broken struct{ err error }

func (b broken) Sources(context.Context, string, *tenant.Tenant) ([]string, string, error) {
	return nil, "", b.err
}

// deaf is a ledger that cannot be asked what is applied.
type deaf struct {
	*postgres.Ledger
	err error
}

func (d deaf) Applied(context.Context, []string) (map[string]plan.Applied, error) { return nil, d.err }

// mute is a ledger that loses its connection when it says that it accepted.
type mute struct {
	*postgres.Ledger
	err error
}

func (m mute) Accept(ctx context.Context, a sync.Acceptance) error {
	return errors.Join(m.Ledger.Accept(ctx, a), m.err)
}
