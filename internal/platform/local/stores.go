package local

import (
	"context"
	"fmt"

	"github.com/gitopsd/gitopsd/internal/platform"
)

func databasePassword(s *tenantSecrets) *string { return &s.Database }

func cachePassword(s *tenantSecrets) *string { return &s.Cache }

// EnsureDatabase implements platform.Platform. A database that is no longer
// enabled is kept, without being offered to the app, until the tenant goes.
func (d *Driver) EnsureDatabase(ctx context.Context, c platform.Config) error {
	err := d.ensureStore(ctx, c, c.Database.Enabled, databasePassword, func(password string) error {
		if err := d.settle(ctx, c.Tenant); err != nil {
			return err
		}
		return d.postgres.Databases().Ensure(ctx, c.Tenant, password, c.Database.Connections)
	})
	if err != nil {
		return fmt.Errorf("database of %s: %w", c.Tenant, err)
	}
	return nil
}

// EnsureCacheUser implements platform.Platform. A user that is no longer
// enabled is kept like a database.
func (d *Driver) EnsureCacheUser(ctx context.Context, c platform.Config) error {
	err := d.ensureStore(ctx, c, c.Cache.Enabled, cachePassword, func(password string) error {
		return d.redis.EnsureTenant(ctx, c.Tenant, password)
	})
	if err != nil {
		return fmt.Errorf("cache user of %s: %w", c.Tenant, err)
	}
	return nil
}

// ensureStore has a store made with the tenant's password for it, and tells the instances.
func (d *Driver) ensureStore(ctx context.Context, c platform.Config, enabled bool,
	choose func(*tenantSecrets) *string, make func(password string) error,
) error {
	if err := checkTenant(c.Tenant); err != nil {
		return err
	}
	unlock, err := d.locks.lock(ctx, c.Tenant)
	if err != nil {
		return err
	}
	defer unlock()
	st, err := d.adopt(c)
	if err != nil {
		return err
	}
	if enabled {
		password, err := d.password(c.Tenant, choose)
		if err != nil {
			return err
		}
		if err := make(password); err != nil {
			return err
		}
	}
	return d.refreshEnvironment(ctx, st)
}

// Database implements platform.Platform.
func (d *Driver) Database(_ context.Context, tenant string) (string, error) {
	st, err := d.known(tenant)
	if err != nil {
		return "", err
	}
	s, err := d.loadSecrets(tenant)
	if err != nil || s.Database == "" || !st.Config.Database.Enabled {
		return "", err
	}
	return d.postgres.Databases().URL(tenant, s.Database), nil
}

// DropDatabase implements platform.Platform.
func (d *Driver) DropDatabase(ctx context.Context, tenant string) error {
	if err := d.dropStore(ctx, tenant, databasePassword, d.postgres.Databases().Drop); err != nil {
		return fmt.Errorf("drop database of %s: %w", tenant, err)
	}
	return nil
}

// DropCacheUser implements platform.Platform.
func (d *Driver) DropCacheUser(ctx context.Context, tenant string) error {
	if err := d.dropStore(ctx, tenant, cachePassword, d.redis.DropTenant); err != nil {
		return fmt.Errorf("drop cache user of %s: %w", tenant, err)
	}
	return nil
}

// dropStore removes a store and then its password.
func (d *Driver) dropStore(ctx context.Context, tenant string,
	choose func(*tenantSecrets) *string, drop func(context.Context, string) error,
) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	unlock, err := d.locks.lock(ctx, tenant)
	if err != nil {
		return err
	}
	defer unlock()
	if err := drop(ctx, tenant); err != nil {
		return err
	}
	s, err := d.loadSecrets(tenant)
	if err != nil {
		return err
	}
	if *choose(&s) != "" {
		*choose(&s) = ""
		if err := d.saveSecrets(tenant, s); err != nil {
			return err
		}
	}
	return d.forget(tenant)
}
