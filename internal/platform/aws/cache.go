package aws

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	infra "github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/tenantkeys"
)

// tagAccess tells which access and passwords a user was last given: AWS returns
// access strings in words of its own, and passwords never.
const tagAccess = "gitopsd:access"

// maxUsers is how many users a group may have, the default one and the control
// plane's own among them: 98 tenants.
// Source: quotas of ElastiCache, "Users per user group".
const maxUsers = 100

// accessString returns what a tenant may do in its cache.
func accessString(tenant string) string {
	return "on " + strings.Join(tenantkeys.Rules(tenant), " ")
}

// CacheConfig says where a cache is.
type CacheConfig struct {
	Group string        // ID of its user group
	Locks Locks         // of the cell
	Poll  time.Duration // between two looks at a state; 0: 5 s
	Keys  *Keys         // what is in it
	Host  string        // host:port, for tenants
	TLS   bool
}

// Cache makes tenants' users in the user group of one ElastiCache replication
// group. ElastiCache bars ACL SETUSER, and changes a group only while nobody
// else does: see userGroup.
type Cache struct {
	c     CacheConfig
	api   *elasticache.Client
	owner Owner
	group *userGroup
}

// NewCache returns the users of a cache.
func NewCache(a awssdk.Config, owner Owner, c CacheConfig) *Cache {
	if c.Poll <= 0 {
		c.Poll = 5 * time.Second
	}
	api := elasticache.NewFromConfig(a)
	return &Cache{c: c, api: api, owner: owner, group: &userGroup{api: api, id: c.Group, locks: c.Locks, poll: c.Poll}}
}

// URL returns how a tenant connects.
func (c *Cache) URL(tenant, password string) string {
	u := url.URL{Scheme: "redis", User: url.UserPassword(role(tenant), password), Host: c.c.Host, Path: "/0"}
	if c.c.TLS {
		u.Scheme = "rediss"
	}
	return u.String()
}

// userID is unique in the account and region, and named like all that is of a
// cell's tenants: by that the roles may.
func (c *Cache) userID(tenant string) string { return infra.UserID(c.owner.Cell, tenant) }

// dismiss has the tenant's user, if there is one, out of the cache's group.
func (c *Cache) dismiss(ctx context.Context, tenant string) error {
	return c.group.change(ctx, c.userID(tenant), false)
}

// Ensure makes the tenant's user, with one or two passwords that are good, and
// returns when the cache knows it.
func (c *Cache) Ensure(ctx context.Context, tenant string, passwords ...string) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	user, err := c.find(ctx, tenant)
	if err != nil {
		return err
	}
	if user == nil {
		if err := c.group.room(ctx); err != nil { // before there is a user that no group takes
			return err
		}
		err = c.create(ctx, tenant, passwords)
	} else {
		err = c.update(ctx, tenant, user, passwords)
	}
	if err != nil {
		return err
	}
	if err := c.group.change(ctx, c.userID(tenant), true); err != nil {
		return err
	}
	return c.await(ctx, tenant, func(u *types.User) bool { return u != nil && awssdk.ToString(u.Status) == "active" })
}

func accessTag(tenant string, passwords []string) types.Tag {
	value := accessString(tenant)
	for _, p := range passwords {
		value = derive(p, value) // tells nothing of the password
	}
	return types.Tag{Key: awssdk.String(tagAccess), Value: awssdk.String(derive(value, tenant)[:32])}
}

func (c *Cache) create(ctx context.Context, tenant string, passwords []string) error {
	tags := []types.Tag{accessTag(tenant, passwords)}
	for k, v := range c.owner.tags(tenant) {
		tags = append(tags, types.Tag{Key: awssdk.String(k), Value: awssdk.String(v)})
	}
	_, err := c.api.CreateUser(ctx, &elasticache.CreateUserInput{
		UserId: awssdk.String(c.userID(tenant)), UserName: awssdk.String(role(tenant)), Engine: awssdk.String("redis"),
		AccessString: awssdk.String(accessString(tenant)), Passwords: passwords, Tags: tags,
	})
	return failure("make cache user "+c.userID(tenant), err)
}

func (c *Cache) update(ctx context.Context, tenant string, user *types.User, passwords []string) error {
	what := "change cache user " + c.userID(tenant)
	tags, err := c.tags(ctx, user)
	if err != nil {
		return err
	}
	want := accessTag(tenant, passwords)
	if tags[tagAccess] == awssdk.ToString(want.Value) {
		return nil
	}
	if err := c.modify(ctx, tenant, what, accessString(tenant), passwords); err != nil {
		return err
	}
	_, err = c.api.AddTagsToResource(ctx, &elasticache.AddTagsToResourceInput{ResourceName: user.ARN, Tags: []types.Tag{want}})
	return failure(what, err)
}

// modify changes the user once it is active: before, AWS refuses.
func (c *Cache) modify(ctx context.Context, tenant, what, access string, passwords []string) error {
	err := c.await(ctx, tenant, func(u *types.User) bool { return u == nil || awssdk.ToString(u.Status) == "active" })
	if err != nil {
		return err
	}
	_, err = c.api.ModifyUser(ctx, &elasticache.ModifyUserInput{
		UserId: awssdk.String(c.userID(tenant)), AccessString: awssdk.String(access), Passwords: passwords,
	})
	return failure(what, err)
}

// find returns the tenant's user, which must be its own, or nil.
func (c *Cache) find(ctx context.Context, tenant string) (*types.User, error) {
	user, err := c.describe(ctx, tenant)
	if err != nil || user == nil {
		return nil, err
	}
	tags, err := c.tags(ctx, user)
	if err != nil {
		return nil, err
	}
	return user, c.owner.check("cache user", c.userID(tenant), tenant, tags)
}

func (c *Cache) describe(ctx context.Context, tenant string) (*types.User, error) {
	out, err := c.api.DescribeUsers(ctx, &elasticache.DescribeUsersInput{UserId: awssdk.String(c.userID(tenant))})
	if absent(err) || err == nil && len(out.Users) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, failure("look at cache user "+c.userID(tenant), err)
	}
	return &out.Users[0], nil
}

func (c *Cache) tags(ctx context.Context, user *types.User) (map[string]string, error) {
	out, err := c.api.ListTagsForResource(ctx, &elasticache.ListTagsForResourceInput{ResourceName: user.ARN})
	if err != nil {
		return nil, failure("look at cache user "+awssdk.ToString(user.UserId), err)
	}
	tags := make(map[string]string)
	for _, t := range out.TagList {
		tags[awssdk.ToString(t.Key)] = awssdk.ToString(t.Value)
	}
	return tags, nil
}

// await waits until the user, or nil, is as wanted.
func (c *Cache) await(ctx context.Context, tenant string, wanted func(*types.User) bool) error {
	return poll(ctx, c.c.Poll, "cache user "+c.userID(tenant), func(ctx context.Context) (bool, string, error) {
		user, err := c.describe(ctx, tenant)
		if err != nil || user == nil {
			return err == nil && wanted(nil), "absent", err
		}
		return wanted(user), awssdk.ToString(user.Status), nil
	})
}

// Has reports whether the tenant has a user, whoever made it.
func (c *Cache) Has(ctx context.Context, tenant string) (bool, error) {
	user, err := c.describe(ctx, tenant)
	return user != nil, err
}

// Drop removes the tenant's user and its keys.
func (c *Cache) Drop(ctx context.Context, tenant string) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	user, err := c.find(ctx, tenant)
	if err != nil {
		return err
	}
	if user == nil {
		return c.c.Keys.Remove(ctx, tenant) // the try before may have died here
	}
	if awssdk.ToString(user.Status) != "deleting" {
		what := "remove cache user " + c.userID(tenant)
		// No more writes, also over connections that stand.
		if err := c.modify(ctx, tenant, what, "off -@all", []string{newPassword()}); err != nil && !absent(err) {
			return err
		}
		if err := c.group.change(ctx, c.userID(tenant), false); err != nil {
			return err
		}
		if err := c.await(ctx, tenant, func(u *types.User) bool { return u == nil || awssdk.ToString(u.Status) == "active" }); err != nil {
			return err
		}
		_, err = c.api.DeleteUser(ctx, &elasticache.DeleteUserInput{UserId: awssdk.String(c.userID(tenant))})
		if err != nil && !absent(err) {
			return failure(what, err)
		}
	}
	if err := c.await(ctx, tenant, func(u *types.User) bool { return u == nil }); err != nil {
		return err
	}
	return c.c.Keys.Remove(ctx, tenant)
}

// poll looks until done, as long as ctx lets it.
func poll(ctx context.Context, every time.Duration, what string, look func(context.Context) (done bool, state string, err error)) error {
	for {
		done, state, err := look(ctx)
		switch {
		case err != nil && !fault.Is(err, fault.Transient):
			return err
		case err == nil && done:
			return nil
		case err != nil:
			state = err.Error()
		}
		select {
		case <-ctx.Done():
			return fault.Errorf(fault.Transient, "%s is still %s: %w", what, state, ctx.Err())
		case <-time.After(every):
		}
	}
}

// userIDs returns a group's users, those that are about to be among them too.
func userIDs(g *types.UserGroup) []string {
	ids := slices.Clone(g.UserIds)
	if p := g.PendingChanges; p != nil {
		ids = append(ids, p.UserIdsToAdd...)
		ids = slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(p.UserIdsToRemove, id) })
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func full(group string, users int) error {
	return fault.Errorf(fault.Stalled, "cache user group %s has %d users, and takes no more than %d", group, users, maxUsers).
		WithHint("place the tenant in another cell, or give it a cache of its own: isolation.cache: dedicated")
}
