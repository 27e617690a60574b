package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
)

func TestRepositoryOnGitHub(t *testing.T) {
	t.Parallel()
	const enterprise = "https://github.acme.example/api/v3"
	for repo, c := range map[string]struct{ api, want string }{
		"https://github.com/acme/tenants.git":            {"", "acme/tenants"},
		"https://GitHub.com/acme/tenants/":               {"", "acme/tenants"},
		"git@github.com:acme/tenants.git":                {"", "acme/tenants"},
		"ssh://git@ssh.github.com:443/acme/tenants.git":  {"", "acme/tenants"},
		"https://github.acme.example/acme/tenants":       {enterprise, "acme/tenants"},
		"https://acme.ghe.com/acme/tenants":              {"https://api.acme.ghe.com", "acme/tenants"},
		"https://github.com/acme/tenants":                {enterprise, ""},
		"https://gitlab.com/acme/tenants.git":            {"", ""},
		"git@gitlab.com:acme/tenants.git":                {"", ""},
		"https://github.com.evil.example/acme/tenants":   {"", ""},
		"https://github.com/acme/tenants/tree":           {"", ""},
		"/srv/github.com/acme":                           {"", ""},
		".":                                              {"", ""},
		"https://evil.example/github.com@x/acme/tenants": {"", ""},
	} {
		if got := repositoryOf(repo, githubHost(c.api)); got != c.want {
			t.Errorf("%s with the API %q: %q, want %q", repo, c.api, got, c.want)
		}
	}
}

// GitHub's token goes to GitHub, and to nobody else who has the repository.
func TestGitHubTokenGoesToGitHub(t *testing.T) {
	t.Setenv(envGitToken, "")
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("ghp_secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for repo, given := range map[string]bool{
		"https://github.com/acme/tenants.git": true,
		"https://gitlab.com/acme/tenants.git": false,
		"git@github.com:acme/tenants.git":     false,
		"/srv/tenants":                        false,
	} {
		c := defaults()
		c.Repo, c.GitHub = repo, githubConfig{Repository: "acme/tenants", TokenFile: token}
		forge, err := c.openGitHub(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var cfg git.Config
		if err := c.gitAuth(&cfg, forge); err != nil {
			t.Fatal(err)
		}
		if (cfg.TokenSource != nil) != given || cfg.Token != "" {
			t.Errorf("%s gets the token: %t, want %t", repo, cfg.TokenSource != nil, given)
		}
	}
}

func TestHalfAGitHubConfiguration(t *testing.T) {
	t.Setenv(envGitHubToken, "")
	for name, c := range map[string]struct {
		github githubConfig
		fails  bool
	}{
		"none":               {githubConfig{}, false},
		"interval alone":     {githubConfig{Interval: 1}, false},
		"repository alone":   {githubConfig{Repository: "acme/tenants"}, true},
		"webhook alone":      {githubConfig{WebhookSecretFile: "secret"}, true},
		"app without its ID": {githubConfig{App: githubApp{KeyFile: "key.pem"}}, true},
		"API alone":          {githubConfig{APIURL: "https://github.acme.example/api/v3"}, true},
	} {
		cfg := defaults()
		cfg.GitHub = c.github
		forge, err := cfg.openGitHub(t.Context(), nil)
		if forge != nil || fault.Is(err, fault.Invalid) != c.fails || c.fails && fault.RecordOf(err).Hint == "" {
			t.Errorf("%s: %v, %v", name, forge, err)
		}
	}
}
