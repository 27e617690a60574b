package aws

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	cell "github.com/gitopsd/gitopsd/infra/platform"
	infra "github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
)

// Config configures the driver.
type Config struct {
	Cell         cell.Outputs  // what the cell's stack tells
	OriginSecret string        // between CDN and load balancer
	AWS          awssdk.Config //
	Stacks       Stacks        // makes tenants' infrastructure
	Volumes      string        // where the cell's file system is mounted, as the publisher
	Temp         string        // directory on local disk for databases' dumps; "": the system's
	Edge         infra.Edge    // of tenants that ask for no other; "": EdgeTenant
	Master       Master        // of the cell's Aurora cluster; leases hang on it, too
	Keys         KeysConfig    // how the control plane enters the cell's cache
	Drift        DriftConfig   //
	Timing       Timing        //
	Logger       *slog.Logger  //
}

// Driver is the platform on AWS: one cell of it.
type Driver struct {
	c      Config
	shared infra.Shared
	owner  Owner
	locks  Locks
	log    *slog.Logger

	state         *s3.Client // of the records
	secrets       *Secrets
	databases     *Database // of the cell
	caches        *Cache    // of the cell
	keys          *Keys     // of the cell
	static        *Static
	snapshots     SnapshotStore
	agents        *Agents
	distributions *Distributions
	services      *services
	hosts         *hosts
	certificates  *acm.Client
	logs          *cloudwatchlogs.Client
	masters       *secretsmanager.Client // of clusters' master secrets
	looker        *looker                // of the inventory

	mu      sync.Mutex
	sealed  map[string]bool // clusters, by endpoint; "" for the cell's
	closing func() error    // once
}

var _ platform.Platform = (*Driver)(nil)

// Open returns the driver of a cell. It connects to nothing yet.
func Open(ctx context.Context, c Config) (*Driver, error) {
	c = c.complete()
	if err := c.validate(); err != nil {
		return nil, err
	}
	d := &Driver{
		c: c, shared: cell.SharedOf(c.Cell, c.OriginSecret), owner: Owner{Cell: c.Cell.Shared.Cell},
		locks: NewLeases(c.Master), log: c.Logger,
		state: newS3(c.AWS), static: NewStatic(c.AWS), snapshots: NewSnapshotStore(c.AWS, c.Cell.Snapshots), agents: NewAgents(c.AWS, c.Logger),
		services: newServices(c.AWS, c.Timing.Poll), certificates: newCertificates(c.AWS), logs: cloudwatchlogs.NewFromConfig(c.AWS),
		masters: secretsmanager.NewFromConfig(c.AWS), looker: newLooker(c.AWS), sealed: make(map[string]bool),
	}
	d.hosts = newHosts(c.AWS, c.Cell.KeyValueStore, d.locks)
	d.secrets, d.distributions = NewSecrets(c.AWS, d.owner), NewDistributions(c.AWS, d.owner)
	var err error
	if d.databases, err = OpenDatabase(ctx, c.Master); err != nil {
		return nil, err
	}
	d.keys = OpenKeys(c.Keys)
	d.caches = d.newCache(c.Cell.CacheGroup, c.Cell.CacheEndpoint, d.keys)
	d.closing = sync.OnceValue(func() error {
		d.databases.Close()
		return d.keys.Close()
	})
	return d, nil
}

// complete fills in what follows from the rest.
func (c Config) complete() Config {
	if c.Edge == "" {
		c.Edge = infra.EdgeTenant
	}
	if c.Keys.Addr == "" {
		c.Keys.Addr = c.Cell.CacheEndpoint
	}
	c.Timing = c.Timing.complete()
	c.Drift = c.Drift.complete()
	return c
}

func (c Config) validate() error {
	for _, f := range []struct{ name, value string }{
		{"cell's name", c.Cell.Shared.Cell},
		{"bucket of state", c.Cell.State},
		{"bucket of snapshots", c.Cell.Snapshots},
		{"domain", c.Cell.Shared.Domain},
		{"origin's secret", c.OriginSecret},
		{"directory of volumes", c.Volumes},
	} {
		if f.value == "" {
			return fault.Errorf(fault.Invalid, "the platform lacks the %s", f.name).
				WithHint("run gitopsd platform up, and take its outputs")
		}
	}
	if c.Stacks == nil || c.Logger == nil || c.Keys.Password == nil {
		return fault.Errorf(fault.Invalid, "the platform lacks what makes stacks, a logger, or the cache's password")
	}
	switch c.Edge {
	case infra.EdgeTenant, infra.EdgeDedicated, infra.EdgeWildcard:
		return nil
	}
	return fault.Errorf(fault.Invalid, "edge %q: want %s, %s or %s", c.Edge, infra.EdgeTenant, infra.EdgeDedicated, infra.EdgeWildcard)
}

// Close ends the connections. Tenants are not concerned. Closing again is no error.
func (d *Driver) Close() error { return d.closing() }

func (d *Driver) newCache(group, endpoint string, keys *Keys) *Cache {
	return NewCache(d.c.AWS, d.owner, CacheConfig{
		Group: group, Locks: d.locks, Poll: d.c.Timing.Poll, Keys: keys, Host: endpoint, TLS: d.c.Keys.TLS != nil,
	})
}

// databaseOf returns the cluster that has the tenant's database: the cell's, or
// its own. It is not to be closed but by what is returned with it.
func (d *Driver) databaseOf(ctx context.Context, r *record) (*Database, func(), error) {
	if r == nil || r.Outputs.DatabaseEndpoint == "" {
		return d.databases, func() {}, nil
	}
	m, err := d.masterOf(r.Outputs)
	if err != nil {
		return nil, nil, err
	}
	own, err := OpenDatabase(ctx, m)
	if err != nil {
		return nil, nil, err
	}
	return own, own.Close, nil
}

// masterOf returns the master of a tenant's own cluster, which is made like the cell's.
func (d *Driver) masterOf(o infra.Outputs) (Master, error) {
	m := d.c.Master
	host, port, err := splitEndpoint(o.DatabaseEndpoint)
	if err != nil {
		return m, err
	}
	m.Host, m.Port, m.Database = host, port, "postgres"
	m.User, m.Password = infra.MasterUser, func(ctx context.Context) (string, error) {
		return d.managedPassword(ctx, o.DatabaseSecret)
	}
	if m.TLS != nil {
		m.TLS = m.TLS.Clone()
		m.TLS.ServerName = host
	}
	return m, nil
}

// cacheOf returns the cache that has the tenant's user: the cell's, or its own.
func (d *Driver) cacheOf(r *record) (*Cache, func()) {
	if r == nil || r.Outputs.CacheEndpoint == "" {
		return d.caches, func() {}
	}
	c := d.c.Keys
	c.Addr = r.Outputs.CacheEndpoint
	if c.PasswordOf != nil {
		c.Password = c.PasswordOf(c.Addr)
	}
	if c.TLS != nil {
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	keys := OpenKeys(c)
	return d.newCache(r.Outputs.CacheUserGroup, r.Outputs.CacheEndpoint, keys), func() { _ = keys.Close() }
}

func splitEndpoint(endpoint string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(endpoint)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil {
		return "", 0, fault.Errorf(fault.Invalid, "endpoint %q: want host:port", endpoint)
	}
	return host, port, nil
}

// lock keeps everyone else from changing the tenant, in this process and in all others.
func (d *Driver) lock(ctx context.Context, tenant string) (unlock func(), err error) {
	if err := checkTenant(tenant); err != nil {
		return nil, err
	}
	return d.locks.Lock(ctx, "tenant/"+tenant)
}

// locked does something to a tenant while nobody else does. what is said of its errors.
func (d *Driver) locked(ctx context.Context, what, tenant string, do func() error) error {
	unlock, err := d.lock(ctx, tenant)
	if err != nil {
		return err
	}
	defer unlock()
	if err := do(); err != nil {
		return fmt.Errorf("%s of %s: %w", what, tenant, err)
	}
	return nil
}

// managedPassword returns the password in a master secret that RDS manages, as it
// is now: RDS changes it by itself.
func (d *Driver) managedPassword(ctx context.Context, secret string) (string, error) {
	out, err := d.masters.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: awssdk.String(secret)})
	if err != nil {
		return "", failure("read the master secret", err)
	}
	var value struct{ Password string }
	if err := json.Unmarshal([]byte(awssdk.ToString(out.SecretString)), &value); err != nil || value.Password == "" {
		return "", fault.Errorf(fault.Invalid, "the master secret %s holds no password", secret) // without err: it quotes the value
	}
	return value.Password, nil
}
