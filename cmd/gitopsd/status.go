package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// statusCmd shows how far a commit is.
type statusCmd struct {
	apiFlags
	outputFlag
	Commit string `arg:"" optional:"" help:"The commit, in any of git's ways; the newest the daemon knows if not given."`
}

// Run prints the commit and what became of each tenant it touches.
func (s *statusCmd) Run(ctx context.Context, t *terminal) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	sha := newest
	if s.Commit != "" {
		if sha, err = resolveCommit(".", s.Commit); err != nil {
			return err
		}
	}
	var commit console.Commit
	if err := c.get(ctx, apiPath("commits", sha), &commit); err != nil {
		return err
	}
	if s.json() {
		return t.printJSON(commit)
	}
	return t.status(commit, time.Now())
}

// newest is what the API calls the newest commit.
const newest = "HEAD"

func (t *terminal) status(c console.Commit, now time.Time) error {
	fmt.Fprintf(t.out, "commit %s %s\n", short(c.Commit.SHA), clean(c.Commit.Subject))
	fmt.Fprintf(t.out, "by %s, %s ago\n", clean(c.Commit.Author), age(c.Commit.When, now))
	state, text := commitState(c)
	fmt.Fprintf(t.out, "%s: %s\n", t.paint(stateColour(state), state), clean(text))
	if len(c.Items) == 0 {
		return nil
	}
	fmt.Fprintln(t.out)
	b := t.table("", "TENANT", "OPERATION", "STATUS", "STATE", "RELEASE", "REASON")
	for _, i := range c.Items {
		b.row(i.Tenant, string(i.Operation), itemStatus(i), i.State, short(i.Release), i.Reason)
	}
	err := b.print(func(column int, cell string) colour {
		if column == 2 {
			return stateColour(cell)
		}
		return plain
	})
	if err != nil {
		return err
	}
	t.itemFailures(c.Items)
	return nil
}

// commitState says in which state a commit is, and more of it.
func commitState(c console.Commit) (state, text string) {
	switch {
	case c.SupersededBy != "":
		return stateSuperseded, "by " + short(c.SupersededBy)
	case c.Hold != nil:
		return stateHeld, c.Hold.Message
	}
	return string(c.State), c.Description
}

func itemStatus(i sync.ItemProgress) string {
	if i.Operation == "" && i.Failure == nil {
		return "no change"
	}
	return string(i.Status)
}

// failureOf returns why an item failed, if it did.
func failureOf(i sync.ItemProgress) *fault.Record {
	switch {
	case i.Status != pipeline.Failed:
		return nil
	case i.Failure != nil:
		return i.Failure
	}
	return i.Cause
}

// itemFailures writes each failure in full: problems, compiler output, hint.
func (t *terminal) itemFailures(items []sync.ItemProgress) {
	for _, i := range items {
		r := failureOf(i)
		if r == nil {
			continue
		}
		where := ""
		if i.State != "" {
			where = " in " + clean(i.State)
		}
		fmt.Fprintf(t.out, "\n%s %s%s:\n", clean(i.Tenant), t.paint(red, "failed"), where)
		if len(i.Problems) > 0 {
			fmt.Fprintln(t.out, indented(cleanLines(i.Problems.Error())))
			continue
		}
		t.detail(r)
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
