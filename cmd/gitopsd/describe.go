package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// describeCmd shows everything about one tenant.
type describeCmd struct {
	apiFlags
	outputFlag
	Tenant string `arg:"" help:"Name of the tenant."`
}

// Run prints the tenant.
func (d *describeCmd) Run(ctx context.Context, t *terminal) error {
	c, err := d.connect()
	if err != nil {
		return err
	}
	var detail console.Detail
	if err := c.get(ctx, apiPath("tenants", d.Tenant), &detail); err != nil {
		return err
	}
	if d.json() {
		return t.printJSON(detail)
	}
	return t.describe(detail, time.Now())
}

func (t *terminal) describe(d console.Detail, now time.Time) error {
	if err := t.facts(d, now); err != nil {
		return err
	}
	for _, section := range []func(console.Detail, time.Time) error{t.refused, t.condition, t.instances, t.failures, t.runs, t.history, t.kept, t.proofs} {
		if err := section(d, now); err != nil {
			return err
		}
	}
	return nil
}

// facts writes what there is one of.
func (t *terminal) facts(d console.Detail, now time.Time) error {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s:\t%s\n", name, clean(value))
		}
	}
	line("Name", d.Name)
	fmt.Fprintf(w, "Phase:\t%s\n", t.paint(phaseColour(d.Phase), clean(string(d.Phase))))
	line("Message", d.Message)
	for i, url := range d.URLs {
		line([]string{"URL", "Also"}[min(i, 1)], url)
	}
	line("Release", since(short(d.Release), d.Deployed, now))
	line("Commit", since(short(d.Commit), d.Accepted, now))
	if a := d.Applied; a != nil && a.Tenant != nil {
		line("Labels", labels(a.Tenant.Labels))
		line("App", appOf(a.Tenant.App))
		line("Secrets", strings.Join(a.Tenant.App.Secrets, ", "))
		line("Compute", a.Tenant.Compute.String())
		line("Database", enabled(a.Tenant.Database.Enabled, fmt.Sprintf("%s, %d connections", a.Tenant.Isolation.Database, a.Tenant.Database.Connections)))
		line("Cache", enabled(a.Tenant.Cache.Enabled, string(a.Tenant.Isolation.Cache)))
		line("Edge", string(a.Tenant.Isolation.Edge))
		line("Deletion", a.Tenant.Deletion.String())
	}
	return w.Flush()
}

func since(what string, at, now time.Time) string {
	if what == "" || at.IsZero() {
		return what
	}
	return what + " (" + age(at, now) + " ago)"
}

func labels(m map[string]string) string {
	var parts []string
	for _, k := range sortedKeys(m) {
		parts = append(parts, k+"="+m[k])
	}
	return strings.Join(parts, ", ")
}

func appOf(a tenant.App) string {
	switch {
	case a.Path != "":
		return a.Path
	case a.Git != nil:
		return strings.TrimRight(fmt.Sprintf("%s at %s %s", a.Git.URL, a.Git.Ref, a.Git.Path), " ")
	case a.Design != nil && len(a.Design.Models) == 1:
		return "design of 1 model"
	case a.Design != nil:
		return fmt.Sprintf("design of %d models", len(a.Design.Models))
	}
	return ""
}

func enabled(on bool, how string) string {
	if !on {
		return "none"
	}
	return how
}

// refused writes what the newest file has wrong; the tenant stays as it was.
func (t *terminal) refused(d console.Detail, _ time.Time) error {
	r := d.Refused
	if r == nil {
		return nil
	}
	fmt.Fprintf(t.out, "\n%s in %s %s; what is accepted stays:\n", t.paint(red, "Refused"), short(r.Commit.SHA), clean(r.Commit.Subject))
	if len(r.Problems) > 0 {
		fmt.Fprintln(t.out, indented(cleanLines(r.Problems.Error())))
		return nil
	}
	t.detail(r.Failure)
	return nil
}

func (t *terminal) instances(d console.Detail, now time.Time) error {
	if d.InstancesError != "" {
		fmt.Fprintf(t.out, "\nInstances: %s\n", clean(d.InstancesError))
	}
	if len(d.Instances) == 0 {
		return nil
	}
	fmt.Fprintln(t.out, "\nInstances:")
	b := t.table("  ", "NAME", "ADDR", "PHASE", "RELEASE", "COMMIT", "SERVING FOR", "IN FLIGHT", "RESTARTS", "MEMORY")
	for _, i := range d.Instances {
		phase := i.Report.Phase
		if !i.Running {
			phase = "not running"
		}
		b.row(i.Name, i.Addr, phase, short(i.Report.Release), short(i.Report.Commit), age(i.Report.Since, now),
			strconv.FormatInt(i.Report.InFlight, 10), strconv.Itoa(i.Report.Restarts), memory(i.Report.Memory))
	}
	return b.print(func(column int, cell string) colour {
		switch {
		case column != 2:
			return plain
		case cell == "serving", cell == "asleep":
			return green
		case cell == "failing" || cell == "not running":
			return red
		}
		return yellow
	})
}

// condition writes what somebody else has to do for the tenant's own domains, and
// what was changed behind the platform's back.
func (t *terminal) condition(d console.Detail, now time.Time) error {
	c := d.Condition
	if c == nil {
		return nil
	}
	if drift := c.Drift; drift != nil {
		fmt.Fprintf(t.out, "\nDrift: %s (%s ago)\n", t.paint(driftColour(drift), clean(drift.String())), age(drift.At, now))
	}
	if len(c.Domains) < 2 {
		return nil
	}
	fmt.Fprintln(t.out, "\nDomains:")
	b := t.table("  ", "HOST", "STATE", "TO BE IN ITS ZONE", "TYPE", "VALUE")
	for _, one := range c.Domains[1:] {
		state := string(one.State)
		if one.Problem != "" {
			state += ": " + one.Problem
		}
		host := one.Host
		for _, r := range one.Records {
			b.row(host, state, r.Name, r.Type, r.Value)
			host, state = "", ""
		}
		if len(one.Records) == 0 {
			b.row(host, state, "", "", "")
		}
	}
	return b.print(func(column int, cell string) colour {
		switch {
		case column != 1:
			return plain
		case cell == string(platform.DomainServed):
			return green
		case strings.HasPrefix(cell, string(platform.DomainFailed)):
			return red
		}
		return yellow
	})
}

func driftColour(d *platform.Drift) colour {
	switch {
	case d.Failure != "":
		return red
	case len(d.Changes) > 0 && !d.Healed:
		return yellow
	}
	return green
}

// memory writes what a process has resident; "" for no process.
func memory(bytes int64) string {
	if bytes == 0 {
		return ""
	}
	return size(bytes)
}

// failures writes why a release does not serve, as the instances saw it and as
// the last run ended.
func (t *terminal) failures(d console.Detail, _ time.Time) error {
	for _, i := range d.Instances {
		if i.Report.Failure == "" {
			continue
		}
		fmt.Fprintf(t.out, "\n%s: %s\n", i.Name, clean(i.Health()))
		switch {
		case i.Report.Failed != "":
			fmt.Fprintf(t.out, "%s of release %s on %s: %s\n", t.paint(red, "Failure"), short(i.Report.Failed), i.Name, clean(i.Report.Failure))
		case i.Report.Ready():
			fmt.Fprintf(t.out, "%s on %s: %s\n", t.paint(yellow, "Last crash"), i.Name, clean(i.Report.Failure))
		}
		if len(i.Report.FailureTail) > 0 {
			fmt.Fprintln(t.out, indented(cleanLines(strings.Join(i.Report.FailureTail, "\n"))))
		}
	}
	if len(d.Runs) > 0 && d.Runs[0].Failure != nil {
		run := d.Runs[0]
		fmt.Fprintf(t.out, "\n%s of the last run, in %s:\n", t.paint(red, "Failure"), run.State)
		t.detail(run.Failure)
	}
	return nil
}

// detail writes a failure with all that helps.
func (t *terminal) detail(r *fault.Record) {
	fmt.Fprintln(t.out, indented(cleanLines(r.Message)))
	if detail := strings.TrimSpace(r.Detail); detail != "" && detail != r.Message {
		fmt.Fprintln(t.out, indented(indented(cleanLines(detail))))
	}
	if r.Hint != "" {
		fmt.Fprintln(t.out, "  hint: "+cleanLines(r.Hint))
	}
}

func (t *terminal) runs(d console.Detail, now time.Time) error {
	if len(d.Runs) == 0 {
		return nil
	}
	fmt.Fprintln(t.out, "\nRuns:")
	b := t.table("  ", "OPERATION", "COMMIT", "STATUS", "STATE", "AGE", "TOOK", "RELEASE", "RUN")
	for _, r := range d.Runs {
		b.row(string(r.Operation), short(r.Commit), string(r.Status), r.State, age(r.Queued, now), took(lasted(r.Run, now)), short(r.Release), r.ID)
	}
	return b.print(func(column int, cell string) colour {
		if column == 2 {
			return stateColour(cell)
		}
		return plain
	})
}

// lasted returns how long a run worked, so far if it is under way.
func lasted(r pipeline.Run, now time.Time) time.Duration {
	switch {
	case r.Started.IsZero():
		return 0
	case r.Finished.IsZero():
		return now.Sub(r.Started)
	}
	return r.Finished.Sub(r.Started)
}

// history writes the last run step by step.
func (t *terminal) history(d console.Detail, _ time.Time) error {
	if len(d.Runs) == 0 || len(d.Runs[0].Events) == 0 {
		return nil
	}
	fmt.Fprintln(t.out, "\nLast run:")
	events := d.Runs[0].Events
	b := t.table("  ", "TIME", "STATE", "EVENT", "TOOK", "MESSAGE")
	for i, e := range events {
		if e.Kind == pipeline.Entered && i+1 < len(events) && events[i+1].State == e.State {
			continue // what came of it is the next line
		}
		b.row(e.At.Local().Format("15:04:05.000"), e.State, eventText(e), took(e.Took), cut(e.Message, 100))
	}
	return b.print(func(column int, cell string) colour {
		switch {
		case column != 2:
			return plain
		case strings.HasPrefix(cell, string(pipeline.Errored)):
			return red
		case strings.HasPrefix(cell, string(pipeline.Retrying)):
			return yellow
		}
		return plain
	})
}

func eventText(e pipeline.Event) string {
	if e.Try > 1 || e.Kind == pipeline.Retrying {
		return fmt.Sprintf("%s, try %d", e.Kind, e.Try)
	}
	return string(e.Kind)
}

func (t *terminal) kept(d console.Detail, now time.Time) error {
	if s := d.Tombstone; s != nil {
		fmt.Fprintf(t.out, "\nTombstone: stopped %s ago by %s; data is kept until %s\n", age(s.At, now), short(s.Commit), stamp(s.PurgeAfter))
		if s.Snapshot != "" {
			fmt.Fprintln(t.out, "  snapshot: "+clean(s.Snapshot))
		}
		fmt.Fprintln(t.out, "  to bring it back: commit its file again")
	}
	return nil
}

func (t *terminal) proofs(d console.Detail, now time.Time) error {
	for _, r := range d.Receipts {
		fmt.Fprintf(t.out, "\nReceipt: taken away %s ago by %s\n", age(r.At, now), short(r.Commit))
		b := t.table("  ", "KIND", "NAME", "VERIFIED")
		for _, x := range r.Resources {
			state := "absent"
			if x.Present {
				state = "PRESENT"
			}
			b.row(x.Kind, x.Name, state)
		}
		if err := b.print(nil); err != nil {
			return err
		}
		if r.Snapshot != "" {
			fmt.Fprintln(t.out, "  snapshot: "+clean(r.Snapshot))
		}
	}
	return nil
}
