package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// getCmd lists what there is.
type getCmd struct {
	Tenants    getTenantsCmd    `cmd:"" help:"Every tenant and how it does."`
	Commits    getCommitsCmd    `cmd:"" help:"The last commits and how far they are."`
	Receipts   getReceiptsCmd   `cmd:"" help:"Proof of what was taken away."`
	Tombstones getTombstonesCmd `cmd:"" help:"Deleted tenants whose data is kept."`
}

type getTenantsCmd struct {
	apiFlags
	outputFlag
}

// list asks for a list and writes it as JSON if that is wanted.
func list[T any](ctx context.Context, t *terminal, api apiFlags, out outputFlag, path string) (found []T, written bool, err error) {
	c, err := api.connect()
	if err != nil {
		return nil, false, err
	}
	if err := c.get(ctx, path, &found); err != nil {
		return nil, false, err
	}
	if out.json() {
		return nil, true, t.printJSON(found)
	}
	return found, false, nil
}

// Run prints the table of tenants.
func (g *getTenantsCmd) Run(ctx context.Context, t *terminal) error {
	tenants, written, err := list[console.Summary](ctx, t, g.apiFlags, g.outputFlag, apiPath("tenants"))
	if err != nil || written {
		return err
	}
	if len(tenants) == 0 {
		fmt.Fprintln(t.err, "no tenants yet: commit a file to tenants/")
		return nil
	}
	now, b := time.Now(), t.table("", "NAME", "PHASE", "RELEASE", "COMMIT", "AGE", "URL", "MESSAGE")
	for _, s := range tenants {
		b.row(s.Name, string(s.Phase), short(s.Release), short(s.Commit), age(s.Accepted, now), s.URL, cut(s.Message, 80))
	}
	return b.print(func(column int, cell string) colour {
		if column == 1 {
			return phaseColour(console.Phase(cell))
		}
		return plain
	})
}

func phaseColour(p console.Phase) colour {
	switch p {
	case "Ready":
		return green
	case "Failed", console.PhaseRefused:
		return red
	case "Suspended", "Stopped", console.PhaseGone:
		return grey
	}
	return yellow
}

type getCommitsCmd struct {
	apiFlags
	outputFlag
	Limit int `help:"How many at most." default:"20" short:"n"`
}

// Run prints the table of commits.
func (g *getCommitsCmd) Run(ctx context.Context, t *terminal) error {
	commits, written, err := list[console.Listed](ctx, t, g.apiFlags, g.outputFlag, apiPath("commits")+"?limit="+strconv.Itoa(g.Limit))
	if err != nil || written {
		return err
	}
	if len(commits) == 0 {
		fmt.Fprintln(t.err, "no commits yet")
		return nil
	}
	now, b := time.Now(), t.table("", "COMMIT", "AGE", "STATE", "SUBJECT", "DESCRIPTION")
	for _, c := range commits {
		state, text := listedState(c)
		b.row(short(c.Commit.SHA), age(c.Commit.When, now), state, cut(c.Commit.Subject, 50), cut(text, 90))
	}
	return b.print(func(column int, cell string) colour {
		if column == 2 {
			return stateColour(cell)
		}
		return plain
	})
}

// The states that a commit has beside those of its status.
const (
	stateHeld       = "held"
	stateSuperseded = "superseded"
)

func listedState(c console.Listed) (state, text string) {
	switch {
	case c.SupersededBy != "":
		return stateSuperseded, "by " + short(c.SupersededBy)
	case c.Hold != nil:
		return stateHeld, c.Hold.Message
	case c.Status == nil:
		return string(sync.StatePending), ""
	}
	return string(c.Status.State), c.Status.Description
}

func stateColour(state string) colour {
	switch state {
	case string(sync.StateSuccess), string(pipeline.Succeeded):
		return green
	case string(sync.StateFailure), string(pipeline.Failed):
		return red
	case string(pipeline.Superseded), "no change":
		return grey
	}
	return yellow
}

type getReceiptsCmd struct {
	apiFlags
	outputFlag
}

// Run prints the table of receipts.
func (g *getReceiptsCmd) Run(ctx context.Context, t *terminal) error {
	receipts, written, err := list[pipeline.Receipt](ctx, t, g.apiFlags, g.outputFlag, apiPath("receipts"))
	if err != nil || written {
		return err
	}
	if len(receipts) == 0 {
		fmt.Fprintln(t.err, "no receipts: no tenant was taken away yet")
		return nil
	}
	now, b := time.Now(), t.table("", "TENANT", "COMMIT", "AGE", "VERIFIED ABSENT", "SNAPSHOT")
	for _, r := range receipts {
		b.row(r.Tenant, short(r.Commit), age(r.At, now), strconv.Itoa(len(r.Resources)), r.Snapshot)
	}
	return b.print(nil)
}

type getTombstonesCmd struct {
	apiFlags
	outputFlag
}

// Run prints the table of tombstones.
func (g *getTombstonesCmd) Run(ctx context.Context, t *terminal) error {
	stones, written, err := list[pipeline.Tombstone](ctx, t, g.apiFlags, g.outputFlag, apiPath("tombstones"))
	if err != nil || written {
		return err
	}
	if len(stones) == 0 {
		fmt.Fprintln(t.err, "no tombstones: nothing is kept of deleted tenants")
		return nil
	}
	now, b := time.Now(), t.table("", "TENANT", "COMMIT", "AGE", "KEPT UNTIL", "SNAPSHOT")
	for _, s := range stones {
		b.row(s.Tenant, short(s.Commit), age(s.At, now), stamp(s.PurgeAfter), s.Snapshot)
	}
	return b.print(nil)
}

// stamp writes a time as people at this machine read it.
func stamp(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.Local().Format("2006-01-02 15:04:05")
}
