package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/gitopsd/gitopsd/internal/build"
	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
	"github.com/gitopsd/gitopsd/internal/github"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/policy"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// daemon is the control plane: every part, made and wired.
type daemon struct {
	config
	log      *slog.Logger
	platform driver
	database database
	ledger   *postgres.Ledger
	mirror   *git.Mirror
	forge    *github.Client // nil without one
	webhook  string         // the secret of its webhooks; "" for none
	reviews  *review.Loop   // nil without a forge
	remotes  *remotes
	builder  *build.Builder
	engine   engine
	loop     *sync.Loop
	console  *console.Server
	closed   bool
}

// driver is what the daemon needs of where tenants live.
type driver interface {
	platform.Platform
	// SetSecret stores the value of one of a tenant's secrets; an empty one removes it.
	SetSecret(ctx context.Context, tenant, name, value string) error
	// Supervise keeps what was made as it should be, until ctx ends.
	Supervise(ctx context.Context) error
	// Close lets go; tenants go on being served.
	Close() error
}

// stopper is a driver that can end all that it started.
type stopper interface {
	Shutdown(ctx context.Context, progress func(string)) error
}

// engine is what the daemon needs of what runs machines.
type engine interface {
	sync.Engine
	// Close leaves the runs to the next engine. Closing again is no error.
	Close(patience time.Duration) error
}

// database is where the ledger is kept, and how to log in there.
type database struct {
	url   string
	login func(context.Context, *pgx.ConnConfig) error // called before each connection; nil: the URL says all
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
	if err := d.ledger.Acquire(ctx, daemonHolder+holder()); err != nil {
		return fmt.Errorf("take the lease: %w", err)
	}
	if err := d.openSources(ctx); err != nil {
		return err
	}
	return d.wire(ctx)
}

// openPlatform makes where tenants live and what is known of them.
func (d *daemon) openPlatform(ctx context.Context, progress func(string)) error {
	open := d.openLocal
	if d.Platform == onAWS {
		open = d.openAWS
	}
	if err := open(ctx, progress); err != nil {
		return err
	}
	return d.openLedger(ctx)
}

// openLedger connects to the ledger.
func (d *daemon) openLedger(ctx context.Context) (err error) {
	d.ledger, err = postgres.Open(ctx, d.database.url, postgres.WithLogger(d.log), postgres.WithLogin(d.database.login))
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	return nil
}

// openEngine makes what runs machines.
func (d *daemon) openEngine(ctx context.Context) error {
	open := d.openDBOS
	if d.Engine == byStepFunctions {
		open = d.openStepFunctions
	}
	if err := open(ctx); err != nil {
		return fmt.Errorf("start engine: %w", err)
	}
	return nil
}

// openMirror makes what reads the repository.
func (d *daemon) openMirror(ctx context.Context) error {
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
	return nil
}

// openSources makes what reads repositories and builds from them.
func (d *daemon) openSources(ctx context.Context) error {
	if err := d.openMirror(ctx); err != nil {
		return err
	}
	others, err := private(d.Data, filepath.Join("repository", "apps"))
	if err != nil {
		return err
	}
	d.remotes = openRemotes(others, d.AllowFileSources, d.log)
	work, err := private(d.Data, "build")
	if err != nil {
		return err
	}
	d.builder, err = build.New(build.Config{
		Source: d.mirror, Remote: d.remotes.Find, Dir: work, Cache: d.BuildCache, Warm: os.Getenv(envWarmCache),
		Migrates: d.Platform == onAWS && d.Engine == byStepFunctions, // the compile function's image has the go command
		Logger:   d.log,
	})
	if err != nil {
		return fmt.Errorf("set up builder: %w", err)
	}
	return nil
}

// wire connects the loop, the engine and the console to the parts below.
func (d *daemon) wire(ctx context.Context) error {
	d.openLoop()
	if err := d.openEngine(ctx); err != nil {
		return err
	}
	return d.openConsole()
}

// openLoop makes what follows the branch.
func (d *daemon) openLoop() {
	d.loop = sync.New(sync.Config{
		Planner: sync.Planner{
			Tree: repository{d.mirror}, Apps: apps{d.mirror}, Dir: "tenants", Domain: d.Domain, Brake: d.Brake,
			Policies: policy.New(d.mirror.FS, d.mirror.TreeID, d.Brake),
		},
		Source: repository{d.mirror}, Signatures: repository{d.mirror}, Ledger: d.ledger, Engine: engineRef{d}, Reporter: d.reporter(),
		Branch: d.Branch, Runs: d.Runs, Log: d.log,
	})
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
		d.openReviews()
		if c.Webhook, err = d.wireWebhook(); err != nil {
			return fmt.Errorf("set up webhooks: %w", err)
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
	s, ok := d.platform.(stopper)
	if !ok {
		return nil
	}
	if err := s.Shutdown(ctx, progress); err != nil {
		return fmt.Errorf("stop the platform: %w", err)
	}
	return nil
}

// deps is what tasks work with; ledger and builder are those of who runs them.
func (d *daemon) deps(ledger pipeline.Ledger, builder pipeline.Builder) pipeline.Deps {
	return pipeline.Deps{Ledger: ledger, Platform: d.platform, Builder: builder, Domain: d.Domain, Now: time.Now}
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

// daemonHolder begins the name by which a daemon holds the lease: it keeps it for as
// long as it lives.
const daemonHolder = "daemon "

func holder() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}
