package console_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/review"
)

func TestWebhook(t *testing.T) {
	t.Parallel()
	deliveries := make(chan string, 10)
	a := serve(t, everyState(), func(c *console.Config) {
		c.PublicURL = "https://ops.example.com"
		c.Webhook = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			deliveries <- string(b)
			w.WriteHeader(http.StatusAccepted)
		})
	})
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	for _, c := range []struct {
		name, method, path string
		change             func(*http.Request)
		want               int
	}{
		{"by a loopback address", "POST", "/webhooks/github", header("Accept", "*/*"), 202},
		{"by the public name", "POST", "/webhooks/github", host("ops.example.com"), 202},
		{"with an origin", "POST", "/webhooks/github", header("Origin", "https://github.com"), 202},
		{"by another name", "POST", "/webhooks/github", host("evil.example.com"), 403},
		{"not a delivery", "GET", "/webhooks/github", header("Accept", "*/*"), 404},
		{"of another forge", "POST", "/webhooks/other", header("Accept", "*/*"), 404},
		{"the API is not open", "POST", "/api/v1/tenants/acme/retry", header("Accept", "*/*"), 401},
		{"the API keeps its rule for origins", "GET", "/api/v1/tenants", header("Origin", "https://github.com"), 403},
	} {
		if res := a.request(c.method, c.path, c.name, anonymous, c.change); res.StatusCode != c.want {
			t.Errorf("%s: %s, want %d", c.name, res.Status, c.want)
		}
		if c.want == http.StatusAccepted {
			if got := <-deliveries; got != c.name {
				t.Errorf("%s: the handler got %q", c.name, got)
			}
		}
	}
	if len(deliveries) != 0 {
		t.Errorf("the handler got %q", <-deliveries)
	}
	without := serve(t, everyState())
	if res := without.request(http.MethodPost, "/webhooks/github", "{}", anonymous); res.StatusCode != http.StatusNotFound {
		t.Errorf("without a handler it answers %s", res.Status)
	}
}

func TestPulls(t *testing.T) {
	t.Parallel()
	a := serve(t, everyState())
	if all := get[[]review.Report](a, "/api/v1/pulls"); len(all) != 2 || all[0].Pull.Number != 12 || all[1].Conflicts[0] != "tenants/globex.yaml" {
		t.Errorf("the pull requests are %+v", all)
	}
	if some := get[[]review.Report](a, "/api/v1/pulls?limit=1"); len(some) != 1 {
		t.Errorf("%d pull requests, want 1", len(some))
	}
	if one := get[review.Report](a, "/api/v1/pulls/12"); one.Pull.Title != planned().Pull.Title || len(one.Steps) != 4 || one.Steps[0].Migrations[0].Verdict != "destructive" {
		t.Errorf("the pull request is %+v", one)
	}
	for path, code := range map[string]int{"/api/v1/pulls/99": 404, "/api/v1/pulls/x": 422, "/api/v1/pulls/-1": 422, "/api/v1/pulls?limit=0": 422} {
		if r := decoded[fault.Record](a, a.request(http.MethodGet, path, ""), code); r.Hint == "" {
			t.Errorf("%s answers %+v", path, r)
		}
	}
	without := serve(t, everyState(), func(c *console.Config) { c.Reviews = nil })
	for _, path := range []string{"/api/v1/pulls", "/api/v1/pulls/12"} {
		if r := decoded[fault.Record](without, without.request(http.MethodGet, path, ""), 404); r.Hint == "" {
			t.Errorf("without a forge %s answers %+v", path, r)
		}
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		console.CommitURL("https://ops.example.com", first):      "https://ops.example.com/commits/" + first,
		console.PullURL("https://ops.example.com/", 12):          "https://ops.example.com/pulls/12",
		console.TenantURL("http://127.0.0.1:8090", "acme"):       "http://127.0.0.1:8090/tenants/acme",
		console.TenantURL("https://ops.example.com", "../a?b#c"): "https://ops.example.com/tenants/..%2Fa%3Fb%23c",
		console.CommitURL("", first):                             "",
	} {
		if got != want {
			t.Errorf("the link is %q, want %q", got, want)
		}
	}
}
