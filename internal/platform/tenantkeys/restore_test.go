package tenantkeys_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/tenantkeys"
)

// keys returns all there are, by name.
func (f *fixture) all(t *testing.T) map[string]string {
	t.Helper()
	names, err := f.db.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for _, name := range names {
		found[name] = f.db.Get(t.Context(), name).Val()
	}
	return found
}

func TestRestore(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	const many = 1200 // more than is sent at once
	_, err := f.db.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range many {
			p.Set(ctx, fmt.Sprintf("acme:%d", i), "saved", 0)
		}
		p.Set(ctx, "acme:short", "saved", 2*time.Second)
		p.Set(ctx, "acmes:1", "theirs", 0)
		p.Set(ctx, "*:1", "theirs", 0)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var dump bytes.Buffer
	if n, err := f.keys.Dump(ctx, "acme", &dump); err != nil || n != many+1 {
		t.Fatalf("%d keys, %v", n, err)
	}
	f.db.Set(ctx, "acme:0", "changed", 0)
	f.db.Set(ctx, "acme:later", "changed", 0)
	state := func(wantBegun, wantDone bool, zero, later string, count int) {
		t.Helper()
		begun, done, err := f.keys.Restoring(ctx, "acme")
		if err != nil || begun != wantBegun || done != wantDone {
			t.Errorf("begun %t, done %t, %v; want %t, %t", begun, done, err, wantBegun, wantDone)
		}
		all := f.all(t)
		if all["acme:0"] != zero || all["acme:later"] != later || all["acmes:1"] != "theirs" || all["*:1"] != "theirs" {
			t.Errorf("acme:0 is %q, acme:later %q, the others' %q and %q", all["acme:0"], all["acme:later"], all["acmes:1"], all["*:1"])
		}
		if count > 0 && len(all) != count {
			t.Errorf("%d keys, want %d", len(all), count)
		}
	}
	names, err := f.keys.Stage(ctx, "acme", bytes.NewReader(dump.Bytes()))
	if err != nil || len(names) != many+1 {
		t.Fatalf("%d names, %v", len(names), err)
	}
	state(true, false, "changed", "changed", 0)
	for f.db.Exists(ctx, "~restore:acme:acme:short").Val() == 1 { // it expires before it is put in place
		time.Sleep(time.Millisecond)
	}
	for range 2 { // one that is given up leaves what was there
		if err := f.keys.Unstage(ctx, "acme"); err != nil {
			t.Fatal(err)
		}
		state(false, false, "changed", "changed", many+3)
	}
	if names, err = f.keys.Stage(ctx, "acme", bytes.NewReader(dump.Bytes())); err != nil {
		t.Fatal(err)
	}
	for f.db.Exists(ctx, "~restore:acme:acme:short").Val() == 1 {
		time.Sleep(time.Millisecond)
	}
	if err := f.keys.Replace(ctx, "acme", names); err != nil {
		t.Fatal(err)
	}
	state(true, true, "saved", "", 0)
	if err := f.keys.Unstage(ctx, "acme"); err != nil {
		t.Fatal(err)
	}
	state(false, false, "saved", "", many+2)
}

func TestRestoreOfForeignKeys(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	f.db.Set(ctx, "other:k", "theirs", 0)
	value := []byte(f.db.Dump(ctx, "other:k").Val())
	for _, key := range []string{"other:k", "acme", "", "~restore:acme:", "~restore:acme:acme:k", "*"} {
		line, err := json.Marshal(tenantkeys.Entry{Key: []byte(key), Value: value})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.keys.Stage(ctx, "acme", bytes.NewReader(line)); !fault.Is(err, fault.Invalid) {
			t.Errorf("key %q: %v, want Invalid", key, err)
		}
	}
	if _, err := f.keys.Stage(ctx, "acme", strings.NewReader("{")); !fault.Is(err, fault.Invalid) {
		t.Errorf("half a line: %v, want Invalid", err)
	}
	if err := f.keys.Remove(ctx, "acme"); err != nil { // whatever a restore has left goes along
		t.Fatal(err)
	}
	if all := f.all(t); len(all) != 1 || all["other:k"] != "theirs" {
		t.Errorf("keys: %v", all)
	}
}
