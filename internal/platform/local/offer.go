package local

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gitopsd/gitopsd/internal/platform/local/dns"
)

// maxStart is longer than an agent lets a new app take to become healthy.
const maxStart = 35 * time.Second

// offer has the tenant's instances in DNS and at the edge. As long as one
// serves, those that do not serve yet are kept out of traffic: they are waited
// for, and left out if they do not come to serve.
func (d *Driver) offer(ctx context.Context, st *state, instances []dns.Instance) error {
	serving := d.serving(ctx, st.Tenant, instances)
	if err := d.publishInstances(ctx, st, instances, serving); err != nil {
		return err
	}
	if n := count(serving); n == 0 || n == len(instances) {
		return nil
	}
	waited, cancel := context.WithTimeout(ctx, maxStart)
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for count(serving) < len(instances) && waited.Err() == nil {
		select {
		case <-waited.Done():
			d.c.Logger.Warn("an instance does not serve and is kept out of traffic", "tenant", st.Tenant)
		case <-tick.C:
			serving = d.serving(ctx, st.Tenant, instances)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return d.publishInstances(ctx, st, instances, serving)
}

// serving returns, for each instance, whether its app takes traffic.
func (d *Driver) serving(ctx context.Context, tenant string, instances []dns.Instance) []bool {
	serving := make([]bool, len(instances))
	var group errgroup.Group
	for n := range instances {
		group.Go(func() error {
			control := d.runner.Status(agentName(tenant, n)).Ports.Addr("control")
			report, err := d.report(ctx, tenant, control, 0)
			serving[n] = err == nil && report.Ready()
			return nil
		})
	}
	_ = group.Wait() // always nil
	return serving
}

func count(set []bool) int {
	n := 0
	for _, in := range set {
		if in {
			n++
		}
	}
	return n
}

// publishInstances puts those that serve into DNS, or all if none does, and
// waits until the edge has them.
func (d *Driver) publishInstances(ctx context.Context, st *state, instances []dns.Instance, serving []bool) error {
	offered := offeredOf(instances, serving)
	d.scaler.offer(st.Tenant, nil) // until it is so, nothing is known
	changed, err := d.writeNames(ctx, st.Tenant, offered)
	if err != nil {
		return err
	}
	if err := d.writeRoute(st, changed); err != nil {
		return err
	}
	if err := d.awaitRoute(ctx, st, offered); err != nil {
		return err
	}
	d.scaler.offer(st.Tenant, offered)
	return nil
}

// offeredOf returns the instances that serve, or all if none does.
func offeredOf(instances []dns.Instance, serving []bool) []dns.Instance {
	none := count(serving) == 0
	var offered []dns.Instance
	for n, i := range instances {
		if none || serving[n] {
			offered = append(offered, i)
		}
	}
	return offered
}

// offerAll has every instance in traffic, now that all serve a new release: one
// may have been kept out for the sake of the former.
func (d *Driver) offerAll(ctx context.Context, tenant string) error {
	unlock, err := d.locks.lock(ctx, tenant)
	if err != nil {
		return err
	}
	defer unlock()
	st, err := d.load(tenant)
	if err != nil || st == nil || st.Phase != running || st.count() == 1 {
		return err
	}
	if present, err := dns.Present(d.path("dns"), tenant); err != nil || !present {
		return err // out of traffic
	}
	instances := make([]dns.Instance, st.count())
	for n := range instances {
		ports := d.runner.Status(agentName(tenant, n)).Ports
		instances[n] = dns.Instance{Name: instanceName(tenant, n), Addr: "127.0.0.1", Port: ports["listen"]}
	}
	return d.publishInstances(ctx, st, instances, make([]bool, len(instances)))
}
