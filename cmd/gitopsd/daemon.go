package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gitopsd/gitopsd/internal/build"
	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
	"github.com/gitopsd/gitopsd/internal/github"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/pipeline/dbosrun"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/platform/local"
	"github.com/gitopsd/gitopsd/internal/policy"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// config is what the daemon is told; flags and the config file fill it.
type config struct {
	Repo        string     `yaml:"repo"` // path or URL
	Branch      string     `yaml:"branch"`
	Data        string     `yaml:"data"`   // directory
	Domain      string     `yaml:"domain"` // tenants are at <name>.<domain>
	EdgeAddr    string     `yaml:"edgeAddr"`
	ConsoleAddr string     `yaml:"consoleAddr"`
	Brake       plan.Brake `yaml:"brake"`
	Runs        int        `yaml:"runs"`       // at a time
	BuildCache  string     `yaml:"buildCache"` // of compiled packages; below Data if ""

	ConsoleURL string       `yaml:"consoleURL"` // what browsers and the forge call the console
	PublicRead bool         `yaml:"publicRead"` // anybody may read the console's pages
	GitHub     githubConfig `yaml:"github"`
	Git        gitConfig    `yaml:"git"`

	AllowFileSources bool `yaml:"allowFileSources"` // tenants' files may name repositories of this machine
}

func defaults() config {
	return config{
		Repo: ".", Branch: "main", Data: ".gitopsd", Domain: "localhost",
		EdgeAddr: "127.0.0.1:8080", ConsoleAddr: "127.0.0.1:8090",
		Brake: plan.DefaultBrake, Runs: 4 * runtime.GOMAXPROCS(0),
	}
}

// daemon is the control plane: every part, made and wired.
type daemon struct {
	config
	log      *slog.Logger
	platform *local.Driver
	ledger   *postgres.Ledger
	mirror   *git.Mirror
	forge    *github.Client // nil without one
	webhook  string         // the secret of its webhooks; "" for none
	reviews  *review.Loop   // nil without a forge
	remotes  *remotes
	builder  *build.Builder
	engine   *dbosrun.Engine
	loop     *sync.Loop
	console  *console.Server
	closed   bool
}

// newDaemon returns a daemon that is to be opened, and closed in any case.
func newDaemon(c config, log *slog.Logger) *daemon { return &daemon{config: c, log: log} }

// open makes every part, in the order in which they need each other. When one
// fails, the daemon has those made before it.
func (d *daemon) open(ctx context.Context, progress func(string)) error {
	if err := d.openForge(ctx); err != nil { // first: a mistake in its configuration starts nothing
		return fmt.Errorf("connect to GitHub: %w", err)
	}
	if err := d.openPlatform(ctx, progress); err != nil {
		return err
	}
	if err := d.ledger.Acquire(ctx, holder()); err != nil {
		return fmt.Errorf("take the lease: %w", err)
	}
	if err := d.openSources(ctx); err != nil {
		return err
	}
	return d.wire(ctx)
}

// openPlatform makes where tenants live and what is known of them.
func (d *daemon) openPlatform(ctx context.Context, progress func(string)) (err error) {
	if d.Data, err = dataDir(d.Data, progress); err != nil {
		return err
	}
	self, agent, err := binaries()
	if err != nil {
		return err
	}
	d.platform, err = local.Open(ctx, local.Config{
		Dir: d.Data, Domain: d.Domain, EdgeAddr: d.EdgeAddr, Self: self, Agent: agent,
		Logger: d.log, Progress: progress,
	})
	if err != nil {
		return err
	}
	if d.ledger, err = postgres.Open(ctx, d.platform.LedgerURL(), postgres.WithLogger(d.log)); err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	return nil
}

// openSources makes what reads repositories and builds from them.
func (d *daemon) openSources(ctx context.Context) error {
	repo, err := private(d.Data, "repository")
	if err != nil {
		return err
	}
	mirror := git.Config{
		URL: d.Repo, Branch: d.Branch, Dir: filepath.Join(repo, "mirror.git"), MaxObtained: pullDownload, Logger: d.log,
	}
	if err := d.gitAuth(&mirror, d.forge); err != nil {
		return err
	}
	if d.mirror, err = git.Open(ctx, mirror); err != nil {
		return fmt.Errorf("open repository: %w", err)
	}
	others, err := private(repo, "apps")
	if err != nil {
		return err
	}
	d.remotes = openRemotes(others, d.AllowFileSources, d.log)
	work, err := private(d.Data, "build")
	if err != nil {
		return err
	}
	d.builder, err = build.New(build.Config{
		Source: d.mirror, Remote: d.remotes.Find, Dir: work, Cache: d.BuildCache, Logger: d.log,
	})
	if err != nil {
		return fmt.Errorf("set up builder: %w", err)
	}
	return nil
}

// wire connects the loop, the engine and the console to the parts below.
func (d *daemon) wire(ctx context.Context) (err error) {
	d.loop = sync.New(sync.Config{
		Planner: sync.Planner{
			Tree: repository{d.mirror}, Apps: apps{d.mirror}, Dir: "tenants", Domain: d.Domain, Brake: d.Brake,
			Policies: policy.New(d.mirror.FS, d.mirror.TreeID, d.Brake),
		},
		Source: repository{d.mirror}, Signatures: repository{d.mirror}, Ledger: d.ledger, Engine: engineRef{d}, Reporter: d.reporter(),
		Branch: d.Branch, Runs: d.Runs, Log: d.log,
	})
	d.engine, err = dbosrun.New(ctx, dbosrun.Config{
		URL: d.platform.LedgerURL(), Machines: pipeline.Machines(), Ledger: d.ledger,
		Tasks: pipeline.Tasks(pipeline.Deps{
			Ledger: d.ledger, Platform: d.platform, Builder: d.builder, Domain: d.Domain, Now: time.Now,
		}),
		Finished: func(string) { d.loop.Wake() }, Logger: d.log,
	})
	if err != nil {
		return fmt.Errorf("start engine: %w", err)
	}
	return d.openConsole()
}

// openConsole makes what people and the forge reach the daemon by.
func (d *daemon) openConsole() (err error) {
	c := console.Config{
		Ledger: records{d.ledger}, Platform: d.platform, Loop: d.loop, Secrets: d.platform,
		PublicURL: d.ConsoleURL, PublicRead: d.PublicRead,
		Addr: d.ConsoleAddr, Data: d.Data, Domain: d.Domain, Edge: d.EdgeAddr, Brake: d.Brake, Log: d.log,
	}
	if d.forge != nil {
		c.Reviews = d.ledger
		if c.Webhook, err = d.wireForge(); err != nil {
			return fmt.Errorf("set up reviews of pull requests: %w", err)
		}
	}
	d.console, err = console.New(c)
	return err
}

// Run works until ctx ends or the lease is lost.
func (d *daemon) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.platform.Supervise(ctx) })
	fenced := func(err error) error {
		if fault.Is(err, fault.Conflict) { // another daemon may act now: what is under way ends at once
			d.stopEngine(0)
		}
		return err
	}
	g.Go(func() error { return fenced(<-d.ledger.Keep(ctx)) })
	g.Go(func() error { return d.console.Serve(ctx) })
	g.Go(func() error { return fenced(d.loop.Run(ctx)) })
	if d.reviews != nil {
		g.Go(func() error { return fenced(d.reviews.Run(ctx)) })
	}
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Close lets go of every part; tenants go on being served. Closing again, or
// after a shutdown, is fine.
func (d *daemon) Close() {
	if d.closed {
		return
	}
	d.closeControl()
	if d.platform != nil {
		if err := d.platform.Close(); err != nil {
			d.log.Warn("closing the platform", "error", err)
		}
	}
}

// closeControl ends the control plane: what works with the platform.
func (d *daemon) closeControl() {
	d.closed = true
	if d.engine != nil {
		d.stopEngine(10 * time.Second)
	}
	if d.console != nil {
		d.console.Close()
	}
	if d.ledger != nil {
		d.ledger.Close()
	}
	if d.remotes != nil {
		if err := d.remotes.Close(); err != nil {
			d.log.Warn("closing the mirrors of apps", "error", err)
		}
	}
	if d.mirror != nil {
		if err := d.mirror.Close(); err != nil {
			d.log.Warn("closing the mirror", "error", err)
		}
	}
}

// stopEngine leaves the runs to the next engine. Stopping it again is no error.
func (d *daemon) stopEngine(patience time.Duration) {
	if err := d.engine.Close(patience); err != nil {
		d.log.Warn("stopping the engine", "error", err)
	}
}

// shutdown ends the control plane, then everything it started.
func (d *daemon) shutdown(ctx context.Context, progress func(string)) error {
	if d.closed {
		return nil
	}
	d.closeControl()
	if d.platform == nil {
		return nil
	}
	if err := d.platform.Shutdown(ctx, progress); err != nil {
		return fmt.Errorf("stop the platform: %w", err)
	}
	return nil
}

// engineRef lets the loop be made before the engine that wakes it.
type engineRef struct{ d *daemon }

func (e engineRef) Start(ctx context.Context, run pipeline.Run) error {
	return e.d.engine.Start(ctx, run)
}

// logReporter reports statuses where there is no forge: the ledger has them
// already, so the log is enough.
type logReporter struct{ log *slog.Logger }

func (r logReporter) Report(_ context.Context, s sync.CommitStatus) error {
	r.log.Info("commit status", "commit", s.Commit, "state", s.State, "description", s.Description)
	return nil
}

// binaries returns this program and the agent, which is built beside it.
func binaries() (self, agent string, err error) {
	if self, err = os.Executable(); err != nil {
		return "", "", fmt.Errorf("find this program: %w", err)
	}
	agent = filepath.Join(filepath.Dir(self), "gitopsd-agent")
	if _, err := os.Stat(agent); err != nil {
		return "", "", fault.Errorf(fault.Invalid, "gitopsd-agent is not beside %s", self).
			WithHint("build both with: make build")
	}
	return self, agent, nil
}

// dataDir makes the data directory and returns where it really is.
func dataDir(dir string, progress func(string)) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find data directory: %w", err)
	}
	if abs, err = local.Place(abs, progress); err != nil {
		return "", fmt.Errorf("place data directory: %w", err)
	}
	if err := os.MkdirAll(abs, 0o711); err != nil {
		return "", fmt.Errorf("make data directory: %w", err)
	}
	return abs, nil
}

// private makes a directory that no tenant may enter: it has every tenant's code.
func private(data, name string) (string, error) {
	dir := filepath.Join(data, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make directory: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return "", fmt.Errorf("make directory private: %w", err)
	}
	return dir, nil
}

func holder() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}
