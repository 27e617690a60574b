package aws_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/redis/go-redis/v9"

	infra "github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/fault"
	aws "github.com/gitopsd/gitopsd/internal/platform/aws"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
)

var awstestConfig = awssdk.Config{}

var owner = aws.Owner{Cell: "cell1"}

// startRedis starts a server that ends with the test.
func startRedis(t *testing.T) (addr string, admin *redis.Client) {
	t.Helper()
	addr = freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	var log bytes.Buffer
	cmd.Stdout = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	admin = redis.NewClient(&redis.Options{Addr: addr, Protocol: 2})
	t.Cleanup(func() { admin.Close() })
	eventually(t, func() error { return admin.Ping(context.Background()).Err() })
	return addr, admin
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func leases(t *testing.T) *aws.Leases {
	t.Helper()
	return leasesAt(socketOf(t))
}

// leasesAt returns the leases of the Postgres at a socket.
func leasesAt(socket string) *aws.Leases {
	return aws.NewLeases(aws.Master{
		Host: socket, User: "rds", Database: "ledger",
		Password: func(context.Context) (string, error) { return "", nil },
	})
}

type cacheWorld struct {
	aws   *awstest.Server
	fake  *awstest.ElastiCache
	cache *aws.Cache
	keys  *aws.Keys
	admin *redis.Client
}

func newCache(t *testing.T, slow time.Duration) *cacheWorld {
	t.Helper()
	addr, admin := startRedis(t)
	s := awstest.New(t, "")
	fake := s.PlayElastiCache("cell1-users", admin, slow)
	keys := aws.OpenKeys(aws.KeysConfig{Addr: addr, User: "default", Password: func(context.Context) (string, error) { return "", nil }})
	t.Cleanup(func() { keys.Close() })
	return &cacheWorld{aws: s, fake: fake, keys: keys, admin: admin, cache: aws.NewCache(s.Config(), owner, aws.CacheConfig{
		Group: "cell1-users", Locks: leases(t), Poll: 5 * time.Millisecond, Keys: keys, Host: addr,
	})}
}

func (w *cacheWorld) as(t *testing.T, name, password string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(w.cache.URL(name, password))
	if err != nil {
		t.Fatal(err)
	}
	o.Protocol, o.MaxRetries = 2, -1
	c := redis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	return c
}

func password(name string) string { return strings.Repeat("x", 16) + name }

func TestCacheUserOfATenant(t *testing.T) {
	w := newCache(t, 20*time.Millisecond)
	for range 2 {
		for _, name := range []string{"left", "right"} {
			if err := w.cache.Ensure(t.Context(), name, password(name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	left, right := w.as(t, "left", password("left")), w.as(t, "right", password("right"))
	if err := right.Set(t.Context(), "right:k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := left.Set(t.Context(), "left:k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]any{
		{"GET", "right:k"},
		{"EVAL", "return redis.call('GET', 'right:k')", "0"},
		{"SCAN", "0"},
		{"RANDOMKEY"},
		{"DBSIZE"},
		{"KEYS", "*"},
		{"FLUSHALL"},
		{"ACL", "LIST"},
		{"PUBLISH", "right:news", "x"},
		{"FUNCTION", "LIST"},
		{"CLIENT", "TRACKING", "ON"},
		{"PUBSUB", "CHANNELS"},
		{"INFO"},
	} {
		if err := left.Do(t.Context(), args...).Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") && !strings.Contains(err.Error(), "can't") {
			t.Errorf("a tenant may %v (%v)", args, err)
		}
	}
	if got := w.aws.Calls()["elasticache.CreateUser"]; got != 2 {
		t.Errorf("%d users made, want 2", got)
	}
	if got := w.aws.Calls()["elasticache.ModifyUser"]; got != 0 {
		t.Errorf("%d changes of users that were as they should be", got)
	}
	for range 2 {
		if err := w.cache.Drop(t.Context(), "left"); err != nil {
			t.Fatal(err)
		}
	}
	if there, err := w.cache.Has(t.Context(), "left"); err != nil || there {
		t.Errorf("after it was dropped: %t (%v)", there, err)
	}
	if there, err := w.keys.Has(t.Context(), "left"); err != nil || there {
		t.Errorf("its keys after it was dropped: %t (%v)", there, err)
	}
	if err := left.Get(t.Context(), "left:k").Err(); err == nil {
		t.Error("a connection that stood goes on")
	}
	if got := right.Get(t.Context(), "right:k").Val(); got != "v" {
		t.Errorf("the other's key: %q", got)
	}
}

func TestCachePasswordsRotate(t *testing.T) {
	w := newCache(t, 10*time.Millisecond)
	works := func(p string) bool { return w.as(t, "acme", p).Set(t.Context(), "acme:k", "v", 0).Err() == nil }
	one, two := password("one"), password("two")
	for _, step := range []struct {
		give     []string
		one, two bool
	}{{[]string{one}, true, false}, {[]string{two, one}, true, true}, {[]string{two}, false, true}} {
		if err := w.cache.Ensure(t.Context(), "acme", step.give...); err != nil {
			t.Fatal(err)
		}
		if works(one) != step.one || works(two) != step.two {
			t.Errorf("with %d passwords: the first works %t, the second %t", len(step.give), works(one), works(two))
		}
	}
}

// Many at once are a few changes of the group, all the same when calls are
// throttled and two control planes ask.
func TestCacheUsersAtOnce(t *testing.T) {
	w := newCache(t, 30*time.Millisecond)
	w.aws.Throttle(7)
	other := aws.NewCache(w.aws.Config(), owner, aws.CacheConfig{
		Group: "cell1-users", Locks: leases(t), Poll: 5 * time.Millisecond, Keys: w.keys, Host: "unused",
	})
	var group sync.WaitGroup
	const many = 60
	for i := range many {
		group.Go(func() {
			c := w.cache
			if i%3 == 0 {
				c = other
			}
			name := fmt.Sprintf("t%d", i)
			if err := c.Ensure(t.Context(), name, password(name)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	group.Wait()
	calls := w.aws.Calls()
	if n := calls["elasticache.ModifyUserGroup"]; n > many/3 {
		t.Errorf("%d changes of the group for %d users: they are not made together", n, many)
	}
	t.Logf("%d users: %v", many, calls)
	users, err := w.admin.ACLUsers(t.Context()).Result()
	if err != nil || len(users) != many+1 {
		t.Errorf("Redis knows %d users (%v), want %d", len(users), err, many+1)
	}
}

func TestCacheIsFull(t *testing.T) {
	w := newCache(t, time.Millisecond)
	var group sync.WaitGroup
	for i := range 98 { // beside default and the control plane's own
		group.Go(func() {
			name := fmt.Sprintf("t%d", i)
			if err := w.cache.Ensure(t.Context(), name, password(name)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	group.Wait()
	err := w.cache.Ensure(t.Context(), "one-too-many", password("x"))
	if r := fault.RecordOf(err); !fault.Is(err, fault.Stalled) || !strings.Contains(r.Hint, "cell") {
		t.Errorf("the 99th tenant: %v, want Stalled with what to do", err)
	}
	if there, err := w.cache.Has(t.Context(), "one-too-many"); err != nil || there {
		t.Errorf("a user that no group takes was made: %t (%v)", there, err)
	}
	if err := w.cache.Drop(t.Context(), "t7"); err != nil {
		t.Fatal(err)
	}
	if err := w.cache.Ensure(t.Context(), "one-too-many", password("x")); err != nil {
		t.Errorf("after one left: %v", err)
	}
}

func TestCacheUserThatIsSomebodyElses(t *testing.T) {
	w := newCache(t, time.Millisecond)
	id := infra.UserID(owner.Cell, "t-x")
	_, err := elasticache.NewFromConfig(w.aws.Config()).CreateUser(t.Context(), &elasticache.CreateUserInput{
		UserId: &id, UserName: &id, Engine: awssdk.String("redis"), AccessString: awssdk.String("off -@all"),
		Passwords: []string{"a-password-of-somebody-elses"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cache.Ensure(t.Context(), "t-x", password("x")); !fault.Is(err, fault.Conflict) {
		t.Errorf("made: %v, want Conflict", err)
	}
	if err := w.cache.Drop(t.Context(), "t-x"); !fault.Is(err, fault.Conflict) {
		t.Errorf("dropped: %v, want Conflict", err)
	}
}
