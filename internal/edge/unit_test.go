package edge

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/internal/fault"
)

var update = flag.Bool("update", false, "write the golden files")

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func configOfTest() Config {
	return Config{
		Addr: "127.0.0.1:8080", Admin: "127.0.0.1:9000", DNS: "127.0.0.1:5353", Routes: "/data/edge/routes",
		KeyFile: "/data/secrets/edge.key", AccessLog: "/data/logs/access.log", Domain: "localhost",
	}
}

func TestCaddyConfig(t *testing.T) {
	got, err := caddyConfig(configOfTest())
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	golden := filepath.Join("testdata", "caddy.json")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("run with -update if this is meant:\n%s", diff)
	}
}

func TestLoadConfig(t *testing.T) {
	dir := t.TempDir()
	good, _ := json.Marshal(configOfTest())
	for name, c := range map[string]struct {
		content string
		kind    fault.Kind
	}{
		"good":        {string(good), ""},
		"unknown key": {strings.Replace(string(good), `"dns"`, `"dnss"`, 1), fault.Invalid},
		"no JSON":     {"addr: x", fault.Invalid},
		"missing":     {"{}", fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := LoadConfig(path)
			if c.kind == "" {
				if diff := cmp.Diff(configOfTest(), got); diff != "" || err != nil {
					t.Errorf("%v\n%s", err, diff)
				}
			} else if !fault.Is(err, c.kind) {
				t.Errorf("error %v", err)
			}
		})
	}
	if _, err := LoadConfig(filepath.Join(dir, "none")); !fault.Is(err, fault.NotFound) {
		t.Errorf("no file: %v", err)
	}
}

func FuzzParseRoute(f *testing.F) {
	f.Add([]byte(`{"tenant":"acme","hosts":["acme.localhost"],"srv":"a.b","bucket":"/x","static":"","edgeKey":"k","serial":7}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRoute("acme", b)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("kind of %v", err)
			}
			return
		}
		if r.Tenant != "acme" || !printable(r.EdgeKey) || strings.Contains(r.Static, ".") {
			t.Errorf("accepted %+v", r)
		}
	})
}

func FuzzAppendString(f *testing.F) {
	f.Add("plain \"quoted\" \\ \n \xff é")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if want := string([]rune(s)); len(s) <= maxLogged && got != want {
			t.Errorf("%q became %q", want, got)
		}
	})
}

// The gate is all that stands behind the CDN: it believes only what is proven.
func TestGate(t *testing.T) {
	const secret = "0123456789abcdef"
	table := newTable("localhost", Limits{}, quiet())
	table.apply(change{
		"acme": {Tenant: "acme", Hosts: []string{"acme.localhost"}, EdgeKey: "k"},
		"soon": {Tenant: "soon", Hosts: []string{"soon.localhost"}, EdgeKey: "k"},
	})
	table.tenant("acme").instances.Store(newInstances([]*instance{{addr: "127.0.0.1:1"}}))
	g := newGate(table, secret, false)
	for name, c := range map[string]struct {
		host            string
		tenants, secret []string
		status          int // 0: admitted
	}{
		"good":             {"acme.localhost:80", []string{"acme"}, []string{secret}, 0},
		"no secret":        {"acme.localhost", []string{"acme"}, nil, 403},
		"wrong secret":     {"acme.localhost", []string{"acme"}, []string{"0123456789abcdeX"}, 403},
		"short secret":     {"acme.localhost", []string{"acme"}, []string{"0"}, 403},
		"two secrets":      {"acme.localhost", []string{"acme"}, []string{secret, secret}, 403},
		"no tenant":        {"acme.localhost", nil, []string{secret}, 403},
		"two tenants":      {"acme.localhost", []string{"acme", "acme"}, []string{secret}, 403},
		"list":             {"acme.localhost", []string{"acme,beta"}, []string{secret}, 403},
		"empty":            {"acme.localhost", []string{""}, []string{secret}, 403},
		"upper case":       {"acme.localhost", []string{"ACME"}, []string{secret}, 403},
		"too long":         {"acme.localhost", []string{strings.Repeat("a", 64)}, []string{secret}, 403},
		"unknown tenant":   {"acme.localhost", []string{"nobody"}, []string{secret}, 404},
		"another's host":   {"soon.localhost", []string{"acme"}, []string{secret}, 403},
		"unknown host":     {"other", []string{"acme"}, []string{secret}, 403},
		"without instance": {"soon.localhost", []string{"soon"}, []string{secret}, 503},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Host = c.host
			r.Header["X-Tenant"], r.Header["X-Gitopsd-Secret"] = c.tenants, c.secret
			e, err := g.admit(r)
			if err == nil {
				err = e.ready()
			}
			if c.status == 0 {
				if err != nil || e.tenant != "acme" {
					t.Errorf("%v", err)
				}
			} else if statusOf(err) != c.status {
				t.Errorf("status %d: %v", statusOf(err), err)
			}
			if len(r.Header["X-Tenant"])+len(r.Header["X-Gitopsd-Secret"]) > 0 {
				t.Errorf("passed on: %v", r.Header)
			}
		})
	}
}

// A request that did not come through the gate has no upstream.
func TestUpstreamsNeedTheGate(t *testing.T) {
	table := newTable("localhost", Limits{}, quiet())
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("X-Tenant", "acme")
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{}))
	if got, err := (&upstreams{table}).GetUpstreams(r); err == nil || got != nil {
		t.Errorf("%v %v", got, err)
	}
}

func TestRoundGivesEachItsShare(t *testing.T) {
	for _, c := range []struct {
		weights []uint16
		want    map[string]int
	}{
		{[]uint16{0, 0}, map[string]int{"0": 1, "1": 1}},
		{[]uint16{5, 5, 5}, map[string]int{"0": 1, "1": 1, "2": 1}},
		{[]uint16{10, 30}, map[string]int{"0": 1, "1": 3}},
		{[]uint16{0, 4}, map[string]int{"0": 1, "1": 4}},
		{[]uint16{1, 65535}, map[string]int{"0": 1, "1": 127}},
	} {
		var group []*instance
		for i, w := range c.weights {
			group = append(group, &instance{addr: fmt.Sprint(i), weight: w})
		}
		got := map[string]int{}
		for _, in := range round(group) {
			got[in.addr]++
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("weights %v:\n%s", c.weights, diff)
		}
	}
}

func TestPickAvoidsTheFailed(t *testing.T) {
	a, b, spare := &instance{addr: "a", priority: 1}, &instance{addr: "b", priority: 1}, &instance{addr: "c", priority: 2}
	s := newInstances([]*instance{spare, b, a})
	now := func() time.Time { return time.Unix(100, 0) }
	for range 4 {
		if in := s.pick([]*instance{a}, now); in != b {
			t.Errorf("after a failed: %s", in.addr)
		}
		if in := s.pick([]*instance{a, b}, now); in != spare {
			t.Errorf("after both failed: %s", in.addr)
		}
		if in := s.pick([]*instance{a, b, spare}, now); in == nil {
			t.Error("after all failed: none")
		}
	}
	a.downUntil.Store(now().Add(time.Second).UnixNano())
	b.downUntil.Store(now().Add(-time.Second).UnixNano())
	for range 4 {
		if in := s.pick(nil, now); in != b {
			t.Errorf("with a down: %s", in.addr)
		}
	}
	if in := newInstances(nil).pick(nil, now); in != nil {
		t.Errorf("of none: %s", in.addr)
	}
}

func TestAccessLogRotates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l, err := openAccessLog(path, quiet())
	if err != nil {
		t.Fatal(err)
	}
	l.out.Lock()
	l.limit = 4 << 10
	l.out.Unlock()
	const lines = 300
	for i := range lines {
		l.add(&access{at: time.Now(), tenant: "acme", path: fmt.Sprintf("/%d", i), status: 200})
		if i%10 == 0 {
			l.flush()
		}
	}
	l.close()
	var kept, last int
	for i := logKeep; i >= 0; i-- {
		name := path
		if i > 0 {
			name += fmt.Sprintf(".%d", i)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 5<<10 {
			t.Errorf("%s has %d bytes", name, len(b))
		}
		for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
			var a struct{ Path string }
			if err := json.Unmarshal([]byte(line), &a); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			n := 0
			_, _ = fmt.Sscanf(a.Path, "/%d", &n)
			if kept > 0 && n != last+1 {
				t.Errorf("line %d after %d", n, last)
			}
			kept, last = kept+1, n
		}
	}
	if last != lines-1 {
		t.Errorf("the last line is %d", last)
	}
	if _, err := os.Stat(fmt.Sprintf("%s.%d", path, logKeep+1)); err == nil {
		t.Error("an older file stays")
	}
}

func TestFingerprinted(t *testing.T) {
	for name, want := range map[string]bool{
		"app.3f9a1c2b.js": true, "a/app-3f9a1c2b4d5e6f70.min.css": true, "index-Di3rgTda.js": true, "report-20270131.pdf": false,
		"app.js": false, "deadbeef.js": false, "my-deadbeef.js": false, "my-greeting.js": false, "logo-20x20.png": false,
		"my-Greeting.js": false, "jquery-3.7.1.js": false, "3f9a1c2b/app.js": false,
	} {
		if got := fingerprinted(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A tree too odd to list is empty, and listed once it is there.
func TestAssetsThatComeLate(t *testing.T) {
	dir := t.TempDir()
	digest := strings.Repeat("a", 64)
	a := nextAssets(nil, &Route{Bucket: dir, Static: digest})
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if _, f := a.find(r); f != nil {
		t.Fatal("found")
	}
	if err := os.MkdirAll(filepath.Join(dir, digest), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, digest, "index.html"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	tree, file := a.find(r)
	if file == nil {
		t.Fatal("not found")
	}
	if err := os.Remove(filepath.Join(dir, digest, "index.html")); err != nil {
		t.Fatal(err)
	}
	if rec := httptest.NewRecorder(); tree.serve(rec, r, file) || len(rec.Header()) > 0 {
		t.Error("served a file that is gone")
	}
}

// Many tenants' answers are not asked for at once when they run out.
func TestRefreshesAreSpaced(t *testing.T) {
	r := newResolver([]string{"127.0.0.1:1"}, quiet())
	const n = 200
	for i := range n {
		e := &entry{tenant: fmt.Sprint(i)}
		e.route.Store(&Route{SRV: "x"})
		r.pending++
		r.done(e, true, minTTL)
	}
	r.mu.Lock()
	first, last := r.due[0].lookup.at, r.due[0].lookup.at
	for _, e := range r.due {
		if e.lookup.at.After(last) {
			last = e.lookup.at
		}
		e.lookup.at = time.Now().Add(-time.Second)
	}
	r.mu.Unlock()
	if last.Sub(first) < minTTL/8 {
		t.Errorf("all are due within %v", last.Sub(first))
	}
	began, taken := time.Now(), 0
	for time.Since(began) < 100*time.Millisecond {
		if e, _ := r.takeDue(); e != nil {
			taken++
		}
	}
	if most := int(time.Since(began)/refreshEvery) + 1; taken > most || taken < 10 {
		t.Errorf("%d taken, want at most %d", taken, most)
	}
}

func TestFailuresBackOff(t *testing.T) {
	r := newResolver([]string{"127.0.0.1:1"}, quiet())
	e := &entry{tenant: "acme"}
	e.route.Store(&Route{SRV: "x"})
	r.pending++
	var before time.Duration
	for i := range 12 {
		r.done(e, false, 0)
		wait := time.Until(e.lookup.at)
		if wait > maxBackoff || i > 0 && i < 5 && wait < before {
			t.Errorf("failure %d: %v after %v", i+1, wait, before)
		}
		before = wait
		r.mu.Lock()
		r.unschedule(e)
		r.mu.Unlock()
	}
	if before < maxBackoff/2 {
		t.Errorf("after many failures: %v", before)
	}
	r.done(e, true, maxTTL)
	if e.lookup.failures != 0 {
		t.Error("failures stay after a success")
	}
}
