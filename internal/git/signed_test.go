package git_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
)

// program skips a test where a program is not installed.
func program(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(name + " is not installed")
	}
}

func (s *source) run(stdin []byte, name string, args ...string) {
	s.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = s.dir, s.env, bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// signedCommits makes an unsigned commit, a signed one, and a signed merge of it.
func (s *source) signedCommits() (m *git.Mirror, plain string, signed []string) {
	s.t.Helper()
	plain = s.commit("a", "one")
	s.git("commit", "-q", "-S", "--allow-empty", "-m", "a subject\n\nA body.\ngpgsig is a word in it\n\n gpgsig too\n")
	signed = append(signed, s.git("rev-parse", "HEAD"))
	s.git("checkout", "-q", "-b", "side", plain)
	s.commit("b", "b")
	s.git("tag", "-s", "-m", "a signed tag", "v1") // goes into the merge, with its signature
	s.git("checkout", "-q", "main")
	s.git("merge", "-q", "-S", "--no-ff", "-m", "merge", "v1")
	signed = append(signed, s.git("rev-parse", "HEAD"))
	m = open(s.t, git.Config{URL: s.dir})
	fetched(s.t, m, signed[1])
	return m, plain, signed
}

// check has each signature verified by the program that made it, and a changed
// payload refused.
func (s *source) check(verify func(payload []byte, signature string) error) {
	s.t.Helper()
	m, plain, signed := s.signedCommits()
	payload, signature, err := m.Signed(plain)
	if raw := s.git("cat-file", "commit", plain); err != nil || signature != "" || strings.TrimSpace(string(payload)) != raw {
		s.t.Errorf("unsigned commit: %q, %q, %v", payload, signature, err)
	}
	for _, sha := range signed {
		payload, signature, err := m.Signed(sha)
		if err != nil || signature == "" {
			s.t.Fatalf("%s: %q, %v", sha, signature, err)
		}
		if err := verify(payload, signature); err != nil {
			s.t.Errorf("%s: %v", sha, err)
		}
		if err := verify(append(payload, '\n'), signature); err == nil {
			s.t.Errorf("%s: a changed commit has the same signature", sha)
		}
	}
}

func TestSignedWithSSH(t *testing.T) {
	t.Parallel()
	program(t, "ssh-keygen")
	s := newSource(t)
	key := filepath.Join(t.TempDir(), "id")
	s.run(nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	s.git("config", "gpg.format", "ssh")
	s.git("config", "user.signingkey", key)
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, key+".allowed", "ann@example.com "+string(public))
	s.check(func(payload []byte, signature string) error {
		writeFile(t, key+".sig", signature)
		cmd := exec.Command("ssh-keygen", "-Y", "verify", "-f", key+".allowed", "-I", "ann@example.com", "-n", "git", "-s", key+".sig")
		cmd.Stdin = bytes.NewReader(payload)
		return cmd.Run()
	})
}

func TestSignedWithGPG(t *testing.T) {
	t.Parallel()
	program(t, "gpg")
	s := newSource(t)
	home, err := os.MkdirTemp("", "gpg") // its socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	s.env = append(s.env, "GNUPGHOME="+home)
	t.Cleanup(func() {
		cmd := exec.Command("gpgconf", "--kill", "gpg-agent") // the one of this home
		cmd.Env = s.env
		_ = cmd.Run()
		_ = os.RemoveAll(home)
	})
	s.run(nil, "gpg", "--batch", "--passphrase", "", "--quick-gen-key", "Ann <ann@example.com>", "ed25519", "sign", "never")
	s.git("config", "user.signingkey", "ann@example.com")
	s.check(func(payload []byte, signature string) error {
		file := filepath.Join(home, "sig")
		writeFile(t, file, signature)
		cmd := exec.Command("gpg", "--batch", "--verify", file, "-")
		cmd.Env, cmd.Stdin = s.env, bytes.NewReader(payload)
		return cmd.Run()
	})
}

// Headers that git would read otherwise, or that are there twice.
func TestSignatureHeaders(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	base := s.commit("a", "one")
	head := "tree " + s.git("rev-parse", "HEAD^{tree}") + "\nparent " + base +
		"\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n"
	message := "\nsubject\ngpgsig in the message\n"
	ours, other := "gpgsig BEGIN\n one\n \n END\n", "gpgsig-sha256 BEGIN\n two\n END\n"
	for name, test := range map[string]struct{ headers, payload, signature string }{
		"before":          {ours + "encoding UTF-8\n", "encoding UTF-8\n", "BEGIN\none\n\nEND\n"},
		"only another":    {other, "", ""},
		"another first":   {other + ours, "", "BEGIN\none\n\nEND\n"},
		"another behind":  {ours + other, "", "BEGIN\none\n\nEND\n"},
		"looks alike":     {"xgpgsig x\n gpgsig y\n", "xgpgsig x\n gpgsig y\n", ""},
		"twice":           {ours + ours, "refused", ""},
		"twice and apart": {ours + "encoding UTF-8\n" + ours, "refused", ""},
	} {
		t.Run(name, func(t *testing.T) {
			raw := filepath.Join(t.TempDir(), "commit")
			writeFile(t, raw, head+test.headers+message)
			sha := s.git("hash-object", "-t", "commit", "-w", "--literally", raw)
			m := open(t, git.Config{URL: s.dir})
			fetched(t, m, base)
			if err := m.Obtain(t.Context(), "", sha); err != nil {
				t.Fatal(err)
			}
			payload, signature, err := m.Signed(sha)
			if test.payload == "refused" {
				if !fault.Is(err, fault.Invalid) {
					t.Errorf("%q, %v", signature, err)
				}
				return
			}
			if err != nil || string(payload) != head+test.payload+message || signature != test.signature {
				t.Errorf("%q, %q, %v", payload, signature, err)
			}
		})
	}
	m := open(t, git.Config{URL: s.dir})
	fetched(t, m, base)
	if _, _, err := m.Signed(strings.Repeat("1", 40)); !fault.Is(err, fault.NotFound) {
		t.Errorf("no such commit: %v", err)
	}
}
