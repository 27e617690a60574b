package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/gitopsd/gitopsd/internal/platform"
)

// tombstonesCmd lists deleted tenants whose data is kept, as get tombstones does.
type tombstonesCmd struct{ getTombstonesCmd }

// snapshotsCmd lists what was saved of a tenant.
type snapshotsCmd struct {
	apiFlags
	outputFlag
	Tenant string `arg:"" help:"Name of the tenant; it may be gone."`
}

// Run prints the table of snapshots.
func (s *snapshotsCmd) Run(ctx context.Context, t *terminal) error {
	found, written, err := list[platform.Snapshot](ctx, t, s.apiFlags, s.outputFlag, apiPath("tenants", s.Tenant, "snapshots"))
	if err != nil || written {
		return err
	}
	if len(found) == 0 {
		fmt.Fprintf(t.err, "no snapshots of %s\n", clean(s.Tenant))
		return nil
	}
	return t.snapshots(found, time.Now())
}

func (t *terminal) snapshots(found []platform.Snapshot, now time.Time) error {
	b := t.table("", "SNAPSHOT", "AGE", "SIZE", "DATABASE", "KEYS", "RELEASE")
	for _, s := range found {
		database := "no"
		if s.Database {
			database = "yes"
		}
		b.row(s.Name, age(s.At, now), size(s.Bytes), database, strconv.Itoa(s.Keys), short(s.Release))
	}
	return b.print(nil)
}

// size writes a number of bytes as people compare it.
func size(bytes int64) string {
	for _, unit := range []struct {
		name string
		of   int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if bytes >= unit.of {
			return fmt.Sprintf("%.1f %s", float64(bytes)/float64(unit.of), unit.name)
		}
	}
	return fmt.Sprintf("%d B", bytes)
}
