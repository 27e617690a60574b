package local

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/local/dns"
	"github.com/gitopsd/gitopsd/internal/platform/local/process"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// lookEvery is how often the instances of tenants with several are looked at.
const lookEvery = 500 * time.Millisecond

// scaler gives tenants that may have more instances as many as their load asks
// for, and keeps instances that do not serve out of traffic while others do.
// Tenants that always have one instance cost it nothing.
type scaler struct {
	pace pace
	wake chan struct{}

	mu      sync.Mutex
	tenants map[string]*scaled
}

// scaled is a tenant that has several instances, or may.
type scaled struct {
	compute tenant.Compute
	count   int
	gauge   gauge
	used    map[int]time.Duration // processor time by agent, at the last look
	offered []dns.Instance        // those in traffic; nil: not known
	busy    bool                  // a change is under way
}

func newScaler() scaler {
	return scaler{pace: defaultPace(), wake: make(chan struct{}, 1), tenants: map[string]*scaled{}}
}

// note takes a tenant's state as it is now.
func (s *scaler) note(st *state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := st.Config.Compute
	if st.Phase != running || st.Leaving || st.count() < 2 && c.Scale.Max < 2 {
		delete(s.tenants, st.Tenant)
		return
	}
	one := s.tenants[st.Tenant]
	if one == nil {
		one = &scaled{}
		s.tenants[st.Tenant] = one
	}
	one.compute, one.count = c, st.count()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// some reports whether there are such tenants.
func (s *scaler) some() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tenants) > 0
}

// scale works until ctx is done.
func (d *Driver) scale(ctx context.Context) {
	var changes sync.WaitGroup
	defer changes.Wait()
	known := true // the load, at the last look
	for {
		var tick <-chan time.Time
		if d.scaler.some() {
			tick = time.After(lookEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-d.scaler.wake:
			continue
		case <-tick:
		}
		loads, err := d.edgeLoads(ctx)
		if err != nil {
			if known && ctx.Err() == nil {
				d.c.Logger.Warn("the load is not known, instances stay as many", "error", err)
			}
			known = false
			continue
		}
		known = true
		for name, want := range d.scaler.look(d.runner, time.Now(), loads) {
			changes.Go(func() {
				defer d.scaler.done(name)
				// One that is cut short is taken up by the next start.
				if err := d.adjust(ctx, name, want); err != nil && ctx.Err() == nil {
					d.c.Logger.Warn("instances not adjusted", "tenant", name, "error", err)
				}
			})
		}
	}
}

// look measures every tenant, and returns how many instances those are to have
// that must be looked after: they are busy until they are done.
func (s *scaler) look(agents *process.Runner, now time.Time, loads map[string]edgeLoad) map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var pids []int
	of := map[string][]int{}
	for name, one := range s.tenants {
		for n := range one.count {
			if status := agents.Status(agentName(name, n)); status.Running {
				of[name] = append(of[name], status.PID)
			}
		}
		pids = append(pids, of[name]...)
	}
	used := process.CPU(pids)
	due := map[string]int{}
	for name, one := range s.tenants {
		l := load{waiting: float64(loads[name].Waiting), cores: one.cores(now, of[name], used)}
		want := one.gauge.observe(now, l, one.compute, one.count, s.pace)
		if !one.busy && (one.count > 1 || want != one.count) {
			one.busy, due[name] = true, want
		}
	}
	return due
}

func (s *scaler) done(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.tenants[name]; one != nil {
		one.busy = false
	}
}

// cores returns how many processors the agents' apps kept busy since the last look.
func (one *scaled) cores(now time.Time, agents []int, used map[int]time.Duration) float64 {
	var spent time.Duration
	next := make(map[int]time.Duration, len(agents))
	for _, pid := range agents {
		next[pid] = used[pid]
		if was, known := one.used[pid]; known && used[pid] > was { // less: an app ended, and took its time along
			spent += used[pid] - was
		}
	}
	one.used = next
	if elapsed := now.Sub(one.gauge.at); !one.gauge.at.IsZero() && elapsed > 0 {
		return spent.Seconds() / elapsed.Seconds()
	}
	return 0
}

// adjust gives a tenant the number of instances, and traffic to those that serve.
func (d *Driver) adjust(ctx context.Context, name string, want int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	unlock, err := d.locks.lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	st, err := d.load(name)
	if err != nil || st == nil || st.Phase != running || st.Leaving {
		return err
	}
	if present, err := dns.Present(d.path("dns"), name); err != nil || !present {
		return err // out of traffic
	}
	was := st.count()
	st.Replicas = want
	if st.count() == was {
		return d.offerServing(ctx, st)
	}
	d.c.Logger.Info("instances change with the load", "tenant", name, "from", was, "to", st.count())
	if err := d.save(st); err != nil {
		return err
	}
	return d.realize(ctx, st)
}

// offerServing has those of a tenant's instances in traffic that serve, or all
// if none does.
func (d *Driver) offerServing(ctx context.Context, st *state) error {
	if st.count() < 2 {
		return nil
	}
	instances := make([]dns.Instance, st.count())
	for n := range instances {
		ports := d.runner.Status(agentName(st.Tenant, n)).Ports
		instances[n] = dns.Instance{Name: instanceName(st.Tenant, n), Addr: "127.0.0.1", Port: ports["listen"]}
	}
	serving := d.serving(ctx, st.Tenant, instances)
	if d.scaler.offers(st.Tenant, offeredOf(instances, serving)) {
		return nil
	}
	return d.publishInstances(ctx, st, instances, serving)
}

// offer remembers which instances were put into traffic.
func (s *scaler) offer(name string, offered []dns.Instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.tenants[name]; one != nil {
		one.offered = offered
	}
}

// offers reports whether these are the instances in traffic.
func (s *scaler) offers(name string, offered []dns.Instance) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.tenants[name]
	return one != nil && slices.Equal(one.offered, offered)
}

// edgeLoad is what the edge says of a tenant's requests; the edge's own type of
// the same JSON shape is the source.
type edgeLoad struct {
	InFlight int64 `json:"inFlight"`
	Waiting  int64 `json:"waiting"`
}

// edgeLoads asks the edge for the load of the tenants that have any.
func (d *Driver) edgeLoads(ctx context.Context) (map[string]edgeLoad, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	status, body, err := ask(ctx, http.MethodGet, "http://"+d.runner.Status("edge").Ports.Addr("admin")+"/load", "")
	if err != nil {
		return nil, fault.Errorf(fault.Transient, "ask the edge for its load: %w", err)
	}
	var loads map[string]edgeLoad
	if status != http.StatusOK || json.Unmarshal(body, &loads) != nil {
		return nil, fault.Errorf(fault.Transient, "ask the edge for its load: status %d: %.200s", status, body)
	}
	return loads, nil
}
