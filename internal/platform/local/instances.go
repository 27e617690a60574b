package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/platform/durable"
	"github.com/gitopsd/gitopsd/internal/platform/local/dns"
	"github.com/gitopsd/gitopsd/internal/platform/local/process"
)

const (
	// agentPrefix begins the name of an agent's process: agent.<tenant>.<n>.
	agentPrefix = "agent."
	// stopGrace is longer than an agent takes to let requests end (30 s) and to
	// stop its app (30 s).
	stopGrace = 75 * time.Second
)

func agentName(tenant string, n int) string { return agentPrefix + tenant + "." + strconv.Itoa(n) }

func instanceName(tenant string, n int) string { return tenant + "-" + strconv.Itoa(n) }

// agentConfig is what an agent is started with; the agent's own type of the
// same JSON shape reads it, and refuses what it does not know.
type agentConfig struct {
	Tenant      string `json:"tenant"`
	Instance    string `json:"instance"`
	Volume      string `json:"volume"`
	Local       string `json:"local"`
	Listen      string `json:"listen"`
	Control     string `json:"control"`
	EdgeKey     string `json:"edgeKey"`
	ControlKey  string `json:"controlKey"`
	Environment string `json:"environment"`
	IdleAfter   string `json:"idleAfter,omitempty"` // a duration
	Limits      limits `json:"limits,omitzero"`
}

// EnsureInfrastructure implements platform.Platform.
func (d *Driver) EnsureInfrastructure(ctx context.Context, c platform.Config) error {
	if err := checkTenant(c.Tenant); err != nil {
		return err
	}
	unlock, err := d.locks.lock(ctx, c.Tenant)
	if err != nil {
		return err
	}
	defer unlock()
	st, err := d.adopt(c)
	if err == nil && (st.Phase != running || st.Leaving) {
		st.Phase, st.Leaving = running, false
		err = d.save(st)
	}
	if err == nil {
		err = d.realize(ctx, st)
	}
	if err != nil {
		return fmt.Errorf("infrastructure of %s: %w", c.Tenant, err)
	}
	return nil
}

// realize makes what a running tenant's state asks for.
func (d *Driver) realize(ctx context.Context, st *state) error {
	if err := errors.Join(
		keepDir(d.volume(st.Tenant), 0o750, st.group()),
		keepDir(d.bucket(st.Tenant), 0o700, durable.Owner{}),
		keepDir(d.instances(st.Tenant), 0o750, st.group()),
	); err != nil {
		return err
	}
	instances := make([]dns.Instance, st.count())
	group, started := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for n := range instances {
		group.Go(func() (err error) {
			instances[n], err = d.startInstance(started, st, n)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := d.offer(ctx, st, instances); err != nil {
		return err
	}
	return d.removeInstances(ctx, st.Tenant, st.count())
}

// startInstance has one agent running and up.
func (d *Driver) startInstance(ctx context.Context, st *state, n int) (dns.Instance, error) {
	name := agentName(st.Tenant, n)
	if err := errors.Join(
		keepDir(d.instance(st.Tenant, n), 0o750, st.group()),
		keepDir(filepath.Join(d.instance(st.Tenant, n), "local"), 0o700, st.owner()),
	); err != nil {
		return dns.Instance{}, err
	}
	if _, err := d.writeEnvironment(st, n); err != nil {
		return dns.Instance{}, err
	}
	status, err := d.runner.Ensure(ctx, process.Service{
		Name: name, Ports: []string{"listen", "control"}, Grace: stopGrace,
		Prepare:   func(ports process.Ports) (process.Command, error) { return d.agentCommand(st, n, ports) },
		Restarted: func(process.Ports) { d.instanceRestarted(st.Tenant) },
	})
	if err != nil {
		return dns.Instance{}, err
	}
	control := status.Ports.Addr("control")
	err = d.awaitProcess(ctx, name, func(ctx context.Context) error { return agentUp(ctx, control) })
	return dns.Instance{Name: instanceName(st.Tenant, n), Addr: "127.0.0.1", Port: status.Ports["listen"]}, err
}

// agentCommand writes an agent's configuration. A running agent is kept as long
// as that and its user are the same, also when the program is another by now.
func (d *Driver) agentCommand(st *state, n int, ports process.Ports) (process.Command, error) {
	dir := d.instance(st.Tenant, n)
	config := agentConfig{
		Tenant: st.Tenant, Instance: instanceName(st.Tenant, n),
		Volume: d.volume(st.Tenant), Local: filepath.Join(dir, "local"),
		Listen: ports.Addr("listen"), Control: ports.Addr("control"),
		EdgeKey: d.keys.derive("edge", st.Tenant), ControlKey: d.keys.derive("control", st.Tenant),
		Environment: filepath.Join(dir, "environment.json"),
	}
	if after := st.Config.Compute.IdleAfter; after > 0 {
		config.IdleAfter = after.String()
	}
	group, err := d.limit(st, agentName(st.Tenant, n), &config.Limits)
	if err != nil {
		return process.Command{}, err
	}
	path := filepath.Join(dir, "agent.json")
	if _, err := durable.UpdateJSON(path, config, 0o400, st.owner()); err != nil {
		return process.Command{}, err
	}
	return process.Command{
		Path: d.agent, Args: []string{"-config", path}, Dir: config.Local, Owner: st.owner(),
		Env: []string{systemPath, "HOME=" + config.Local}, Group: group,
		Same: fmt.Sprintf("%d %+v", st.UID, config),
	}, nil
}

// writeEnvironment has an instance's environment file as the tenant's secrets
// and configuration say, and reports whether that was a change.
func (d *Driver) writeEnvironment(st *state, n int) (bool, error) {
	s, err := d.loadSecrets(st.Tenant)
	if err != nil {
		return false, err
	}
	env := make(map[string]string, len(s.Values)+3)
	maps.Copy(env, s.Values)
	if st.Config.Database.Enabled && s.Database != "" {
		env["DATABASE_URL"] = d.postgres.Databases().URL(st.Tenant, s.Database)
	}
	if st.Config.Cache.Enabled && s.Cache != "" {
		env["REDIS_URL"] = d.redis.URL(st.Tenant, s.Cache)
		env["REDIS_PREFIX"] = st.Tenant + ":"
	}
	path := filepath.Join(d.instance(st.Tenant, n), "environment.json")
	return durable.UpdateJSON(path, env, 0o400, st.owner())
}

// refreshEnvironment gives the instances that exist their environment anew.
func (d *Driver) refreshEnvironment(ctx context.Context, st *state) error {
	for _, n := range d.instanceNumbers(st.Tenant) {
		if _, err := os.Stat(d.instance(st.Tenant, n)); err != nil {
			continue
		}
		changed, err := d.writeEnvironment(st, n)
		if err != nil {
			return fmt.Errorf("environment of %s: %w", instanceName(st.Tenant, n), err)
		}
		if status := d.runner.Status(agentName(st.Tenant, n)); changed && status.Running {
			if err := d.ring(ctx, st.Tenant, status.Ports.Addr("control")); err != nil {
				d.c.Logger.Warn("instance not told of its new environment", "tenant", st.Tenant, "error", err)
			}
		}
	}
	return nil
}

// instanceRestarted puts an instance's new address, if it has one, into DNS,
// and has the edge look.
func (d *Driver) instanceRestarted(tenant string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := func() error {
		unlock, err := d.locks.lock(ctx, tenant)
		if err != nil {
			return err
		}
		defer unlock()
		st, err := d.load(tenant)
		if err != nil || st == nil || st.Phase != running {
			return err
		}
		if present, err := dns.Present(d.path("dns"), tenant); err != nil || !present {
			return err // out of traffic
		}
		return d.realize(ctx, st)
	}()
	if err != nil {
		d.c.Logger.Error("restarted instance not taken up", "tenant", tenant, "error", err)
	}
}

// instanceNumbers returns which instances have a process or a directory, sorted.
func (d *Driver) instanceNumbers(tenant string) []int {
	found := make(map[int]bool)
	add := func(s string) {
		if n, err := strconv.Atoi(s); err == nil {
			found[n] = true
		}
	}
	prefix := agentName(tenant, 0)
	prefix = strings.TrimSuffix(prefix, "0")
	if names, err := d.runner.Names(prefix); err == nil {
		for _, name := range names {
			add(strings.TrimPrefix(name, prefix))
		}
	}
	if entries, err := os.ReadDir(d.instances(tenant)); err == nil {
		for _, e := range entries {
			add(e.Name())
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// removeInstances takes away the instances from number first on, which neither
// DNS nor the edge knows any more: each agent lets its requests end.
func (d *Driver) removeInstances(ctx context.Context, tenant string, first int) error {
	surplus := slices.DeleteFunc(d.instanceNumbers(tenant), func(n int) bool { return n < first })
	var group errgroup.Group
	for _, n := range surplus {
		group.Go(func() error {
			if err := d.stopProcess(ctx, agentName(tenant, n)); err != nil {
				return err
			}
			if err := os.RemoveAll(d.instance(tenant, n)); err != nil {
				return err
			}
			return d.runner.Remove(ctx, agentName(tenant, n), 0)
		})
	}
	return group.Wait()
}

// Drain implements platform.Platform.
func (d *Driver) Drain(ctx context.Context, tenant string) error {
	unlock, err := d.locks.lock(ctx, tenant)
	if err != nil {
		return err
	}
	defer unlock()
	st, err := d.load(tenant)
	if err != nil {
		return err
	}
	if st != nil && st.Phase != drained {
		st.Phase = drained // from here on no Open starts it again
		if err := d.save(st); err != nil {
			return err
		}
	}
	if err := d.unroute(ctx, tenant, stopped); err != nil {
		return fmt.Errorf("drain %s: %w", tenant, err)
	}
	if err := d.stopInstances(ctx, tenant, st); err != nil {
		return fmt.Errorf("drain %s: %w", tenant, err)
	}
	return nil
}

// stopInstances ends all of the tenant's processes.
func (d *Driver) stopInstances(ctx context.Context, tenant string, st *state) error {
	var group errgroup.Group
	for _, n := range d.instanceNumbers(tenant) {
		group.Go(func() error { return d.stopProcess(ctx, agentName(tenant, n)) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if st == nil || st.UID == 0 {
		return nil
	}
	return d.endUser(ctx, tenant, st.UID)
}

// endUser ends what an app left behind that its agent did not find: nothing
// else runs as the tenant's user.
func (d *Driver) endUser(ctx context.Context, tenant string, uid int) error {
	for range 100 { // one that goes on forking is met again
		pids, err := process.UserProcesses(uid)
		if err != nil || len(pids) == 0 {
			return err
		}
		d.c.Logger.Warn("ending processes that outlived their app", "tenant", tenant, "pids", pids)
		for _, pid := range pids {
			process.Kill(pid, func(pid int) bool { return process.RunsAs(pid, uid) })
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return fault.Errorf(fault.Transient, "processes of user %d do not end", uid)
}

// DestroyInfrastructure implements platform.Platform.
func (d *Driver) DestroyInfrastructure(ctx context.Context, tenant string) error {
	if err := d.Drain(ctx, tenant); err != nil {
		return err
	}
	unlock, err := d.locks.lock(ctx, tenant)
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.destroy(ctx, tenant); err != nil {
		return fmt.Errorf("destroy infrastructure of %s: %w", tenant, err)
	}
	return d.forget(tenant)
}

func (d *Driver) destroy(ctx context.Context, tenant string) error {
	st, err := d.load(tenant)
	if err != nil {
		return err
	}
	if st != nil && (st.Static != "" || !st.Leaving) { // the assets go
		st.Static, st.Leaving = "", true
		if err := d.save(st); err != nil {
			return err
		}
	}
	if err := d.removeNotice(ctx, tenant); err != nil {
		return err
	}
	numbers := d.instanceNumbers(tenant)
	for _, dir := range []string{d.instances(tenant), d.bucket(tenant)} {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	for _, n := range numbers { // the records last: they say which there were
		if err := d.runner.Remove(ctx, agentName(tenant, n), 0); err != nil {
			return err
		}
	}
	return nil
}
