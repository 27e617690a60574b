package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// The exit codes; gitopsd --help names them.
const (
	exitDone       = 0
	exitFailed     = 1
	exitInvalid    = 2
	exitUnfinished = 3
	exitNotFound   = 4
)

// exitError ends the program with a code; what there is to say was said.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// codeOf is the one table from an error to an exit code.
func codeOf(err error) int {
	var said exitError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &said):
		return int(said)
	case fault.Is(err, fault.Invalid):
		return exitInvalid
	case fault.Is(err, fault.NotFound):
		return exitNotFound
	}
	return exitFailed
}

// fail says what went wrong and returns the exit code.
func (t *terminal) fail(err error) int {
	code, said := codeOf(err), exitError(0)
	if err != nil && !errors.As(err, &said) {
		t.explain(fault.RecordOf(err))
	}
	return code
}

// explain writes an error with all that helps.
func (t *terminal) explain(r *fault.Record) {
	fmt.Fprintf(t.err, "%s %s\n", t.paint(red, "error:"), cleanLines(r.Message))
	if detail := strings.TrimSpace(r.Detail); detail != "" {
		fmt.Fprintln(t.err, indented(cleanLines(detail)))
	}
	if r.Hint != "" {
		fmt.Fprintln(t.err, "hint: "+cleanLines(r.Hint))
	}
}

// misused turns a command line that makes no sense into an error.
func misused(err error) error {
	e := fault.Errorf(fault.Invalid, "%w", err)
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		if node := parse.Context.Selected(); node != nil {
			return e.WithHint("see: gitopsd %s --help", node.Path())
		}
	}
	return e.WithHint("see: gitopsd --help")
}
