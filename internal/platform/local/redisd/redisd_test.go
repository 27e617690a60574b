package redisd_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/local/process"
	"github.com/gitopsd/gitopsd/internal/platform/local/redisd"
	"github.com/gitopsd/gitopsd/internal/platform/tenantkeys"
)

const password = "0123456789abcdef"

type fixture struct {
	s      *redisd.Server
	config redisd.Config
	runner *process.Runner
	admin  *redis.Client
}

func open(t *testing.T) *fixture {
	t.Helper()
	t.Parallel()
	runner, err := process.New(t.TempDir(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { _ = runner.Supervise(ctx) }()
	dir := t.TempDir()
	t.Cleanup(func() {
		cancel()
		if err := runner.Remove(context.Background(), "redis", time.Second); err != nil {
			t.Error(err)
		}
		runner.Close()
	})
	config := redisd.Config{Dir: dir, Password: password, Runner: runner, Logger: slog.New(slog.DiscardHandler)}
	s, err := redisd.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{s: s, config: config, runner: runner, admin: redis.NewClient(&redis.Options{
		Addr: s.Addr(), Username: "gitopsd", Password: password, DialTimeout: time.Second,
	})}
	t.Cleanup(func() { _ = f.admin.Close(); _ = s.Close() })
	return f
}

// tenant makes a tenant and connects as it.
func (f *fixture) tenant(t *testing.T, name string) *redis.Client {
	t.Helper()
	if err := f.s.EnsureTenant(t.Context(), name, "pw"+name); err != nil {
		t.Fatal(err)
	}
	options, err := redis.ParseURL(f.s.URL(name, "pw"+name))
	if err != nil {
		t.Fatal(err)
	}
	options.DisableIdentity = true
	c := redis.NewClient(options)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// harmless are the commands without a key or channel to check that a tenant may
// use: each touches the own connection, or tells what everyone may know.
var harmless = []string{
	"acl|cat", "acl|genpass", "acl|whoami", "auth", "client|getname", "client|id", "client|info",
	"client|no-touch", "client|reply", "client|setinfo", "client|setname", "command|count", "command|docs",
	"command|getkeys", "command|getkeysandflags", "command|info", "command|list", "discard", "echo", "exec",
	"hello", "lolwut", "multi", "ping", "punsubscribe", "quit", "reset", "script|exists", "script|load",
	"select", "sunsubscribe", "time", "unsubscribe", "unwatch",
}

// Every command of the installed server that names no key is reviewed: what is
// not harmless must be denied.
func TestNothingUnreviewedIsAllowed(t *testing.T) {
	f := open(t)
	f.tenant(t, "acme")
	reply, err := f.admin.Do(t.Context(), "COMMAND").Slice()
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, c := range reply {
		for _, leaf := range leaves(c.([]any)) {
			asked++
			args := []any{"ACL", "DRYRUN", tenantkeys.User("acme")}
			for _, word := range strings.Split(leaf.name, "|") {
				args = append(args, word)
			}
			for range leaf.arguments {
				args = append(args, "acme:x")
			}
			v, err := f.admin.Do(t.Context(), args...).Result()
			allowed := err == nil && v == "OK"
			if allowed && !leaf.keys && !strings.HasSuffix(leaf.name, "|help") && !slices.Contains(harmless, leaf.name) {
				t.Errorf("%s is allowed and nobody has said that it may be", leaf.name)
			}
		}
	}
	if asked < 200 {
		t.Errorf("only %d commands were looked at", asked)
	}
}

type leaf struct {
	name      string
	arguments int
	keys      bool // names keys, which are checked
}

// leaves returns a command, or its subcommands.
func leaves(c []any) []leaf {
	if subs := c[9].([]any); len(subs) > 0 {
		var all []leaf
		for _, s := range subs {
			all = append(all, leaves(s.([]any))...)
		}
		return all
	}
	name := c[0].(string)
	arity := int(max(c[1].(int64), -c[1].(int64)))
	return []leaf{{name, max(0, arity-strings.Count(name, "|")-1), len(c[8].([]any)) > 0 || channelled(name)}}
}

// channelled commands name channels, which are checked like keys.
func channelled(name string) bool {
	return slices.Contains([]string{"publish", "spublish", "subscribe", "psubscribe", "ssubscribe"}, name)
}

func TestKeysAndChannels(t *testing.T) {
	f := open(t)
	a, b := f.tenant(t, "a"), f.tenant(t, "a-b") // names of which one begins the other
	ctx := t.Context()
	if err := b.Set(ctx, "a-b:k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a-b:k", "a", "k", "", "A:k"} {
		if err := a.Get(ctx, key).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("GET %q: %v", key, err)
		}
	}
	// Nobody comes in without a name and password.
	anyone := redis.NewClient(&redis.Options{Addr: f.s.Addr(), DisableIdentity: true})
	defer anyone.Close()
	if err := anyone.Ping(ctx).Err(); err == nil {
		t.Error("the default user may ping")
	}
	sub := a.PSubscribe(ctx, "a:*")
	defer sub.Close()
	if _, err := sub.Receive(ctx); err != nil {
		t.Errorf("own pattern: %v", err)
	}
	wide := a.PSubscribe(ctx, "*")
	defer wide.Close()
	if _, err := wide.Receive(ctx); err == nil {
		t.Error("every channel may be listened to")
	}
}

func TestSurvivesARestart(t *testing.T) {
	f := open(t)
	c := f.tenant(t, "acme")
	if err := c.Set(t.Context(), "acme:k", "kept", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := f.runner.Stop(t.Context(), "redis", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	again, err := redisd.Open(t.Context(), f.config)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.Addr() != f.s.Addr() {
		t.Errorf("it moved from %s to %s", f.s.Addr(), again.Addr())
	}
	if v, err := c.Get(t.Context(), "acme:k").Result(); err != nil || v != "kept" {
		t.Errorf("the tenant's key: %q, %v", v, err)
	}
	if err := c.Get(t.Context(), "other:k").Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
		t.Errorf("another's key: %v", err)
	}
}

func TestDropsATenant(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	a, b := f.tenant(t, "a"), f.tenant(t, "b")
	pipe := a.Pipeline()
	for i := range 2500 {
		pipe.Set(ctx, fmt.Sprintf("a:%d", i), i, 0)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	b.Set(ctx, "b:k", "v", 0)
	for range 2 {
		if err := f.s.DropTenant(ctx, "a"); err != nil {
			t.Fatal(err)
		}
	}
	if user, err := f.s.HasTenant(ctx, "a"); err != nil || user {
		t.Errorf("user: %v, %v", user, err)
	}
	if keys, err := f.s.Keys().Has(ctx, "a"); err != nil || keys {
		t.Errorf("keys: %v, %v", keys, err)
	}
	if err := a.Set(ctx, "a:k", "v", 0).Err(); err == nil {
		t.Error("a connection of the dropped user still writes")
	}
	if v, err := b.Get(ctx, "b:k").Result(); err != nil || v != "v" {
		t.Errorf("the other's key: %q, %v", v, err)
	}
	saved, err := f.admin.ConfigGet(ctx, "aclfile").Result()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(saved["aclfile"])
	if err != nil || bytes.Contains(content, []byte("user t_a ")) || !bytes.Contains(content, []byte("user t_b ")) {
		t.Errorf("saved users: %s, %v", content, err)
	}
	if bytes.Contains(content, []byte("pwb")) {
		t.Error("the file of users holds a password in clear")
	}
}

func TestForeignUser(t *testing.T) {
	f := open(t)
	if err := f.admin.ACLSetUser(t.Context(), "t_a", "on", "~*").Err(); err != nil {
		t.Fatal(err)
	}
	if err := f.s.EnsureTenant(t.Context(), "a", "pw"); !fault.Is(err, fault.Conflict) {
		t.Errorf("ensure: %v, want Conflict", err)
	}
	if err := f.s.DropTenant(t.Context(), "a"); !fault.Is(err, fault.Conflict) {
		t.Errorf("drop: %v, want Conflict", err)
	}
}

// A tenant's endless script stops the server for all. It is ended, and one that
// has written already, which nothing can end, takes the server down for a moment.
func TestEndlessScripts(t *testing.T) {
	f := open(t)
	a, b := f.tenant(t, "a"), f.tenant(t, "b")
	// What is answered for is on disk: the last second may be lost otherwise.
	if err := f.admin.ConfigSet(t.Context(), "appendfsync", "always").Err(); err != nil {
		t.Fatal(err)
	}
	if err := b.Set(t.Context(), "b:k", "kept", 0).Err(); err != nil {
		t.Fatal(err)
	}
	watched, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.s.Watch(watched) }()
	defer func() { stop(); <-done }()
	for name, script := range map[string]string{
		"that reads":  "while true do end",
		"that writes": "redis.call('SET', KEYS[1], '1') while true do end",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		if err := a.Eval(ctx, script, []string{"a:k"}).Err(); err == nil {
			t.Errorf("the script %s ended by itself", name)
		}
		for ctx.Err() == nil && b.Get(ctx, "b:k").Val() != "kept" {
			time.Sleep(20 * time.Millisecond)
		}
		if ctx.Err() != nil {
			t.Errorf("after the script %s others are not served", name)
		}
		cancel()
	}
}
