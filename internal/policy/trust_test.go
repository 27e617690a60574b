package policy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/policy"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// signer is a directory with keys and a repository of its own.
type signer struct {
	t   *testing.T
	dir string
}

// newSigner returns an empty one. Its name is short: gpg's sockets are in it.
func newSigner(t *testing.T) *signer {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sign")
	if err != nil {
		t.Fatal(err)
	}
	s := &signer{t: t, dir: dir}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", dir, "--kill", "all").Run() // its agent, if it has one
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	s.run("git", "init", "-q")
	return s
}

// run returns what a program prints.
func (s *signer) run(name string, args ...string) string {
	s.t.Helper()
	c := exec.Command(name, args...)
	c.Dir = s.dir
	c.Env = append(os.Environ(), "HOME="+s.dir, "GNUPGHOME="+s.dir, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@acme.example", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@acme.example")
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		s.t.Fatalf("%s %v: %v\n%s", name, args, err, &errs)
	}
	return out.String()
}

// sshKey makes a key and returns its public half.
func (s *signer) sshKey(name string, args ...string) string {
	s.t.Helper()
	s.run("ssh-keygen", append([]string{"-q", "-N", "", "-C", name, "-f", name}, args...)...)
	text, err := os.ReadFile(filepath.Join(s.dir, name+".pub"))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// pgpKey makes a key and returns its fingerprint and its public half.
func (s *signer) pgpKey(name, algorithm, expires string, args ...string) (fingerprint, public string) {
	s.t.Helper()
	args = append(args, "--batch", "--passphrase", "", "--quick-gen-key", name+" <"+name+"@acme.example>", algorithm, "sign", expires)
	s.run("gpg", args...)
	for line := range strings.Lines(s.run("gpg", "--batch", "--with-colons", "--list-keys", name+"@acme.example")) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" {
			return fields[9], s.run("gpg", "--armor", "--export", fields[9])
		}
	}
	s.t.Fatal("gpg made no key")
	return "", ""
}

// commit makes a commit with git's settings and returns it as git stored it.
func (s *signer) commit(sign bool, settings ...string) sync.SignedCommit {
	s.t.Helper()
	var args []string
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	args = append(args, "commit", "-q", "--allow-empty", "-m", "Add acme\n\nWith a body.")
	if sign {
		args = append(args, "-S")
	}
	s.run("git", args...)
	return split(strings.TrimSpace(s.run("git", "rev-parse", "HEAD")), s.run("git", "cat-file", "commit", "HEAD"))
}

// split takes the signature out of a commit object.
func split(sha, object string) sync.SignedCommit {
	c := sync.SignedCommit{SHA: sha}
	inside, body := false, false
	for line := range strings.Lines(object) {
		switch value, header := strings.CutPrefix(line, "gpgsig "); {
		case body:
		case header:
			inside, c.Signature = true, value
			continue
		case inside && strings.HasPrefix(line, " "):
			c.Signature += line[1:]
			continue
		default:
			inside, body = false, line == "\n"
		}
		c.Payload = append(c.Payload, line...)
	}
	return c
}

// trusting returns a policy that lists keys, by name and text.
func trusting(t *testing.T, keys ...string) *policy.Policy {
	t.Helper()
	return load(t, listing(keys...))
}

func listing(keys ...string) string {
	var b strings.Builder
	b.WriteString(head + "  signatures:\n    required: true\n    keys:\n")
	for i := 0; i+1 < len(keys); i += 2 {
		text, _ := json.Marshal(keys[i+1])
		fmt.Fprintf(&b, "      - {name: %s, key: %s}\n", keys[i], text)
	}
	return b.String()
}

// refused checks that a commit is, and that the error says what it should.
func refused(t *testing.T, p *policy.Policy, c sync.SignedCommit, says ...string) {
	t.Helper()
	err := p.Trust(c)
	if !fault.Is(err, fault.Invalid) {
		t.Fatalf("trusted: %v", err)
	}
	r := fault.RecordOf(err)
	for _, text := range says {
		if !strings.Contains(r.Message+" ("+r.Hint+")", text) {
			t.Errorf("%s (%s): does not say %q", r.Message, r.Hint, text)
		}
	}
}

func TestTrustSSH(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	ann := s.sshKey("ann", "-t", "ed25519")
	keys := map[string]string{
		"ann": ann, "eve": s.sshKey("eve", "-t", "ecdsa", "-b", "384"), "rob": s.sshKey("rob", "-t", "rsa", "-b", "2048"),
	}
	for name, key := range keys {
		p := trusting(t, "other", s.sshKey("not-"+name, "-t", "ed25519"), name, key)
		c := s.commit(true, "gpg.format=ssh", "user.signingkey="+name)
		if err := p.Trust(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		tampered := c
		tampered.Payload = bytes.Replace(c.Payload, []byte("Add acme"), []byte("Add evil"), 1)
		refused(t, p, tampered, "is not what "+name+" signed")
	}
	p := trusting(t, "ann", ann)
	refused(t, p, s.commit(false), "is not signed", "git commit -S", "lists: ann")
	byEve := s.commit(true, "gpg.format=ssh", "user.signingkey=eve")
	fingerprint := strings.Fields(s.run("ssh-keygen", "-lf", "eve.pub"))[1]
	refused(t, p, byEve, "by the SSH key "+fingerprint+", which gitopsd.yaml does not list", "list its public key in spec.signatures.keys")

	good := s.commit(true, "gpg.format=ssh", "user.signingkey=ann")
	file := filepath.Join(s.dir, "payload")
	if err := os.WriteFile(file, good.Payload, 0o600); err != nil {
		t.Fatal(err)
	}
	s.run("ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", "ann", file)
	other, err := os.ReadFile(file + ".sig")
	if err != nil {
		t.Fatal(err)
	}
	good.Signature = string(other)
	refused(t, p, good, `made for "file", not for git`)
	for _, garbage := range []string{
		"x", "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----", "-----BEGIN SSH SIGNATURE-----",
		"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----", "-----BEGIN PGP SIGNATURE-----",
		"-----BEGIN SIGNED MESSAGE-----", strings.Repeat("A", 100<<10),
	} {
		good.Signature = garbage
		refused(t, p, good)
	}
}

func TestKeysThatAreNotTaken(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	weak := s.sshKey("weak", "-t", "rsa", "-b", "1024")
	ann := s.sshKey("ann", "-t", "ed25519")
	s.run("ssh-keygen", "-q", "-s", "weak", "-I", "ann", "ann.pub")
	certificate, err := os.ReadFile(filepath.Join(s.dir, "ann-cert.pub"))
	if err != nil {
		t.Fatal(err)
	}
	private, err := os.ReadFile(filepath.Join(s.dir, "ann"))
	if err != nil {
		t.Fatal(err)
	}
	_, weakPGP := s.pgpKey("old", "rsa1024", "never")
	for text, says := range map[string]string{
		weak: "is RSA of 1024 bits", string(certificate): "is of the type ssh-ed25519-cert", string(private): "is a private one",
		"cert-authority " + ann: `has the option "cert-authority"`, ann + weak: "is followed by another one",
		weakPGP: "is RSA of 1024 bits",
	} {
		got := strings.Join(problemsOf(t, repository(listing("ann", text))), "\n")
		if !strings.HasPrefix(got, "7:26: the key of ann "+says) || strings.Contains(got, "\n") {
			t.Errorf("%.30q: %s, want %s", text, got, says)
		}
	}
}

func TestTrustPGP(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	fingerprint, ann := s.pgpKey("ann", "ed25519", "never")
	strong, rob := s.pgpKey("rob", "rsa2048", "never")
	eve, _ := s.pgpKey("eve", "ed25519", "never")
	p := trusting(t, "ann", ann, "rob", rob)
	for _, key := range []string{fingerprint, strong} {
		c := s.commit(true, "user.signingkey="+key)
		if err := p.Trust(c); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		tampered := c
		tampered.Payload = bytes.Replace(c.Payload, []byte("Add acme"), []byte("Add evil"), 1)
		refused(t, p, tampered, "is not what")
		refused(t, trusting(t, "x", s.sshKey("x"+key, "-t", "ed25519")), c, "by the OpenPGP key "+key)
	}
	refused(t, p, s.commit(true, "user.signingkey="+eve), "by the OpenPGP key "+eve+", which gitopsd.yaml does not list")

	c := s.commit(true, "user.signingkey="+fingerprint)
	weak := c
	file := filepath.Join(s.dir, "payload")
	if err := os.WriteFile(file, c.Payload, 0o600); err != nil {
		t.Fatal(err)
	}
	weak.Signature = s.run("gpg", "--batch", "-u", strong, "--digest-algo", "SHA1", "--armor", "--detach-sign", "-o", "-", file)
	refused(t, p, weak, "insecure message hash algorithm: SHA-1")
	weak.Signature = s.run("gpg", "--batch", "-u", strong, "--textmode", "--armor", "--detach-sign", "-o", "-", file)
	refused(t, p, weak, "is no signature of a file")
}

// TestTrustPGPAsOfTheSignature checks that a key's end counts from when it came.
func TestTrustPGPAsOfTheSignature(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	const made, soon, later = "20200101T000000!", "20200301T000000!", "20220101T000000!"
	fingerprint, _ := s.pgpKey("old", "ed25519", "2y", "--faked-system-time", made)
	signAt := func(when string) sync.SignedCommit {
		c := s.commit(false)
		file := filepath.Join(s.dir, "payload")
		if err := os.WriteFile(file, c.Payload, 0o600); err != nil {
			t.Fatal(err)
		}
		c.Signature = s.run("gpg", "--batch", "--faked-system-time", when, "-u", fingerprint, "--armor", "--detach-sign", "-o", "-", file)
		return c
	}
	early, late := signAt(soon), signAt("20210601T000000!")
	public := s.run("gpg", "--armor", "--export", fingerprint)
	for _, c := range []sync.SignedCommit{early, late} {
		if err := trusting(t, "old", public).Trust(c); err != nil {
			t.Errorf("signed while the key was valid: %v", err)
		}
	}
	s.run("gpg", "--batch", "--faked-system-time", soon, "--quick-set-expire", fingerprint, "1y")
	shortened := trusting(t, "old", s.run("gpg", "--armor", "--export", fingerprint))
	if err := shortened.Trust(early); err != nil {
		t.Errorf("signed before the key expired: %v", err)
	}
	refused(t, shortened, late, "is signed by old with the key "+fingerprint, "had expired")

	revocation, err := os.ReadFile(filepath.Join(s.dir, "openpgp-revocs.d", fingerprint+".rev"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.dir, "revoke")
	if err := os.WriteFile(file, bytes.Replace(revocation, []byte(":-----BEGIN"), []byte("-----BEGIN"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run("gpg", "--batch", "--faked-system-time", later, "--import", file)
	revoked := trusting(t, "old", s.run("gpg", "--armor", "--export", fingerprint))
	refused(t, revoked, early, "is revoked")
}
