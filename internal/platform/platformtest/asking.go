package platformtest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/release"
)

// Stage puts a release together: the app, and one asset with the given text.
func Stage(v *release.Volume, m release.Manifest, app, text string) (string, error) {
	st, err := v.Stage()
	if err != nil {
		return "", err
	}
	defer st.Abort()
	if err := st.AddBinary(app); err != nil {
		return "", err
	}
	if err := st.Add(release.Static, "assets/index.txt", strings.NewReader(text)); err != nil {
		return "", err
	}
	return st.Commit(m)
}

// ask sends a request to a tenant by way of the edge.
func (s *suite) ask(ctx context.Context, method, name, path string, form url.Values) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.env.Edge+path, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, "", err
	}
	req.Host = name + "." + s.env.Domain
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, strings.TrimSpace(string(b)), err
}

// answered is ask, again while an edge that is late may not have followed yet.
func (s *suite) answered(t *testing.T, want int, method, name, path string, form url.Values) (int, string, error) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		status, body, err := s.ask(t.Context(), method, name, path, form)
		behind := status == http.StatusNotFound || status == http.StatusServiceUnavailable || status == http.StatusOK && want != http.StatusOK
		if !s.env.Late || err != nil || status == want || !behind || time.Now().After(deadline) {
			return status, body, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// must asks the tenant's app and returns its answer, which must be a success.
func (s *suite) must(t *testing.T, name, path string, form url.Values) string {
	t.Helper()
	status, body, err := s.answered(t, http.StatusOK, http.MethodPost, name, path, form)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s: POST %s %v: status %d: %s (%v)", name, path, form, status, body, err)
	}
	return body
}

// refused asks the tenant's app for something that must be denied to it, with
// one of the given words.
func (s *suite) refused(t *testing.T, name, path string, form url.Values, words ...string) {
	t.Helper()
	status, body, err := s.ask(t.Context(), http.MethodPost, name, path, form)
	denied := slices.ContainsFunc(words, func(word string) bool { return strings.Contains(body, word) })
	if err != nil || status != http.StatusForbidden || !denied {
		t.Errorf("%s may do what it must not, or is refused for another reason than %q: POST %s %v: status %d: %s (%v)",
			name, words, path, form, status, body, err)
	}
}

func (s *suite) sql(t *testing.T, name, q string) []string {
	t.Helper()
	var rows []string
	body := s.must(t, name, "/sql", url.Values{"q": {q}})
	if err := json.Unmarshal([]byte(body), &rows); err != nil {
		t.Fatalf("%s: %s: %v", q, body, err)
	}
	return rows
}

func (s *suite) redis(t *testing.T, name string, args ...string) string {
	t.Helper()
	var v string
	body := s.must(t, name, "/redis", url.Values{"arg": args})
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%v: %s: %v", args, body, err)
	}
	return v
}

// environment returns what the tenant's app got, by name.
func (s *suite) environment(t *testing.T, name string) map[string]string {
	t.Helper()
	status, body, err := s.answered(t, http.StatusOK, http.MethodGet, name, "/env", nil)
	var list []string
	if err != nil || status != http.StatusOK || json.Unmarshal([]byte(body), &list) != nil {
		t.Fatalf("%s: GET /env: status %d: %s (%v)", name, status, body, err)
	}
	env := make(map[string]string)
	for _, entry := range list {
		k, v, _ := strings.Cut(entry, "=")
		env[k] = v
	}
	return env
}

// eventually waits until check is content, and fails the test with its last
// complaint if that does not come about.
func eventually(t *testing.T, check func() (complaint string)) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		complaint := check()
		if complaint == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(complaint)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// present returns what the inventory says is there, by kind.
func (s *suite) present(t *testing.T, name string) []string {
	t.Helper()
	inventory, err := s.p.Inventory(t.Context(), name)
	if err != nil {
		t.Fatalf("inventory: %v", err)
	}
	if len(inventory) == 0 {
		t.Fatal("the inventory is empty: it must name what is absent too")
	}
	var kinds []string
	for _, r := range inventory {
		if r.Present {
			kinds = append(kinds, r.Kind+" "+r.Name)
		}
	}
	return kinds
}

// allPresent fails the test unless everything of a tenant that serves is there.
func (s *suite) allPresent(t *testing.T, name string) {
	t.Helper()
	inventory, err := s.p.Inventory(t.Context(), name)
	if err != nil {
		t.Fatalf("inventory: %v", err)
	}
	for _, r := range inventory {
		if !r.Present {
			t.Errorf("of a serving tenant: %s", r)
		}
	}
}

// absent fails the test if anything of the tenant is there.
func (s *suite) absent(t *testing.T, name string) {
	t.Helper()
	if left := s.present(t, name); len(left) > 0 {
		t.Fatalf("after everything was destroyed: %v", left)
	}
}

// reports returns the tenant's instances, each of which must run.
func (s *suite) instances(t *testing.T, name string, want int) []platform.Instance {
	t.Helper()
	instances, err := s.p.Instances(t.Context(), name)
	if err != nil {
		t.Fatalf("instances: %v", err)
	}
	if len(instances) != want || slices.ContainsFunc(instances, func(i platform.Instance) bool { return !i.Running }) {
		t.Fatalf("instances: %+v, want %d that run", instances, want)
	}
	return instances
}
