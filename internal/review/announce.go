package review

import (
	"context"
	"fmt"
	"time"

	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
)

const (
	announcedAtOnce = 200
	pruneEvery      = time.Hour
	kept            = 30 * 24 * time.Hour // of what was delivered
)

// announce tells the forge of runs that started or ended, as deployments.
func (l *Loop) announce(ctx context.Context) error {
	if time.Since(l.pruned) > pruneEvery {
		l.pruned = time.Now()
		if err := l.Ledger.Prune(ctx, time.Now().Add(-kept)); err != nil {
			return err
		}
	}
	for {
		runs, err := l.Ledger.Unannounced(ctx, announcedAtOnce)
		if err != nil {
			return err
		}
		for _, run := range runs {
			n, err := notice(NoticeDeployment, l.deployment(run), run.ID)
			if err != nil {
				return err
			}
			if err := l.Ledger.Announced(ctx, run.ID, run.Status, []Notice{n}); err != nil {
				return err
			}
		}
		if len(runs) > 0 {
			signal(l.deliver)
		}
		if len(runs) < announcedAtOnce {
			return nil
		}
	}
}

func (l *Loop) deployment(a Announcement) Deployment {
	d := Deployment{
		ID: a.ID, SHA: a.Commit, Environment: a.Tenant, URL: l.Links.Tenant(a.Tenant), LogURL: l.Links.Run(a.Tenant),
		Transient: a.Preview, Description: string(a.Operation),
	}
	switch a.Status {
	case pipeline.Failed:
		d.State = DeploymentFailure
		if a.Failure != nil {
			d.Description = sync.Shorten(fmt.Sprintf("%s: %s", a.Operation, firstLine(a.Failure.Message)))
		}
	case pipeline.Succeeded:
		d.State = DeploymentSuccess
		if a.Operation == plan.Deprovision {
			d.State, d.URL = DeploymentInactive, ""
		}
	default:
		d.State = DeploymentInProgress
	}
	return d
}
