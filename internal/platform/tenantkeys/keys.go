package tenantkeys

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// denied is what "+@all -@admin -@dangerous" would still let a tenant do to
// others or learn of them, on Redis 7.
var denied = []string{
	"-scan", "-randomkey", "-dbsize", // other tenants' keys, and their number
	"-pubsub",                                  // other tenants' channels
	"-client|tracking", "-client|trackinginfo", // invalidations name any key that changes
	"-client|caching", "-client|getredir", // belong to tracking
	"-script|flush", "-script|kill", "-script|debug", // other tenants' scripts; debugging stops the server
	"-function", "-fcall", "-fcall_ro", // libraries are the server's, not the user's
	"-memory", "+memory|usage", "+memory|help", // the server's state, and purging
	"-cluster", "-readonly", "-readwrite", "-asking", // keys by slot; and what has no meaning here
	"-wait", // there are no replicas to wait for
}

// User returns the name of a tenant's user.
func User(tenant string) string { return "t_" + tenant }

// Prefix returns what a tenant's keys and channels start with.
func Prefix(tenant string) string { return tenant + ":" }

// Pattern returns which keys are the tenant's, as Redis says it of a user.
func Pattern(tenant string) string { return "~" + escape(Prefix(tenant)) + "*" }

// Rules returns what a tenant's user may do, in the words of ACL SETUSER.
func Rules(tenant string) []string {
	return append([]string{Pattern(tenant), "&" + escape(Prefix(tenant)) + "*", "+@all", "-@admin", "-@dangerous"}, denied...)
}

// Keys are the tenants' keys in one Redis.
type Keys struct{ db *redis.Client }

// New returns the keys of a Redis, as a user sees them that may do anything.
func New(db *redis.Client) *Keys { return &Keys{db} }

// Has reports whether there is any key of the tenant.
func (k *Keys) Has(ctx context.Context, tenant string) (bool, error) {
	found := false
	err := k.each(ctx, Prefix(tenant), func([]string) (bool, error) {
		found = true
		return false, nil
	})
	return found, err
}

// Remove removes the tenant's keys, and what a restore has left.
func (k *Keys) Remove(ctx context.Context, tenant string) error {
	err := k.each(ctx, Prefix(tenant), func(keys []string) (bool, error) {
		return true, k.db.Unlink(ctx, keys...).Err()
	})
	if err != nil {
		return fmt.Errorf("remove keys of %s: %w", tenant, err)
	}
	return k.Unstage(ctx, tenant)
}

// each calls do with the keys that start with prefix, some at a time, until it
// returns false. A key may come twice.
func (k *Keys) each(ctx context.Context, prefix string, do func([]string) (bool, error)) error {
	var cursor uint64
	for {
		keys, next, err := k.db.Scan(ctx, cursor, escape(prefix)+"*", 1000).Result()
		if err != nil {
			return fmt.Errorf("scan keys %s*: %w", prefix, err)
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

// escape makes a glob pattern that matches s alone.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}
