package edge_test

import (
	"net/http"
	"testing"
)

func TestRequestReachesTheTenant(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.tenant("acme", echo("acme-0"))
	res := f.do("POST", "acme.localhost:8080", "/a/b?x=1", func(r *http.Request) {
		r.Header.Set("X-Custom", "kept")
	})
	if res.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", res.StatusCode, res.body)
	}
	got := res.seen(t)
	t.Logf("%+v", got)
	t.Logf("%+v", res.Header)
}
