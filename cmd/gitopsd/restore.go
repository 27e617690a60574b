package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/platform"
)

// restoreCmd brings back what a tenant had.
type restoreCmd struct {
	apiFlags
	Tenant   string        `arg:"" help:"Name of the tenant."`
	Snapshot string        `help:"Of a live tenant: which snapshot, see gitopsd snapshots; the newest if not given." placeholder:"NAME"`
	Yes      bool          `help:"Do not ask." short:"y"`
	Write    bool          `help:"Of a deleted tenant: write its file back into the working tree, to be committed."`
	Timeout  time.Duration `help:"How long to wait for the end." default:"2h"`
}

// Run does what brings the tenant back, or says what does: only a commit brings
// back a tenant that has no file.
func (r *restoreCmd) Run(ctx context.Context, t *terminal) error {
	c, err := r.connect()
	if err != nil {
		return err
	}
	d, known, err := c.tenant(ctx, r.Tenant)
	if err != nil {
		return err
	}
	var saved []platform.Snapshot
	if err := c.get(ctx, apiPath("tenants", r.Tenant, "snapshots"), &saved); err != nil {
		return err
	}
	switch {
	case !known && len(saved) == 0:
		return fault.Errorf(fault.NotFound, "there is no tenant %s, and no snapshot of it", r.Tenant).WithHint("see all with: gitopsd get tenants")
	case !known || d.Applied == nil:
		return r.gone(t, saved)
	case d.Applied.Deleted:
		return r.deleted(ctx, t, d)
	case r.Write:
		return fault.Errorf(fault.Conflict, "%s is live: its file is in the repository", r.Tenant)
	}
	return r.live(ctx, t, c, saved)
}

// gone is of a tenant that nothing but snapshots is left of.
func (r *restoreCmd) gone(t *terminal, saved []platform.Snapshot) error {
	fmt.Fprintf(t.err, "%s is gone; its file must be back before it can have the data of a snapshot:\n", clean(r.Tenant))
	fmt.Fprintf(t.err, "  1. commit %s again, and wait until it serves\n", tenantFile(r.Tenant))
	fmt.Fprintf(t.err, "  2. gitopsd restore %s\n", clean(r.Tenant))
	if len(saved) == 0 {
		return fault.Errorf(fault.NotFound, "there is no snapshot of %s: its data cannot come back", r.Tenant)
	}
	if err := t.snapshots(saved, time.Now()); err != nil {
		return err
	}
	return exitError(exitFailed)
}

// deleted is of a tenant whose data lie where they were: Git decides.
func (r *restoreCmd) deleted(ctx context.Context, t *terminal, d console.Detail) error {
	if r.Snapshot != "" {
		return fault.Errorf(fault.Conflict, "%s is deleted: a snapshot can be restored once its file is back", r.Tenant).
			WithHint("its data are as they were when it was stopped, and come back with its file")
	}
	if r.Write {
		return r.writeFile(ctx, t, d)
	}
	stone := d.Tombstone
	if stone == nil {
		fmt.Fprintf(t.err, "%s is being stopped, its data are kept; bring it back with its file:\n", clean(r.Tenant))
	} else {
		fmt.Fprintf(t.err, "%s was deleted by %s; its data are kept until %s and come back with its file:\n",
			clean(r.Tenant), short(stone.Commit), stamp(stone.PurgeAfter))
		fmt.Fprintf(t.out, "git revert %s%s\n", mainline(ctx, stone.Commit), short(stone.Commit))
	}
	fmt.Fprintf(t.err, "or, for this tenant alone: gitopsd restore %s --write, and commit %s\n", clean(r.Tenant), tenantFile(r.Tenant))
	return exitError(exitFailed)
}

func tenantFile(name string) string { return path.Join(tenantsDir, clean(name)+".yaml") }

// mainline is the option that git revert needs of a merge.
func mainline(ctx context.Context, commit string) string {
	parents, err := gitOutput(ctx, ".", nil, "rev-list", "--no-walk", "--parents", commit)
	if err == nil && len(strings.Fields(parents)) > 2 {
		return "-m 1 "
	}
	return ""
}

// writeFile writes the tenant's file as it was accepted last.
func (r *restoreCmd) writeFile(ctx context.Context, t *terminal, d console.Detail) error {
	root, err := gitOutput(ctx, ".", nil, "rev-parse", "--show-toplevel")
	if err != nil {
		return fault.Errorf(fault.NotFound, "there is no working tree here: %w", err).WithHint("run this in a clone of the repository")
	}
	commit := d.Applied.Commit
	for _, extension := range []string{".yaml", ".yml"} {
		name := path.Join(tenantsDir, r.Tenant+extension)
		text, err := gitOutput(ctx, root, nil, "show", commit+":"+name)
		if err != nil {
			continue
		}
		file, err := os.OpenFile(filepath.Join(root, filepath.FromSlash(name)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			return fault.Errorf(fault.Conflict, "%s is there already", name).WithHint("commit it: gitopsd plan says what it would do")
		}
		if errors.Is(err, fs.ErrNotExist) {
			if err = os.MkdirAll(filepath.Join(root, tenantsDir), 0o755); err == nil {
				return r.writeFile(ctx, t, d)
			}
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		_, err = file.WriteString(text + "\n")
		if err := errors.Join(err, file.Close()); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		fmt.Fprintf(t.out, "wrote %s as it is in %s\n", name, short(commit))
		if a := d.Applied.Tenant; a != nil && a.App.Path != "" && !isDir(filepath.Join(root, filepath.FromSlash(a.App.Path))) {
			fmt.Fprintf(t.err, "note: its app is not here: git checkout %s -- %s\n", short(commit), clean(a.App.Path))
		}
		fmt.Fprintf(t.err, "commit it to bring %s back with its data\n", clean(r.Tenant))
		return nil
	}
	return fault.Errorf(fault.NotFound, "this repository does not have %s at commit %s", tenantFile(r.Tenant), short(commit)).
		WithHint("run this in a clone of the repository that the daemon follows, after: git fetch")
}

// live is of a tenant that serves: a run puts the data back.
func (r *restoreCmd) live(ctx context.Context, t *terminal, c *client, saved []platform.Snapshot) error {
	chosen, err := r.choose(saved)
	if err != nil {
		return err
	}
	question := fmt.Sprintf("put the data of snapshot %s (%s old, %s) in the place of what %s has now, which is saved first?",
		chosen.Name, age(chosen.At, time.Now()), size(chosen.Bytes), clean(r.Tenant))
	if err := t.confirm(question, r.Yes); err != nil {
		return err
	}
	var order console.Restore
	if err := c.send(ctx, http.MethodPost, apiPath("tenants", r.Tenant, "restore"), console.Restore{Snapshot: chosen.Name}, &order); err != nil {
		return err
	}
	f := &runFollower{client: c, t: t, tenant: r.Tenant, timeout: r.Timeout}
	run, err := f.follow(ctx, func(d console.Detail) *console.Run { return runOf(d, order.Run) })
	if err != nil {
		return err
	}
	switch run.Status {
	case pipeline.Succeeded:
		fmt.Fprintf(t.out, "restored: %s has the data of snapshot %s\n", clean(r.Tenant), chosen.Name)
		return nil
	case pipeline.Superseded:
		fmt.Fprintf(t.err, "a newer commit changes %s: the restore gave way to it, and nothing was restored\n", clean(r.Tenant))
		return exitError(exitFailed)
	}
	t.explain(run.Failure)
	if came(run, "ReturnRecord") {
		fmt.Fprintf(t.err, "%s was brought back with the data it had\n", clean(r.Tenant))
	}
	return exitError(exitFailed)
}

// came reports whether a run's state was completed.
func came(run *console.Run, state string) bool {
	for _, e := range run.Events {
		if e.State == state && e.Kind == pipeline.Completed {
			return true
		}
	}
	return false
}

func (r *restoreCmd) choose(saved []platform.Snapshot) (platform.Snapshot, error) {
	if len(saved) == 0 {
		return platform.Snapshot{}, fault.Errorf(fault.NotFound, "%s has no snapshots: one is taken whenever it is deleted, or restored", r.Tenant)
	}
	if r.Snapshot == "" {
		return saved[0], nil
	}
	for _, s := range saved {
		if s.Name == r.Snapshot {
			return s, nil
		}
	}
	return platform.Snapshot{}, fault.Errorf(fault.NotFound, "%s has no snapshot %q", r.Tenant, r.Snapshot).
		WithHint("see which there are with: gitopsd snapshots %s", r.Tenant)
}
