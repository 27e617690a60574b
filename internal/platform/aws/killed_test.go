package aws_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	aws "github.com/gitopsd/gitopsd/internal/platform/aws"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest/provider"
)

// locks returns who holds Pulumi's locks of a stack.
func (e *engine) locks(t *testing.T, s aws.Stack) []aws.LockOwner {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(e.dir, ".pulumi/locks/organization", s.Project, s.Name, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var owners []aws.LockOwner
	for _, name := range found {
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // let go meanwhile
		}
		var o aws.LockOwner
		if err == nil {
			err = json.Unmarshal(b, &o)
		}
		if err != nil {
			t.Fatal(err)
		}
		owners = append(owners, o)
	}
	return owners
}

// kill kills the CLI that runs a stack.
func (e *engine) kill(t *testing.T, s aws.Stack) {
	t.Helper()
	owners := e.locks(t, s)
	if len(owners) != 1 {
		t.Fatalf("locks %v, want one", owners)
	}
	if err := syscall.Kill(owners[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// killings are calls in the middle of which Pulumi dies: nothing was done yet, or all
// was, and nobody was told.
func killings() map[string]struct {
	op     provider.Op
	token  string
	moment provider.Moment
} {
	type at = struct {
		op     provider.Op
		token  string
		moment provider.Moment
	}
	return map[string]at{
		"before an access point":  {provider.Create, "aws:efs/accessPoint:AccessPoint", provider.Before},
		"after an access point":   {provider.Create, "aws:efs/accessPoint:AccessPoint", provider.After},
		"after a service":         {provider.Create, "aws:ecs/service:Service", provider.After},
		"after the first":         {provider.Create, "aws:s3/bucket:Bucket", provider.After},
		"after the last":          {provider.Create, "aws:appautoscaling/policy:Policy", provider.After},
		"after a replacement":     {provider.Create, "aws:ecs/taskDefinition:TaskDefinition", provider.After},
		"after an update":         {provider.Update, "aws:ecs/service:Service", provider.After},
		"before an old one goes":  {provider.Delete, "aws:ecs/taskDefinition:TaskDefinition", provider.Before},
		"after an old one went":   {provider.Delete, "aws:ecs/taskDefinition:TaskDefinition", provider.After},
		"in the middle of an end": {provider.Delete, "aws:s3/bucketPolicy:BucketPolicy", provider.After},
	}
}

// TestRealKilledCLI: wherever Pulumi is killed, the next run goes on: nothing is made
// twice, nothing is lost.
func TestRealKilledCLI(t *testing.T) {
	t.Parallel()
	for name, at := range killings() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t, func(c *aws.PulumiConfig, _ *provider.Config) { c.Logger = testLogger(t) })
			c := tenantConfig("acme")
			if at.op != provider.Create || strings.Contains(name, "replacement") {
				e.up(t, stackFor(c))
				c.Tenant.Compute.Memory = 1024
			}
			ends := strings.Contains(name, "an end")
			run := func() error {
				if ends {
					return e.Destroy(t.Context(), stackFor(c))
				}
				_, err := e.Up(t.Context(), stackFor(c))
				return err
			}
			h := e.provider.Hold(at.op, at.token, at.moment)
			done := make(chan error, 1)
			go func() { done <- run() }()
			<-h.Reached
			e.kill(t, stackFor(c))
			if err := <-done; !fault.Is(err, fault.Transient) {
				t.Errorf("killed: %s: %v", fault.KindOf(err), err)
			}
			h.Release()
			e.provider.Quiet()
			if err := run(); err != nil {
				t.Fatalf("after the kill: %v", err)
			}
			if ends {
				e.leaves(t, stackFor(c))
				return
			}
			if changes, err := e.Preview(t.Context(), stackFor(c)); err != nil || len(changes) > 0 {
				t.Errorf("still to be done: %v, %v", changes, err)
			}
			for token, list := range e.provider.Live() {
				if len(list) > 1 && !strings.HasSuffix(token, ":Record") && !strings.HasSuffix(token, ":Policy") {
					t.Errorf("there are %d of %s", len(list), token)
				}
			}
			e.destroy(t, stackFor(c))
			e.leaves(t, stackFor(c))
		})
	}
}

// process is what a process of its own is told, to make a tenant's stack.
type process struct {
	Backend, Dir, Socket string
	Env                  map[string]string
	Tenant               string
}

// processVariable has the test's program be such a process.
const processVariable = "GITOPSD_TEST_STACK_PROCESS"

// beProcess makes the stack, if this is that process, and does not return then.
func beProcess() {
	text := os.Getenv(processVariable)
	if text == "" {
		return
	}
	var p process
	err := json.Unmarshal([]byte(text), &p)
	if err == nil {
		err = p.run(context.Background())
	}
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Exit(0)
}

func (p process) run(ctx context.Context) error {
	command, err := openCLI()
	if err != nil {
		return err
	}
	files, err := aws.OpenFiles(p.Backend, awstestConfig)
	if err != nil {
		return err
	}
	made, err := aws.NewPulumi(aws.PulumiConfig{
		Dir: p.Dir, Backend: p.Backend, Secrets: "passphrase", Env: p.Env, MemoryMiB: 1024, Files: files, Dead: aws.DeadHere(nil),
		Locks: leasesAt(p.Socket), Command: command, Logger: slog.New(slog.DiscardHandler),
		Adopter: func(context.Context, string, map[string]any) (string, error) {
			return "", errors.New("nothing is to be adopted")
		},
	})
	if err != nil {
		return err
	}
	_, err = made.Up(ctx, stackFor(tenantConfig(p.Tenant)))
	return err
}

// TestRealKilledProcess: when our own process is killed in the middle, the CLI that it
// ran goes on without it for a while. The next run waits for that, and goes on.
func TestRealKilledProcess(t *testing.T) {
	t.Parallel()
	for _, moment := range []provider.Moment{provider.Before, provider.After} {
		t.Run(string(moment), func(t *testing.T) {
			t.Parallel()
			e := newEngine(t, func(c *aws.PulumiConfig, _ *provider.Config) { c.Logger = testLogger(t) })
			s := stackFor(tenantConfig("acme"))
			text, err := json.Marshal(process{
				Backend: e.config.Backend, Dir: t.TempDir(), Socket: socketOf(t), Env: e.config.Env, Tenant: "acme",
			})
			if err != nil {
				t.Fatal(err)
			}
			h := e.provider.Hold(provider.Create, "aws:efs/accessPoint:AccessPoint", moment)
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), processVariable+"="+string(text))
			cmd.Stderr = t.Output()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			<-h.Reached
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			orphan := e.locks(t, s)
			if len(orphan) != 1 {
				t.Fatalf("locks %v, want the orphan's", orphan)
			}
			time.AfterFunc(2*time.Second, h.Release)
			e.up(t, s)
			if twice := e.provider.Duplicates(); len(twice) > 0 {
				t.Errorf("made twice: %q", twice)
			}
			e.destroy(t, s)
			e.leaves(t, s)
		})
	}
}
