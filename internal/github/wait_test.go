package github_test

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/github"
)

// answers gives the same answer to each request.
type answers struct{ retryAfter string }

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusTooManyRequests, Status: "429 Too Many Requests", Request: r,
		Header: http.Header{"Retry-After": {a.retryAfter}}, Body: io.NopCloser(strings.NewReader(`{}`)),
	}, nil
}

// A wrong answer of something in between must not end all deliveries.
func TestNoWaitIsEndless(t *testing.T) {
	t.Parallel()
	for _, asked := range []string{"2147483647", time.Now().AddDate(9, 0, 0).UTC().Format(http.TimeFormat)} {
		forge, err := github.Open(t.Context(), github.Config{
			Repository: "acme/tenants", Token: "x", Transport: answers{asked}, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = forge.Pull(t.Context(), 1)
		if after := fault.After(err); after.IsZero() || time.Until(after) > 2*time.Hour {
			t.Errorf("asked to wait %s: until %s, %v", asked, after, err)
		}
	}
}
