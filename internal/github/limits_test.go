package github_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	gosync "sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/github"
	"github.com/gitopsd/gitopsd/internal/github/githubtest"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// sent keeps when requests were sent.
type sent struct {
	next http.RoundTripper

	mu        gosync.Mutex
	mutations []time.Time
	all       int
}

func (s *sent) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.all++
	if r.Method != http.MethodGet {
		s.mutations = append(s.mutations, time.Now())
	}
	s.mu.Unlock()
	return s.next.RoundTrip(r)
}

// watched makes a world whose requests are watched, on a bubble's clock.
func watched(t *testing.T, o githubtest.Options) (world, *sent) {
	t.Helper()
	s := &sent{}
	return direct(t, o, func(c *github.Config) { s.next, c.Transport = c.Transport, s }), s
}

func status(t *testing.T, sha string, i int) review.Notice {
	t.Helper()
	return notice(t, review.NoticeStatus, review.Status{SHA: sha, Context: review.ContextPlan, State: sync.StatePending, Description: fmt.Sprint(i)})
}

func TestPrimaryLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := watched(t, githubtest.Options{Limit: 5})
		begin := time.Now()
		resets := begin.Add(time.Hour).Truncate(time.Second)
		for i := range 5 {
			if _, err := w.forge.Pulls(t.Context(), fmt.Sprint("branch-", i)); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			_, err := w.forge.Pulls(t.Context(), "main")
			if after := fault.After(err); !fault.Is(err, fault.Transient) || after.Before(resets) || after.After(resets.Add(2*time.Second)) {
				t.Errorf("spent: %v, after %v; want Transient and %v", err, after, resets)
			}
			if _, err := w.forge.Deliver(t.Context(), status(t, w.Head("main"), 1)); fault.After(err).IsZero() {
				t.Errorf("a delivery: %v", err)
			}
			time.Sleep(15 * time.Minute)
		}
		if s.all != 5 || w.Early() != 0 {
			t.Errorf("%d requests were sent, %d of them early", s.all, w.Early())
		}
		time.Sleep(time.Until(resets.Add(2 * time.Second)))
		if _, err := w.forge.Pulls(t.Context(), "main"); err != nil {
			t.Errorf("after the reset: %v", err)
		}
	})
}

// TestClockOff: GitHub's reset is by its clock, and ours may be wrong.
func TestClockOff(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{-3 * time.Hour, 3 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			there := func() time.Time { return time.Now().Add(off) }
			reset := there().Add(10 * time.Minute)
			n := 0
			forge, err := github.Open(t.Context(), github.Config{
				Repository: "acme/tenants", Token: "x", Log: slog.New(slog.DiscardHandler), Transport: githubtest.Direct{Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
					n++
					h := rw.Header()
					h.Set("Date", there().UTC().Format(http.TimeFormat))
					h.Set("X-RateLimit-Remaining", "0")
					h.Set("X-RateLimit-Reset", fmt.Sprint(reset.Unix()))
					_, _ = rw.Write([]byte("[]"))
				})},
			})
			do(t, err)
			_, err = forge.Pulls(t.Context(), "main")
			do(t, err)
			_, err = forge.Pulls(t.Context(), "main")
			if wait := time.Until(fault.After(err)).Round(time.Minute); wait != 10*time.Minute || n != 1 {
				t.Errorf("off by %v: waits %v after %d requests, %v", off, wait, n, err)
			}
		})
	}
}

func TestSecondaryLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := watched(t, githubtest.Options{MutationsAMinute: 3, SecondaryWait: 40 * time.Second})
		sha := w.Head("main")
		begin := time.Now()
		for i := range 3 {
			w.deliver(t, status(t, sha, i))
		}
		if time.Since(begin) > time.Second {
			t.Errorf("deliveries are slow without need: %v", time.Since(begin))
		}
		_, err := w.forge.Deliver(t.Context(), status(t, sha, 3))
		if wait := time.Until(fault.After(err)); !fault.Is(err, fault.Transient) || wait < 39*time.Second || wait > 41*time.Second {
			t.Errorf("the fourth: %v, after %v", err, wait)
		}
		all := s.all
		for range 3 {
			_, err := w.forge.Deliver(t.Context(), status(t, sha, 3))
			_, read := w.forge.Pulls(t.Context(), "main")
			if fault.After(err).IsZero() || fault.After(read).IsZero() {
				t.Errorf("meanwhile: %v, %v", err, read)
			}
			time.Sleep(10 * time.Second)
		}
		if s.all != all || w.Early() != 0 {
			t.Errorf("%d requests were sent meanwhile, %d early", s.all-all, w.Early())
		}
		time.Sleep(time.Minute)

		// From now on one after another, a second apart, also when they come at once.
		s.mutations = nil
		var done gosync.WaitGroup
		for i := range 3 {
			done.Go(func() { w.deliver(t, status(t, sha, i+10)) })
		}
		done.Wait()
		slices.SortFunc(s.mutations, time.Time.Compare)
		for i := 1; i < len(s.mutations); i++ {
			if gap := s.mutations[i].Sub(s.mutations[i-1]); gap < time.Second {
				t.Errorf("mutations %v apart", gap)
			}
		}
		if len(s.mutations) != 3 || w.Early() != 0 {
			t.Errorf("%d mutations, %d early", len(s.mutations), w.Early())
		}
	})
}

// TestSecondaryLimitWithoutTime: GitHub's advice is a minute, then ever longer.
func TestSecondaryLimitWithoutTime(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]struct {
		status int
		body   string
	}{
		"403": {403, `{"message":"You have exceeded a secondary rate limit and have been temporarily blocked."}`},
		"url": {403, `{"message":"Slow down","documentation_url":"https://docs.github.com/rest/using-the-rest-api/rate-limits#about-secondary-rate-limits"}`},
		"429": {429, ``},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := 0
				forge, err := github.Open(t.Context(), github.Config{
					Repository: "acme/tenants", Token: "x", Log: slog.New(slog.DiscardHandler), Transport: githubtest.Direct{Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
						if n++; n == 8 {
							_, _ = rw.Write([]byte("[]"))
							return
						}
						rw.WriteHeader(answer.status)
						_, _ = rw.Write([]byte(answer.body))
					})},
				})
				do(t, err)
				var waits []string
				for range 9 {
					_, err := forge.Pulls(t.Context(), "main")
					if !fault.Is(err, fault.Transient) && err != nil {
						t.Fatal(err)
					}
					wait := max(time.Until(fault.After(err)), 0)
					waits = append(waits, wait.String())
					time.Sleep(wait)
				}
				want := "1m0s 2m0s 4m0s 8m0s 16m0s 16m0s 16m0s 0s 1m0s"
				if got := strings.Join(waits, " "); got != want || n != 9 {
					t.Errorf("waits %s, %d requests; want %s", got, n, want)
				}
			})
		})
	}
}

// TestSlowGitHub: each request has its time, and who gives up is let go at once.
func TestSlowGitHub(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := direct(t, githubtest.Options{})
		end := w.Fail(githubtest.Fault{Kind: githubtest.Hold})
		begin := time.Now()
		_, err := w.forge.Pulls(t.Context(), "main")
		if took := time.Since(begin); !fault.Is(err, fault.Transient) || took != 10*time.Second || !strings.Contains(err.Error(), "no answer within 10s") {
			t.Errorf("no answer: %v after %v", err, took)
		}
		end()
		w.deliver(t, status(t, w.Head("main"), 1))
	})
}

func TestFailures(t *testing.T) {
	t.Parallel()
	w := start(t, githubtest.Options{})
	sha := w.Head("main")
	for i, kind := range []githubtest.FaultKind{githubtest.ServerError, githubtest.Reset, githubtest.Lost} {
		end := w.Fail(githubtest.Fault{Kind: kind})
		_, read := w.forge.Pulls(t.Context(), "main")
		_, wrote := w.forge.Deliver(t.Context(), status(t, sha, i))
		for _, err := range []error{read, wrote} {
			if !fault.Is(err, fault.Transient) || !fault.After(err).IsZero() {
				t.Errorf("%s: %v", kind, err)
			}
		}
		end()
		n := status(t, sha, i)
		n.Tries = 1
		w.deliver(t, n)
	}
	if got := len(w.Statuses(sha)); got != 3 {
		t.Errorf("%d statuses of 3", got)
	}
	defer w.Fail(githubtest.Fault{Kind: githubtest.Limited, Times: 1, RetryAfter: 30 * time.Second})()
	if _, err := w.forge.Pulls(t.Context(), "main"); time.Until(fault.After(err)) < 25*time.Second {
		t.Errorf("limited: %v", err)
	}
}
