package agent

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestTail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var last tail
		for i := range 50 {
			last.add(fmt.Sprint("line ", i))
		}
		if got := last.snapshot(); len(got) != tailSize || got[0] != "line 30" || last.crash() != "" {
			t.Errorf("%q, crash %q", got, last.crash())
		}
		last.add("panic: no such table: users")
		for i := range 100 {
			last.add(fmt.Sprint("goroutine ", i))
		}
		got := last.snapshot()
		if len(got) != tailSize || got[0] != "panic: no such table: users" || got[1] != "goroutine 0" || last.crash() != got[0] {
			t.Errorf("%q, crash %q", got, last.crash())
		}
		// An app that prints the like, and goes on, did not crash.
		time.Sleep(dumpTime)
		last.add("line 50")
		if got := last.snapshot(); !slices.Contains(got, "line 50") || last.crash() != "" {
			t.Errorf("%q, crash %q", got, last.crash())
		}
	})
}
