package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// waitCmd waits for the end of a commit.
type waitCmd struct {
	apiFlags
	outputFlag
	Commit  string        `arg:"" optional:"" default:"HEAD" help:"The commit, in any of git's ways; HEAD of the repository here if not given."`
	Timeout time.Duration `help:"How long at most." default:"10m"`
}

// Run waits, and shows what moves meanwhile.
func (w *waitCmd) Run(ctx context.Context, t *terminal) error {
	sha, err := resolveCommit(".", w.Commit)
	if err != nil {
		return err
	}
	c, err := w.connect()
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	f := &follower{client: c, sha: sha, t: t, shown: map[string]string{}}
	if err := f.settle(bounded); err != nil {
		if bounded.Err() == nil {
			return err
		}
		fmt.Fprintln(t.err, f.unfinished(ctx.Err() != nil, w.Timeout))
		return exitError(exitUnfinished)
	}
	if w.json() {
		if err := t.printJSON(f.last); err != nil {
			return err
		}
	}
	return t.outcome(f.last, w.json())
}

// outcome says how a commit ended, and returns the exit code as an error.
func (t *terminal) outcome(c console.Commit, quiet bool) error {
	state, text := commitState(c)
	if !quiet {
		fmt.Fprintf(t.out, "%s: %s\n", t.paint(stateColour(state), state), clean(text))
	}
	switch {
	case state == stateHeld:
		return exitError(exitUnfinished)
	case c.State == sync.StateFailure:
		if !quiet {
			t.itemFailures(c.Items)
		}
		return exitError(exitFailed)
	}
	return nil
}
