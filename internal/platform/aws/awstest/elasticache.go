package awstest

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/redis/go-redis/v9"
)

// ElastiCache plays users and one user group, whose users a real Redis knows.
//
// As AWS: a group has a user named default; it takes a change only while it is
// active, and is modifying for a while after each; a user that is not active
// takes none; a group takes 100 users, each name once; a user that goes is
// deleting for a while.
type ElastiCache struct {
	Slow time.Duration // how long each change takes

	mu    sync.Mutex
	db    *redis.Client
	group types.UserGroup
	until time.Time // when the group is active again
	users map[string]*user
}

type user struct {
	types.User
	passwords []string
	tags      map[string]string
	until     time.Time // when it is active again, or gone
}

const groupQuota = 100

// PlayElastiCache adds a cache, whose user group has the given ID, and the users that
// a cell's has from the beginning: default, and the control plane's own. db is an
// admin's connection to the Redis that knows the users.
func (s *Server) PlayElastiCache(group string, db *redis.Client, slow time.Duration) *ElastiCache {
	c := &ElastiCache{Slow: slow, db: db, users: map[string]*user{
		"nobody":  {User: types.User{UserId: awssdk.String("nobody"), UserName: awssdk.String("default"), Status: awssdk.String("active")}},
		"control": {User: types.User{UserId: awssdk.String("control"), UserName: awssdk.String("control"), Status: awssdk.String("active")}},
	}}
	c.group = types.UserGroup{
		ARN: awssdk.String("arn:aws:elasticache:" + Region + ":" + Account + ":usergroup:" + group), UserGroupId: awssdk.String(group),
		Engine: awssdk.String("redis"), Status: awssdk.String("active"), UserIds: []string{"nobody", "control"},
	}
	s.services["elasticache"] = c
	return c
}

func (c *ElastiCache) operation(r *http.Request) string {
	if err := r.ParseForm(); err != nil {
		return ""
	}
	return r.PostForm.Get("Action")
}

func (c *ElastiCache) serve(operation string, w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	var out any
	var no *refusal
	switch operation {
	case "CreateUser":
		out, no = answer(r, c.createUser)
	case "ModifyUser":
		out, no = answer(r, c.modifyUser)
	case "DeleteUser":
		out, no = answer(r, c.deleteUser)
	case "DescribeUsers":
		out, no = answer(r, c.describeUsers)
	case "DescribeUserGroups":
		out, no = answer(r, c.describeUserGroups)
	case "ModifyUserGroup":
		out, no = answer(r, c.modifyUserGroup)
	case "ListTagsForResource":
		out, no = answer(r, c.listTags)
	case "AddTagsToResource":
		out, no = answer(r, c.addTags)
	case "DescribeReplicationGroups": // no tenant has one of its own here
		no = &refusal{"ReplicationGroupNotFoundFault", "There is none."}
	default:
		no = &refusal{"InvalidAction", operation + " is not played"}
	}
	if no != nil {
		refuseQuery(w, no.code, "%s", no.message)
		return
	}
	writeQuery(w, operation, out)
}

func answer[In, Out any](r *http.Request, do func(*In) (*Out, *refusal)) (any, *refusal) {
	var in In
	if err := readQuery(r, &in); err != nil {
		return nil, &refusal{"MalformedQueryString", err.Error()}
	}
	return do(&in)
}

// settle ends the changes whose time is over.
func (c *ElastiCache) settle() {
	now := time.Now()
	for id, u := range c.users {
		switch {
		case u.until.IsZero() || now.Before(u.until):
		case *u.Status == "deleting":
			delete(c.users, id)
		default:
			u.Status, u.until = awssdk.String("active"), time.Time{}
			if slices.Contains(c.group.UserIds, id) {
				c.tell(u)
			}
		}
	}
	if c.until.IsZero() || now.Before(c.until) {
		return
	}
	c.until, c.group.Status = time.Time{}, awssdk.String("active")
	if p := c.group.PendingChanges; p != nil {
		c.group.UserIds = slices.DeleteFunc(append(c.group.UserIds, p.UserIdsToAdd...), func(id string) bool { return slices.Contains(p.UserIdsToRemove, id) })
		for _, id := range p.UserIdsToAdd {
			c.tell(c.users[id])
		}
		for _, id := range p.UserIdsToRemove {
			if u := c.users[id]; u != nil && c.db != nil {
				c.db.ACLDelUser(context.Background(), *u.UserName)
			}
		}
		c.group.PendingChanges = nil
	}
}

// tell makes the user known to Redis, by the access string that AWS was given.
func (c *ElastiCache) tell(u *user) {
	if u == nil || c.db == nil {
		return
	}
	rules := []string{"reset"}
	for _, p := range u.passwords {
		rules = append(rules, ">"+p)
	}
	rules = append(rules, strings.Fields(*u.AccessString)...)
	if err := c.db.ACLSetUser(context.Background(), *u.UserName, rules...).Err(); err != nil {
		u.Status = awssdk.String("failed: " + err.Error())
	}
}

func (c *ElastiCache) createUser(in *elasticache.CreateUserInput) (*elasticache.CreateUserOutput, *refusal) {
	id := awssdk.ToString(in.UserId)
	switch {
	case c.users[id] != nil:
		return nil, &refusal{"UserAlreadyExists", id}
	case len(id) > 40 || len(in.Passwords) == 0 || len(in.Passwords) > 2 || len(in.Passwords[0]) < 16 || len(in.Passwords[0]) > 128:
		return nil, &refusal{"InvalidParameterValue", "user ID or passwords"}
	}
	u := &user{passwords: in.Passwords, tags: make(map[string]string), User: types.User{
		ARN: awssdk.String("arn:aws:elasticache:" + Region + ":" + Account + ":user:" + id), AccessString: in.AccessString, Engine: in.Engine,
		UserId: in.UserId, UserName: in.UserName, Status: awssdk.String("active"),
	}}
	for _, t := range in.Tags {
		u.tags[*t.Key] = *t.Value
	}
	c.users[id] = u
	return &elasticache.CreateUserOutput{ARN: u.ARN, UserId: u.UserId, UserName: u.UserName, Status: u.Status, AccessString: u.AccessString}, nil
}

func (c *ElastiCache) active(id string) (*user, *refusal) {
	u := c.users[id]
	switch {
	case u == nil:
		return nil, &refusal{"UserNotFound", id}
	case *u.Status != "active":
		return nil, &refusal{"InvalidUserState", id + " is " + *u.Status}
	}
	return u, nil
}

func (c *ElastiCache) modifyUser(in *elasticache.ModifyUserInput) (*elasticache.ModifyUserOutput, *refusal) {
	u, no := c.active(awssdk.ToString(in.UserId))
	if no != nil {
		return nil, no
	}
	if in.AccessString != nil {
		u.AccessString = in.AccessString
	}
	if in.Passwords != nil {
		u.passwords = in.Passwords
	}
	u.Status, u.until = awssdk.String("modifying"), time.Now().Add(c.Slow)
	return &elasticache.ModifyUserOutput{UserId: u.UserId, Status: u.Status}, nil
}

func (c *ElastiCache) deleteUser(in *elasticache.DeleteUserInput) (*elasticache.DeleteUserOutput, *refusal) {
	u, no := c.active(awssdk.ToString(in.UserId))
	if no != nil {
		return nil, no
	}
	if slices.Contains(c.group.UserIds, *u.UserId) && *c.group.Status != "active" {
		return nil, &refusal{"InvalidUserGroupState", "only active user groups can be modified"}
	}
	c.group.UserIds = slices.DeleteFunc(c.group.UserIds, func(id string) bool { return id == *u.UserId })
	u.Status, u.until = awssdk.String("deleting"), time.Now().Add(c.Slow)
	return &elasticache.DeleteUserOutput{UserId: u.UserId, Status: u.Status}, nil
}

func (c *ElastiCache) describeUsers(in *elasticache.DescribeUsersInput) (*elasticache.DescribeUsersOutput, *refusal) {
	if id := awssdk.ToString(in.UserId); id != "" {
		u := c.users[id]
		if u == nil {
			return nil, &refusal{"UserNotFound", id}
		}
		return &elasticache.DescribeUsersOutput{Users: []types.User{u.User}}, nil
	}
	var out elasticache.DescribeUsersOutput
	for _, id := range sortedKeys(c.users) {
		out.Users = append(out.Users, c.users[id].User)
	}
	return &out, nil
}

func (c *ElastiCache) describeUserGroups(in *elasticache.DescribeUserGroupsInput) (*elasticache.DescribeUserGroupsOutput, *refusal) {
	if awssdk.ToString(in.UserGroupId) != *c.group.UserGroupId {
		return nil, &refusal{"UserGroupNotFound", awssdk.ToString(in.UserGroupId)}
	}
	return &elasticache.DescribeUserGroupsOutput{UserGroups: []types.UserGroup{c.group}}, nil
}

func (c *ElastiCache) modifyUserGroup(in *elasticache.ModifyUserGroupInput) (*elasticache.ModifyUserGroupOutput, *refusal) {
	if *c.group.Status != "active" {
		return nil, &refusal{"InvalidUserGroupState", "only active user groups can be modified"}
	}
	for _, id := range in.UserIdsToAdd {
		u, no := c.active(id)
		if no != nil {
			return nil, no
		}
		for _, other := range c.group.UserIds {
			if o := c.users[other]; other == id || o != nil && *o.UserName == *u.UserName {
				return nil, &refusal{"DuplicateUserName", id}
			}
		}
	}
	for _, id := range in.UserIdsToRemove {
		if !slices.Contains(c.group.UserIds, id) {
			return nil, &refusal{"InvalidParameterValue", id + " is not in the group"}
		}
		if *c.users[id].UserName == "default" {
			return nil, &refusal{"DefaultUserRequired", "a group must have a user named default"}
		}
	}
	if len(c.group.UserIds)+len(in.UserIdsToAdd)-len(in.UserIdsToRemove) > groupQuota {
		return nil, &refusal{"UserQuotaExceeded", "too many users in the group"}
	}
	c.group.PendingChanges = &types.UserGroupPendingChanges{UserIdsToAdd: in.UserIdsToAdd, UserIdsToRemove: in.UserIdsToRemove}
	c.group.Status, c.until = awssdk.String("modifying"), time.Now().Add(c.Slow)
	return &elasticache.ModifyUserGroupOutput{UserGroupId: c.group.UserGroupId, Status: c.group.Status}, nil
}

func (c *ElastiCache) tagged(arn *string) (*user, *refusal) {
	id := (*arn)[strings.LastIndex(*arn, ":")+1:]
	if u := c.users[id]; u != nil {
		return u, nil
	}
	return nil, &refusal{"UserNotFound", id}
}

func (c *ElastiCache) listTags(in *elasticache.ListTagsForResourceInput) (*elasticache.ListTagsForResourceOutput, *refusal) {
	u, no := c.tagged(in.ResourceName)
	if no != nil {
		return nil, no
	}
	var out elasticache.ListTagsForResourceOutput
	for _, k := range slices.Sorted(maps.Keys(u.tags)) {
		out.TagList = append(out.TagList, types.Tag{Key: awssdk.String(k), Value: awssdk.String(u.tags[k])})
	}
	return &out, nil
}

func (c *ElastiCache) addTags(in *elasticache.AddTagsToResourceInput) (*elasticache.AddTagsToResourceOutput, *refusal) {
	u, no := c.tagged(in.ResourceName)
	if no != nil {
		return nil, no
	}
	for _, t := range in.Tags {
		u.tags[*t.Key] = *t.Value
	}
	return &elasticache.AddTagsToResourceOutput{TagList: in.Tags}, nil
}
