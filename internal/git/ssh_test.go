package git_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sshd "github.com/gliderlabs/ssh"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
)

// sshServer offers a source over SSH, to one key.
type sshServer struct {
	cfg      git.Config // with which the source can be fetched
	host     string     // as known_hosts names it
	key      ssh.PublicKey
	sessions atomic.Int64
}

func newKey(t testing.TB) (ssh.Signer, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}

func (s *source) serveSSH() *sshServer {
	s.t.Helper()
	hostKey, _ := newKey(s.t)
	userKey, private := newKey(s.t)
	out := &sshServer{key: hostKey.PublicKey()}
	server := &sshd.Server{
		HostSigners: []sshd.Signer{hostKey},
		PublicKeyHandler: func(ctx sshd.Context, key sshd.PublicKey) bool {
			return ctx.User() == "git" && sshd.KeysEqual(key, userKey.PublicKey())
		},
		Handler: func(session sshd.Session) {
			out.sessions.Add(1)
			args := session.Command()
			if len(args) != 2 || args[0] != "git-upload-pack" || args[1] != s.dir {
				_, _ = fmt.Fprintf(session.Stderr(), "ERROR: Repository not found.\n")
				_ = session.Exit(1)
				return
			}
			cmd := exec.Command("git-upload-pack", s.dir)
			cmd.Env = append(s.env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = session, session, session.Stderr()
			cmd.WaitDelay = time.Second
			if err := cmd.Run(); err != nil {
				_ = session.Exit(128)
			}
		},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	s.t.Cleanup(func() { _ = server.Close() })
	dir := s.t.TempDir()
	address := listener.Addr().String()
	out.host = knownhosts.Normalize(address)
	out.cfg = git.Config{
		URL:        "ssh://git@" + address + s.dir,
		SSHKey:     filepath.Join(dir, "id"),
		KnownHosts: filepath.Join(dir, "known_hosts"),
	}
	if err := os.WriteFile(out.cfg.SSHKey, private, 0o600); err != nil {
		s.t.Fatal(err)
	}
	writeFile(s.t, out.cfg.KnownHosts, knownhosts.Line([]string{address}, hostKey.PublicKey())+"\n")
	return out
}

func TestFetchOverSSH(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	first := s.commit("a", "one")
	server := s.serveSSH()
	dir := filepath.Join(t.TempDir(), "mirror")
	cfg := server.cfg
	cfg.Dir = dir
	m := open(t, cfg)
	fetched(t, m, first)
	second := s.commit("a", "two", "deep/er/b", "b")
	fetched(t, m, second)
	content(t, m, first, "a", "one")
	content(t, m, second, "deep/er/b", "b")
	sound(t, dir)
}

// No host is trusted that the file does not know, nor one that shows another key.
func TestSSHHostKeys(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	head := s.commit("a", "one")
	server := s.serveSSH()
	other, _ := newKey(t)
	for name, test := range map[string]struct{ line, says string }{
		"unknown": {"# nobody\n", "is not in"},
		"other host": {
			knownhosts.Line([]string{"git.example.com"}, server.key) + "\n", "is not in",
		},
		"changed": {knownhosts.Line([]string{server.host}, other.PublicKey()) + "\n", "shows another key"},
		"revoked": {"@revoked * " + strings.SplitN(knownhosts.Line([]string{"x"}, server.key), " ", 2)[1] + "\n", "is revoked in"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := server.cfg
			cfg.KnownHosts = filepath.Join(t.TempDir(), "known_hosts")
			writeFile(t, cfg.KnownHosts, test.line)
			m := open(t, cfg)
			_, err := m.Fetch(t.Context())
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("kind %s: %v", fault.KindOf(err), err)
			}
			for _, part := range []string{server.host, cfg.KnownHosts, test.says, ssh.FingerprintSHA256(server.key)} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if b, _ := os.ReadFile(cfg.KnownHosts); string(b) != test.line {
				t.Errorf("known_hosts was changed to %q", b)
			}
			// Corrected, it is read anew.
			writeFile(t, cfg.KnownHosts, knownhosts.Line([]string{server.host}, server.key)+"\n")
			fetched(t, m, head)
		})
	}
}

func TestSSHErrors(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.commit("a", "one")
	server := s.serveSSH()

	cfg := server.cfg
	cfg.SSHKey = filepath.Join(t.TempDir(), "id")
	_, private := newKey(t)
	writeFile(t, cfg.SSHKey, string(private))
	if _, err := open(t, cfg).Fetch(t.Context()); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "refused the credentials") {
		t.Errorf("a key that may not: %s %v", fault.KindOf(err), err)
	}
	cfg = server.cfg
	cfg.URL += "/none"
	if _, err := open(t, cfg).Fetch(t.Context()); !fault.Is(err, fault.NotFound) {
		t.Errorf("no such repository: %s %v", fault.KindOf(err), err)
	}
	for name, change := range map[string]func(*git.Config){
		"no key":         func(c *git.Config) { c.SSHKey += ".none" },
		"no key in it":   func(c *git.Config) { c.SSHKey = c.KnownHosts },
		"no known hosts": func(c *git.Config) { c.KnownHosts += ".none" },
	} {
		cfg := server.cfg
		cfg.Branch, cfg.Dir = "main", filepath.Join(t.TempDir(), "mirror")
		change(&cfg)
		if _, err := git.Open(t.Context(), cfg); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	cfg = server.cfg
	cfg.URL, cfg.Logger = "ssh://git@"+silent.Addr().String()+s.dir, slog.New(slog.DiscardHandler)
	ctx, cancel := contextFor(t, 50*time.Millisecond)
	defer cancel()
	if _, err := open(t, cfg).Fetch(ctx); !fault.Is(err, fault.Transient) {
		t.Errorf("a server that does not speak: %v", err)
	}
}
