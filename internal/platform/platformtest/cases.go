package platformtest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// life makes a tenant, uses it and unmakes it, every method called twice.
func life(t *testing.T, s *suite) {
	const name = "life"
	s.absent(t, name)
	c := s.config(name)
	run(t, 2, s.provision(c))
	if status, body, err := s.answered(t, http.StatusServiceUnavailable, http.MethodGet, name, "/env", nil); err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("without a release: status %d, want 503: %s (%v)", status, body, err)
	}
	missing, err := s.p.MissingSecrets(t.Context(), name, []string{"TOKEN"})
	if err != nil || !slices.Equal(missing, []string{"TOKEN"}) {
		t.Errorf("missing secrets: %v, %v", missing, err)
	}
	if err := s.env.SetSecret(t.Context(), name, "TOKEN", "s3cret"); err != nil {
		t.Fatalf("set secret: %v", err)
	}
	if missing, err := s.p.MissingSecrets(t.Context(), name, []string{"TOKEN"}); err != nil || len(missing) > 0 {
		t.Errorf("missing secrets after one was set: %v, %v", missing, err)
	}
	p := s.publish(t, name, "one", nil)
	env := s.environment(t, name)
	if env["TOKEN"] != "s3cret" || env["REDIS_PREFIX"] != name+":" || env["RELEASE"] != p.SHA256 {
		t.Errorf("environment: %v", slices.Sorted(mapsKeys(env)))
	}
	own, err := s.p.Database(t.Context(), name)
	if err != nil || own != env["DATABASE_URL"] {
		t.Errorf("the app's DATABASE_URL is not what Database returns (%v)", err)
	}
	s.sql(t, name, "CREATE TABLE things (v text)")
	s.sql(t, name, "INSERT INTO things VALUES ('kept')")
	s.redis(t, name, "SET", name+":k", "v")
	if status, body, err := s.ask(t.Context(), http.MethodGet, name, "/assets/index.txt", nil); err != nil || body != "one" {
		t.Errorf("asset: status %d: %s (%v)", status, body, err)
	}
	s.allPresent(t, name)
	var log bytes.Buffer
	if err := s.p.Logs(t.Context(), name, &log, false); err != nil || !strings.Contains(log.String(), "app started") {
		t.Errorf("logs: %q, %v", log.String(), err)
	}
	run(t, 2, s.provision(c)) // on top of a serving tenant
	if got := s.sql(t, name, "SELECT v FROM things"); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("rows after it was provisioned again: %v", got)
	}
	where, err := s.p.Snapshot(t.Context(), name)
	if err != nil || where == "" {
		t.Errorf("snapshot: %q, %v", where, err)
	}
	run(t, 2, s.deprovision(name))
	s.absent(t, name)
	if status, _, err := s.answered(t, http.StatusNotFound, http.MethodGet, name, "/", nil); err != nil || status != http.StatusNotFound {
		t.Errorf("after its end: status %d, %v", status, err)
	}
}

// releases swaps releases: a bad one is reported as soon as it fails and takes
// no traffic, and an old one comes back.
func releases(t *testing.T, s *suite) {
	const name = "swap"
	run(t, 1, s.provision(s.config(name)))
	one := s.publish(t, name, "one", nil)
	two := s.publish(t, name, "two", nil)
	if got := s.environment(t, name)["RELEASE"]; got != two.SHA256 {
		t.Errorf("serving %.12s, want %.12s", got, two.SHA256)
	}
	bad := s.put(t, name, "bad", map[string]string{"BROKEN": "1"})
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
	defer cancel()
	err := s.p.AwaitRelease(ctx, name, bad)
	if !fault.Is(err, fault.Stalled) {
		t.Errorf("a release that fails: %v, want Stalled", err)
	}
	if r := fault.RecordOf(err); r == nil || !strings.Contains(r.Detail, "broken on purpose") {
		t.Errorf("its detail lacks the app's output: %+v", r)
	}
	if got := s.environment(t, name)["RELEASE"]; got != two.SHA256 {
		t.Errorf("after a bad release %.12s serves, want %.12s", got, two.SHA256)
	}
	if back := s.publish(t, name, "one", nil); back.SHA256 != one.SHA256 {
		t.Errorf("the same release has another digest")
	}
	i := s.instances(t, name, 1)[0]
	if i.Report.Release != one.SHA256 || i.Report.Phase != "serving" || i.Addr == "" {
		t.Errorf("instance: %+v", i)
	}
	run(t, 1, s.deprovision(name))
	s.absent(t, name)
}

// halfWay has the control plane die after every step: the next one goes on, with
// what was there.
func halfWay(t *testing.T, s *suite) {
	const name = "half"
	c := s.config(name)
	for i := range s.provision(c) {
		run(t, 1, s.provision(c)[:i+1])
		s.reopen(t)
	}
	s.publish(t, name, "one", nil)
	before := s.instances(t, name, 1)[0]
	s.reopen(t)
	if after := s.instances(t, name, 1)[0]; !after.Since.Equal(before.Since) || after.Addr != before.Addr {
		t.Errorf("instance was not adopted: %+v, before %+v", after, before)
	}
	s.sql(t, name, "SELECT 1")
	for i := range s.deprovision(name) {
		run(t, 1, s.deprovision(name)[i:i+1])
		s.reopen(t)
	}
	s.absent(t, name)
}

// drainAndReturn takes a tenant out of traffic while it answers, and brings it
// back within the grace period.
func drainAndReturn(t *testing.T, s *suite) {
	const name = "grace"
	c := s.config(name)
	run(t, 1, s.provision(c))
	s.publish(t, name, "one", nil)
	s.sql(t, name, "CREATE TABLE things (v text)")
	s.redis(t, name, "SET", name+":k", "kept")
	answer := make(chan string, 1)
	go func() {
		status, body, err := s.ask(t.Context(), http.MethodPost, name, "/slow", url.Values{"for": {"1s"}})
		if err != nil {
			body = err.Error()
		}
		answer <- http.StatusText(status) + " " + body
	}()
	eventually(t, func() string {
		if s.instances(t, name, 1)[0].Report.InFlight == 0 {
			return "the slow request never arrived"
		}
		return ""
	})
	run(t, 1, s.deprovision(name)[:2])
	if got := <-answer; got != `OK "done"` {
		t.Errorf("the request that was in flight: %s", got)
	}
	if left := s.present(t, name); slices.ContainsFunc(left, func(r string) bool {
		return strings.HasPrefix(r, "process") || strings.HasPrefix(r, "dns") || strings.HasPrefix(r, "route")
	}) {
		t.Errorf("after drain: %v", left)
	}
	answers := func(want int) {
		t.Helper()
		eventually(t, func() string {
			status, body, err := s.ask(t.Context(), http.MethodGet, name, "/", nil)
			if err == nil && status == want {
				return ""
			}
			return fmt.Sprintf("its host answers %d %s, want %d (%v)", status, body, want, err)
		})
	}
	answers(http.StatusServiceUnavailable)
	run(t, 2, []step{{"Entomb", func(ctx context.Context) error { return s.p.Entomb(ctx, name) }}})
	answers(http.StatusGone)
	run(t, 1, s.deprovision(name)[:2]) // once more: it is not said to come back
	answers(http.StatusGone)
	s.reopen(t) // does not start it again
	if i, err := s.p.Instances(t.Context(), name); err != nil || len(i) != 1 || i[0].Running {
		t.Errorf("instances of a drained tenant: %+v, %v", i, err)
	}
	run(t, 1, s.provision(c))
	eventually(t, func() string {
		status, body, err := s.ask(t.Context(), http.MethodGet, name, "/env", nil)
		if err == nil && status == http.StatusOK {
			return ""
		}
		return "it does not come back: " + body
	})
	s.sql(t, name, "SELECT * FROM things")
	if got := s.redis(t, name, "GET", name+":k"); got != "kept" {
		t.Errorf("its key after the return: %q", got)
	}
	run(t, 1, s.deprovision(name))
	s.absent(t, name)
	answers(http.StatusNotFound)
}

// scale changes the number of instances under requests, none of which fails.
func scale(t *testing.T, s *suite) {
	const name = "wide"
	c := s.config(name)
	run(t, 1, s.provision(c))
	s.publish(t, name, "one", nil)
	stop, failed := make(chan struct{}), make(chan string, 1)
	go func() {
		defer close(failed)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if status, body, err := s.ask(t.Context(), http.MethodPost, name, "/slow", url.Values{"for": {"1ms"}}); err != nil || status != http.StatusOK {
				failed <- http.StatusText(status) + " " + body
				return
			}
		}
	}()
	c.Compute.Scale.Min = 2
	run(t, 2, s.provision(c)[:1])
	for _, i := range s.instances(t, name, 2) {
		if i.Name == "" || i.Addr == "" {
			t.Errorf("instance: %+v", i)
		}
	}
	v, err := s.p.Volume(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := v.Current()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.p.AwaitRelease(ctx, name, p); err != nil {
		t.Errorf("the second instance does not serve: %v", err)
	}
	c.Compute.Scale.Min = 1
	run(t, 2, s.provision(c)[:1])
	s.instances(t, name, 1)
	close(stop)
	if why, bad := <-failed; bad {
		t.Errorf("a request failed while it was scaled: %s", why)
	}
	run(t, 1, s.deprovision(name))
	s.absent(t, name)
}

// obstructed meets things of the right name that are not the tenant's.
func obstructed(t *testing.T, s *suite) {
	for method, obstruct := range s.env.Obstruct {
		name := "blocked-" + strings.ToLower(method)
		remove := obstruct(t, name)
		c := s.config(name)
		for _, st := range append(s.provision(c), s.deprovision(name)...) {
			if st.name != method {
				continue
			}
			if err := st.do(t.Context()); !fault.Is(err, fault.Conflict) {
				t.Errorf("%s with something in the way: %v, want Conflict", method, err)
			}
		}
		remove()
		run(t, 1, s.deprovision(name))
		s.absent(t, name)
	}
}

// unknown destroys what never was, and asks for what is not there.
func unknown(t *testing.T, s *suite) {
	const name = "nobody"
	run(t, 1, s.deprovision(name))
	s.absent(t, name)
	if _, err := s.p.Volume(t.Context(), name); !fault.Is(err, fault.NotFound) {
		t.Errorf("volume: %v, want NotFound", err)
	}
	if where, err := s.p.Snapshot(t.Context(), name); err != nil || where != "" {
		t.Errorf("snapshot: %q, %v, want none", where, err)
	}
	if err := s.p.EnsureInfrastructure(t.Context(), s.config("../etc")); !fault.Is(err, fault.Invalid) {
		t.Errorf("a name that is a path: %v, want Invalid", err)
	}
}
