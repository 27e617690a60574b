package aws

import (
	"context"
	"fmt"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/platform/tenantkeys"
)

// What of its stores an app is given.
const (
	envDatabase    = "DATABASE_URL"
	envCache       = "REDIS_URL"
	envCachePrefix = "REDIS_PREFIX"
)

// stamp tells one environment from another, and nothing of what is in it.
func (c Credentials) stamp() string { return derive(c.ControlKey, c.Environment)[:16] }

// offer has the credentials offer the app what it has: what it no longer has goes,
// and with add comes what it has by now.
func (d *Driver) offer(ctx context.Context, r *record, c *Credentials, add bool) error {
	if c.Offered == nil {
		c.Offered = make(map[string]string)
	}
	if r.Config.Database.Enabled && (add || c.Offered[envDatabase] != "") {
		if err := d.offerDatabase(ctx, r, c); err != nil {
			return err
		}
	}
	if r.Config.Cache.Enabled && (add || c.Offered[envCache] != "") {
		d.offerCache(r, c)
	}
	return nil
}

func (d *Driver) offerDatabase(ctx context.Context, r *record, c *Credentials) error {
	if c.Database == "" {
		c.Database = newPassword()
	}
	if ownDatabase(r.Config) && r.Outputs.DatabaseEndpoint == "" {
		return nil // not made yet
	}
	db, done, err := d.databaseOf(ctx, r)
	if err != nil {
		return err
	}
	defer done()
	c.Offered[envDatabase] = db.URL(r.Tenant, c.Database)
	return nil
}

func (d *Driver) offerCache(r *record, c *Credentials) {
	if c.Cache == "" {
		c.Cache = newPassword()
	}
	if ownCache(r.Config) && r.Outputs.CacheEndpoint == "" {
		return
	}
	cache, done := d.cacheOf(r)
	defer done()
	c.Offered[envCache], c.Offered[envCachePrefix] = cache.URL(r.Tenant, c.Cache), tenantkeys.Prefix(r.Tenant)
}

// EnsureDatabase implements platform.Platform. A database that is no longer
// enabled is kept, without being offered to the app, until the tenant goes.
func (d *Driver) EnsureDatabase(ctx context.Context, c platform.Config) error {
	return d.locked(ctx, "database", c.Tenant, func() error {
		r, err := d.adopt(ctx, c)
		if err != nil {
			return err
		}
		if !c.Database.Enabled {
			return d.withdraw(ctx, r, envDatabase)
		}
		if ownDatabase(c) && r.Outputs.DatabaseEndpoint == "" {
			return fault.Errorf(fault.NotFound, "it has no cluster of its own yet")
		}
		given, err := d.secrets.Change(ctx, c.Tenant, func(s *Credentials) error {
			if s.Database == "" {
				s.Database = newPassword()
			}
			return nil
		})
		if err != nil {
			return err
		}
		db, done, err := d.databaseOf(ctx, r)
		if err != nil {
			return err
		}
		defer done()
		if err := d.seal(ctx, db, r.Outputs.DatabaseEndpoint); err != nil {
			return err
		}
		if err := d.settle(ctx, r); err != nil {
			return err
		}
		if err := db.Ensure(ctx, c.Tenant, given.Database, c.Database.Connections); err != nil {
			return err
		}
		return d.give(ctx, r, func(s *Credentials) error { return d.offerDatabase(ctx, r, s) })
	})
}

// seal closes a cluster's own databases to tenants, once.
func (d *Driver) seal(ctx context.Context, db *Database, endpoint string) error {
	d.mu.Lock()
	sealed := d.sealed[endpoint]
	d.mu.Unlock()
	if sealed {
		return nil
	}
	if err := db.Seal(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sealed[endpoint] = true
	return nil
}

// EnsureCacheUser implements platform.Platform. A user that is no longer enabled
// is kept like a database.
func (d *Driver) EnsureCacheUser(ctx context.Context, c platform.Config) error {
	return d.locked(ctx, "cache user", c.Tenant, func() error {
		r, err := d.adopt(ctx, c)
		if err != nil {
			return err
		}
		if !c.Cache.Enabled {
			return d.withdraw(ctx, r, envCache, envCachePrefix)
		}
		if ownCache(c) && r.Outputs.CacheEndpoint == "" {
			return fault.Errorf(fault.NotFound, "it has no cache of its own yet")
		}
		given, err := d.secrets.Change(ctx, c.Tenant, func(s *Credentials) error {
			if s.Cache == "" {
				s.Cache = newPassword()
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := d.ensureCacheUser(ctx, r, given); err != nil {
			return err
		}
		return d.give(ctx, r, func(s *Credentials) error {
			d.offerCache(r, s)
			return nil
		})
	})
}

func (d *Driver) ensureCacheUser(ctx context.Context, r *record, given Credentials) error {
	cache, done := d.cacheOf(r)
	defer done()
	if cache != d.caches { // it may be in the cell's, from before it had its own
		if err := d.caches.dismiss(ctx, r.Tenant); err != nil {
			return err
		}
	}
	passwords := []string{given.Cache}
	if given.FormerCache != "" {
		passwords = append(passwords, given.FormerCache)
	}
	return cache.Ensure(ctx, r.Tenant, passwords...)
}

// withdraw has the app no longer be given what has these names.
func (d *Driver) withdraw(ctx context.Context, r *record, names ...string) error {
	return d.give(ctx, r, func(c *Credentials) error {
		for _, name := range names {
			delete(c.Offered, name)
		}
		return nil
	})
}

// give changes what the app is given, and has tasks that run started anew with it.
func (d *Driver) give(ctx context.Context, r *record, change func(*Credentials) error) error {
	given, err := d.secrets.Change(ctx, r.Tenant, func(c *Credentials) error {
		if c.Offered == nil {
			c.Offered = make(map[string]string)
		}
		return change(c)
	})
	if err != nil {
		return err
	}
	return d.renew(ctx, r, given)
}

// SetSecret stores the value of one of a tenant's secrets; an empty one removes
// it. What runs is started anew with it. The tenant need not exist yet.
func (d *Driver) SetSecret(ctx context.Context, tenant, name, value string) error {
	return d.locked(ctx, "secret", tenant, func() error {
		if err := d.secrets.Set(ctx, tenant, name, value); err != nil {
			return err
		}
		r, err := d.load(ctx, tenant)
		if err != nil || r == nil {
			return err
		}
		given, there, err := d.secrets.Load(ctx, tenant)
		if err != nil || !there {
			return err
		}
		return d.renew(ctx, r, given)
	})
}

// MissingSecrets implements platform.Platform.
func (d *Driver) MissingSecrets(ctx context.Context, tenant string, names []string) ([]string, error) {
	return d.secrets.Missing(ctx, tenant, names)
}

// Database implements platform.Platform.
func (d *Driver) Database(ctx context.Context, tenant string) (string, error) {
	r, err := d.known(ctx, tenant)
	if err != nil || !r.Config.Database.Enabled {
		return "", err
	}
	given, _, err := d.secrets.Load(ctx, tenant)
	if err != nil || given.Database == "" {
		return "", err
	}
	db, done, err := d.databaseOf(ctx, r)
	if err != nil {
		return "", err
	}
	defer done()
	return db.URL(tenant, given.Database), nil
}

// DropDatabase implements platform.Platform. What a tenant has in a cluster of its
// own goes with that; there may be more in the cell's, from before it had one.
func (d *Driver) DropDatabase(ctx context.Context, tenant string) error {
	return d.locked(ctx, "drop database", tenant, func() error {
		r, err := d.load(ctx, tenant)
		if err != nil {
			return err
		}
		db, done, err := d.databaseOf(ctx, r)
		if err != nil {
			return err
		}
		defer done()
		if db != d.databases {
			if err := db.Drop(ctx, tenant); err != nil {
				return err
			}
		}
		if err := d.databases.Drop(ctx, tenant); err != nil {
			return err
		}
		return d.forgetStore(ctx, tenant, func(c *Credentials) {
			c.Database = ""
			delete(c.Offered, envDatabase)
		})
	})
}

// DropCacheUser implements platform.Platform.
func (d *Driver) DropCacheUser(ctx context.Context, tenant string) error {
	return d.locked(ctx, "drop cache user", tenant, func() error {
		r, err := d.load(ctx, tenant)
		if err != nil {
			return err
		}
		cache, done := d.cacheOf(r)
		defer done()
		if cache != d.caches {
			if err := cache.Drop(ctx, tenant); err != nil {
				return err
			}
		}
		if err := d.caches.Drop(ctx, tenant); err != nil {
			return err
		}
		return d.forgetStore(ctx, tenant, func(c *Credentials) {
			c.Cache, c.FormerCache = "", ""
			delete(c.Offered, envCache)
			delete(c.Offered, envCachePrefix)
		})
	})
}

// forgetStore removes what let the tenant into a store that is gone.
func (d *Driver) forgetStore(ctx context.Context, tenant string, remove func(*Credentials)) error {
	_, there, err := d.secrets.Load(ctx, tenant)
	if err != nil {
		return err
	}
	if there {
		if _, err := d.secrets.Change(ctx, tenant, func(c *Credentials) error {
			remove(c)
			return nil
		}); err != nil {
			return fmt.Errorf("forget its password: %w", err)
		}
	}
	return d.forget(ctx, tenant)
}
