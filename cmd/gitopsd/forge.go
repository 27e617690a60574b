package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
	"github.com/gitopsd/gitopsd/internal/github"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// githubConfig says how to speak with GitHub. Without credentials there is no
// forge, and statuses are in the log and the console only.
type githubConfig struct {
	Repository        string        `yaml:"repository"` // owner/name; from Repo if ""
	APIURL            string        `yaml:"apiURL"`
	TokenFile         string        `yaml:"tokenFile"`
	App               githubApp     `yaml:"app"`
	WebhookSecretFile string        `yaml:"webhookSecretFile"`
	Interval          time.Duration `yaml:"interval"` // between polls
}

// githubApp is an App that is installed on the repository.
type githubApp struct {
	ID           int64  `yaml:"id"`
	Installation int64  `yaml:"installation"` // found if 0
	KeyFile      string `yaml:"keyFile"`
}

// gitConfig says how to read a private repository, where GitHub's own
// credentials do not do.
type gitConfig struct {
	TokenFile      string `yaml:"tokenFile"`
	SSHKeyFile     string `yaml:"sshKeyFile"`
	KnownHostsFile string `yaml:"knownHostsFile"`
}

// The environment variables that may hold what files do.
const (
	envGitHubToken   = "GITOPSD_GITHUB_TOKEN"
	envGitHubAppKey  = "GITOPSD_GITHUB_APP_KEY"
	envWebhookSecret = "GITOPSD_WEBHOOK_SECRET"
	envGitToken      = "GITOPSD_GIT_TOKEN"
)

// secret reads a secret from a file, else from the environment, else from what the
// cell keeps; "" if none of them has it.
func (c config) secret(file, variable, what string) (string, error) {
	secret, err := secretOf(file, variable, what)
	if err == nil && secret == "" && c.cell != nil {
		secret = c.cell.credentials[variable]
	}
	return secret, err
}

// secretOf reads a secret from a file, else from the environment; "" if neither
// is given.
func secretOf(file, variable, what string) (string, error) {
	if file == "" {
		return os.Getenv(variable), nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fault.Errorf(fault.Invalid, "%s: %w", what, err)
	}
	secret := string(bytes.TrimSpace(b))
	if secret == "" {
		return "", fault.Errorf(fault.Invalid, "%s: %s is empty", what, file)
	}
	return secret, nil
}

// pullDownload is the most that one fetch of pull requests may bring, in bytes:
// who opens them may be a stranger.
const pullDownload = 256 << 20

// openForge makes the client of the forge, if one is configured.
func (d *daemon) openForge(ctx context.Context) (err error) {
	if d.forge, err = d.openGitHub(ctx, d.log); err != nil || d.forge == nil {
		return err
	}
	d.webhook, err = d.secret(d.GitHub.WebhookSecretFile, envWebhookSecret, "github.webhookSecretFile")
	return err
}

// openGitHub returns the client of GitHub, nil where it is not configured.
func (c config) openGitHub(ctx context.Context, log *slog.Logger) (*github.Client, error) {
	g := c.GitHub
	token, err := c.secret(g.TokenFile, envGitHubToken, "github.tokenFile")
	if err != nil {
		return nil, err
	}
	app := g.App.ID != 0
	switch {
	case !app && token == "" && g == githubConfig{Interval: g.Interval}:
		return nil, nil //nolint:nilnil // there is no forge
	case !app && token == "":
		return nil, fault.Errorf(fault.Invalid, "github is configured, but there are no credentials").
			WithHint("set github.tokenFile, or github.app with its id, or %s", envGitHubToken)
	case app && g.TokenFile != "":
		return nil, fault.Errorf(fault.Invalid, "github.app and github.tokenFile are both set").WithHint("keep one of them")
	case g.Repository == "":
		if g.Repository = repositoryOf(c.Repo, githubHost(g.APIURL)); g.Repository == "" {
			return nil, fault.Errorf(fault.Invalid, "which repository of GitHub %s is cannot be told", c.Repo).
				WithHint("set github.repository: owner/name")
		}
	}
	cfg := github.Config{Repository: g.Repository, APIURL: g.APIURL, Token: token, Source: g.TokenFile, Log: log}
	if cfg.Source == "" {
		cfg.Source = envGitHubToken
	}
	if app {
		key, err := c.secret(g.App.KeyFile, envGitHubAppKey, "github.app.keyFile")
		switch {
		case err != nil:
			return nil, err
		case key == "":
			return nil, fault.Errorf(fault.Invalid, "the key of the GitHub App is missing").
				WithHint("set github.app.keyFile, or %s", envGitHubAppKey)
		}
		cfg.Token, cfg.Source = "", cmp.Or(g.App.KeyFile, envGitHubAppKey)
		cfg.App = &github.App{ID: g.App.ID, Installation: g.App.Installation, Key: []byte(key)}
	}
	return github.Open(ctx, cfg)
}

// githubHost returns the host at which the GitHub of an API has its repositories.
func githubHost(apiURL string) string {
	u, err := url.Parse(cmp.Or(apiURL, github.DefaultAPI))
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(strings.ToLower(u.Hostname()), "api.")
}

// repositoryOf returns owner/name of a repository's URL, "" for a path and for
// what is at another host than GitHub's.
func repositoryOf(repo, host string) string {
	at, path := hostOf(repo)
	parts := strings.Split(strings.TrimSuffix(strings.Trim(path, "/"), ".git"), "/")
	if at == "" || strings.TrimPrefix(at, "ssh.") != host || len(parts) != 2 {
		return ""
	}
	return strings.Join(parts, "/")
}

// hostOf splits a repository's URL, or host:path of SSH, into its host, in lower
// case, and path. The host of a path is "".
func hostOf(repo string) (host, path string) {
	if _, rest, ok := strings.Cut(repo, "@"); ok && !strings.Contains(repo, "://") { // git@host:owner/name
		host, path, _ = strings.Cut(rest, ":")
		return strings.ToLower(host), path
	}
	u, err := url.Parse(repo)
	if err != nil {
		return "", ""
	}
	return strings.ToLower(u.Hostname()), u.Path
}

// gitAuth says how the mirror authenticates: as it is told, else as the forge's client.
func (c config) gitAuth(cfg *git.Config, forge *github.Client) (err error) {
	if cfg.Token, err = c.secret(c.Git.TokenFile, envGitToken, "git.tokenFile"); err != nil {
		return err
	}
	cfg.SSHKey, cfg.KnownHosts = c.Git.SSHKeyFile, c.Git.KnownHostsFile
	// What is GitHub's goes to GitHub, wherever the repository lies.
	if at, _ := hostOf(c.Repo); cfg.Token == "" && forge != nil && strings.HasPrefix(c.Repo, "http") && at == githubHost(c.GitHub.APIURL) {
		cfg.TokenSource = forge.Token
	}
	if c.GitHub.Interval > 0 {
		cfg.Interval = c.GitHub.Interval
	}
	return nil
}

// links are the addresses that statuses, comments and deployments lead to.
func (d *daemon) links() review.Links {
	base := func() string { // not known before the console listens
		if d.ConsoleURL != "" || d.console == nil {
			return d.ConsoleURL
		}
		return d.console.URL()
	}
	return review.Links{
		Commit: func(sha string) string { return console.CommitURL(base(), sha) },
		Pull:   func(number int) string { return console.PullURL(base(), number) },
		Run:    func(tenant string) string { return console.TenantURL(base(), tenant) },
		Tenant: func(name string) string { return tenantURL(d.EdgeAddr, d.Domain, name) },
	}
}

// tenantURL returns where a tenant answers.
func tenantURL(edge, domain, name string) string {
	_, port, err := net.SplitHostPort(edge)
	switch {
	case err != nil || port == "443":
		return "https://" + name + "." + domain + "/"
	case port == "80":
		return "http://" + name + "." + domain + "/"
	}
	return "http://" + name + "." + domain + ":" + port + "/"
}

// openReviews makes what looks at pull requests.
func (d *daemon) openReviews() {
	d.reviews = review.New(review.Config{
		Forge: d.forge, Ledger: d.ledger, Source: pulls{d.mirror}, Planner: d.loop, Migrations: migrations{d.mirror},
		Links: d.links(), Domain: d.Domain, Branch: d.Branch, Interval: d.GitHub.Interval,
		Changes: d.ledger.Changes, Log: d.log,
	})
}

// wireWebhook returns where webhooks come in; nil if there is no secret for them.
func (d *daemon) wireWebhook() (http.Handler, error) {
	if d.webhook == "" {
		d.log.Info("no webhook secret: the forge is polled", "interval", d.reviews.Interval)
		return nil, nil //nolint:nilnil // there is no way in for webhooks
	}
	return d.forge.Webhook([]byte(d.webhook), d.ledger, func(h review.Hint) {
		if h.Kind == review.HintPush {
			d.mirror.Wake()
		}
		d.reviews.Hint(h)
	})
}

// reporter returns what shows statuses: the forge, or else the log.
func (d *daemon) reporter() sync.Reporter {
	if d.forge == nil {
		return logReporter{d.log}
	}
	return review.Reporter{Forge: d.forge, Ledger: d.ledger, Links: d.links()}
}

// pulls shows a git mirror to reviews in their own words.
type pulls struct{ *git.Mirror }

var _ review.Source = pulls{}

func (p pulls) Obtain(ctx context.Context, wanted []review.Wanted) error {
	all := make([]git.Wanted, len(wanted))
	for i, w := range wanted {
		all[i] = git.Wanted{Ref: w.Ref, SHA: w.SHA}
	}
	failed, err := p.ObtainAll(ctx, all)
	if err != nil {
		return err
	}
	var errs []error
	for sha, err := range failed {
		if !fault.Is(err, fault.NotFound) { // its pull request moved on
			errs = append(errs, fmt.Errorf("commit %s: %w", sha, err))
		}
	}
	return errors.Join(errs...)
}

func (p pulls) Has(_ context.Context, sha string) (bool, error) {
	_, err := p.Commit(sha)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}

func (p pulls) Merge(ctx context.Context, base, head string) (review.Merged, error) {
	m, err := p.Mirror.Merge(ctx, base, head)
	return review.Merged{SHA: m.SHA, Base: m.Base, Conflicts: m.Conflicts}, err
}
