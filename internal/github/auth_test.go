package github_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/github"
	"github.com/gitopsd/gitopsd/internal/github/githubtest"
	"github.com/gitopsd/gitopsd/internal/review"
)

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	_, key := appKey()
	for name, change := range map[string]func(*github.Config){
		"no repository":      func(c *github.Config) { c.Repository = "" },
		"a path for one":     func(c *github.Config) { c.Repository = "a/b/../c" },
		"no credentials":     func(c *github.Config) { c.Token = " \n" },
		"both":               func(c *github.Config) { c.App = &github.App{ID: 1, Key: key} },
		"two lines":          func(c *github.Config) { c.Token = "one\ntwo" },
		"a key that is none": func(c *github.Config) { c.Token, c.App = "", &github.App{ID: 1, Key: []byte("x")} },
		"an App without ID":  func(c *github.Config) { c.Token, c.App = "", &github.App{Key: key} },
		"http":               func(c *github.Config) { c.APIURL = "http://github.example/api/v3" },
		"no URL":             func(c *github.Config) { c.APIURL = "github.example" },
		"credentials in it":  func(c *github.Config) { c.APIURL = "https://me:secret@github.example" },
	} {
		cfg := github.Config{Repository: "acme/tenants", Token: "ghp_secret"}
		change(&cfg)
		_, err := github.Open(t.Context(), cfg)
		if !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "ghp_") || strings.Contains(err.Error(), "one") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	w := start(t, githubtest.Options{}, func(c *github.Config) { c.Token = " " + githubtest.Token + "\n" })
	if token, err := w.forge.Token(t.Context()); err != nil || token != githubtest.Token {
		t.Errorf("the token is %q, %v", token, err)
	}
	if _, err := w.forge.Pulls(t.Context(), "main"); err != nil {
		t.Error(err)
	}
}

// TestEnterprise: an Enterprise Server has its API below a path.
func TestEnterprise(t *testing.T) {
	t.Parallel()
	for _, app := range []bool{false, true} {
		o, as := githubtest.Options{}, func(*github.Config) {}
		if app {
			o, as = asApp()
		}
		w := start(t, o, as)
		n, _ := w.pull(t, "first")
		forge := w.open(t, as, func(c *github.Config) { c.APIURL = w.URL() + "/api/v3/" })
		pulls, err := forge.Pulls(t.Context(), "main")
		if err != nil || len(pulls) != 1 {
			t.Errorf("pulls: %+v, %v", pulls, err)
		}
		if _, err := forge.Deliver(t.Context(), notice(t, review.NoticeComment, review.PullComment{Pull: n, Body: "x"})); err != nil {
			t.Error(err)
		}
	}
}

func TestAppToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, app := asApp()
		w := direct(t, o, app)
		made := func() int { return w.Requests()["POST /app/installations/{installation_id}/access_tokens"] }
		first, err := w.forge.Token(t.Context())
		do(t, err)
		for range 3 {
			_, err := w.forge.Pulls(t.Context(), "main")
			do(t, err)
		}
		if again, err := w.forge.Token(t.Context()); err != nil || again != first || made() != 1 {
			t.Errorf("within its hour: %v, %d tokens", err, made())
		}
		// Shortly before its end, so that it does not end on the way.
		time.Sleep(59*time.Minute + time.Second)
		next, err := w.forge.Token(t.Context())
		if err != nil || next == first || made() != 2 {
			t.Errorf("after its hour: %v, %d tokens", err, made())
		}
		if w.Requests()["GET /repos/{owner}/{repo}/installation"] != 1 {
			t.Error("the installation is looked for more than once")
		}
		time.Sleep(2 * time.Hour)
		if _, err := w.forge.Pulls(t.Context(), "main"); err != nil || made() != 3 {
			t.Errorf("hours later: %v, %d tokens", err, made())
		}
		if strings.Contains(w.log.String(), first) {
			t.Error("the log has a token")
		}
	})
}

// TestAppIsInstalledAnew: the installation that was found may be replaced.
func TestAppIsInstalledAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, app := asApp()
		w := direct(t, o, app)
		_, err := w.forge.Token(t.Context())
		do(t, err)
		o.App.Installation = 100
		w.RevokeTokens()
		time.Sleep(time.Hour)
		if _, err := w.forge.Token(t.Context()); !fault.Is(err, fault.Transient) {
			t.Errorf("the old one: %v", err)
		}
		if _, err := w.forge.Token(t.Context()); err != nil {
			t.Errorf("the new one: %v", err)
		}
	})
}

func TestAppIsRefused(t *testing.T) {
	t.Parallel()
	o, app := asApp()
	w := start(t, o, app)
	for name, test := range map[string]struct {
		change func(*github.Config)
		hint   string
	}{
		"another App":              {func(c *github.Config) { c.App.ID++ }, "app.pem"},
		"another installation":     {func(c *github.Config) { c.App.Installation = 7 }, "install the App on acme/tenants"},
		"another's installation":   {func(c *github.Config) { c.Repository = "acme/others" }, "acme/others"},
		"a GitHub that is away":    {func(c *github.Config) { c.APIURL = "http://127.0.0.1:1" }, ""},
		"a GitHub that says 500 s": {func(c *github.Config) { c.Transport = failing{} }, ""},
	} {
		c := w.open(t, app, test.change)
		_, err := c.Token(t.Context())
		_, read := c.Pulls(t.Context(), "main")
		for _, err := range []error{err, read} {
			var f *fault.Error
			if !fault.Is(err, fault.Transient) || !errors.As(err, &f) || !strings.Contains(f.Hint, test.hint) {
				t.Errorf("%s: %v, hint %q", name, err, fault.RecordOf(err).Hint)
			}
		}
	}
}

// failing answers everything with 500.
type failing struct{}

func (failing) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.WriteHeader(http.StatusInternalServerError)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func TestRefusedToken(t *testing.T) {
	t.Parallel()
	w := start(t, githubtest.Options{}, func(c *github.Config) { c.Token = "ghp_wrong" })
	_, err := w.forge.Deliver(t.Context(), status(t, w.Head("main"), 1))
	_, read := w.forge.Pulls(t.Context(), "main")
	for _, err := range []error{err, read} {
		record := fault.RecordOf(err)
		if record.Kind != fault.Transient || !strings.Contains(record.Hint, "token.txt") || strings.Contains(record.Message+record.Hint, "ghp_wrong") {
			t.Errorf("%+v", record)
		}
	}
}

// TestMissingPermission: it may be granted later, so nothing is given up; what to
// grant is said in the error, and once in the log.
func TestMissingPermission(t *testing.T) {
	t.Parallel()
	for _, classic := range []bool{false, true} {
		w := start(t, githubtest.Options{Tokens: map[string]githubtest.Account{githubtest.Token: {Login: "reader", Classic: classic}}})
		sha := w.Head("main")
		n, _ := w.pull(t, "first")
		comment, err := w.Comment(n, "ann", "/gitopsd plan")
		do(t, err)
		for kind, test := range map[review.NoticeKind]struct {
			body any
			hint string
		}{
			review.NoticeStatus:     {review.Status{SHA: sha, Context: "gitopsd/plan", State: "success"}, "Commit statuses"},
			review.NoticeComment:    {review.PullComment{Pull: n, Body: "x"}, "Pull requests"},
			review.NoticeReaction:   {review.Reaction{Comment: comment, Content: "+1"}, "Pull requests"},
			review.NoticeDeployment: {review.Deployment{ID: "run", SHA: sha, Environment: "acme", State: "success"}, "Deployments"},
		} {
			for range 2 {
				_, err := w.forge.Deliver(t.Context(), notice(t, kind, test.body))
				record := fault.RecordOf(err)
				if record == nil || record.Kind != fault.Transient || !strings.Contains(record.Hint, test.hint) || !strings.Contains(record.Hint, "token.txt") {
					t.Errorf("%s: %+v", kind, record)
				}
			}
		}
		for _, permission := range []string{"Commit statuses", "Pull requests", "Deployments"} {
			if got := strings.Count(w.log.String(), `permission \"`+permission); got != 1 {
				t.Errorf("%s is logged %d times:\n%s", permission, got, w.log)
			}
		}
		// A repository that is not shown is not taken for one without pull requests.
		forge := w.open(t, func(c *github.Config) { c.Repository = "acme/hidden" })
		if pulls, err := forge.Pulls(t.Context(), "main"); !fault.Is(err, fault.Transient) {
			t.Errorf("a hidden repository: %+v, %v", pulls, err)
		}
		if _, err := forge.Pull(t.Context(), n); !fault.Is(err, fault.Transient) {
			t.Errorf("a pull request of a hidden repository: %v", err)
		}
	}
}

// TestRedirect: GitHub redirects to where a renamed repository is; a token goes to
// no other host.
func TestRedirect(t *testing.T) {
	t.Parallel()
	var got []string
	other := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		_, _ = rw.Write([]byte("[]"))
	}))
	defer other.Close()
	first := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer first.Close()
	forge, err := github.Open(t.Context(), github.Config{Repository: "acme/tenants", Token: "ghp_secret", APIURL: first.URL})
	do(t, err)
	if _, err := forge.Pulls(t.Context(), "main"); err != nil {
		t.Error(err)
	}
	if len(got) != 1 || got[0] != "" {
		t.Errorf("another host was sent %q", got)
	}
}

// TestCancelled: who does not want an answer any more is let go.
func TestCancelled(t *testing.T) {
	t.Parallel()
	w := start(t, githubtest.Options{})
	defer w.Fail(githubtest.Fault{Kind: githubtest.Hold})()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err := w.forge.Pulls(ctx, "main")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	var u *url.Error
	if errors.As(err, &u) {
		t.Errorf("the error shows addresses: %v", err)
	}
}
