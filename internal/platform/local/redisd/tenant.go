package redisd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/gitopsd/gitopsd/internal/fault"
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

// URL returns how the tenant connects.
func (s *Server) URL(tenant, password string) string {
	u := url.URL{Scheme: "redis", User: url.UserPassword(User(tenant), password), Host: s.Addr(), Path: "/0"}
	return u.String()
}

// EnsureTenant makes the tenant's user, with the given password (letters and digits).
func (s *Server) EnsureTenant(ctx context.Context, tenant, password string) error {
	if err := s.checkOurs(ctx, tenant); err != nil {
		return err
	}
	prefix := escape(Prefix(tenant))
	rules := append([]string{
		"reset", "on", ">" + password, "~" + prefix + "*", "&" + prefix + "*", "+@all", "-@admin", "-@dangerous",
	}, denied...)
	if err := s.admin.ACLSetUser(ctx, User(tenant), rules...).Err(); err != nil {
		return fmt.Errorf("make user %s: %w", User(tenant), err)
	}
	return s.save(ctx)
}

// checkOurs fails if there is a user of the tenant's name with somebody else's keys.
func (s *Server) checkOurs(ctx context.Context, tenant string) error {
	keys, err := s.userKeys(ctx, tenant)
	if errors.Is(err, redis.Nil) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at user %s: %w", User(tenant), err)
	}
	if keys != "~"+escape(Prefix(tenant))+"*" {
		return fault.Errorf(fault.Conflict, "redis user %s exists and is not the tenant's: its keys are %q",
			User(tenant), keys).WithHint("remove it: ACL DELUSER %s", User(tenant))
	}
	return nil
}

// userKeys returns the key pattern of the tenant's user, or redis.Nil.
func (s *Server) userKeys(ctx context.Context, tenant string) (string, error) {
	reply, err := s.admin.Do(ctx, "ACL", "GETUSER", User(tenant)).Result()
	if err != nil {
		return "", err
	}
	switch reply := reply.(type) {
	case map[any]any: // RESP3
		return fmt.Sprint(reply["keys"]), nil
	case []any:
		for i := 0; i+1 < len(reply); i += 2 {
			if reply[i] == "keys" {
				return fmt.Sprint(reply[i+1]), nil
			}
		}
	}
	return "", fmt.Errorf("ACL GETUSER: unexpected answer of type %T", reply)
}

func (s *Server) save(ctx context.Context) error {
	if err := s.admin.Do(ctx, "ACL", "SAVE").Err(); err != nil {
		return fmt.Errorf("save redis users: %w", err)
	}
	return nil
}

// HasTenant reports whether the tenant has a user.
func (s *Server) HasTenant(ctx context.Context, tenant string) (bool, error) {
	users, err := s.admin.ACLUsers(ctx).Result()
	if err != nil {
		return false, fmt.Errorf("list redis users: %w", err)
	}
	return slices.Contains(users, User(tenant)), nil
}

// HasKeys reports whether there is any key of the tenant.
func (s *Server) HasKeys(ctx context.Context, tenant string) (bool, error) {
	found := false
	err := s.eachBatch(ctx, Prefix(tenant), func([]string) (bool, error) {
		found = true
		return false, nil
	})
	return found, err
}

// DropTenant removes the tenant's user and its keys.
func (s *Server) DropTenant(ctx context.Context, tenant string) error {
	if err := s.checkOurs(ctx, tenant); err != nil {
		return err
	}
	present, err := s.HasTenant(ctx, tenant)
	if err != nil {
		return err
	}
	if present { // no more writes, also over connections that stand
		if err := s.admin.ACLSetUser(ctx, User(tenant), "off", "-@all").Err(); err != nil {
			return fmt.Errorf("turn off user %s: %w", User(tenant), err)
		}
	}
	err = s.eachBatch(ctx, Prefix(tenant), func(keys []string) (bool, error) {
		return true, s.admin.Unlink(ctx, keys...).Err()
	})
	if err != nil {
		return fmt.Errorf("remove keys of %s: %w", tenant, err)
	}
	if err := s.Unstage(ctx, tenant); err != nil {
		return err
	}
	if err := s.admin.ACLDelUser(ctx, User(tenant)).Err(); err != nil { // ends its connections
		return fmt.Errorf("remove user %s: %w", User(tenant), err)
	}
	return s.save(ctx) // also when it was gone: the try before may have died here
}

// eachBatch calls do with the keys that start with prefix, some at a time, until
// it returns false. A key may come twice.
func (s *Server) eachBatch(ctx context.Context, prefix string, do func([]string) (bool, error)) error {
	var cursor uint64
	for {
		keys, next, err := s.admin.Scan(ctx, cursor, escape(prefix)+"*", 1000).Result()
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
