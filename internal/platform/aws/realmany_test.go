package aws_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	aws "github.com/gitopsd/gitopsd/internal/platform/aws"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest/provider"
)

// TestRealTwoAtOnce: two control planes make the same stack at once. One waits for the
// other, and all is made once.
func TestRealTwoAtOnce(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	s := stackFor(tenantConfig("acme"))
	var group sync.WaitGroup
	for _, p := range []*aws.Pulumi{e.Pulumi, e.another(t)} {
		group.Go(func() {
			if _, err := p.Up(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if twice := e.provider.Duplicates(); len(twice) > 0 {
		t.Errorf("made twice: %q", twice)
	}
	e.destroy(t, s)
	e.leaves(t, s)
}

// TestRealLockOfOneWhoLives: somebody runs Pulumi by hand, past our leases. His lock is
// left to him, and he ends undisturbed.
func TestRealLockOfOneWhoLives(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	s := stackFor(tenantConfig("acme"))
	h := e.provider.Hold(provider.Create, "aws:ecs/service:Service", provider.Before)
	done := make(chan error, 1)
	go func() { _, err := e.Up(t.Context(), s); done <- err }()
	<-h.Reached
	size := memoryOf(t, e.locks(t, s)[0].PID)
	t.Logf("the CLI takes %d MiB", size)
	if size > 300 {
		t.Errorf("the CLI takes %d MiB: runs are admitted as if it took less", size)
	}
	e.config.Locks, e.config.Patience = new(freeLocks), time.Millisecond
	if err := e.another(t).Destroy(t.Context(), s); !fault.Is(err, fault.Conflict) {
		t.Errorf("went on under another's lock: %s: %v", fault.KindOf(err), err)
	}
	if n := len(e.locks(t, s)); n != 1 {
		t.Errorf("%d locks, want the other's", n)
	}
	h.Release()
	if err := <-done; err != nil {
		t.Errorf("the other was disturbed: %v", err)
	}
	e.destroy(t, s)
	e.leaves(t, s)
}

// freeLocks keep nobody out.
type freeLocks struct{}

func (*freeLocks) Lock(ctx context.Context, _ string) (func(), error) { return func() {}, ctx.Err() }

// memoryOf returns what a process has in memory, in MiB.
func memoryOf(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n / 1024
		}
	}
	t.Fatalf("%s", b)
	return 0
}
