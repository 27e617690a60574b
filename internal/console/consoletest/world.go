// Package consoletest is what a console works with, in memory, for tests of the
// API and of the command line.
package consoletest

import (
	"context"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	gosync "sync"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// World is a ledger, a platform, a loop, a secret store and reviews. Change it through
// Update; its methods see it whole.
type World struct {
	mu    gosync.Mutex
	state State
	subs  map[chan struct{}]struct{}
	woken chan struct{}
}

// State is what a World holds.
type State struct {
	Records    []console.Record // by name
	Refusals   map[string]console.Refusal
	Runs       []pipeline.Run // newest first
	Events     []pipeline.Event
	Receipts   []pipeline.Receipt
	Tombstones []pipeline.Tombstone
	Commits    []sync.Progress // newest first
	Head       string
	Reports    []review.Report // newest first
	Health     sync.Health
	Instances  []platform.Instance
	Conditions map[string]platform.Condition // by tenant
	Approvals  map[string]string             // commit → who
	Retried    []string
	Snapshots  map[string][]platform.Snapshot // by tenant, newest first
	Secrets    map[string]string              // tenant/name → value
	Fails      error                          // of every call to the ledger and the platform, if set

	// Logs are written in turn; a nil one makes the stream fail there.
	Logs [][]byte
	// LogFollowed is closed once a stream that follows has written all.
	LogFollowed chan struct{}
}

var (
	_ console.Ledger   = (*World)(nil)
	_ console.Platform = (*World)(nil)
	_ console.Loop     = (*World)(nil)
	_ console.Secrets  = (*World)(nil)
	_ console.Reviews  = (*World)(nil)
)

// New returns a World in the given state.
func New(s State) *World {
	if s.Approvals == nil {
		s.Approvals = map[string]string{}
	}
	if s.Secrets == nil {
		s.Secrets = map[string]string{}
	}
	return &World{state: s, subs: map[chan struct{}]struct{}{}, woken: make(chan struct{}, 1)}
}

// Update changes the state and announces the change.
func (w *World) Update(change func(*State)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.state)
	for sub := range w.subs {
		select {
		case sub <- struct{}{}:
		default:
		}
	}
}

// Woken delivers once the loop was woken.
func (w *World) Woken() <-chan struct{} { return w.woken }

// read returns what get finds in the state, or the error that is set.
func read[T any](w *World, get func(State) T) (T, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return get(w.state), w.state.Fails
}

// Tenants implements console.Ledger.
func (w *World) Tenants(context.Context) ([]console.Record, error) {
	return read(w, func(s State) []console.Record { return slices.Clone(s.Records) })
}

// Tenant implements console.Ledger.
func (w *World) Tenant(_ context.Context, name string) (console.Record, error) {
	all, err := w.Tenants(context.Background())
	for _, r := range all {
		if r.Name == name {
			return r, err
		}
	}
	if err == nil {
		err = fault.Errorf(fault.NotFound, "there is no tenant %s", name)
	}
	return console.Record{}, err
}

// Refusals implements console.Ledger.
func (w *World) Refusals(_ context.Context, names []string) (map[string]console.Refusal, error) {
	return read(w, func(s State) map[string]console.Refusal {
		all := map[string]console.Refusal{}
		for name, r := range s.Refusals {
			if names == nil || slices.Contains(names, name) {
				all[name] = r
			}
		}
		return all
	})
}

// Runs implements console.Ledger.
func (w *World) Runs(_ context.Context, tenant string, limit int) ([]pipeline.Run, error) {
	return read(w, func(s State) []pipeline.Run {
		runs := slices.DeleteFunc(slices.Clone(s.Runs), func(r pipeline.Run) bool { return r.Tenant != tenant })
		return runs[:min(limit, len(runs))]
	})
}

// Events implements console.Ledger.
func (w *World) Events(_ context.Context, run string, after int64) ([]pipeline.Event, error) {
	return read(w, func(s State) []pipeline.Event {
		return slices.DeleteFunc(slices.Clone(s.Events), func(e pipeline.Event) bool { return e.Run != run || e.Seq <= after })
	})
}

// Receipts implements console.Ledger.
func (w *World) Receipts(_ context.Context, tenant string) ([]pipeline.Receipt, error) {
	return read(w, func(s State) []pipeline.Receipt {
		return slices.DeleteFunc(slices.Clone(s.Receipts), func(r pipeline.Receipt) bool { return tenant != "" && r.Tenant != tenant })
	})
}

// Tombstones implements console.Ledger.
func (w *World) Tombstones(context.Context) ([]pipeline.Tombstone, error) {
	return read(w, func(s State) []pipeline.Tombstone { return slices.Clone(s.Tombstones) })
}

// Commit implements console.Ledger.
func (w *World) Commit(_ context.Context, prefix string) (sync.Progress, error) {
	found, err := read(w, func(s State) []sync.Progress {
		return slices.DeleteFunc(slices.Clone(s.Commits), func(p sync.Progress) bool { return !strings.HasPrefix(p.Commit.SHA, prefix) })
	})
	switch {
	case err != nil:
		return sync.Progress{}, err
	case len(found) == 0:
		return sync.Progress{}, fault.Errorf(fault.NotFound, "commit %s is not in the ledger", prefix)
	case len(found) > 1:
		return sync.Progress{}, fault.Errorf(fault.Conflict, "%s is ambiguous", prefix)
	}
	found[0].Items = slices.Clone(found[0].Items)
	return found[0], nil
}

// Commits implements console.Ledger.
func (w *World) Commits(_ context.Context, limit int) ([]console.Listed, error) {
	return read(w, func(s State) []console.Listed {
		var list []console.Listed
		for _, p := range s.Commits[:min(limit, len(s.Commits))] {
			l := console.Listed{
				Commit: p.Commit, Hold: p.Hold, SupersededBy: p.SupersededBy, Status: p.Status,
				Items: map[pipeline.Status]int{},
			}
			for _, i := range p.Items {
				l.Items[i.Status]++
			}
			list = append(list, l)
		}
		return list
	})
}

// Approve implements console.Ledger.
func (w *World) Approve(_ context.Context, commit, who string) error {
	w.Update(func(s *State) { s.Approvals[commit] = who })
	_, err := read(w, func(State) none { return none{} })
	return err
}

type none struct{}

// Applied implements console.Ledger.
func (w *World) Applied(_ context.Context, names []string) (map[string]plan.Applied, error) {
	return read(w, func(s State) map[string]plan.Applied {
		all := map[string]plan.Applied{}
		for _, r := range s.Records {
			if names == nil || slices.Contains(names, r.Name) {
				all[r.Name] = r.Applied
			}
		}
		return all
	})
}

// Head implements console.Ledger.
func (w *World) Head(context.Context) (string, error) {
	return read(w, func(s State) string { return s.Head })
}

// Changes implements console.Ledger.
func (w *World) Changes(ctx context.Context) <-chan struct{} {
	out := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.subs[out] = struct{}{}
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.subs, out)
		close(out)
	})
	return out
}

// Subscribers returns how many listen for changes.
func (w *World) Subscribers() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.subs)
}

// Instances implements console.Platform.
func (w *World) Instances(_ context.Context, tenant string) ([]platform.Instance, error) {
	return read(w, func(s State) []platform.Instance {
		return slices.DeleteFunc(slices.Clone(s.Instances), func(i platform.Instance) bool { return !strings.HasPrefix(i.Name, tenant+"-") })
	})
}

// Condition implements console.Platform.
func (w *World) Condition(_ context.Context, tenant string) (platform.Condition, error) {
	return read(w, func(s State) platform.Condition { return s.Conditions[tenant] })
}

// Logs implements console.Platform.
func (w *World) Logs(ctx context.Context, _ string, out io.Writer, follow bool) error {
	s, err := read(w, func(s State) State { return s })
	if err != nil {
		return err
	}
	for _, part := range s.Logs {
		if part == nil {
			return fault.Errorf(fault.Transient, "the log was rotated away")
		}
		if _, err := out.Write(part); err != nil {
			return err
		}
	}
	if follow {
		if s.LogFollowed != nil {
			close(s.LogFollowed)
		}
		<-ctx.Done()
	}
	return nil
}

// Retry implements console.Loop.
func (w *World) Retry(ctx context.Context, name string) error {
	r, err := w.Tenant(ctx, name)
	switch {
	case err != nil:
		return err
	case !r.Failing:
		return fault.Errorf(fault.Conflict, "%s did not fail: there is nothing to try again", name)
	}
	w.Update(func(s *State) { s.Retried = append(s.Retried, name) })
	return nil
}

// Wake implements console.Loop.
func (w *World) Wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// Health implements console.Loop.
func (w *World) Health() sync.Health {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state.Health
}

// Report implements console.Reviews.
func (w *World) Report(_ context.Context, number int) (review.Report, error) {
	all, err := w.Pulls(context.Background(), math.MaxInt)
	for _, r := range all {
		if r.Pull.Number == number {
			return r, err
		}
	}
	if err == nil {
		err = fault.Errorf(fault.NotFound, "there is no report of %d", number)
	}
	return review.Report{}, err
}

// Pulls implements console.Reviews.
func (w *World) Pulls(_ context.Context, limit int) ([]review.Report, error) {
	return read(w, func(s State) []review.Report { return slices.Clone(s.Reports[:min(limit, len(s.Reports))]) })
}

// SetSecret implements console.Secrets.
func (w *World) SetSecret(_ context.Context, tenant, name, value string) error {
	w.Update(func(s *State) { s.Secrets[tenant+"/"+name] = value })
	return nil
}

// State returns a copy of the state, its maps included.
func (w *World) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.state
	s.Secrets, s.Approvals = maps.Clone(s.Secrets), maps.Clone(s.Approvals)
	return s
}
