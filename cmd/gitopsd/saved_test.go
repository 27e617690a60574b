package main

import (
	"slices"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/console/consoletest"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// saved has tenants of which something was saved: live ones, one within its grace
// period and one that is gone. The restore of the snapshot of February fails.
func saved(now time.Time) consoletest.State {
	snapshot := func(day int, age time.Duration, bytes int64) platform.Snapshot {
		at := time.Date(2026, 1, day, 3, 4, 5, 0, time.UTC)
		return platform.Snapshot{
			Name: at.Format("20060102T150405.000000Z"), At: now.Add(-age), Bytes: bytes, Keys: day, Database: day > 1, Release: acmeBuild,
		}
	}
	applied := func(name string) plan.Applied {
		return plan.Applied{Tenant: &tenant.Tenant{Name: name, App: tenant.App{Path: "apps/" + name}}, Commit: goodSHA, DoneInfra: "i", DoneApp: "a", Infra: "i", App: "a"}
	}
	late := applied("late")
	late.Deleted, late.PurgeAfter = true, now.Add(48*time.Hour)
	snapshots := []platform.Snapshot{snapshot(33, time.Hour, 5<<20), snapshot(2, 3*time.Hour, 2000), snapshot(1, 72*time.Hour, 100)}
	return consoletest.State{
		Head: goodSHA,
		Records: []console.Record{
			{Name: "acme", Phase: "Ready", Accepted: now, Applied: applied("acme")},
			{Name: "bare", Phase: "Ready", Accepted: now, Applied: applied("bare")},
			{Name: "late", Phase: "Stopped", Accepted: now, Applied: late},
		},
		Snapshots: map[string][]platform.Snapshot{"acme": snapshots, "late": snapshots[1:], "gone": snapshots[1:]},
		Tombstones: []pipeline.Tombstone{{
			Tenant: "late", Commit: badSHA, At: now.Add(-3 * time.Hour), PurgeAfter: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Snapshot: "/data/late",
		}},
		Receipts: []pipeline.Receipt{{Tenant: "gone", Commit: goodSHA, Run: "gone-1", At: now.Add(-3 * time.Hour)}},
	}
}

// carryOutRestores does what the loop and the engine do: ends restores that were
// asked for, and purges whose grace period is over.
func carryOutRestores(s *consoletest.State) {
	s.Runs = slices.Clone(s.Runs)
	for i := range s.Runs {
		run := &s.Runs[i]
		if run.Operation != plan.Restore || run.Status.Terminal() {
			continue
		}
		run.Status = pipeline.Succeeded
		if strings.HasPrefix(run.Argument, "202602") {
			run.Status, run.State = pipeline.Failed, "RestoreData"
			run.Failure = &fault.Record{Kind: fault.Stalled, Message: "restore acme: it does not fit", Detail: "pg_restore: error: no"}
			s.Events = append(s.Events, pipeline.Event{Run: run.ID, Seq: 1, State: "ReturnRecord", Kind: pipeline.Completed})
		}
	}
	s.Records = slices.DeleteFunc(slices.Clone(s.Records), func(r console.Record) bool {
		due := r.Deleted && !r.PurgeAfter.IsZero() && !r.PurgeAfter.After(time.Now())
		if due {
			s.Tombstones = nil
			s.Receipts = append([]pipeline.Receipt{{
				Tenant: r.Name, Commit: badSHA, Run: r.Name + "-purge-1", At: time.Now(), Snapshot: "/data/" + r.Name + "/last",
				Resources: []platform.Resource{{Kind: "database", Name: "t_" + r.Name}, {Kind: "volume", Name: r.Name}},
			}}, s.Receipts...)
		}
		return due
	})
}
