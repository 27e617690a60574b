package aws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optrefresh"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"golang.org/x/sync/semaphore"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// runMemory is what one run of Pulumi takes, in MiB: the CLI 121, the AWS
// provider 300 to 430.
const runMemory = 550

// Stack is one stack and what makes it.
type Stack struct {
	Project  string
	Name     string
	Program  pulumi.RunFunc
	Settings map[string]string // of the stack's configuration, e.g. aws:region
}

func (s Stack) full() string { return "organization/" + s.Project + "/" + s.Name }

// Stacks makes infrastructure of programs.
type Stacks interface {
	// Up has the infrastructure as the program says and returns its outputs.
	Up(context.Context, Stack) (map[string]any, error)
	// Destroy removes all of it, and the stack. One that is not there is no error.
	Destroy(context.Context, Stack) error
	// Preview returns what Up would do, by kind of change.
	Preview(context.Context, Stack) (map[string]int, error)
	// Drift returns what Up would set right if it looked at what there is, by kind of change.
	Drift(context.Context, Stack) (map[string]int, error)
	// Has reports whether there is such a stack.
	Has(context.Context, Stack) (bool, error)
	// Heal takes over what is there as the state, so that the next Up sets it right.
	Heal(context.Context, Stack) error
}

// PulumiConfig configures Pulumi.
type PulumiConfig struct {
	Dir       string             // for its home and work directories; on a disk of one's own
	Backend   string             // s3://bucket/path or file:///path
	Secrets   string             // awskms://… or passphrase
	Env       map[string]string  // e.g. AWS_REGION, PULUMI_CONFIG_PASSPHRASE
	MemoryMiB int                // what all runs together may take
	Locks     Locks              // of the cell, taken before Pulumi's own
	Files     Files              // where Pulumi's locks are, to read them: see OpenFiles
	Dead      Dead               // tells whether who held a lock is gone
	Patience  time.Duration      // how long one who lives is waited for; 0: two minutes
	Settle    time.Duration      // how long what one who died asked for may take; 0: ten seconds
	Adopter   Adopter            // finds what a run that died was making
	Command   auto.PulumiCommand // nil: pulumi on the PATH
	Logger    *slog.Logger
	// Progress is told, by Up, Destroy and Preview, of each resource that is changed,
	// or would be: when that begins, and when it is done. nil: nobody is.
	Progress func(Change)
}

// Pulumi makes Stacks by the Automation API.
//
// A run that has begun is never cut short: killed in the middle, Pulumi leaves a
// lock and resources that no state knows. Whoever asked may stop waiting, the run
// goes on to its end.
type Pulumi struct {
	c      PulumiConfig
	memory *semaphore.Weighted
}

var _ Stacks = (*Pulumi)(nil)

// NewPulumi returns Pulumi, once its directories are there.
func NewPulumi(c PulumiConfig) (*Pulumi, error) {
	for _, dir := range []string{"home", "work"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, dir), 0o700); err != nil {
			return nil, fmt.Errorf("pulumi: %w", err)
		}
	}
	if c.Patience == 0 {
		c.Patience = 2 * time.Minute
	}
	if c.Settle == 0 {
		c.Settle = 10 * time.Second
	}
	c.Backend = withoutSidecars(c.Backend)
	return &Pulumi{c: c, memory: semaphore.NewWeighted(int64(max(c.MemoryMiB, runMemory)))}, nil
}

// withoutSidecars has a backend of files keep no file beside each with what is known of
// it. Those are not written at once: a kill would leave one that is empty, by which
// the state could not be read any more.
func withoutSidecars(backend string) string {
	if !strings.HasPrefix(backend, "file://") || strings.Contains(backend, "metadata=") {
		return backend
	}
	if strings.Contains(backend, "?") {
		return backend + "&metadata=skip"
	}
	return backend + "?metadata=skip"
}

// run does something to a stack while nobody else does, within the bounds of
// memory. Waiting ends with ctx, what is being done does not.
func (p *Pulumi) run(ctx context.Context, what string, s Stack, before func() error, do func(context.Context, *auto.Stack) error) (err error) {
	defer func() { err = p.failure(what, s, err) }()
	unlock, err := p.c.Locks.Lock(ctx, "stack/"+s.full())
	if err != nil {
		return err
	}
	defer unlock()
	if err := p.memory.Acquire(ctx, runMemory); err != nil {
		return fmt.Errorf("wait for memory: %w", err)
	}
	defer p.memory.Release(runMemory)
	if err := before(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	stack, err := p.open(ctx, s)
	if err != nil {
		return err
	}
	return do(ctx, stack)
}

// look is run for what changes nothing.
func (p *Pulumi) look(ctx context.Context, what string, s Stack, do func(context.Context, *auto.Stack) error) error {
	return p.run(ctx, what, s, func() error { return nil }, do)
}

// change is run for what changes the stack: first of all it clears away what a run
// that died has left. Left alone, Pulumi would refuse to go on for its lock, and make
// a second time what it was making.
func (p *Pulumi) change(ctx context.Context, what string, s Stack, do func(context.Context, *auto.Stack) error) error {
	var stale []LockOwner
	before := func() (err error) {
		stale, err = p.stale(ctx, s)
		return err
	}
	return p.run(ctx, what, s, before, func(ctx context.Context, stack *auto.Stack) error {
		if len(stale) > 0 {
			p.c.Logger.Warn("taking away the lock of a Pulumi that is gone", "stack", s.full(), "owner", stale[0].String())
			if err := stack.Cancel(ctx); err != nil {
				return err
			}
		}
		if err := p.adopt(ctx, s, stack); err != nil {
			return err
		}
		return do(ctx, stack)
	})
}

// open selects the stack, made if there is none. Its work directory is its own:
// without one the SDK leaves one behind with each call.
func (p *Pulumi) open(ctx context.Context, s Stack) (*auto.Stack, error) {
	dir := filepath.Join(p.c.Dir, "work", s.Project, s.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	env := map[string]string{
		"PULUMI_BACKEND_URL": p.c.Backend, "PULUMI_SKIP_UPDATE_CHECK": "true",
		// A stack that another machine made has its settings there. Without them, what
		// its secrets are encrypted by is in its state.
		"PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
	}
	for k, v := range p.c.Env {
		env[k] = v
	}
	opts := []auto.LocalWorkspaceOption{
		auto.WorkDir(dir), auto.PulumiHome(filepath.Join(p.c.Dir, "home")), auto.EnvVars(env), auto.SecretsProvider(p.c.Secrets),
		auto.Project(workspace.Project{
			Name: tokens.PackageName(s.Project), Runtime: workspace.NewProjectRuntimeInfo("go", nil),
			Backend: &workspace.ProjectBackend{URL: p.c.Backend},
		}),
	}
	if p.c.Command != nil {
		opts = append(opts, auto.Pulumi(p.c.Command))
	}
	stack, err := auto.UpsertStackInlineSource(ctx, s.full(), s.Project, s.Program, opts...)
	if err != nil {
		return nil, err
	}
	settings := make(auto.ConfigMap, len(s.Settings))
	for k, v := range s.Settings {
		settings[k] = auto.ConfigValue{Value: v}
	}
	if len(settings) == 0 {
		return &stack, nil
	}
	return &stack, stack.SetAllConfig(ctx, settings)
}

// Up implements Stacks.
func (p *Pulumi) Up(ctx context.Context, s Stack) (map[string]any, error) {
	outputs := make(map[string]any)
	err := p.change(ctx, "make", s, func(ctx context.Context, stack *auto.Stack) error {
		opts := []optup.Option{optup.SuppressProgress(), optup.SuppressOutputs(), optup.ProgressStreams(io.Discard)}
		if p.c.Progress != nil {
			to, over := watch(p.c.Progress)
			defer over()
			opts = append(opts, optup.EventStreams(to))
		}
		result, err := stack.Up(ctx, opts...)
		if err != nil {
			return err
		}
		for name, o := range result.Outputs {
			outputs[name] = o.Value
		}
		return nil
	})
	return outputs, err
}

// Destroy implements Stacks.
func (p *Pulumi) Destroy(ctx context.Context, s Stack) error {
	return p.change(ctx, "destroy", s, func(ctx context.Context, stack *auto.Stack) error {
		if err := p.unprotected(ctx, s, stack); err != nil {
			return err
		}
		opts := []optdestroy.Option{optdestroy.Remove(), optdestroy.SuppressProgress(), optdestroy.SuppressOutputs(), optdestroy.ProgressStreams(io.Discard)}
		if p.c.Progress != nil {
			to, over := watch(p.c.Progress)
			defer over()
			opts = append(opts, optdestroy.EventStreams(to))
		}
		_, err := stack.Destroy(ctx, opts...)
		return err
	})
}

// Preview implements Stacks.
func (p *Pulumi) Preview(ctx context.Context, s Stack) (map[string]int, error) {
	var changes map[string]int
	err := p.look(ctx, "preview", s, func(ctx context.Context, stack *auto.Stack) error {
		opts := []optpreview.Option{optpreview.SuppressProgress(), optpreview.SuppressOutputs()}
		if p.c.Progress != nil {
			to, over := watch(p.c.Progress)
			defer over()
			opts = append(opts, optpreview.EventStreams(to))
		}
		result, err := stack.Preview(ctx, opts...)
		changes = counted(result.ChangeSummary)
		return err
	})
	return changes, err
}

// Drift implements Stacks.
func (p *Pulumi) Drift(ctx context.Context, s Stack) (map[string]int, error) {
	var changes map[string]int
	err := p.look(ctx, "look for drift in", s, func(ctx context.Context, stack *auto.Stack) error {
		// Not what a refresh alone would find: that others may change what the program
		// leaves to them, such as the number of tasks, is no drift.
		result, err := stack.Preview(ctx, optpreview.Refresh(), optpreview.SuppressProgress(), optpreview.SuppressOutputs())
		changes = counted(result.ChangeSummary)
		return err
	})
	return changes, err
}

// Heal implements Stacks.
func (p *Pulumi) Heal(ctx context.Context, s Stack) error {
	return p.change(ctx, "refresh", s, func(ctx context.Context, stack *auto.Stack) error {
		_, err := stack.Refresh(ctx, optrefresh.SuppressProgress(), optrefresh.SuppressOutputs())
		return err
	})
}

// counted returns the changes among a summary, without what stays as it is.
func counted(summary map[apitype.OpType]int) map[string]int {
	changes := make(map[string]int)
	for op, n := range summary {
		if op != apitype.OpSame && n > 0 {
			changes[string(op)] = n
		}
	}
	return changes
}

// Has implements Stacks.
func (p *Pulumi) Has(ctx context.Context, s Stack) (bool, error) {
	_, err := p.c.Files.Read(ctx, path.Join(".pulumi", "stacks", s.Project, s.Name+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for stack %s: %w", s.full(), err)
	}
	return true, nil
}

// stale returns who holds Pulumi's locks of a stack and is proven dead. One who lives
// is waited for, before the CLI looks at anything: killed, we leave one that goes on
// for a while, and ends by itself. Of one who died the last calls may still be on
// their way: what they make is looked for after that.
func (p *Pulumi) stale(ctx context.Context, s Stack) ([]LockOwner, error) {
	for deadline := time.Now().Add(p.c.Patience); ; {
		locks, err := readLocks(ctx, p.c.Files, s)
		if err != nil {
			return nil, err
		}
		living, err := p.living(ctx, locks)
		if err != nil || len(locks) == 0 {
			return nil, err
		}
		if living == nil {
			return locks, wait(ctx, p.c.Settle)
		}
		if time.Now().After(deadline) {
			return nil, fault.Errorf(fault.Conflict, "it is locked by %s", living).
				WithHint("if nothing runs there any more: pulumi cancel --stack %s", s.full())
		}
		if err := wait(ctx, min(p.c.Patience, time.Second)); err != nil {
			return nil, err
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// living returns one of the owners who is not proven dead, nil if all are.
func (p *Pulumi) living(ctx context.Context, owners []LockOwner) (*LockOwner, error) {
	for _, o := range owners {
		dead, err := p.c.Dead(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("who holds its lock: %w", err)
		}
		if !dead {
			return &o, nil
		}
	}
	return nil, nil
}

// failure keeps an error of Pulumi to its first lines: the whole output may be
// long. Pulumi itself leaves secrets out of it.
func (p *Pulumi) failure(what string, s Stack, err error) error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s stack %s: %w", what, s.full(), err)
	}
	if auto.IsConcurrentUpdateError(err) {
		return fault.Errorf(fault.Conflict, "%s stack %s: another update is going on", what, s.full())
	}
	text := err.Error()
	said := ""
	for line := range strings.Lines(text) {
		if _, after, ok := strings.Cut(line, "error: "); ok && said == "" {
			said = strings.TrimSpace(after)
		}
	}
	if said == "" {
		said, _, _ = strings.Cut(text, "\n")
	}
	return fault.Errorf(kindOfPulumi(text), "%s stack %s: %s", what, s.full(), said).WithDetail(text)
}

// kindOfPulumi looks for AWS's codes in what Pulumi says. Only a quota and a
// missing permission are told apart: what else fails may pass.
func kindOfPulumi(text string) fault.Kind {
	for _, word := range strings.FieldsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		if kind := kindOf(word); kind == fault.Stalled || kind == fault.Invalid {
			return kind
		}
	}
	return fault.Transient
}
