package e2e_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sshd "github.com/gliderlabs/ssh"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/gitopsd/gitopsd/internal/github/githubtest"
)

// A private repository is followed over SSH, from a host that is known, and over
// HTTP with a token of git's own, where nothing else is known of GitHub.
func TestPrivateRepository(t *testing.T) {
	t.Parallel()
	p := newPrivate(t)
	files := p.probeFiles("apps/acme")
	files["tenants/acme.yaml"] = tenantFile("acme", "apps/acme")
	first := p.push("main", githubtest.Commit{Message: "Add acme", Files: files})

	// Somebody else answers for the host: nothing is carried out before that is mended.
	other, _ := newSSHKey(t)
	p.know(other.PublicKey())
	p.run("repo: "+p.url, "git:", "  sshKeyFile: "+p.file("id", p.key), "  knownHostsFile: "+p.hosts)
	p.failing("shows another key", ssh.FingerprintSHA256(p.host.PublicKey()), p.hosts)
	if out, _, _ := p.cli("get", "tenants", "-o", "json"); strings.Contains(out, "acme") {
		t.Errorf("there is an acme:\n%s", out)
	}
	p.know(p.host.PublicKey())
	p.done(first)
	p.equal("version over SSH", p.get("acme", "/version"), "v1")
	p.post("acme", "/row", "a row")

	// Over HTTP it is the same repository: what runs is taken up.
	p.rest()
	p.run("repo: "+p.github.CloneURL(), "git:", "  tokenFile: "+p.file("token", "ghp_wrong"))
	second := p.push("main", githubtest.Commit{Message: "Edit the app", Files: map[string]string{
		"apps/acme/version.go": "package main\n\nconst Version = \"v2\"\n",
	}})
	p.failing("refused the credentials")
	p.equal("version with a wrong token", p.get("acme", "/version"), "v1")
	p.rest()
	p.run("repo: "+p.github.CloneURL(), "git:", "  tokenFile: "+p.file("token", githubtest.Token))
	p.done(second)
	p.equal("version with the token", p.get("acme", "/version"), "v2")
	p.equal("rows", p.get("acme", "/rows"), "a row")
	if n := len(p.github.Statuses(second)); n > 0 {
		t.Errorf("GitHub got %d statuses, and nobody told of it", n)
	}
	if strings.Contains(p.output.String(), githubtest.Token) {
		t.Error("the token is in the log")
	}
	p.rest()
	t.Run("configuration", func(t *testing.T) { refusedConfigurations(t, p) })
}

// private is a repository that git reads over SSH with one key, or over HTTP with
// a token.
type private struct {
	*forge
	url   string // ssh
	host  ssh.Signer
	key   string // that may read
	hosts string // the file of known hosts
	addr  string
}

func newSSHKey(t *testing.T) (signer ssh.Signer, private string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if signer, err = ssh.NewSignerFromKey(key); err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return signer, string(pem.EncodeToMemory(block))
}

func newPrivate(t *testing.T) *private {
	t.Helper()
	p := &private{forge: &forge{world: newWorld(t)}}
	p.github = githubtest.Start(t, githubtest.Options{})
	var user ssh.Signer
	user, p.key = newSSHKey(t)
	p.host, _ = newSSHKey(t)
	dir := p.github.GitDir()
	server := &sshd.Server{
		HostSigners: []sshd.Signer{p.host},
		PublicKeyHandler: func(c sshd.Context, key sshd.PublicKey) bool {
			return c.User() == "git" && sshd.KeysEqual(key, user.PublicKey())
		},
		Handler: func(s sshd.Session) {
			if args := s.Command(); len(args) != 2 || args[0] != "git-upload-pack" || args[1] != dir {
				_ = s.Exit(1)
				return
			}
			c := exec.Command("git-upload-pack", dir)
			c.Stdin, c.Stdout, c.Stderr = s, s, s.Stderr()
			c.WaitDelay = time.Second
			if err := c.Run(); err != nil {
				_ = s.Exit(128)
			}
		},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	p.must(err)
	go func() { _ = server.Serve(listener) }() // ends with Close
	t.Cleanup(func() { _ = server.Close() })
	p.addr = listener.Addr().String()
	p.url = "ssh://git@" + p.addr + dir
	p.hosts = p.file("known_hosts", "")
	return p
}

// file writes a file beside the platform's data and returns its path.
func (w *world) file(name, text string) string {
	w.t.Helper()
	path := filepath.Join(filepath.Dir(w.data), name)
	w.must(os.WriteFile(path, []byte(text), 0o600))
	return path
}

// know has the file of known hosts say what the host's key is.
func (p *private) know(key ssh.PublicKey) {
	p.t.Helper()
	p.file("known_hosts", knownhosts.Line([]string{p.addr}, key)+"\n")
}

// config writes a configuration with the lines in it and returns its path.
func (p *private) config(lines ...string) string {
	p.t.Helper()
	return p.file("gitopsd.yaml", strings.Join(append([]string{
		"data: " + p.data, "edgeAddr: " + p.edge, "consoleAddr: " + p.console, "buildCache: " + buildCache,
	}, lines...), "\n")+"\n")
}

// run starts the platform with a configuration, in which the repository is looked
// at each second, and waits for its console: it may be that it cannot follow.
func (p *private) run(lines ...string) {
	p.t.Helper()
	p.configured(p.config(append(lines, "github: {interval: 1s}")...))
	p.up = p.command()
	p.up.Stdout, p.up.Stderr = p.output, p.output
	p.must(p.up.Start())
	p.eventually(time.Minute, "the console answers", func() error {
		r, err := http.Get("http://" + p.console + "/healthz")
		if err != nil {
			return err
		}
		return r.Body.Close()
	})
}

// failing waits until the platform says that it cannot follow the repository, and
// its log why.
func (p *private) failing(why ...string) {
	p.t.Helper()
	p.eventually(20*time.Second, "it cannot follow the repository", func() error {
		r, err := http.Get("http://" + p.console + "/healthz")
		if err != nil {
			return err
		}
		_ = r.Body.Close()
		if err := expectStatus(r, http.StatusServiceUnavailable); err != nil {
			return err
		}
		for _, part := range why {
			if !strings.Contains(p.output.String(), part) {
				return fmt.Errorf("the log does not say %q", part)
			}
		}
		return nil
	})
}

// What is configured wrongly is said at the start, and nothing is followed.
func refusedConfigurations(t *testing.T, p *private) {
	repo, github := "repo: "+p.github.CloneURL(), "  apiURL: "+p.github.URL()
	token, empty := "  tokenFile: "+p.file("token", githubtest.Token), p.file("empty", "\n")
	short, none := p.file("short", "hunter2"), filepath.Join(filepath.Dir(p.data), "none")
	for name, c := range map[string]struct{ lines, says []string }{
		"unknown key":            {[]string{repo, "github:", "  tokn: x"}, []string{"tokn", "docs/config.md"}},
		"no token's file":        {[]string{repo, "github:", github, "  tokenFile: " + none}, []string{"github.tokenFile", none}},
		"empty token's file":     {[]string{repo, "github:", github, "  tokenFile: " + empty}, []string{"github.tokenFile", empty, "empty"}},
		"no App's key":           {[]string{repo, "github:", github, "  app: {id: 7, keyFile: " + none + "}"}, []string{"github.app.keyFile", none}},
		"no key in the file":     {[]string{repo, "github:", github, "  app: {id: 7, keyFile: " + short + "}"}, []string{"private key", short, "PEM"}},
		"no secret's file":       {[]string{repo, "github:", github, token, "  webhookSecretFile: " + none}, []string{"github.webhookSecretFile", none}},
		"a short secret":         {[]string{repo, "github:", github, token, "  webhookSecretFile: " + short}, []string{"webhook's secret has 7 bytes", "openssl rand"}},
		"no credentials":         {[]string{repo, "github:", github, "  repository: acme/tenants"}, []string{"no credentials", "github.tokenFile"}},
		"which repository":       {[]string{"repo: " + p.repo, "github:", github, token}, []string{"which repository", "github.repository"}},
		"no owner":               {[]string{repo, "github:", github, token, "  repository: tenants"}, []string{"owner/name"}},
		"a token in clear text":  {[]string{repo, "github:", "  apiURL: http://github.example/api/v3", "  repository: acme/tenants", token}, []string{"github.example", "use https"}},
		"no git token's file":    {[]string{repo, "git:", "  tokenFile: " + none}, []string{"git.tokenFile", none}},
		"no SSH key's file":      {[]string{"repo: " + p.url, "git:", "  sshKeyFile: " + none, "  knownHostsFile: " + p.hosts}, []string{"SSH key", none}},
		"no file of known hosts": {[]string{"repo: " + p.url, "git:", "  sshKeyFile: " + p.file("id", p.key), "  knownHostsFile: " + none}, []string{"known hosts", none, "ssh-keyscan"}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			run := exec.CommandContext(ctx, filepath.Join(binDir, "gitopsd"), "run", "-c", p.config(c.lines...))
			var out bytes.Buffer
			run.Stdout, run.Stderr = &out, &out
			err := run.Run()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 2 {
				t.Errorf("it ended with %v, want exit code 2", err)
			}
			_, said, _ := strings.Cut(out.String(), "error: ")
			for _, part := range c.says {
				if !strings.Contains(said, part) {
					t.Errorf("it does not say %q:\n%s", part, &out)
				}
			}
			if strings.Contains(out.String(), "hunter2") {
				t.Error("it shows what is in the file")
			}
		})
	}
}
