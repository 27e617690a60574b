package platformtest

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
)

// fillData gives a tenant data whose return can be told: rows, a sequence, and
// keys of several types.
func (s *suite) fillData(t *testing.T, name string) {
	t.Helper()
	s.sql(t, name, "CREATE TABLE things (id serial PRIMARY KEY, v text)")
	s.sql(t, name, "INSERT INTO things (v) SELECT 'row ' || i FROM generate_series(1, 100) i")
	s.redis(t, name, "SET", name+":k", "kept \x00\xff bytes")
	s.redis(t, name, "RPUSH", name+":list", "a", "b", "c")
	s.redis(t, name, "SET", name+":short", "v", "EX", "3600")
}

func (s *suite) wantData(t *testing.T, name string) {
	t.Helper()
	if got := s.sql(t, name, "SELECT count(*) || ' ' || min(v) || ' ' || max(id) FROM things"); !slices.Equal(got, []string{"100 row 1 100"}) {
		t.Errorf("its rows: %v", got)
	}
	if got := s.sql(t, name, "INSERT INTO things (v) VALUES ('new') RETURNING id"); !slices.Equal(got, []string{"101"}) {
		t.Errorf("the next id: %v, want 101", got)
	}
	s.sql(t, name, "DELETE FROM things WHERE id = 101")
	if got := s.redis(t, name, "GET", name+":k"); got != "kept \x00\ufffd bytes" { // as JSON shows it
		t.Errorf("its key: %q", got)
	}
	if got := s.redis(t, name, "LRANGE", name+":list", "0", "-1"); got != "[a b c]" {
		t.Errorf("its list: %s", got)
	}
	var ttl int
	if _, err := fmt.Sscan(s.redis(t, name, "TTL", name+":short"), &ttl); err != nil || ttl < 3000 || ttl > 3600 {
		t.Errorf("its key lives for %d s more (%v), want almost an hour", ttl, err)
	}
	if got := s.redis(t, name, "EXISTS", name+":later"); got != "0" {
		t.Error("a key that came after the snapshot is there")
	}
}

// newest returns the tenant's last snapshot, which must be one of count.
func (s *suite) newest(t *testing.T, name string, count int) platform.Snapshot {
	t.Helper()
	all, err := s.p.Snapshots(t.Context(), name)
	if err != nil || len(all) != count {
		t.Fatalf("snapshots of %s: %+v, %v; want %d", name, all, err, count)
	}
	for i := 1; i < len(all); i++ {
		if !all[i].At.Before(all[i-1].At) {
			t.Errorf("not the newest first: %+v", all)
		}
	}
	return all[0]
}

// restored takes a tenant away for good, makes it again, and has its data and
// its release back. The control plane is another one each time.
func restored(t *testing.T, s *suite) {
	const name = "again"
	c := s.config(name)
	run(t, 1, s.provision(c))
	p := s.publish(t, name, "one", nil)
	s.fillData(t, name)
	where, err := s.p.Snapshot(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	steps := s.deprovision(name)
	run(t, 1, steps[:4]) // its keys are gone, its database is there
	if again, err := s.p.Snapshot(t.Context(), name); err != nil || again != where {
		t.Errorf("half-way gone, its snapshot is %q (%v), want the whole one: %q", again, err, where)
	}
	run(t, 1, steps[4:])
	s.absent(t, name)
	snap := s.newest(t, name, 1)
	if path.Base(where) != snap.Name || !snap.Database || snap.Keys != 3 || snap.Release != p.SHA256 || snap.Bytes == 0 {
		t.Errorf("snapshot at %s: %+v", where, snap)
	}
	if err := s.p.RestoreSnapshot(t.Context(), name, snap.Name); !fault.Is(err, fault.NotFound) {
		t.Errorf("restored without a tenant: %v, want NotFound", err)
	}
	s.absent(t, name)
	s.reopen(t)
	run(t, 1, s.provision(c))
	for range 2 {
		if err := s.p.RestoreSnapshot(t.Context(), name, snap.Name); err != nil {
			t.Fatal(err)
		}
	}
	v, err := s.p.Volume(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Verify(p.SHA256); err != nil {
		t.Errorf("its release is not back: %v", err)
	}
	if _, current, err := v.Current(); err != nil || current {
		t.Errorf("a release became current by itself (%v)", err)
	}
	s.publish(t, name, "one", nil)
	s.wantData(t, name)
	s.allPresent(t, name)
	if status, body, err := s.ask(t.Context(), http.MethodGet, name, "/assets/index.txt", nil); err != nil || body != "one" {
		t.Errorf("asset: status %d: %s (%v)", status, body, err)
	}
	run(t, 1, s.deprovision(name))
	s.absent(t, name)
	for range 2 {
		if err := s.p.RemoveSnapshots(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := s.p.Snapshots(t.Context(), name); err != nil || len(all) > 0 {
		t.Errorf("snapshots that were removed: %+v, %v", all, err)
	}
}

// restoredInPlace puts a serving tenant's data back, and refuses what is no
// snapshot of it.
func restoredInPlace(t *testing.T, s *suite) {
	const name, other = "undo", "undo-other"
	for _, n := range []string{name, other} {
		run(t, 1, s.provision(s.config(n)))
		s.publish(t, n, "one", nil)
	}
	s.fillData(t, name)
	s.redis(t, other, "SET", other+":k", "the other's")
	for _, n := range []string{name, other} {
		if _, err := s.p.Snapshot(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	snap, theirs := s.newest(t, name, 1), s.newest(t, other, 1)
	s.sql(t, name, "DROP TABLE things")
	s.sql(t, name, "CREATE TABLE spoilt (v text)")
	s.redis(t, name, "SET", name+":k", "spoilt")
	s.redis(t, name, "SET", name+":later", "spoilt")
	spoilt := func(why string) {
		t.Helper()
		s.sql(t, name, "SELECT * FROM spoilt")
		if got := s.redis(t, name, "GET", name+":k") + s.redis(t, name, "GET", name+":later"); got != "spoiltspoilt" {
			t.Errorf("%s, its keys are %q", why, got)
		}
		s.allPresent(t, name)
	}
	for bad, want := range map[string]fault.Kind{
		theirs.Name: fault.NotFound, "20200101T000000.000000Z": fault.NotFound, "": fault.Invalid, ".": fault.Invalid, ".new": fault.Invalid,
		"../" + other + "/" + theirs.Name: fault.Invalid, "../x": fault.Invalid, snap.Name + "/": fault.Invalid,
	} {
		if err := s.p.VerifySnapshot(t.Context(), name, bad); !fault.Is(err, want) {
			t.Errorf("snapshot %q: %v, want %s", bad, err, want)
		}
		if err := s.p.RestoreSnapshot(t.Context(), name, bad); !fault.Is(err, want) {
			t.Errorf("restore of snapshot %q: %v, want %s", bad, err, want)
		}
	}
	spoilt("after what is no snapshot of it was refused")
	for what, damage := range s.env.Damage {
		repair := damage(t, name, snap.Name)
		err := s.p.RestoreSnapshot(t.Context(), name, snap.Name)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), snap.Name) {
			t.Errorf("with %s: %v, want Invalid and the snapshot's name", what, err)
		}
		if err := s.p.VerifySnapshot(t.Context(), name, snap.Name); !fault.Is(err, fault.Invalid) {
			t.Errorf("with %s it is verified: %v", what, err)
		}
		repair()
		spoilt("after a restore with " + what)
	}
	s.stopAndRestore(t, name, snap.Name)
	s.wantData(t, name)
	if got := s.redis(t, other, "GET", other+":k"); got != "the other's" {
		t.Errorf("the other's key: %q", got)
	}
	if status, body, _ := s.ask(t.Context(), http.MethodPost, name, "/sql", url.Values{"q": {"SELECT * FROM spoilt"}}); status != http.StatusForbidden {
		t.Errorf("a table that came after the snapshot: status %d: %s", status, body)
	}
	for _, n := range []string{name, other} {
		run(t, 1, s.deprovision(n))
		s.absent(t, n)
		if err := s.p.RemoveSnapshots(t.Context(), n); err != nil {
			t.Error(err)
		}
	}
}

// stopAndRestore restores as a run does: out of traffic, and back.
func (s *suite) stopAndRestore(t *testing.T, name, snapshot string) {
	t.Helper()
	run(t, 1, s.deprovision(name)[:2])
	if err := s.p.RestoreSnapshot(t.Context(), name, snapshot); err != nil {
		t.Fatal(err)
	}
	run(t, 1, s.provision(s.config(name)))
	eventually(t, func() string {
		status, body, err := s.ask(t.Context(), http.MethodGet, name, "/env", nil)
		if err == nil && status == http.StatusOK {
			return ""
		}
		return "it does not come back: " + body
	})
}
