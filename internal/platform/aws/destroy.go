package aws

import (
	"context"
	"errors"
	"io/fs"
	"os"

	infra "github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// DestroyInfrastructure implements platform.Platform. A distribution of the
// tenant's own takes CloudFront a quarter of an hour: until it is gone, this
// returns fault.Transient with the time after which to call again.
func (d *Driver) DestroyInfrastructure(ctx context.Context, tenant string) error {
	return d.locked(ctx, "destroy infrastructure", tenant, func() error {
		r, err := d.load(ctx, tenant)
		if err != nil {
			return err
		}
		if err := d.drain(ctx, tenant, r); err != nil {
			return err
		}
		if r != nil {
			err = d.destroy(ctx, r)
		} else {
			err = d.destroyUnknown(ctx, tenant)
		}
		if err != nil {
			return err
		}
		return d.forget(ctx, tenant)
	})
}

func (d *Driver) destroy(ctx context.Context, r *record) error {
	if r.Phase != leaving || r.Applied != "" || r.Static != "" {
		r.Phase, r.Applied, r.Static = leaving, "", ""
		if err := d.save(ctx, r); err != nil {
			return err
		}
	}
	if err := d.removeNotice(ctx, r.Tenant, r); err != nil {
		return err
	}
	if err := OpenBucket(d.c.AWS, d.named(r.Tenant).BucketName()).Empty(ctx, d.owner, r.Tenant); err != nil {
		return err
	}
	if r.Stack {
		if err := d.destroyStack(ctx, r); err != nil {
			return err
		}
	}
	return d.dropCertificate(ctx, r)
}

func (d *Driver) destroyStack(ctx context.Context, r *record) error {
	c, err := d.lastConfig(ctx, r)
	if err != nil {
		return err
	}
	if ownDatabase(c.Tenant) || ownCache(c.Tenant) { // they are protected
		if err := d.liftProtection(ctx, r, c); err != nil {
			return err
		}
	}
	if c.Edge == infra.EdgeDedicated && r.Outputs.DistributionID != "" {
		if err := d.distributions.Remove(ctx, r.Tenant, r.Outputs.DistributionID); err != nil {
			return err
		}
	}
	if err := d.c.Stacks.Destroy(ctx, d.stack(c)); err != nil {
		return err
	}
	r.Stack, r.Outputs = false, infra.Outputs{}
	return d.save(context.WithoutCancel(ctx), r)
}

// lastConfig returns the configuration that the tenant's stack was made of, as far
// as the record tells: what of its own it has is in it, whatever the file says now.
func (d *Driver) lastConfig(ctx context.Context, r *record) (infra.Config, error) {
	c, err := d.config(ctx, r)
	if err != nil {
		return c, err
	}
	if r.Outputs.DatabaseEndpoint != "" {
		c.Tenant.Database.Enabled, c.Tenant.Isolation.Database = true, tenant.Dedicated
	}
	if r.Outputs.CacheEndpoint != "" {
		c.Tenant.Cache.Enabled, c.Tenant.Isolation.Cache = true, tenant.Dedicated
	}
	return c, nil
}

// liftProtection has the stack let go of its data, of which there is a snapshot.
func (d *Driver) liftProtection(ctx context.Context, r *record, c infra.Config) error {
	if r.Withdrawn {
		return nil
	}
	c.Withdrawn = true
	if _, err := d.c.Stacks.Up(ctx, d.stack(c)); err != nil {
		return err
	}
	r.Withdrawn = true
	return d.save(context.WithoutCancel(ctx), r)
}

// destroyUnknown destroys what is left of a tenant that has no record: a stack needs
// no program to be destroyed.
func (d *Driver) destroyUnknown(ctx context.Context, tenant string) error {
	if err := OpenBucket(d.c.AWS, d.named(tenant).BucketName()).Empty(ctx, d.owner, tenant); err != nil {
		return err
	}
	for _, s := range []Stack{d.stack(d.named(tenant)), d.certificateStack(d.named(tenant))} {
		there, err := d.c.Stacks.Has(ctx, s)
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		if err := d.c.Stacks.Destroy(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// forget removes the tenant's secret and, last, its record, if that is all there
// is of it: whichever part goes last takes them along.
func (d *Driver) forget(ctx context.Context, tenant string) error {
	r, err := d.load(ctx, tenant)
	if err != nil || r != nil && (r.Stack || r.Certificate.Stack || len(r.Hosts) > 0) {
		return err
	}
	if _, err := os.Lstat(d.volume(tenant)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c, _, err := d.secrets.Load(ctx, tenant)
	if err != nil || c.Database != "" || c.Cache != "" {
		return err
	}
	if err := d.secrets.Remove(ctx, tenant); err != nil {
		return err
	}
	if r == nil {
		return nil
	}
	return d.removeRecord(ctx, tenant)
}
