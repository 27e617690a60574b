package consoletest

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/platform"
)

// Snapshots implements console.Platform.
func (w *World) Snapshots(_ context.Context, tenant string) ([]platform.Snapshot, error) {
	return read(w, func(s State) []platform.Snapshot { return slices.Clone(s.Snapshots[tenant]) })
}

// RemoveSnapshots implements console.Platform.
func (w *World) RemoveSnapshots(_ context.Context, tenant string) error {
	w.Update(func(s *State) {
		s.Snapshots = maps.Clone(s.Snapshots)
		delete(s.Snapshots, tenant)
	})
	return nil
}

// Restore implements console.Loop: it queues the run and wakes whoever carries
// it out.
func (w *World) Restore(ctx context.Context, name, snapshot string) (string, error) {
	r, err := w.Tenant(ctx, name)
	switch {
	case err != nil:
		return "", err
	case r.Deleted:
		return "", fault.Errorf(fault.Conflict, "%s is deleted", name)
	}
	id := name + "-restore-1"
	w.Update(func(s *State) {
		s.Runs = append([]pipeline.Run{{
			ID: id, Tenant: name, Commit: r.Commit, Operation: plan.Restore, Argument: snapshot, Status: pipeline.Queued, Queued: time.Now(),
		}}, s.Runs...)
	})
	w.Wake()
	return id, nil
}

// EndGrace implements console.Ledger.
func (w *World) EndGrace(ctx context.Context, name string) error {
	r, err := w.Tenant(ctx, name)
	switch {
	case err != nil:
		return err
	case !r.Deleted:
		return fault.Errorf(fault.Conflict, "%s is live: nothing of it is taken away", name)
	}
	w.Update(func(s *State) {
		s.Records = slices.Clone(s.Records)
		for i := range s.Records {
			if s.Records[i].Name == name {
				s.Records[i].PurgeAfter = time.Now()
			}
		}
	})
	return nil
}
