package policy_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	stdsync "sync"
	"testing"
	"testing/fstest"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/policy"
)

// history is a repository's commits, by name.
type history struct {
	commits map[string]fs.FS
	broken  error // of every read

	mu    stdsync.Mutex
	opens int // of gitopsd.yaml
}

func (h *history) FS(commit string) fs.FS { return tree{h, h.commits[commit]} }

// ID names a file by its content, as git does.
func (h *history) ID(commit, name string) (string, error) {
	if h.broken != nil {
		return "", h.broken
	}
	data, err := fs.ReadFile(h.commits[commit], name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(data), err
}

func (h *history) policies() *policy.Policies {
	return policy.New(h.FS, h.ID, plan.Brake{Tenants: 4, Percent: 20})
}

// tree counts how often the policy is read.
type tree struct {
	h *history
	fs.FS
}

func (t tree) Open(name string) (fs.File, error) {
	if t.h.broken != nil {
		return nil, t.h.broken
	}
	if path.Base(name) == policy.File {
		t.h.mu.Lock()
		t.h.opens++
		t.h.mu.Unlock()
	}
	return t.FS.Open(name)
}

func (t tree) Lstat(name string) (fs.FileInfo, error) {
	if t.h.broken != nil {
		return nil, t.h.broken
	}
	return fs.Lstat(t.FS, name)
}

func (t tree) ReadLink(name string) (string, error) { return fs.ReadLink(t.FS, name) }

func digest(t *testing.T, ps *policy.Policies, commit string) string {
	t.Helper()
	p, err := ps.At(t.Context(), commit)
	if err != nil {
		t.Fatalf("%s: %v", commit, err)
	}
	return p.Settings().Digest
}

func TestAt(t *testing.T) {
	t.Parallel()
	link := repository(full)
	link[policy.File] = &fstest.MapFile{Mode: fs.ModeSymlink | 0o777, Data: []byte("real.yaml")}
	link["real.yaml"] = &fstest.MapFile{Data: []byte(full)}
	h := &history{commits: map[string]fs.FS{
		"none": fstest.MapFS{}, "one": repository(full), "same": repository(full, "tenants/acme.yaml", "x"),
		"other": repository(head + "  branch: dev\n"), "bad": repository(head + "  brnch: main\n  max: 3\n"), "link": link,
	}}
	ps := h.policies()
	p, err := ps.At(t.Context(), "none")
	if err != nil || p.Settings().Digest != "" || p.Settings().Brake != (plan.Brake{Tenants: 4, Percent: 20}) {
		t.Errorf("without a file: %+v, %v", p, err)
	}
	first := digest(t, ps, "one")
	if again := digest(t, ps, "same"); again != first || h.opens != 1 {
		t.Errorf("the same file has the digests %s and %s, and was read %d times", first, again, h.opens)
	}
	if other := digest(t, ps, "other"); other == first || h.opens != 2 {
		t.Errorf("another file has the same digest, or was read %d times", h.opens)
	}
	for range 2 {
		_, err = ps.At(t.Context(), "bad")
		r := fault.RecordOf(err)
		if !fault.Is(err, fault.Invalid) || !strings.HasPrefix(r.Message, "gitopsd.yaml:4:3: unknown key") || strings.Count(r.Detail, "\n") != 1 {
			t.Errorf("a bad file: %+v", r)
		}
	}
	if _, err = ps.At(t.Context(), "link"); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("a link: %v", err)
	}
	h.broken = errors.New("the disk is gone")
	for _, commit := range []string{"one", "none"} {
		if _, err = ps.At(t.Context(), commit); err == nil || fault.Is(err, fault.Invalid) || !errors.Is(err, h.broken) {
			t.Errorf("an unreadable repository: %v", err)
		}
	}
	h.broken = nil
	if again := digest(t, ps, "one"); again != first {
		t.Error("an error was kept")
	}
}

// TestAtTellsALinkFromAFile has a link with the content of a known policy, which
// the content's id does not tell from it.
func TestAtTellsALinkFromAFile(t *testing.T) {
	t.Parallel()
	h := &history{commits: map[string]fs.FS{
		"file": repository(full),
		"link": fstest.MapFS{policy.File: {Mode: fs.ModeSymlink | 0o777, Data: []byte(full)}},
	}}
	ps := policy.New(h.FS, func(string, string) (string, error) { return "1", nil }, plan.DefaultBrake)
	digest(t, ps, "file")
	if _, err := ps.At(t.Context(), "link"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a link was taken for the file: %v", err)
	}
	digest(t, ps, "file")
}

func TestAtFollowsKeyFiles(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	ann, bob := s.sshKey("ann", "-t", "ed25519"), s.sshKey("bob", "-t", "ed25519")
	text := head + "  signatures: {required: true, keys: [{name: a, file: keys/a.pub}]}\n"
	h := &history{commits: map[string]fs.FS{
		"ann": repository(text, "keys/a.pub", ann), "bob": repository(text, "keys/a.pub", bob),
		"gone": repository(text), "again": repository(text, "keys/a.pub", ann, "x", "y"),
	}}
	ps := h.policies()
	byAnn := s.commit(true, "gpg.format=ssh", "user.signingkey=ann")
	for _, c := range []struct {
		commit  string
		trusted bool
	}{{"ann", true}, {"bob", false}, {"again", true}, {"again", true}} {
		p, err := ps.At(t.Context(), c.commit)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Trust(byAnn); (err == nil) != c.trusted {
			t.Errorf("%s: %v", c.commit, err)
		}
	}
	if h.opens != 3 {
		t.Errorf("read %d times, want 3", h.opens)
	}
	if digest(t, ps, "ann") == digest(t, ps, "bob") {
		t.Error("policies with other keys have one digest")
	}
	if _, err := ps.At(t.Context(), "gone"); !fault.Is(err, fault.Invalid) {
		t.Errorf("without its key file: %v", err)
	}
}

// TestManyPoliciesAtOnce reads and asks more policies than are kept.
func TestManyPoliciesAtOnce(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	fingerprint, key := s.pgpKey("ann", "ed25519", "never")
	c := s.commit(true, "user.signingkey="+fingerprint)
	h := &history{commits: map[string]fs.FS{}}
	for i := range 50 {
		h.commits[fmt.Sprint(i)] = repository(listing("ann", key) + fmt.Sprintf("  branch: b%d\n  rules: [{name: r, expect: 'tenant.labels.plan == \"\"', message: m}]\n", i))
	}
	ps := h.policies()
	var all stdsync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 100 {
				n := (i + worker) % 50
				p, err := ps.At(context.Background(), fmt.Sprint(n))
				if err != nil || p.Settings().Branch != fmt.Sprint("b", n) {
					t.Errorf("%d: %+v, %v", n, p, err)
					return
				}
				if err := p.Trust(c); err != nil {
					t.Error(err)
				}
				if refusals := p.Judge(context.Background(), added(acme(nil))); refusals != nil {
					t.Error(refusals)
				}
			}
		})
	}
	all.Wait()
}
