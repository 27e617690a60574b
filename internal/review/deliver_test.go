package review_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/github/githubtest"
)

// A merge may wait for the status: neither the comment nor another pull request's
// comment is shown before it.
func TestStatusesAreShownFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"base"})
	w.open("one", map[string]string{"tenants/one.yaml": file("one", "hello")})
	w.open("two", map[string]string{"tenants/two.yaml": file("two", "hello")})
	var shown []string
	end := w.hub.Fail(githubtest.Fault{Match: func(r *http.Request) bool {
		if r.Method == http.MethodPost {
			for _, kind := range []string{"statuses", "comments"} {
				if strings.Contains(r.URL.Path, "/"+kind) && !strings.Contains(r.URL.Path, "/deployments/") {
					shown = append(shown, kind)
				}
			}
		}
		return false
	}})
	w.look()
	end()
	if want := []string{"statuses", "statuses", "comments", "comments"}; !slices.Equal(shown, want) {
		t.Errorf("shown are %v, want %v", shown, want)
	}
}
