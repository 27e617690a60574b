package aws

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	infra "github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/release"
)

// volume is the tenant's directory on the cell's file system. Its access point
// makes it, with its first task: to us, the group would be out of reach.
func (d *Driver) volume(tenant string) string { return filepath.Join(d.c.Volumes, tenant) }

// awaitVolume waits until the tenant's directory is there.
func (d *Driver) awaitVolume(ctx context.Context, r *record) error {
	ctx, cancel := context.WithTimeout(ctx, d.c.Timing.Start)
	defer cancel()
	return poll(ctx, d.c.Timing.Poll, "directory "+d.volume(r.Tenant), func(context.Context) (bool, string, error) {
		_, err := os.Stat(d.volume(r.Tenant))
		if errors.Is(err, fs.ErrNotExist) {
			return false, "absent", nil
		}
		return err == nil, "", err
	})
}

// Volume implements platform.Platform.
func (d *Driver) Volume(ctx context.Context, tenant string) (*release.Volume, error) {
	if _, err := d.known(ctx, tenant); err != nil {
		return nil, err
	}
	if _, err := os.Stat(d.volume(tenant)); err != nil {
		return nil, fault.Errorf(fault.NotFound, "volume of %s: %w", tenant, err)
	}
	return release.Open(d.volume(tenant)), nil
}

// site returns where the tenant's assets are served.
func (d *Driver) site(r *record) Site {
	s := Site{Bucket: r.Outputs.Bucket, Distribution: r.Outputs.DistributionID, Tenant: r.Outputs.DistributionTen}
	if d.edgeOf(r.Config) == infra.EdgeWildcard {
		s.Distribution = "" // it keeps nothing
	}
	return s
}

// UploadStatic implements platform.Platform.
func (d *Driver) UploadStatic(ctx context.Context, tenant, digest string) error {
	return d.locked(ctx, "upload static assets", tenant, func() error {
		r, err := d.known(ctx, tenant)
		if err != nil {
			return err
		}
		return d.static.Upload(ctx, d.site(r), release.Open(d.volume(tenant)), digest)
	})
}

// ActivateStatic implements platform.Platform. An empty digest serves none.
func (d *Driver) ActivateStatic(ctx context.Context, tenant, digest string) error {
	return d.locked(ctx, "activate static assets", tenant, func() error {
		r, err := d.known(ctx, tenant)
		if err != nil {
			return err
		}
		if err := d.static.Activate(ctx, d.site(r), digest); err != nil {
			return err
		}
		if r.Static != digest {
			r.Static = digest
			if err := d.save(ctx, r); err != nil {
				return err
			}
		}
		if r.Phase != running || len(r.Hosts) == 0 {
			return nil // out of traffic: the route says it when it comes back
		}
		given, _, err := d.secrets.Load(ctx, tenant)
		if err != nil {
			return err
		}
		return d.route(ctx, r, given.EdgeKey)
	})
}

// RemoveReleases implements platform.Platform.
func (d *Driver) RemoveReleases(ctx context.Context, tenant string) error {
	return d.locked(ctx, "remove releases", tenant, func() error {
		if err := os.RemoveAll(d.volume(tenant)); err != nil {
			return err
		}
		return d.forget(ctx, tenant)
	})
}

// reachable returns where a tenant's instances are, with the key of its agents.
func (d *Driver) reachable(ctx context.Context, tenant string) (*record, Service, error) {
	r, err := d.known(ctx, tenant)
	if err != nil {
		return nil, Service{}, err
	}
	given, _, err := d.secrets.Load(ctx, tenant)
	at := d.serviceOf(r)
	at.ControlKey = given.ControlKey
	return r, at, err
}

// AwaitRelease implements platform.Platform. Tasks that are on their way out
// are waited for, so that no request meets another release afterwards.
func (d *Driver) AwaitRelease(ctx context.Context, tenant string, p release.Pointer) error {
	r, at, err := d.reachable(ctx, tenant)
	if err != nil {
		return err
	}
	if r.Phase != running {
		return fault.Errorf(fault.Stalled, "tenant %s is stopped", tenant)
	}
	if err := d.agents.Await(ctx, at, p); err != nil {
		return err
	}
	if err := d.services.awaitRunning(ctx, at); err != nil {
		return err
	}
	return d.agents.Await(ctx, at, p) // of those that came meanwhile
}

// Instances implements platform.Platform. Those that are to run, and do not, are
// among them.
func (d *Driver) Instances(ctx context.Context, tenant string) ([]platform.Instance, error) {
	r, at, err := d.reachable(ctx, tenant)
	if err != nil {
		return nil, err
	}
	list, err := d.agents.Instances(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("instances of %s: %w", tenant, err)
	}
	for n := len(list); n < max(1, r.Config.Compute.Scale.Min); n++ {
		list = append(list, platform.Instance{Name: tenant + "-" + strconv.Itoa(n)})
	}
	return list, nil
}
