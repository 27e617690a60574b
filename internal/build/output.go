package build

import (
	"context"
	"fmt"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// maxLines is how much of a compiler's output is worth showing.
const maxLines = 60

// readable returns a go command's output with paths as the app's author knows
// them, without what says nothing, and not too long.
func readable(output, src, root string) string {
	output = strings.ReplaceAll(output, root+"/", "")
	output = strings.ReplaceAll(output, src+"/", "")
	var lines []string
	for line := range strings.Lines(output) {
		line = strings.TrimRight(strings.ToValidUTF8(line, "�"), "\r\n")
		if line == "" || strings.HasPrefix(line, "# ") || strings.HasPrefix(line, "go: downloading ") {
			continue // the package of what follows: its path says so, too
		}
		line = strings.TrimPrefix(line, "./")
		if len(line) > 1000 {
			line = strings.ToValidUTF8(line[:1000], "") + " …"
		}
		lines = append(lines, line)
	}
	if n := len(lines); n > maxLines {
		lines = append(lines[:maxLines], fmt.Sprintf("… and %d more lines", n-maxLines))
	}
	return strings.Join(lines, "\n")
}

// passing are signs that the machine failed, not the app.
var passing = []string{"no space left on device", "cannot allocate memory", "signal: killed", "resource temporarily unavailable", "too many open files"}

// compileError says what a failed compile means.
func compileError(ctx context.Context, detail string, err error, a *app) error {
	if ctx.Err() != nil {
		return fmt.Errorf("the compiler was stopped: %w", ctx.Err())
	}
	for _, sign := range passing {
		if strings.Contains(detail, sign) || strings.Contains(err.Error(), sign) {
			return fault.Errorf(fault.Transient, "the compiler could not run: %w", err).WithDetail(detail)
		}
	}
	failed := fault.Errorf(fault.Invalid, "the app does not compile").WithDetail(detail)
	switch {
	case strings.Contains(detail, "missing go.sum entry"), strings.Contains(detail, "updates to go.mod needed"),
		strings.Contains(detail, "no required module provides package"):
		return failed.WithHint("run: cd %s && go mod tidy, then commit go.mod and go.sum", a.module)
	case strings.Contains(detail, "GOTOOLCHAIN=local"):
		return failed.WithHint("lower the go version in %s/go.mod, or give this machine a newer Go", a.module)
	}
	return failed
}

// downloadError says what it means that modules could not be fetched.
func downloadError(ctx context.Context, detail string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("fetching modules was stopped: %w", ctx.Err())
	}
	wrong := []string{"SECURITY ERROR", "checksum mismatch", "404 Not Found", "410 Gone", "unknown revision", "invalid version", "disallows using", "malformed", "errors parsing"}
	for _, sign := range wrong {
		if strings.Contains(detail, sign) {
			return fault.Errorf(fault.Invalid, "a module that the app requires cannot be fetched").WithDetail(detail).
				WithHint("check go.mod and go.sum: go mod tidy && go mod verify")
		}
	}
	return fault.Errorf(fault.Transient, "modules that the app requires are not in the module cache, and fetching them failed: %w", err).WithDetail(detail)
}
