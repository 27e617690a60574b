package aws

import (
	"context"
	"slices"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// maxGroupWait bounds one change of a group: AWS takes a minute, as a rule.
const maxGroupWait = 15 * time.Minute

// userGroup puts users into a user group and takes them out. AWS takes no change
// while another goes on, and each takes it about a minute: so one at a time
// changes the group, and what is asked for meanwhile goes into the next change
// together.
type userGroup struct {
	api   *elasticache.Client
	id    string
	locks Locks
	poll  time.Duration

	mu      sync.Mutex
	next    map[string]*member // by user ID
	leading bool
}

// member is what is to become of one user.
type member struct {
	in   bool
	done chan struct{}
	err  error
}

// change has a user in the group, or not, and returns when the cache knows.
func (g *userGroup) change(ctx context.Context, user string, in bool) error {
	m := g.join(ctx, user, in)
	select {
	case <-m.done:
		return m.err
	case <-ctx.Done():
		return failure("change user group "+g.id, ctx.Err())
	}
}

func (g *userGroup) join(ctx context.Context, user string, in bool) *member {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m := g.next[user]; m != nil && m.in == in {
		return m
	}
	m := &member{in: in, done: make(chan struct{})}
	if former := g.next[user]; former != nil {
		former.err = fault.Errorf(fault.Conflict, "cache user %s was asked to be in and out of its group at the same time", user)
		close(former.done)
	}
	if g.next == nil {
		g.next = make(map[string]*member)
	}
	g.next[user] = m
	if !g.leading {
		g.leading = true
		go g.lead(context.WithoutCancel(ctx)) // the others' changes do not end with the first one's caller
	}
	return m
}

// lead changes the group until there is nothing more to change.
func (g *userGroup) lead(ctx context.Context) {
	for {
		batch, err := g.apply(ctx)
		for _, m := range batch {
			if m.err == nil {
				m.err = err
			}
			close(m.done)
		}
		g.mu.Lock()
		if len(g.next) == 0 {
			g.leading = false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
	}
}

func (g *userGroup) take() map[string]*member {
	g.mu.Lock()
	defer g.mu.Unlock()
	batch := g.next
	g.next = nil
	return batch
}

// apply makes one change of all that is asked for by the time it can begin.
func (g *userGroup) apply(ctx context.Context) (batch map[string]*member, err error) {
	ctx, cancel := context.WithTimeout(ctx, maxGroupWait)
	defer cancel()
	unlock, err := g.locks.Lock(ctx, "cache-group/"+g.id)
	if err != nil {
		return g.take(), err
	}
	defer unlock()
	group, err := g.active(ctx)
	batch = g.take()
	if err != nil {
		return batch, err
	}
	have := userIDs(group)
	var add, remove []string
	for user, m := range batch {
		switch there := slices.Contains(have, user); {
		case m.in && !there && len(have)+len(add) >= maxUsers:
			m.err = full(g.id, len(have)+len(add))
		case m.in && !there:
			add = append(add, user)
		case !m.in && there:
			remove = append(remove, user)
		}
	}
	slices.Sort(add)
	slices.Sort(remove)
	err = g.modify(ctx, add, remove)
	if err == nil || len(add)+len(remove) < 2 || fault.Is(err, fault.Transient) {
		return batch, err
	}
	for _, user := range append(add, remove...) { // one that cannot be spoils it for no other
		if batch[user].in {
			batch[user].err = g.modify(ctx, []string{user}, nil)
		} else {
			batch[user].err = g.modify(ctx, nil, []string{user})
		}
	}
	return batch, nil
}

// modify changes the group and waits until it has changed.
func (g *userGroup) modify(ctx context.Context, add, remove []string) error {
	if len(add)+len(remove) == 0 {
		return nil
	}
	_, err := g.api.ModifyUserGroup(ctx, &elasticache.ModifyUserGroupInput{
		UserGroupId: awssdk.String(g.id), UserIdsToAdd: add, UserIdsToRemove: remove,
	})
	if err != nil {
		return failure("change user group "+g.id, err)
	}
	_, err = g.active(ctx)
	return err
}

// active returns the group once nothing changes it.
func (g *userGroup) active(ctx context.Context) (group *types.UserGroup, err error) {
	err = poll(ctx, g.poll, "user group "+g.id, func(ctx context.Context) (bool, string, error) {
		group, err = g.describe(ctx)
		if err != nil {
			return false, "", err
		}
		state := awssdk.ToString(group.Status)
		return state == "active", state, nil
	})
	return group, err
}

func (g *userGroup) describe(ctx context.Context) (*types.UserGroup, error) {
	out, err := g.api.DescribeUserGroups(ctx, &elasticache.DescribeUserGroupsInput{UserGroupId: awssdk.String(g.id)})
	if err == nil && len(out.UserGroups) == 0 {
		return nil, fault.Errorf(fault.NotFound, "there is no user group %s", g.id)
	}
	if err != nil {
		return nil, failure("look at user group "+g.id, err)
	}
	return &out.UserGroups[0], nil
}

// room fails if the group takes no more users.
func (g *userGroup) room(ctx context.Context) error {
	group, err := g.describe(ctx)
	if err != nil {
		return err
	}
	if n := len(userIDs(group)); n >= maxUsers {
		return full(g.id, n)
	}
	return nil
}
