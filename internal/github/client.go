package github

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/review"
)

// DefaultAPI is where GitHub itself answers. An Enterprise Server answers at
// https://<host>/api/v3.
const DefaultAPI = "https://api.github.com"

// requestTimeout bounds each request, with its answer's body.
const requestTimeout = 10 * time.Second

// Config says which repository, and as whom.
type Config struct {
	Repository string // owner/name
	APIURL     string // "" means DefaultAPI

	Token string // of a user or machine account; or
	App   *App   // an App's installation

	// Source names where the credentials come from, such as a file, for the hints
	// in errors.
	Source string

	Log       *slog.Logger      // nil means slog.Default
	Transport http.RoundTripper // nil means http.DefaultTransport
}

// App is a GitHub App that is installed on the repository.
type App struct {
	ID           int64
	Installation int64  // 0: found through the API
	Key          []byte // private key, PEM
}

// Client speaks with GitHub about one repository. It may be used at once from
// many goroutines.
type Client struct {
	owner, repo string
	source      string
	log         *slog.Logger
	gh          *github.Client
	gate        *gate
	pace        *pace
	auth        authorizer
	app         int64 // our App, 0 with a token

	pages   *memory[page]       // answers that are asked for again, by URL
	shown   *memory[sight]      // what GitHub shows last, by what shows it
	writers *memory[permission] // by login
	told    sync.Map            // permissions that were logged as missing
	login   func(context.Context) (string, error)
}

var _ review.Forge = (*Client)(nil)

var repositoryName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$`)

// Open returns a client. It sends nothing yet, so that it works while GitHub
// does not: wrong credentials show with the first request. A wrong
// configuration is fault.Invalid.
func Open(_ context.Context, cfg Config) (*Client, error) {
	if !repositoryName.MatchString(cfg.Repository) {
		return nil, fault.Errorf(fault.Invalid, "repository %q is not owner/name", cfg.Repository)
	}
	base, err := apiURL(cfg.APIURL)
	if err != nil {
		return nil, err
	}
	c := &Client{
		source:  cfg.Source,
		log:     cfg.Log,
		gate:    &gate{next: cfg.Transport, now: time.Now},
		pages:   newMemory[page](pagesKept),
		shown:   newMemory[sight](shownKept),
		writers: newMemory[permission](writersKept),
	}
	c.owner, c.repo, _ = strings.Cut(cfg.Repository, "/")
	if c.log == nil {
		c.log = slog.Default()
	}
	if c.source == "" {
		c.source = "the configuration"
	}
	if c.gate.next == nil {
		c.gate.next = http.DefaultTransport
	}
	c.gate.log = c.log
	c.pace = newPace(c.gate)
	if c.auth, err = authorize(cfg, base, c); err != nil {
		return nil, err
	}
	if cfg.App != nil {
		c.app = cfg.App.ID
	}
	c.gh = github.NewClient(&http.Client{Transport: c.auth})
	c.gh.BaseURL = base
	c.gh.UserAgent = "gitopsd"
	c.login = c.rememberLogin()
	return c, nil
}

// apiURL returns the URL that all requests are below, with a slash at its end.
func apiURL(s string) (*url.URL, error) {
	if s == "" {
		s = DefaultAPI
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, fault.Errorf(fault.Invalid, "GitHub's API is not at %q", s).
			WithHint("give an URL such as %s, or https://<host>/api/v3 for an Enterprise Server", DefaultAPI)
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fault.Errorf(fault.Invalid, "credentials are not sent over http to %s", u.Host).WithHint("use https")
	}
	u.Path, u.RawQuery, u.Fragment = strings.TrimRight(u.Path, "/")+"/", "", ""
	return u, nil
}

// Token returns a token that reads the repository over HTTPS: an App's are good
// for an hour, so ask again for each fetch.
func (c *Client) Token(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	token, err := c.auth.Token(ctx)
	if err != nil {
		return "", c.classify(ctx, "get a token of the installation", nil, err)
	}
	return token, nil
}

// Checks reports whether check runs are shown: only Apps may.
func (c *Client) Checks() bool { return c.app != 0 }

// rememberLogin returns a function that says as whom a token acts, "" if the
// token is of nobody who has a name (an App's or a workflow's).
func (c *Client) rememberLogin() func(context.Context) (string, error) {
	var mu sync.Mutex
	var known bool
	var login string
	return func(ctx context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if known {
			return login, nil
		}
		user, resp, err := c.gh.Users.Get(ctx, "")
		if err != nil && (resp == nil || resp.StatusCode != http.StatusForbidden || !c.gate.open()) {
			return "", c.classify(ctx, "ask who we are", resp, err)
		}
		known, login = true, user.GetLogin()
		return login, nil
	}
}
