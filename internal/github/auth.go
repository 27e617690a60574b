package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/bradleyfalzon/ghinstallation/v2"
	tokens "github.com/google/go-github/v88/github" // ghinstallation's version

	"github.com/gitopsd/gitopsd/internal/fault"
)

// authorizer adds credentials to requests.
type authorizer interface {
	http.RoundTripper
	// Token returns what git reads the repository with.
	Token(ctx context.Context) (string, error)
}

func authorize(cfg Config, base *url.URL, c *Client) (authorizer, error) {
	switch token := strings.TrimSpace(cfg.Token); {
	case token != "" && cfg.App != nil:
		return nil, fault.Errorf(fault.Invalid, "both a token and an App are configured for %s", cfg.Repository).WithHint("choose one")
	case cfg.App != nil:
		return newAppAuth(*cfg.App, base, c)
	case token == "":
		return nil, fault.Errorf(fault.Invalid, "there are no credentials for %s", cfg.Repository).
			WithHint("give a token, or an App's ID and key")
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, fault.Errorf(fault.Invalid, "the token in %s is not a token: it has spaces or control characters", c.source)
	default:
		return tokenAuth{host: base.Host, token: token, next: c.gate}, nil
	}
}

// tokenAuth acts with a fixed token.
type tokenAuth struct {
	host, token string
	next        http.RoundTripper
}

func (a tokenAuth) Token(context.Context) (string, error) { return a.token, nil }

func (a tokenAuth) RoundTrip(r *http.Request) (*http.Response, error) {
	return send(a.next, r, a.host, a.token)
}

// send adds the token to a request to the host, and to no other: a redirect may
// lead anywhere. It asks for what is documented: go-github asks for some things
// as they were before they were part of the API.
func send(next http.RoundTripper, r *http.Request, host, token string) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Accept", "application/vnd.github+json")
	if r.URL.Host == host {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return next.RoundTrip(r)
}

// appAuth acts as an App's installation. Its tokens are good for an hour and are
// made anew as they end.
type appAuth struct {
	base   *url.URL
	lookup string // URL that says which installation is the repository's
	repo   string
	next   http.RoundTripper
	signed *ghinstallation.AppsTransport

	mu    sync.Mutex
	found bool // through the API, so it may be looked for again
	as    *ghinstallation.Transport
}

func newAppAuth(app App, base *url.URL, c *Client) (*appAuth, error) {
	signed, err := ghinstallation.NewAppsTransport(c.gate, app.ID, app.Key)
	switch {
	case err != nil:
		return nil, fault.Errorf(fault.Invalid, "the App's private key in %s cannot be read: %w", c.source, err).
			WithHint("it is the PEM file that GitHub gave when the key was made")
	case app.ID <= 0 || app.Installation < 0:
		return nil, fault.Errorf(fault.Invalid, "the App's ID is %d and its installation %d: they are positive numbers", app.ID, app.Installation)
	}
	signed.BaseURL = strings.TrimSuffix(base.String(), "/")
	a := &appAuth{base: base, next: c.gate, signed: signed, repo: c.owner + "/" + c.repo}
	a.lookup = base.JoinPath("repos", c.owner, c.repo, "installation").String()
	if app.Installation != 0 {
		a.as = a.installation(app.Installation)
	}
	return a, nil
}

func (a *appAuth) installation(id int64) *ghinstallation.Transport {
	t := ghinstallation.NewFromAppsTransport(a.signed, id)
	t.BaseURL = a.signed.BaseURL
	// The App may be installed on many; its token need not be good for the others.
	_, name, _ := strings.Cut(a.repo, "/")
	t.InstallationTokenOptions = &tokens.InstallationTokenOptions{Repositories: []string{name}}
	return t
}

func (a *appAuth) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := a.Token(r.Context())
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper must; nothing was read
		}
		return nil, err
	}
	return send(a.next, r, a.base.Host, token)
}

// Token returns the installation's token, made anew when it is about to end.
func (a *appAuth) Token(ctx context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.as == nil {
		id, err := a.find(ctx)
		if err != nil {
			return "", err
		}
		a.as, a.found = a.installation(id), true
	}
	token, err := a.as.Token(ctx)
	if e := (*ghinstallation.HTTPError)(nil); errors.As(err, &e) && e.Response != nil {
		status := e.Response.StatusCode
		if (status == http.StatusNotFound || status == http.StatusUnprocessableEntity) && a.found {
			a.as = nil // installed anew, perhaps
		}
		return "", &tokenError{status: status, err: err}
	}
	return token, err
}

// find asks which installation is the repository's.
func (a *appAuth) find(ctx context.Context) (int64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.lookup, nil)
	if err != nil {
		return 0, fmt.Errorf("find the App's installation: %w", err)
	}
	resp, err := a.signed.RoundTrip(r)
	if err != nil {
		return 0, fmt.Errorf("find the App's installation: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return 0, &tokenError{
			status: resp.StatusCode,
			err:    fmt.Errorf("find the App's installation on %s: %s", a.repo, resp.Status),
		}
	}
	var found struct {
		ID int64 `json:"id"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&found); err != nil || found.ID == 0 {
		return 0, fault.Errorf(fault.Transient, "find the App's installation on %s: the answer names none", a.repo)
	}
	return found.ID, nil
}

// tokenError says that GitHub refused a token to the App.
type tokenError struct {
	status int
	err    error
}

func (e *tokenError) Error() string { return e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }
