package aws

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
)

// DriftConfig says what is done about infrastructure that others have changed.
type DriftConfig struct {
	Every time.Duration // between two looks at a tenant; default 24 h
	Heal  bool          // set right, not only reported
}

func (c DriftConfig) complete() DriftConfig {
	if c.Every <= 0 {
		c.Every = 24 * time.Hour
	}
	return c
}

// Supervise looks after what no run waits for, until ctx is done: certificates that
// domains' owners have to prove, and what others have changed. Several may do so at
// the same time.
func (d *Driver) Supervise(ctx context.Context) error {
	var watch sync.WaitGroup
	defer watch.Wait()
	for _, round := range []func(context.Context, []*record){d.roundOfCertificates, d.roundOfDrift} {
		watch.Go(func() {
			tick := time.NewTicker(d.c.Timing.Watch)
			defer tick.Stop()
			for {
				if all, err := d.records(ctx); err == nil {
					round(ctx, all)
				} else if ctx.Err() == nil {
					d.log.Warn("tenants not looked after", "error", err)
				}
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
		})
	}
	<-ctx.Done()
	return nil
}

// records returns the records of all tenants. One that cannot be read is left out.
func (d *Driver) records(ctx context.Context) ([]*record, error) {
	names, err := d.tenants(ctx)
	if err != nil {
		return nil, err
	}
	var all []*record
	for _, name := range names {
		r, err := d.load(ctx, name)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			d.log.Warn("tenant not looked after", "tenant", name, "error", err)
		}
		if r != nil {
			all = append(all, r)
		}
	}
	return all, nil
}

// roundOfCertificates takes those into use that were issued.
func (d *Driver) roundOfCertificates(ctx context.Context, all []*record) {
	for _, r := range all {
		if ctx.Err() != nil {
			return
		}
		if r.Phase != running || !r.Certificate.pending() {
			continue
		}
		if err := d.superviseCertificate(ctx, r.Tenant); err != nil {
			d.log.Warn("certificate not looked after", "tenant", r.Tenant, "error", err)
		}
	}
}

func (d *Driver) superviseCertificate(ctx context.Context, tenant string) error {
	return d.locked(ctx, "certificate", tenant, func() error {
		r, err := d.load(ctx, tenant)
		if err != nil || r == nil || r.Phase != running || !r.Certificate.pending() {
			return err
		}
		if err := d.lookUpCertificate(ctx, r); err != nil {
			return err
		}
		if r.Certificate.pending() && !r.Certificate.failed() {
			return nil
		}
		d.log.Info("certificate decided", "tenant", tenant, "status", r.Certificate.Status)
		return d.realize(ctx, r)
	})
}

// roundOfDrift looks at some of the tenants, those first that were not looked at for
// the longest time: so many that each has its turn in time.
func (d *Driver) roundOfDrift(ctx context.Context, all []*record) {
	due := slices.DeleteFunc(slices.Clone(all), func(r *record) bool {
		return r.Phase != running || r.Applied == "" || time.Since(r.lookedAt()) < d.c.Drift.Every
	})
	slices.SortFunc(due, func(a, b *record) int {
		return cmp.Or(a.lookedAt().Compare(b.lookedAt()), cmp.Compare(a.Tenant, b.Tenant))
	})
	rounds := max(1, int(d.c.Drift.Every/d.c.Timing.Watch))
	for _, r := range due[:min(len(due), (len(all)+rounds-1)/rounds)] {
		if ctx.Err() != nil {
			return
		}
		if err := d.superviseDrift(ctx, r.Tenant); err != nil {
			d.log.Warn("drift not looked for", "tenant", r.Tenant, "error", err)
		}
	}
}

// lookedAt returns when drift was looked for last.
func (r *record) lookedAt() time.Time {
	if r.Drift == nil {
		return time.Time{}
	}
	return r.Drift.At
}

// superviseDrift looks at one tenant's stack. The look itself holds up no run that
// needs the tenant, but for the time that the stack is locked.
func (d *Driver) superviseDrift(ctx context.Context, tenant string) error {
	r, err := d.load(ctx, tenant)
	if err != nil || r == nil || r.Phase != running || r.Applied == "" || time.Since(r.lookedAt()) < d.c.Drift.Every {
		return err
	}
	c, err := d.config(ctx, r)
	if err != nil {
		return err
	}
	changes, failed := d.c.Stacks.Drift(ctx, d.stack(c))
	if failed != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return d.locked(ctx, "drift", tenant, func() error {
		now, err := d.load(ctx, tenant)
		if err != nil || now == nil || now.Applied != r.Applied || now.Phase != running {
			return err // it was made anew meanwhile: what was seen means nothing
		}
		now.Drift = &platform.Drift{At: time.Now().UTC(), Changes: changes}
		if failed != nil {
			now.Drift.Failure = fault.RecordOf(failed).Message
		}
		if err := d.save(ctx, now); err != nil || len(changes) == 0 {
			return errors.Join(failed, err)
		}
		d.log.Warn("infrastructure was changed by others", "tenant", tenant, "changes", changes, "heal", d.c.Drift.Heal)
		if !d.c.Drift.Heal {
			return nil
		}
		return d.heal(ctx, now)
	})
}

// heal sets right what others have changed.
func (d *Driver) heal(ctx context.Context, r *record) error {
	r.Applied = "" // so that what there is is looked at, and made as it should be
	err := d.realize(ctx, r)
	r.Drift.Healed = err == nil
	if err != nil {
		r.Drift.Failure = fault.RecordOf(err).Message
	}
	return errors.Join(err, d.save(context.WithoutCancel(ctx), r))
}

// Condition implements platform.Platform.
func (d *Driver) Condition(ctx context.Context, tenant string) (platform.Condition, error) {
	r, err := d.known(ctx, tenant)
	if err != nil {
		return platform.Condition{}, err
	}
	return platform.Condition{Domains: domains(r), Drift: r.Drift}, nil
}
