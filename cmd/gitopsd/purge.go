package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
)

// purgeCmd ends a deleted tenant's grace period.
type purgeCmd struct {
	apiFlags
	Tenant    string        `arg:"" help:"Name of a deleted tenant."`
	Snapshots bool          `help:"Remove its snapshots, too: nothing can bring its data back then."`
	Yes       bool          `help:"Do not ask." short:"y"`
	Timeout   time.Duration `help:"How long to wait for the receipt." default:"30m"`
}

// Run has the data of a deleted tenant taken away now, and waits for the receipt.
func (p *purgeCmd) Run(ctx context.Context, t *terminal) error {
	c, err := p.connect()
	if err != nil {
		return err
	}
	d, known, err := c.tenant(ctx, p.Tenant)
	switch {
	case err != nil:
		return err
	case !known && !p.Snapshots:
		return fault.Errorf(fault.NotFound, "there is no tenant %s", p.Tenant).WithHint("see what is kept with: gitopsd tombstones")
	case d.Applied != nil && !d.Applied.Deleted:
		return fault.Errorf(fault.Conflict, "%s is live: nothing of it is taken away", p.Tenant).
			WithHint("delete its file first, and have that merged")
	case d.Applied == nil && !p.Snapshots:
		fmt.Fprintf(t.out, "%s is gone already; see the receipt with: gitopsd describe %s\n", clean(p.Tenant), clean(p.Tenant))
		return nil
	}
	if err := t.confirm(p.question(d), p.Yes); err != nil {
		return err
	}
	if d.Applied != nil {
		if err := p.purge(ctx, t, c, d); err != nil {
			return err
		}
	}
	if !p.Snapshots {
		return nil
	}
	var purged console.Purged
	if err := c.send(ctx, http.MethodDelete, apiPath("tenants", p.Tenant, "snapshots"), nil, &purged); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "removed the snapshots of %s\n", clean(purged.Tenant))
	return nil
}

func (p *purgeCmd) question(d console.Detail) string {
	name := clean(p.Tenant)
	switch {
	case d.Applied == nil:
		return fmt.Sprintf("remove all snapshots of %s? Nothing can bring its data back then.", name)
	case p.Snapshots:
		return fmt.Sprintf("take away the data of %s now, and its snapshots? Nothing can bring them back then.", name)
	}
	return fmt.Sprintf("take away the data of %s now? Only its snapshots are kept.", name)
}

// purge ends the grace period and waits for the receipt.
func (p *purgeCmd) purge(ctx context.Context, t *terminal, c *client, before console.Detail) error {
	var purged console.Purged
	if err := c.send(ctx, http.MethodPost, apiPath("tenants", p.Tenant, "purge"), nil, &purged); err != nil {
		return err
	}
	if before.Applied.Failing {
		fmt.Fprintf(t.err, "the last try failed; if the next one is long in coming: gitopsd retry %s\n", clean(p.Tenant))
	}
	var receipt pipeline.Receipt
	back := false
	f := &runFollower{client: c, t: t, tenant: p.Tenant, timeout: p.Timeout}
	run, err := f.follow(ctx, func(d console.Detail) *console.Run {
		if len(d.Receipts) > len(before.Receipts) {
			receipt = d.Receipts[0]
		}
		back = d.Applied != nil && !d.Applied.Deleted && receipt.Run == ""
		return p.progress(d, before, receipt, back)
	})
	switch {
	case err != nil:
		return err
	case back:
		return fault.Errorf(fault.Conflict, "the file of %s is back: nothing was taken away", p.Tenant)
	case receipt.Run == "":
		t.explain(run.Failure)
		return exitError(exitFailed)
	}
	fmt.Fprintf(t.out, "purged: %s, %d things verified absent\n", clean(p.Tenant), len(receipt.Resources))
	if receipt.Snapshot != "" && !p.Snapshots {
		fmt.Fprintf(t.out, "its last snapshot: %s\n", clean(receipt.Snapshot))
	}
	return nil
}

// progress returns the purge as far as it is: over once there is a receipt, or
// the tenant is back.
func (p *purgeCmd) progress(d, before console.Detail, receipt pipeline.Receipt, back bool) *console.Run {
	run := console.Run{Run: pipeline.Run{Operation: plan.Purge, Status: pipeline.Queued}}
	if len(d.Runs) > 0 && d.Runs[0].Operation == plan.Purge {
		if was := runOf(before, d.Runs[0].ID); was == nil || !was.Status.Terminal() {
			run = d.Runs[0]
		}
	}
	switch {
	case receipt.Run != "":
		run.Status = pipeline.Succeeded
	case back:
		run.Status = pipeline.Superseded
	case run.Status == pipeline.Succeeded: // the receipt comes with the next answer
		run.Status = pipeline.Running
	}
	return &run
}
