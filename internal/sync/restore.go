package sync

import (
	"context"
	"fmt"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
)

// Restore queues a run that puts a snapshot's data in the place of a live
// tenant's, and returns the run's name. The run is dropped if a commit changes
// the tenant before it starts.
func (l *Loop) Restore(ctx context.Context, name, snapshot string) (string, error) {
	if err := ofPull(name); err != nil {
		return "", err
	}
	applied, err := l.Ledger.Applied(ctx, []string{name})
	if err != nil {
		return "", err
	}
	a, ok := applied[name]
	switch {
	case !ok:
		return "", fault.Errorf(fault.NotFound, "there is no tenant %s", name).
			WithHint("a tenant that is gone needs its file back first: then it can have the data of a snapshot")
	case a.Deleted:
		return "", fault.Errorf(fault.Conflict, "%s is deleted", name).
			WithHint("bring its file back: its data come back by themselves")
	case a.InProgress:
		return "", fault.Errorf(fault.Conflict, "a run of %s is queued or under way", name).
			WithHint("wait for its end: gitopsd describe %s", name)
	case a.Tenant == nil || a.DoneInfra == "" && a.DoneApp == "":
		return "", fault.Errorf(fault.Conflict, "%s was never made real: there is nothing to restore into", name).
			WithHint("see why with: gitopsd describe %s", name)
	case a.Tenant.Suspend:
		return "", fault.Errorf(fault.Conflict, "%s is suspended: nothing is done to it", name).
			WithHint("commit spec.suspend: false first")
	}
	run := pipeline.Run{
		ID: runID(name, a.Commit), Tenant: name, Commit: a.Commit, Operation: plan.Restore, Argument: snapshot,
		Spec: a.Tenant, Infra: a.Infra, App: a.App, Status: pipeline.Queued,
	}
	if err := l.Ledger.Enqueue(ctx, run); err != nil {
		return "", fmt.Errorf("queue the restore of %s: %w", name, err)
	}
	l.Wake()
	return run.ID, nil
}
