package tenantkeys_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/gitopsd/gitopsd/internal/platform/tenantkeys"
)

type fixture struct {
	keys *tenantkeys.Keys
	db   *redis.Client
}

// open starts a server that ends with the test.
func open(t *testing.T) *fixture {
	t.Helper()
	t.Parallel()
	socket := t.TempDir() + "/s"
	cmd := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	db := redis.NewClient(&redis.Options{
		DisableIdentity: true,
		Dialer:          func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) },
	})
	t.Cleanup(func() { db.Close() })
	for deadline := time.Now().Add(15 * time.Second); db.Ping(t.Context()).Err() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(db.Ping(t.Context()).Err())
		}
	}
	return &fixture{keys: tenantkeys.New(db), db: db}
}

func TestDump(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	f.db.Set(ctx, "a:plain", "1", 0)
	f.db.Set(ctx, "a:short", "2", time.Hour)
	f.db.RPush(ctx, "a:list", "x", "y")
	f.db.Set(ctx, "b:k", "v", 0)
	var out bytes.Buffer
	n, err := f.keys.Dump(ctx, "a", &out)
	if err != nil || n != 3 {
		t.Fatalf("dumped %d, %v", n, err)
	}
	if err := f.keys.Remove(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if there, err := f.keys.Has(ctx, "a"); err != nil || there || f.db.Exists(ctx, "b:k").Val() != 1 {
		t.Errorf("after they were removed there are keys: %t (%v); the other's: %d", there, err, f.db.Exists(ctx, "b:k").Val())
	}
	for lines := json.NewDecoder(&out); lines.More(); { // what a dump is for
		var e tenantkeys.Entry
		if err := lines.Decode(&e); err != nil {
			t.Fatal(err)
		}
		if err := f.db.Restore(ctx, string(e.Key), e.TTL, string(e.Value)).Err(); err != nil {
			t.Errorf("restore %s: %v", e.Key, err)
		}
	}
	if got := f.db.LRange(ctx, "a:list", 0, -1).Val(); !cmp.Equal(got, []string{"x", "y"}) {
		t.Errorf("list: %v", got)
	}
	if ttl := f.db.TTL(ctx, "a:short").Val(); ttl < 50*time.Minute || ttl > time.Hour {
		t.Errorf("time to live: %s", ttl)
	}
	if ttl := f.db.TTL(ctx, "a:plain").Val(); ttl != -1 {
		t.Errorf("time to live without one: %s", ttl)
	}
}
