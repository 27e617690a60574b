package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// follow shows each commit and each tenant of it as they move, until ctx ends.
func (v *progressView) follow(ctx context.Context, d *daemon) {
	if tenants, err := d.ledger.Applied(ctx, nil); err == nil {
		v.serving(tenants)
	}
	changes := d.ledger.Changes(ctx)
	states := time.NewTicker(time.Second) // a run's way through its states is no change
	defer states.Stop()
	failing := ""
	for {
		if h := d.loop.Health(); h.Failing != failing {
			if failing = h.Failing; failing != "" {
				v.line("cannot follow the repository: " + failing)
			}
		}
		v.recent(ctx, d)
		select {
		case <-ctx.Done():
			return
		case _, open := <-changes:
			if !open {
				return
			}
		case <-states.C:
		}
	}
}

// recent shows the newest commits, oldest first.
func (v *progressView) recent(ctx context.Context, d *daemon) {
	commits, err := d.ledger.Commits(ctx, 5)
	if err != nil {
		return // the loop says so in the log
	}
	for i := len(commits) - 1; i >= 0; i-- {
		if p, err := d.ledger.Commit(ctx, commits[i].Commit.SHA); err == nil {
			v.commit(p)
		}
	}
}

// serving lists the tenants that were there before.
func (v *progressView) serving(tenants map[string]plan.Applied) {
	for _, name := range slices.Sorted(maps.Keys(tenants)) {
		if a := tenants[name]; a.Release != "" && !a.Deleted {
			v.line(fmt.Sprintf("%-16s %s", name, v.url(name)))
		}
	}
}

// commit shows what is new about a commit since it was last shown.
func (v *progressView) commit(p sync.Progress) {
	settledBefore := p.Status != nil && p.Status.State != sync.StatePending && v.shown[p.Commit.SHA] == ""
	if settledBefore && !p.Status.At.After(v.since) {
		return
	}
	head := p.Commit.SHA[:7] + " " + clean(p.Commit.Subject)
	if p.Hold != nil && p.SupersededBy == "" {
		head += "\n  held: " + p.Hold.Message
	}
	if len(p.Items) == 0 && p.Hold == nil {
		head += "\n  no tenant is touched: a tenant is a file in tenants/"
	}
	v.show(p.Commit.SHA, head)
	for _, item := range p.Items {
		v.show(p.Commit.SHA+item.Tenant, v.item(item))
	}
}

// show prints a line unless it is what was said of the subject last.
func (v *progressView) show(subject, text string) {
	if text == "" || v.shown[subject] == text {
		return
	}
	v.shown[subject] = text
	fmt.Fprintln(v.out, text)
}

func (v *progressView) item(i sync.ItemProgress) string {
	line := fmt.Sprintf("  %-16s ", i.Tenant)
	cause := i.Cause
	if cause == nil {
		cause = i.Failure
	}
	switch {
	case cause != nil:
		return line + "failed: " + whole(cause)
	case i.Operation == "":
		return line + i.Reason
	case i.Status == pipeline.Succeeded && i.Operation == plan.Deprovision:
		return line + "gone"
	case i.Status == pipeline.Succeeded:
		return line + v.url(i.Tenant)
	case i.Status == pipeline.Superseded:
		return line + "superseded by a newer commit"
	}
	return strings.TrimRight(fmt.Sprintf("%s%s %s", line, i.Operation, i.State), " ")
}

// whole returns a failure with all that helps, safe to show.
func whole(r *fault.Record) string {
	text := r.Message
	if r.Detail != "" {
		text += "\n" + strings.TrimSpace(r.Detail)
	}
	if r.Hint != "" {
		text += "\nhint: " + r.Hint
	}
	return strings.ReplaceAll(cleanLines(text), "\n", "\n    ")
}

// url returns where a tenant answers.
func (v *progressView) url(tenant string) string {
	return "http://" + tenant + "." + v.config.Domain + port(v.config.EdgeAddr) + "/"
}

// port returns ":8080" for an address, and nothing for HTTP's own port.
func port(addr string) string {
	if _, p, err := net.SplitHostPort(addr); err == nil && p != "80" {
		return ":" + p
	}
	return ""
}
