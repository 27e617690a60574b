package aws

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// KeysConfig says how the control plane's own user enters a cache.
type KeysConfig struct {
	Addr     string // host:port of the primary
	User     string
	Password func(context.Context) (string, error)
	TLS      *tls.Config
}

// Keys looks after the keys of tenants in one cache.
type Keys struct{ db *redis.Client }

// OpenKeys returns the keys of a cache. It does not connect yet.
func OpenKeys(c KeysConfig) *Keys {
	return &Keys{db: redis.NewClient(&redis.Options{
		Addr: c.Addr, TLSConfig: c.TLS, Protocol: 2, PoolSize: 4,
		CredentialsProviderContext: func(ctx context.Context) (string, string, error) {
			password, err := c.Password(ctx)
			return c.User, password, err
		},
	})}
}

// Close ends the connections.
func (k *Keys) Close() error { return k.db.Close() }

// Has reports whether there is any key of the tenant.
func (k *Keys) Has(ctx context.Context, tenant string) (bool, error) {
	found := false
	err := k.each(ctx, tenant, func([]string) (bool, error) {
		found = true
		return false, nil
	})
	return found, err
}

// Remove removes the tenant's keys.
func (k *Keys) Remove(ctx context.Context, tenant string) error {
	return k.each(ctx, tenant, func(keys []string) (bool, error) {
		return true, k.db.Unlink(ctx, keys...).Err()
	})
}

// each calls do with the tenant's keys, some at a time, until it returns false.
// A key may come twice.
func (k *Keys) each(ctx context.Context, tenant string, do func([]string) (bool, error)) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	var cursor uint64
	for {
		keys, next, err := k.db.Scan(ctx, cursor, prefix(tenant)+"*", 1000).Result()
		if err != nil {
			return fault.Errorf(fault.Transient, "scan keys of %s: %w", tenant, err)
		}
		if len(keys) > 0 {
			if more, err := do(keys); err != nil || !more {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// entry is a key as a snapshot has it, a line each.
type entry struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value"`         // as DUMP gives it
	TTL   int64  `json:"ttl,omitempty"` // milliseconds, from when it was saved; 0: for ever
}

// Dump writes the tenant's keys and returns their number.
func (k *Keys) Dump(ctx context.Context, tenant string, w io.Writer) (int, error) {
	seen := make(map[string]bool)
	enc := json.NewEncoder(w)
	err := k.each(ctx, tenant, func(keys []string) (bool, error) {
		for _, key := range keys {
			if seen[key] {
				continue
			}
			e, there, err := k.entry(ctx, key)
			if err != nil {
				return false, err
			}
			if !there {
				continue
			}
			seen[key] = true
			if err := enc.Encode(e); err != nil {
				return false, err
			}
		}
		return true, nil
	})
	return len(seen), err
}

func (k *Keys) entry(ctx context.Context, key string) (entry, bool, error) {
	value, err := k.db.Dump(ctx, key).Result()
	if errors.Is(err, redis.Nil) {
		return entry{}, false, nil
	}
	if err != nil {
		return entry{}, false, fault.Errorf(fault.Transient, "save key: %w", err)
	}
	ttl, err := k.db.PTTL(ctx, key).Result()
	if err != nil {
		return entry{}, false, fault.Errorf(fault.Transient, "save key: %w", err)
	}
	e := entry{Key: []byte(key), Value: []byte(value)}
	if ttl > 0 {
		e.TTL = ttl.Milliseconds()
	}
	return e, ttl != -2, nil // -2: it went meanwhile
}

// Restore has exactly the keys that r holds, as Dump wrote them at the given time,
// for the tenant. Keys that would have ended since do not come back.
func (k *Keys) Restore(ctx context.Context, tenant string, r io.Reader, at time.Time) error {
	if err := k.Remove(ctx, tenant); err != nil {
		return err
	}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			if err := k.put(ctx, tenant, line, time.Since(at)); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read keys of %s: %w", tenant, err)
		}
	}
}

func (k *Keys) put(ctx context.Context, tenant string, line []byte, since time.Duration) error {
	var e entry
	if err := json.Unmarshal(line, &e); err != nil {
		return fault.Errorf(fault.Invalid, "keys of %s: %w", tenant, err)
	}
	if !strings.HasPrefix(string(e.Key), prefix(tenant)) {
		return fault.Errorf(fault.Invalid, "keys of %s: one begins otherwise than with %q", tenant, prefix(tenant))
	}
	ttl := time.Duration(e.TTL) * time.Millisecond
	if ttl > 0 {
		if ttl -= since; ttl <= 0 {
			return nil
		}
	}
	if err := k.db.RestoreReplace(ctx, string(e.Key), ttl, string(e.Value)).Err(); err != nil {
		return fault.Errorf(fault.Transient, "restore key: %w", err)
	}
	return nil
}
