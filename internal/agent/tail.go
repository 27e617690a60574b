package agent

import (
	"strings"
	"sync"
	"time"
)

const (
	tailSize = 20 // lines kept of each app for a failure's report
	// dumpTime is longer than a Go program takes from the first line of what it
	// says as it crashes to its end.
	dumpTime = 2 * time.Second
)

// tail keeps an app's last lines. Of a Go program that crashes, it keeps those
// from the first on that says so: what follows is about every goroutine.
type tail struct {
	mu    sync.Mutex
	lines []string
	cause string    // the first line of a crash
	since time.Time // when it came
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch crashing := time.Since(t.since) < dumpTime; {
	case !crashing && (strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")):
		t.cause, t.since = line, time.Now()
	case !crashing:
		t.cause = "" // it said so, and lived
	case len(t.lines) == tailSize && t.lines[0] == t.cause:
		return
	}
	if len(t.lines) == tailSize {
		copy(t.lines, t.lines[1:])
		t.lines = t.lines[:tailSize-1]
	}
	t.lines = append(t.lines, line)
}

// crash returns the first line of what a Go program said as it crashed, or "".
func (t *tail) crash() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cause
}

func (t *tail) snapshot() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.lines...)
}
