package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/platform/durable"
	"github.com/gitopsd/gitopsd/internal/platform/local/cgroup"
	"github.com/gitopsd/gitopsd/internal/platform/local/postgresd"
	"github.com/gitopsd/gitopsd/internal/platform/local/process"
	"github.com/gitopsd/gitopsd/internal/platform/local/redisd"
)

// Config configures the driver. All of it is needed, but where it says what nil is.
type Config struct {
	Dir        string       // where data live, absolute; see Place
	Domain     string       // every tenant has the host <tenant>.<Domain>
	EdgeAddr   string       // host:port the edge listens on
	EdgeTLS    *EdgeTLS     // nil: not by TLS
	EdgeLimits EdgeLimits   // of one tenant
	Self       string       // path of the program with the subcommands dns and edge
	Agent      string       // path of gitopsd-agent
	Logger     *slog.Logger //
	Progress   func(string) // told, in a sentence, what takes a while
}

// Driver is the platform on one machine.
type Driver struct {
	layout
	c      Config
	lock   *os.File
	keys   keys
	uids   uids
	locks  locks
	scaler scaler

	self, agent string // copies of the programs, by content
	runner      *process.Runner
	groups      *cgroup.Root // nil where there are none
	postgres    *postgresd.Server
	redis       *redisd.Server
	closing     func() error // once
}

var _ platform.Platform = (*Driver)(nil)

// Open has the platform running: it adopts the processes it finds, and starts
// what is missing. It fails with fault.Invalid if something is not installed or
// the edge's address is taken, and with fault.Conflict if another Driver has
// the directory.
func Open(ctx context.Context, c Config) (_ *Driver, err error) {
	dir, err := Place(c.Dir, c.Progress)
	if err != nil {
		return nil, err
	}
	d := &Driver{layout: layout{dir}, c: c, locks: locks{held: make(map[string]*tenantLock)}, scaler: newScaler()}
	d.closing = sync.OnceValue(d.close)
	if err = d.layout.make(); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if d.lock, err = lockFile(ctx, d.path("platform.lock")); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = d.Close()
		}
	}()
	if d.keys, err = loadKeys(d.layout); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	d.uids = uids{file: d.path("uids.json"), dir: dir}
	if d.runner, err = process.New(d.path("run"), d.path("logs"), c.Logger); err != nil {
		return nil, err
	}
	if err = d.check(); err != nil { // before anything that takes long
		return nil, err
	}
	d.groups = d.findGroups()
	found, err := d.runner.Live("")
	if err != nil {
		return nil, err
	}
	if err = d.start(ctx); err != nil {
		if len(found) == 0 { // nothing ran before: leave nothing behind
			err = errors.Join(err, d.stop(context.WithoutCancel(ctx), c.Progress))
		}
		return nil, err
	}
	return d, nil
}

// check finds what only the user can put right.
func (d *Driver) check() error {
	if err := postgresd.Check(d.path("postgres")); err != nil {
		return err
	}
	if _, err := redisd.Find(); err != nil {
		return err
	}
	if d.runner.Status("edge").Running {
		return nil
	}
	return d.checkEdgeAddr()
}

func (d *Driver) start(ctx context.Context) error {
	group, started := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		owner, err := serviceUser("postgres", "_postgres")
		if err != nil {
			return err
		}
		d.postgres, err = postgresd.Open(started, postgresd.Config{
			Dir: d.path("postgres"), Owner: owner, Runner: d.runner, Logger: d.c.Logger, Progress: d.c.Progress,
			SuperPassword: d.keys.PostgresSuper, MasterPassword: d.keys.PostgresMaster,
		})
		return err
	})
	group.Go(func() (err error) {
		owner, err := serviceUser("redis", "_redis")
		if err != nil {
			return err
		}
		d.redis, err = redisd.Open(started, redisd.Config{
			Dir: d.path("redis"), Owner: owner, Runner: d.runner, Logger: d.c.Logger,
			Password: d.keys.RedisAdmin,
		})
		return err
	})
	group.Go(func() (err error) {
		if d.self, err = d.install(d.c.Self); err != nil {
			return err
		}
		if d.agent, err = d.install(d.c.Agent); err != nil {
			return err
		}
		if err := d.startDNS(started); err != nil {
			return err
		}
		return d.startEdge(started)
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if err := d.prunePrograms(); err != nil {
		d.c.Logger.Warn("old programs not removed", "error", err)
	}
	return d.resume(ctx)
}

// resume has the instances of every running tenant running. One that fails
// keeps no other from it, nor the platform: its next run says why.
func (d *Driver) resume(ctx context.Context) error {
	names, err := d.tenants()
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(8)
	for _, name := range names {
		group.Go(func() error {
			if err := d.resumeTenant(ctx, name); err != nil {
				d.c.Logger.Error("tenant not resumed", "tenant", name, "error", err)
			}
			return nil
		})
	}
	_ = group.Wait() // always nil
	return ctx.Err()
}

func (d *Driver) resumeTenant(ctx context.Context, tenant string) error {
	unlock, err := d.locks.lock(ctx, tenant)
	if err != nil {
		return err
	}
	defer unlock()
	st, err := d.load(tenant)
	if err != nil || st == nil || st.Phase != running {
		return err
	}
	d.scaler.note(st)
	return d.realize(ctx, st)
}

// Supervise restarts what dies, and gives tenants the instances that their load
// asks for, until ctx is done.
func (d *Driver) Supervise(ctx context.Context) error {
	var watch sync.WaitGroup
	watch.Go(func() { d.redis.Watch(ctx) })
	watch.Go(func() { d.scale(ctx) })
	defer watch.Wait()
	return d.runner.Supervise(ctx)
}

// LedgerURL returns how the control plane connects to its own database.
func (d *Driver) LedgerURL() string { return d.postgres.LedgerURL() }

// Dir returns where the data really are: the target of a link that Place made.
func (d *Driver) Dir() string { return d.dir }

// Close lets go of the platform, which goes on running. Closing again is no error.
func (d *Driver) Close() error {
	return d.closing()
}

func (d *Driver) close() error {
	if d.runner != nil {
		d.runner.Close()
	}
	if d.postgres != nil {
		d.postgres.Close()
	}
	var err error
	if d.redis != nil {
		err = d.redis.Close()
	}
	return errors.Join(err, d.lock.Close())
}

// Shutdown stops everything, what others depend on last, and closes the
// driver. Data and ports are kept for the next Open.
func (d *Driver) Shutdown(ctx context.Context, progress func(string)) error {
	return errors.Join(d.stop(ctx, progress), d.Close())
}

// stop ends every process of the platform.
func (d *Driver) stop(ctx context.Context, progress func(string)) error {
	agents, err := d.runner.Names(agentPrefix)
	if err != nil {
		return err
	}
	var errs []error
	for _, step := range []struct {
		say   string
		names []string
	}{
		{"stopping the edge", []string{"edge"}},
		{fmt.Sprintf("stopping %d instances", len(agents)), agents},
		{"stopping DNS", []string{"dns"}},
		{"stopping Redis", []string{"redis"}},
		{"stopping Postgres", []string{"postgres"}},
	} {
		if len(step.names) == 0 {
			continue
		}
		progress(step.say)
		var group errgroup.Group
		for _, name := range step.names {
			group.Go(func() error { return d.stopProcess(ctx, name) })
		}
		errs = append(errs, group.Wait()) // go on: what is left running is worse
	}
	if d.groups != nil {
		d.groups.RemoveAll()
	}
	return errors.Join(errs...)
}

// serviceUser returns the user a server runs as: root gives way to the first
// of the names that is there, or nobody; anyone else remains.
func serviceUser(names ...string) (durable.Owner, error) {
	if os.Geteuid() != 0 {
		return durable.Owner{}, nil
	}
	for _, name := range append(names, "nobody") {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil || uid <= 0 {
			continue
		}
		gid, err := strconv.Atoi(u.Gid)
		if err != nil {
			continue
		}
		return durable.Owner{UID: uid, GID: gid}, nil
	}
	return durable.Owner{}, fault.Errorf(fault.Invalid, "no user to run %s as, not even nobody", names[0]).
		WithHint("run gitopsd as an ordinary user, or add a user named %s", names[0])
}
