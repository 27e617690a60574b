package release_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gitopsd/gitopsd/internal/release"
)

func newVolume(t testing.TB) *release.Volume {
	t.Helper()
	return release.Open(t.TempDir())
}

// commit makes a release whose content is decided by n.
func commit(t testing.TB, v *release.Volume, n int) string {
	t.Helper()
	digest, err := tryCommit(v, n)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func tryCommit(v *release.Volume, n int) (string, error) {
	s, err := v.Stage()
	if err != nil {
		return "", err
	}
	defer s.Abort()
	bin, err := os.CreateTemp("", "bin-")
	if err != nil {
		return "", err
	}
	defer os.Remove(bin.Name())
	_, err = bin.Write(bytes.Repeat([]byte{byte(n), byte(n >> 8)}, 50_000+n))
	if cerr := bin.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return "", err
	}
	if err := errors.Join(
		s.AddBinary(bin.Name()),
		s.Add(release.Static, "index.html", strings.NewReader(fmt.Sprint("page ", n))),
		s.Add(release.Static, "assets/js/app.js", strings.NewReader("js")),
		s.Add(release.Migrations, "0001_init.sql", strings.NewReader("-- sql")),
	); err != nil {
		return "", err
	}
	return s.Commit(release.Manifest{Tenant: "acme", Build: fmt.Sprint("build-", n), Health: "/healthz"})
}

func TestCommitAndRead(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	if _, ok, err := v.Current(); ok || err != nil {
		t.Fatalf("a new volume's pointer: %t, %v", ok, err)
	}
	if l, err := v.List(); len(l) > 0 || err != nil {
		t.Fatalf("a new volume's releases: %v, %v", l, err)
	}
	a, b := commit(t, v, 1), commit(t, v, 2)
	if again := commit(t, v, 1); again != a {
		t.Errorf("the same build twice: %s, then %s", a, again)
	}
	m, err := v.Manifest(a)
	if err != nil {
		t.Fatal(err)
	}
	if m.Digest() != a || m.Binary.Path != "app" || len(m.Static) != 2 || m.Static[0].Path != "assets/js/app.js" || len(m.Migrations) != 1 {
		t.Errorf("manifest: %+v", m)
	}
	for path, want := range map[string]fs.FileMode{"app": 0o750, "manifest.json": 0o640, "static/index.html": 0o640, "static/assets": 0o750 | fs.ModeDir} {
		info, err := os.Stat(filepath.Join(v.Path(a), path))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want mode %v", path, info.Mode(), err, want)
		}
	}
	if got, ok, err := v.FindBuild("build-2"); got != b || !ok || err != nil {
		t.Errorf("find build: %s, %t, %v", got, ok, err)
	}
	for _, key := range []string{"build-3", "", "../current", "a/b"} {
		if got, ok, err := v.FindBuild(key); ok || err != nil {
			t.Errorf("find build %q: %s, %t, %v", key, got, ok, err)
		}
	}
	if l, err := v.List(); err != nil || len(l) != 2 || !slices.Contains(l, a) || !slices.Contains(l, b) {
		t.Errorf("list: %v, %v", l, err)
	}
	noStaging(t, v)
}

func noStaging(t *testing.T, v *release.Volume) {
	t.Helper()
	for _, dir := range []string{"", "releases", "builds"} {
		entries, _ := os.ReadDir(filepath.Join(v.Dir(), dir))
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".tmp-") {
				t.Errorf("left behind: %s", filepath.Join(dir, e.Name()))
			}
		}
	}
}

func TestStagingRefuses(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	for _, name := range []string{"", ".", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "a\x00b", `a\b`, "a\nb"} {
		s, err := v.Stage()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Add(release.Static, name, strings.NewReader("x")); err == nil {
			t.Errorf("added %q", name)
		}
		s.Abort()
	}
	s, err := v.Stage()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add("other", "x", strings.NewReader("x")); err == nil {
		t.Error("added to an unknown part")
	}
	if err := s.Add(release.Static, "x", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(release.Static, "x", strings.NewReader("y")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("added twice: %v", err)
	}
	if _, err := s.Commit(release.Manifest{}); err == nil {
		t.Error("committed without a binary")
	}
	if _, err := s.Commit(release.Manifest{}); err == nil {
		t.Error("committed after the end")
	}
	noStaging(t, v)
}

func TestPublish(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	a, b := commit(t, v, 1), commit(t, v, 2)
	for i, step := range []struct {
		digest, commit string
		seq            uint64
	}{{a, "c1", 1}, {a, "c1", 1}, {b, "c2", 2}, {b, "c3", 3}, {a, "c1", 4}} {
		p, err := v.Publish(step.digest, step.commit)
		if err != nil || p.Seq != step.seq || p.SHA256 != step.digest || p.Commit != step.commit || p.Size == 0 {
			t.Fatalf("publish %d: %+v, %v", i, p, err)
		}
		if now, ok, err := v.Current(); now != p || !ok || err != nil {
			t.Fatalf("current after %d: %+v, %t, %v", i, now, ok, err)
		}
	}
	for _, digest := range []string{strings.Repeat("0", 64), "", "../..", a[:12]} {
		if p, err := v.Publish(digest, "c"); err == nil {
			t.Errorf("published %q: %+v", digest, p)
		}
	}
	if _, err := release.Open(filepath.Join(v.Dir(), "none")).Publish(a, "c"); err == nil {
		t.Error("published on no volume")
	}
	if _, _, err := release.Open(filepath.Join(v.Dir(), "none")).Current(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing volume's pointer: %v", err)
	}
	// A release that lost a file is not published.
	if err := os.Remove(filepath.Join(v.Path(b), "static", "index.html")); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Publish(b, "c9"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("publish of half a release: %v", err)
	}
	// A lost pointer is replaced, and its number still grows.
	if err := os.WriteFile(filepath.Join(v.Dir(), "current"), []byte(`{"seq":`), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, _, err := v.Current(); !errors.Is(err, release.ErrDamaged) {
		t.Errorf("a damaged pointer: %v", err)
	}
	if p, err := v.Publish(a, "c5"); err != nil || p.Seq < 5 {
		t.Errorf("publish over a damaged pointer: %+v, %v", p, err)
	}
}

func TestDamageIsFoundAndRepaired(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(dir string) error{
		"truncated binary": func(d string) error { return os.Truncate(filepath.Join(d, "app"), 10) },
		"changed byte": func(d string) error {
			return os.WriteFile(filepath.Join(d, "static", "assets", "js", "app.js"), []byte("sj"), 0o600)
		},
		"missing file": func(d string) error { return os.Remove(filepath.Join(d, "migrations", "0001_init.sql")) },
		"extra file": func(d string) error {
			return os.WriteFile(filepath.Join(d, "static", "evil.js"), nil, 0o600)
		},
		"link out": func(d string) error {
			path := filepath.Join(d, "static", "index.html")
			return errors.Join(os.Remove(path), os.Symlink("/etc/passwd", path))
		},
		"pipe": func(d string) error {
			path := filepath.Join(d, "app")
			return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600))
		},
		"other manifest": func(d string) error {
			return os.WriteFile(filepath.Join(d, "manifest.json"), []byte("{}\n"), 0o600)
		},
		"no manifest": func(d string) error { return os.Remove(filepath.Join(d, "manifest.json")) },
		"a file in its place": func(d string) error {
			return errors.Join(os.RemoveAll(d), os.WriteFile(d, nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVolume(t)
			d := commit(t, v, 1)
			if err := v.Verify(d); err != nil {
				t.Fatal(err)
			}
			if err := damage(v.Path(d)); err != nil {
				t.Fatal(err)
			}
			if err := v.Verify(d); err == nil {
				t.Fatal("damage not found")
			}
			if got, ok, _ := v.FindBuild("build-1"); ok {
				t.Errorf("found the damaged build as %s", got)
			}
			if again := commit(t, v, 1); again != d {
				t.Fatalf("built again: %s, not %s", again, d)
			}
			if err := v.Verify(d); err != nil {
				t.Errorf("after building again: %v", err)
			}
			noStaging(t, v)
		})
	}
}

func TestRemoveAndGC(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	var d []string
	for n := range 5 {
		d = append(d, commit(t, v, n))
	}
	if _, err := v.Publish(d[0], "c"); err != nil {
		t.Fatal(err)
	}
	if err := v.Remove(d[0]); !errors.Is(err, release.ErrInUse) {
		t.Errorf("remove the current release: %v", err)
	}
	for range 2 {
		if err := v.Remove(d[1]); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	if _, ok, err := v.FindBuild("build-1"); ok || err != nil {
		t.Errorf("a removed build: %t, %v", ok, err)
	}
	removed, err := v.GC(d[2])
	if err != nil || len(removed) != 2 {
		t.Errorf("gc: %v, %v", removed, err)
	}
	left, err := v.List()
	if err != nil || len(left) != 2 || !slices.Contains(left, d[0]) || !slices.Contains(left, d[2]) {
		t.Errorf("after gc: %v, %v", left, err)
	}
	// Without knowing what is current, nothing goes.
	if err := os.WriteFile(filepath.Join(v.Dir(), "current"), nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if removed, err := v.GC(); err == nil || len(removed) > 0 {
		t.Errorf("gc with a damaged pointer: %v, %v", removed, err)
	}
	noStaging(t, v)
}

func TestCleanStaging(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	d := commit(t, v, 1)
	s, err := v.Stage() // as a crash leaves it
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add(release.Static, "a/b", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if err := v.CleanStaging(time.Hour); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(filepath.Join(v.Dir(), "releases")); len(entries) != 2 {
		t.Errorf("a fresh staging is gone: %v", entries)
	}
	if err := v.CleanStaging(0); err != nil {
		t.Fatal(err)
	}
	noStaging(t, v)
	if err := v.Verify(d); err != nil {
		t.Error(err)
	}
}

// Nothing leads out of the volume, though a tenant may write to it.
func TestLinksDoNotLeadOut(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	v := newVolume(t)
	if err := os.Symlink(outside, filepath.Join(v.Dir(), "releases")); err != nil {
		t.Fatal(err)
	}
	if _, err := tryCommit(v, 1); err == nil {
		t.Error("committed through a link")
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("written outside: %v", entries)
	}
}

func TestOwner(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	v := newVolume(t)
	const gid = 54321
	if err := os.Chown(v.Dir(), 0, gid); err != nil {
		t.Fatal(err)
	}
	d := commit(t, v, 1)
	if _, err := v.Publish(d, "c"); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(v.Dir(), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if st := info.Sys().(*syscall.Stat_t); (st.Gid != gid) != (e.Name() == ".lock") {
			t.Errorf("%s has gid %d", path, st.Gid)
		}
		if info.Mode().Perm()&0o027 != 0 && path != v.Dir() {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Whatever is done, in whatever order, the volume stays what it must be.
func TestAnyOrder(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp(base, "v")
		if err != nil {
			r.Fatal(err)
		}
		defer os.RemoveAll(dir)
		v := release.Open(dir)
		digests := map[int]string{} // there
		var now release.Pointer
		for range rapid.IntRange(1, 12).Draw(r, "steps") {
			n := rapid.IntRange(0, 3).Draw(r, "n")
			switch rapid.SampledFrom([]string{"commit", "publish", "remove", "gc"}).Draw(r, "do") {
			case "commit":
				if digests[n], err = tryCommit(v, n); err != nil {
					r.Fatal(err)
				}
			case "publish":
				p, err := v.Publish(digests[n], "c")
				if (err == nil) != (digests[n] != "") {
					r.Fatalf("publish %q: %v", digests[n], err)
				}
				if err == nil {
					if p.Seq < now.Seq || (p.Seq == now.Seq) != (p == now) {
						r.Fatalf("pointer %+v after %+v", p, now)
					}
					now = p
				}
			case "remove":
				if d := digests[n]; d != "" {
					if err := v.Remove(d); (err != nil) != (d == now.SHA256) {
						r.Fatalf("remove %s: %v", d, err)
					} else if err == nil {
						delete(digests, n)
					}
				}
			case "gc":
				if _, err := v.GC(digests[n]); err != nil {
					r.Fatal(err)
				}
				for k, d := range digests {
					if k != n && d != now.SHA256 {
						delete(digests, k)
					}
				}
			}
			if got, ok, err := v.Current(); err != nil || ok != (now.Seq > 0) || got != now {
				r.Fatalf("current %+v, %t, %v; want %+v", got, ok, err, now)
			}
			for k, d := range digests {
				if found, ok, err := v.FindBuild(fmt.Sprint("build-", k)); err != nil || found != d || ok != (d != "") {
					r.Fatalf("build %d: %q, %t, %v; want %q", k, found, ok, err, d)
				}
			}
		}
	})
}

// Readers beside two publishers never see a half state, and numbers only grow.
func TestReadersBesidePublishers(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	digests := []string{commit(t, v, 1), commit(t, v, 2), commit(t, v, 3)}
	done := make(chan struct{})
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			var last release.Pointer
			for {
				select {
				case <-done:
					return
				default:
				}
				p, ok, err := v.Current()
				if err != nil || p.Seq < last.Seq || (p.Seq == last.Seq && p != last) || (last.Seq > 0 && !ok) {
					t.Errorf("read %+v, %t, %v after %+v", p, ok, err, last)
					return
				}
				if ok && p.Seq%8 == 0 {
					if err := v.Verify(p.SHA256); err != nil {
						t.Error(err)
					}
				}
				last = p
				runtime.Gosched()
			}
		})
	}
	const each = 60
	for w := range 2 {
		writers.Go(func() {
			for i := range each {
				if _, err := v.Publish(digests[i%len(digests)], fmt.Sprint(w, "-", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	if p, _, err := v.Current(); err != nil || p.Seq != 2*each {
		t.Errorf("after %d publishes: %+v, %v", 2*each, p, err)
	}
}

func TestStampShowsEachPublish(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	a, b := commit(t, v, 1), commit(t, v, 2)
	last, err := v.Stamp()
	if err != nil || last != (release.Stamp{}) {
		t.Fatalf("stamp of a new volume: %+v, %v", last, err)
	}
	for i := range 20 {
		if _, err := v.Publish([]string{a, b}[i%2], "c"); err != nil {
			t.Fatal(err)
		}
		s, err := v.Stamp()
		if err != nil || s == last {
			t.Fatalf("stamp after publish %d: %+v, %v", i, s, err)
		}
		if again, err := v.Stamp(); err != nil || again != s {
			t.Fatalf("stamp without publish: %+v, then %+v, %v", s, again, err)
		}
		last = s
	}
	if _, err := release.Open(filepath.Join(v.Dir(), "none")).Stamp(); err == nil {
		t.Error("a missing volume has a stamp")
	}
}
