package aws

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/gitopsd/gitopsd/internal/platform/durable"
)

// route is one tenant's file for the edge, whose own type of the same JSON shape
// reads it.
type route struct {
	Tenant  string   `json:"tenant"`
	Hosts   []string `json:"hosts"`
	SRV     string   `json:"srv"`
	Bucket  string   `json:"bucket"`
	Static  string   `json:"static"`
	EdgeKey string   `json:"edgeKey"`
	Serial  uint64   `json:"serial"`
	State   string   `json:"state,omitempty"`
}

// States of a route that leads nowhere.
const (
	stopped = "stopped" // the hosts answer 503: the tenant comes back
	gone    = "gone"    // the hosts answer 410
)

func (d *Driver) routeFile(tenant string) string {
	return filepath.Join(d.c.Volumes, ".edge", "routes", tenant+".json")
}

// route has the CDN and the edge know the tenant's hosts: those it has a
// certificate for, by now.
func (d *Driver) route(ctx context.Context, r *record, edgeKey string) error {
	c, err := d.config(ctx, r)
	if err != nil {
		return err
	}
	wanted := c.Hosts()
	former := slices.Clone(r.Hosts)
	both := slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(wanted), former...))))
	if !slices.Equal(both, r.Hosts) {
		r.Hosts = both
		if err := d.save(ctx, r); err != nil {
			return err
		}
	}
	if err := d.hosts.change(ctx, r.Tenant, wanted, former); err != nil {
		return err
	}
	if sorted := slices.Sorted(slices.Values(wanted)); !slices.Equal(sorted, r.Hosts) {
		r.Hosts = sorted
		if err := d.save(ctx, r); err != nil {
			return err
		}
	}
	return d.writeRoute(ctx, r, wanted, edgeKey)
}

// writeRoute has the edge's file of the tenant as its record says.
func (d *Driver) writeRoute(ctx context.Context, r *record, hosts []string, edgeKey string) error {
	want := route{
		Tenant: r.Tenant, Hosts: hosts, SRV: d.named(r.Tenant).SRV(), EdgeKey: edgeKey, Serial: r.Serial,
		// What CloudFront does not take from the bucket, the edge takes from the release.
		Bucket: filepath.Join(d.volume(r.Tenant), "releases"),
	}
	if r.Static != "" {
		want.Static = r.Static + "/static"
	}
	var have route
	there, err := durable.ReadJSON(d.routeFile(r.Tenant), &have)
	if err == nil && there && reflect.DeepEqual(have, want) {
		return nil
	}
	r.Serial = max(r.Serial, have.Serial) + 1
	if err := d.save(ctx, r); err != nil { // first: a number is not given twice
		return err
	}
	want.Serial = r.Serial
	return d.putRoute(want)
}

// RemoveRoute implements platform.Platform. The edge follows within seconds.
func (d *Driver) RemoveRoute(ctx context.Context, tenant string) error {
	return d.locked(ctx, "remove route", tenant, func() error {
		r, err := d.load(ctx, tenant)
		if err != nil {
			return err
		}
		return d.unroute(ctx, tenant, r, stopped)
	})
}

// Entomb implements platform.Platform.
func (d *Driver) Entomb(ctx context.Context, tenant string) error {
	return d.locked(ctx, "say that it is gone", tenant, func() error {
		r, err := d.load(ctx, tenant)
		if err != nil {
			return err
		}
		return d.unroute(ctx, tenant, r, gone)
	})
}

// unroute has the edge lead to the tenant no more: its hosts answer as the notice
// says, and those of a tenant that is not known nothing at all. One that is said to
// be gone does not become one that comes back.
func (d *Driver) unroute(ctx context.Context, tenant string, r *record, notice string) error {
	if r == nil {
		return d.removeNotice(ctx, tenant, nil)
	}
	var have route
	there, err := durable.ReadJSON(d.routeFile(tenant), &have)
	if err == nil && there && (have.State == notice || have.State == gone) {
		return nil
	}
	hosts := r.Hosts
	if len(hosts) == 0 {
		hosts = d.named(tenant).Tenant.Hosts
	}
	return d.putRoute(route{Tenant: tenant, Hosts: hosts, Serial: max(r.Serial, have.Serial), State: notice})
}

// removeNotice has the CDN and the edge know nothing more of a tenant that is out of
// traffic.
func (d *Driver) removeNotice(ctx context.Context, tenant string, r *record) error {
	if err := d.hosts.change(ctx, tenant, nil, d.hostsOf(tenant, r)); err != nil {
		return err
	}
	if err := durable.Remove(d.routeFile(tenant)); err != nil {
		return err
	}
	if r == nil || len(r.Hosts) == 0 {
		return nil
	}
	r.Hosts = nil
	return d.save(ctx, r)
}

// putRoute writes the edge's file of a tenant.
func (d *Driver) putRoute(r route) error {
	file := d.routeFile(r.Tenant)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("routes of the edge: %w", err)
	}
	return durable.WriteJSON(file, r, 0o600, durable.Owner{})
}

// routed reports whether the edge leads to the tenant, or, with notice, whether it
// says that the tenant is stopped or gone.
func (d *Driver) routed(tenant string, notice bool) func(context.Context) (bool, error) {
	return func(context.Context) (bool, error) {
		var have route
		there, err := durable.ReadJSON(d.routeFile(tenant), &have)
		return there && (have.State != "") == notice, err
	}
}

// hostsOf returns every host that may lead to the tenant.
func (d *Driver) hostsOf(tenant string, r *record) []string {
	all := []string{tenant + "." + d.shared.Domain}
	if r != nil {
		all = append(append(all, r.Hosts...), r.Config.Hosts...)
	}
	return slices.Compact(slices.Sorted(slices.Values(all)))
}
