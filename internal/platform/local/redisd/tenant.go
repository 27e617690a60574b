package redisd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/tenantkeys"
)

// URL returns how the tenant connects.
func (s *Server) URL(tenant, password string) string {
	u := url.URL{Scheme: "redis", User: url.UserPassword(tenantkeys.User(tenant), password), Host: s.Addr(), Path: "/0"}
	return u.String()
}

// EnsureTenant makes the tenant's user, with the given password (letters and digits).
func (s *Server) EnsureTenant(ctx context.Context, tenant, password string) error {
	if err := s.checkOurs(ctx, tenant); err != nil {
		return err
	}
	rules := append([]string{"reset", "on", ">" + password}, tenantkeys.Rules(tenant)...)
	if err := s.admin.ACLSetUser(ctx, tenantkeys.User(tenant), rules...).Err(); err != nil {
		return fmt.Errorf("make user %s: %w", tenantkeys.User(tenant), err)
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
		return fmt.Errorf("look at user %s: %w", tenantkeys.User(tenant), err)
	}
	if keys != tenantkeys.Pattern(tenant) {
		return fault.Errorf(fault.Conflict, "redis user %s exists and is not the tenant's: its keys are %q",
			tenantkeys.User(tenant), keys).WithHint("remove it: ACL DELUSER %s", tenantkeys.User(tenant))
	}
	return nil
}

// userKeys returns the key pattern of the tenant's user, or redis.Nil.
func (s *Server) userKeys(ctx context.Context, tenant string) (string, error) {
	reply, err := s.admin.Do(ctx, "ACL", "GETUSER", tenantkeys.User(tenant)).Result()
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
	return slices.Contains(users, tenantkeys.User(tenant)), nil
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
		if err := s.admin.ACLSetUser(ctx, tenantkeys.User(tenant), "off", "-@all").Err(); err != nil {
			return fmt.Errorf("turn off user %s: %w", tenantkeys.User(tenant), err)
		}
	}
	if err := s.Keys().Remove(ctx, tenant); err != nil {
		return err
	}
	if err := s.admin.ACLDelUser(ctx, tenantkeys.User(tenant)).Err(); err != nil { // ends its connections
		return fmt.Errorf("remove user %s: %w", tenantkeys.User(tenant), err)
	}
	return s.save(ctx) // also when it was gone: the try before may have died here
}
