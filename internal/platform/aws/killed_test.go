package aws_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	aws "github.com/gitopsd/gitopsd/internal/platform/aws"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest/provider"
)

// holder returns who holds Pulumi's lock of a stack.
func (e *engine) holder(t *testing.T, s aws.Stack) aws.LockOwner {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(e.dir, ".pulumi/locks/organization", s.Project, s.Name, "*.json"))
	if err != nil || len(found) != 1 {
		t.Fatalf("locks %q, %v", found, err)
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	var o aws.LockOwner
	if err := json.Unmarshal(b, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestRealKilledCLI(t *testing.T) {
	t.Parallel()
	for _, moment := range []provider.Moment{provider.Before, provider.After} {
		t.Run(string(moment), func(t *testing.T) {
			t.Parallel()
			e := newEngine(t, func(c *aws.PulumiConfig, _ *provider.Config) {
				c.Logger = testLogger(t)
			})
			c := stackFor(tenantConfig("acme"))
			h := e.provider.Hold(provider.Create, "aws:efs/accessPoint:AccessPoint", moment)
			done := make(chan error, 1)
			go func() { _, err := e.Up(t.Context(), c); done <- err }()
			<-h.Reached
			if err := syscall.Kill(e.holder(t, c).PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			err := <-done
			t.Logf("killed: %v", err)
			h.Release()
			if _, err := e.Up(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			t.Log(e.provider.Counts(), e.provider.Duplicates())
			t.Log(len(e.provider.Live()["aws:efs/accessPoint:AccessPoint"]))
		})
	}
}
