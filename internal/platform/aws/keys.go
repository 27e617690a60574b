package aws

import (
	"context"
	"crypto/tls"

	"github.com/redis/go-redis/v9"

	"github.com/gitopsd/gitopsd/internal/platform/tenantkeys"
)

// KeysConfig says how the control plane's own user enters a cache.
type KeysConfig struct {
	Addr     string // host:port of the primary
	User     string
	Password func(context.Context) (string, error)
	// PasswordOf returns Password for another cache, by its endpoint; nil: it is the same.
	PasswordOf func(endpoint string) func(context.Context) (string, error)
	TLS        *tls.Config
}

// Keys are the keys of tenants in one cache.
type Keys struct {
	*tenantkeys.Keys
	db *redis.Client
}

// OpenKeys returns the keys of a cache. It does not connect yet.
func OpenKeys(c KeysConfig) *Keys {
	db := redis.NewClient(&redis.Options{
		Addr: c.Addr, TLSConfig: c.TLS, Protocol: 2, PoolSize: 4,
		CredentialsProviderContext: func(ctx context.Context) (string, string, error) {
			password, err := c.Password(ctx)
			return c.User, password, err
		},
	})
	return &Keys{tenantkeys.New(db), db}
}

// Close ends the connections.
func (k *Keys) Close() error { return k.db.Close() }
