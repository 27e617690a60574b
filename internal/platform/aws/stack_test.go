package aws_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/blang/semver"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/gitopsd/gitopsd/internal/fault"
	aws "github.com/gitopsd/gitopsd/internal/platform/aws"
)

// cli stands in for the pulumi program: it records how it is called, and answers
// from a state in which a creation may be pending. Like the real one it goes on
// with a lock only after a cancel.
type cli struct {
	dir string // of the backend

	mu      sync.Mutex
	calls   []string
	pending bool // a bucket was being made
	// imported is the state that it was given.
	imported struct {
		Deployment struct {
			Resources []map[string]any `json:"resources"`
			Pending   []any            `json:"pending_operations"`
		} `json:"deployment"`
	}
	running int
	most    int
	hold    chan struct{} // up waits for it, unless it is nil
	begun   chan struct{}
	fails   string
}

func (c *cli) Version() semver.Version { return semver.MustParse("3.260.0") }

func (c *cli) Run(ctx context.Context, _ string, input io.Reader, _, _ []io.Writer, _ []string, args ...string) (string, string, int, error) {
	words := slices.DeleteFunc(slices.Clone(args), func(a string) bool { return strings.HasPrefix(a, "-") })
	line := strings.Join(words, " ")
	c.mu.Lock()
	c.calls = append(c.calls, line)
	c.mu.Unlock()
	locked := len(c.locks()) > 0
	switch {
	case words[0] == "cancel":
		for _, l := range c.locks() {
			os.Remove(l)
		}
	case words[0] == "up" || words[0] == "refresh" || words[0] == "destroy":
		if locked {
			return "", "error: the stack is currently locked by 1 lock(s)", 255, errors.New("exit status 255")
		}
		return c.work(ctx, words[0])
	case strings.HasPrefix(line, "stack export"):
		return c.export(), "", 0, nil
	case strings.HasPrefix(line, "stack import"):
		return "", "", 0, c.take(input)
	case strings.HasPrefix(line, "stack output"):
		return `{"bucket":"b1"}`, "", 0, nil
	case strings.HasPrefix(line, "stack history"):
		return `[{"kind":"update","result":"succeeded"}]`, "", 0, nil
	}
	return "", "", 0, nil
}

func (c *cli) work(ctx context.Context, what string) (string, string, int, error) {
	c.mu.Lock()
	twice := what == "up" && c.pending
	c.running++
	c.most = max(c.most, c.running)
	hold, begun, fails := c.hold, c.begun, c.fails
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.running--
	}()
	if begun != nil && what == "up" {
		begun <- struct{}{}
	}
	if hold != nil && what == "up" {
		select {
		case <-hold:
		case <-ctx.Done():
			return "", "killed", 1, ctx.Err()
		}
	}
	if twice {
		return "", "error: it is being made a second time", 1, errors.New("exit status 1")
	}
	if fails != "" {
		return "", fails, 1, errors.New("exit status 1")
	}
	return "", "", 0, nil
}

func (c *cli) export() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	deployment := map[string]any{"manifest": map[string]any{"time": time.Now(), "magic": "", "version": ""}}
	if c.pending {
		deployment["pending_operations"] = []any{map[string]any{"type": "creating", "resource": map[string]any{
			"urn": "urn:pulumi:acme::gitopsd-tenant::aws:s3/bucket:Bucket::bucket", "type": "aws:s3/bucket:Bucket",
			"inputs": map[string]any{"bucket": "b1"}, "custom": true,
		}}}
	}
	b, _ := json.Marshal(map[string]any{"version": 3, "deployment": deployment})
	return string(b)
}

// take takes a state as it was edited. What was being made is over.
func (c *cli) take(input io.Reader) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = false
	return json.NewDecoder(input).Decode(&c.imported)
}

func (c *cli) locks() []string {
	found, _ := filepath.Glob(filepath.Join(c.dir, ".pulumi/locks/organization/gitopsd-tenant/acme/*.json"))
	return found
}

// lock leaves a lock as a Pulumi with the pid on the host would.
func (c *cli) lock(t *testing.T, pid int, host string) {
	t.Helper()
	dir := filepath.Join(c.dir, ".pulumi/locks/organization/gitopsd-tenant/acme")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(map[string]any{"pid": pid, "username": "root", "hostname": host, "timestamp": time.Now()})
	if err := os.WriteFile(filepath.Join(dir, "one.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (c *cli) did(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, line := range c.calls {
		if strings.HasPrefix(line, what) {
			n++
		}
	}
	return n
}

func newPulumi(t *testing.T, memory int, found string) (*aws.Pulumi, *cli) {
	t.Helper()
	c := &cli{dir: t.TempDir()}
	files, err := aws.OpenFiles("file://"+c.dir, awstestConfig)
	if err != nil {
		t.Fatal(err)
	}
	p, err := aws.NewPulumi(aws.PulumiConfig{
		Dir: t.TempDir(), Backend: "file://" + c.dir, Secrets: "passphrase", MemoryMiB: memory, Patience: time.Millisecond, Settle: time.Millisecond,
		Env:   map[string]string{"PULUMI_CONFIG_PASSPHRASE": "x"},
		Locks: leases(t), Files: files, Dead: aws.DeadHere(nil), Command: c, Logger: slog.New(slog.DiscardHandler),
		Adopter: func(_ context.Context, kind string, inputs map[string]any) (string, error) {
			if kind != "aws:s3/bucket:Bucket" || inputs["bucket"] != "b1" {
				return "", fmt.Errorf("asked for %s %v", kind, inputs)
			}
			return found, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, c
}

func stackOf(name string) aws.Stack {
	return aws.Stack{Project: "gitopsd-tenant", Name: name, Program: func(*pulumi.Context) error { return nil }}
}

// deadPID returns the number of a process that is gone.
func deadPID(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

func TestStackComesUp(t *testing.T) {
	p, c := newPulumi(t, 1000, "")
	out, err := p.Up(t.Context(), stackOf("acme"))
	if err != nil || out["bucket"] != "b1" {
		t.Errorf("outputs %v, %v\n%s", out, err, strings.Join(c.calls, "\n"))
	}
	if c.did("refresh") != 0 || c.did("cancel") != 0 {
		t.Errorf("it recovered from nothing: %v", c.calls)
	}
}

// After a kill the lock is taken away, what was being made is taken over or
// forgotten, and only then is anything made.
func TestStackRecovers(t *testing.T) {
	host, _ := os.Hostname()
	for _, found := range []string{"b1", ""} {
		p, c := newPulumi(t, 1000, found)
		c.pending = true
		c.lock(t, deadPID(t), host)
		if _, err := p.Up(t.Context(), stackOf("acme")); err != nil {
			t.Fatalf("found %q: %v", found, err)
		}
		state := c.imported.Deployment
		if c.did("cancel") != 1 || c.did("stack import") != 1 || len(state.Pending) != 0 {
			t.Errorf("found %q: %+v\n%s", found, state, strings.Join(c.calls, "\n"))
		}
		if found == "" && len(state.Resources) == 0 {
			continue
		}
		if len(state.Resources) != 1 || state.Resources[0]["id"] != found || state.Resources[0]["refreshBeforeUpdate"] != true {
			t.Errorf("found %q: %v", found, state.Resources)
		}
	}
}

// A lock is nobody's to take whose owner is not proven dead.
func TestStackOfOneWhoLives(t *testing.T) {
	host, _ := os.Hostname()
	for name, lock := range map[string]struct {
		pid  int
		host string
	}{"a process that lives": {os.Getpid(), host}, "another host": {deadPID(t), "elsewhere"}, "no process": {0, host}} {
		p, c := newPulumi(t, 1000, "")
		c.lock(t, lock.pid, lock.host)
		for what, err := range map[string]error{
			"up":      func() error { _, err := p.Up(t.Context(), stackOf("acme")); return err }(),
			"destroy": p.Destroy(t.Context(), stackOf("acme")),
		} {
			if !fault.Is(err, fault.Conflict) {
				t.Errorf("%s, %s: %v, want Conflict", name, what, err)
			}
		}
		if c.did("cancel") != 0 || len(c.locks()) != 1 {
			t.Errorf("%s: its lock was taken away", name)
		}
	}
}

// Who asked may go away: what was begun is not cut short.
func TestStackIsNotCutShort(t *testing.T) {
	p, c := newPulumi(t, 1000, "")
	c.hold, c.begun = make(chan struct{}), make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := p.Up(ctx, stackOf("acme")); done <- err }()
	<-c.begun
	cancel()
	close(c.hold)
	if err := <-done; err != nil {
		t.Errorf("cut short: %v", err)
	}
}

// No more run at once than memory is for, and one at a time for a stack.
func TestStacksAreBounded(t *testing.T) {
	for memory, most := range map[int]int{1200: 2, 100: 1} {
		p, c := newPulumi(t, memory, "")
		var group sync.WaitGroup
		for i := range 6 {
			group.Go(func() {
				if _, err := p.Up(t.Context(), stackOf(fmt.Sprintf("t%d", i/2))); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if c.most > most {
			t.Errorf("with %d MiB %d ran at once, want at most %d", memory, c.most, most)
		}
	}
}

func TestStackFailureSaysWhatToDo(t *testing.T) {
	for said, want := range map[string]fault.Kind{
		"error: creating S3 Bucket: operation error S3: CreateBucket, https response error StatusCode: 403, api error AccessDenied: Access Denied": fault.Invalid,
		"error: creating CloudFront Distribution: api error TooManyDistributions, LimitExceededException: no more":                                 fault.Stalled,
		"error: connection reset": fault.Transient,
	} {
		p, c := newPulumi(t, 1000, "")
		c.fails = said
		_, err := p.Up(t.Context(), stackOf("acme"))
		if !fault.Is(err, want) || !strings.Contains(err.Error(), strings.TrimPrefix(said, "error: ")) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %s: %v", said, fault.KindOf(err), err)
		}
	}
}
