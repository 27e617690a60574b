package build_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitopsd/gitopsd/internal/build"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// readOnly makes a directory one of a read-only file system, as a function's image
// is; without the right to mount, one without the right to write.
func readOnly(t *testing.T, dir string) {
	t.Helper()
	err := unix.Mount(dir, dir, "", unix.MS_BIND, "")
	if err == nil {
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		err = unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
	}
	if err == nil {
		return
	}
	t.Logf("%s is not mounted read-only: %v", dir, err)
	change := func(mode fs.FileMode) {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				return os.Chmod(path, mode)
			}
			return err
		})
	}
	change(0o555)
	t.Cleanup(func() { change(0o755) })
}

// own returns how many entries of a cache are its own, and how many are links.
func own(t *testing.T, cache string) (files, links int) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(cache, "[0-9a-f][0-9a-f]", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		info, err := os.Lstat(name)
		switch {
		case err != nil:
			t.Fatal(err)
		case info.Mode().Type() == fs.ModeSymlink:
			links++
		default:
			files++
		}
	}
	return files, links
}

// TestWarmCache: a builder with an image's cache, which cannot be written to, compiles
// no more than what is new, also weeks after the image was made.
func TestWarmCache(t *testing.T) {
	t.Parallel()
	repository := newRepository(t)
	image := filepath.Join(t.TempDir(), "image")
	commit := repository.commit(map[string]string{"go.mod": "module m\n\ngo 1.26.0\n", "main.go": hello("first")})
	first, err := build.New(build.Config{Source: repository, Dir: t.TempDir(), Cache: image})
	if err != nil {
		t.Fatal(err)
	}
	makeRelease(t, first, pathApp(t, "acme", ".", commit))
	cold, _ := own(t, image)
	old := time.Now().Add(-30 * 24 * time.Hour)
	err = filepath.WalkDir(image, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, old, old)
	})
	if err != nil {
		t.Fatal(err)
	}
	readOnly(t, image)

	dir := t.TempDir()
	for range 2 { // the second finds the links of the first
		b, err := build.New(build.Config{Source: repository, Dir: dir, Warm: image})
		if err != nil {
			t.Fatal(err)
		}
		in := pathApp(t, "acme", ".", repository.commit(map[string]string{"main.go": hello("second")}))
		if _, digest := makeRelease(t, b, in); says(t, in.Volume, digest) != "second" {
			t.Error("the release says something else")
		}
	}
	files, links := own(t, filepath.Join(dir, "cache"))
	if links != cold || files == 0 || files > cold/4 {
		t.Errorf("%d files were compiled beside %d links, to a cache of %d", files, links, cold)
	}
	t.Logf("%d files compiled, %d found", files, links)
	if _, err := build.New(build.Config{Source: repository, Dir: t.TempDir(), Warm: dir}); err == nil {
		t.Error("a directory that is no cache was taken")
	}
}

// TestModulesOfAnImage: modules that the image has are read there, and others are
// fetched to where that is possible.
func TestModulesOfAnImage(t *testing.T) {
	here, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	proxy := "file://" + strings.TrimSpace(string(here)) + "/cache/download"
	sums, err := os.ReadFile("../../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	known := func(module string) string {
		for line := range strings.Lines(string(sums)) {
			if name, rest, _ := strings.Cut(line, " "); name == module && !strings.Contains(rest, "/go.mod ") {
				version, _, _ := strings.Cut(rest, " ")
				return version
			}
		}
		t.Fatalf("go.sum has no %s", module)
		return ""
	}
	app := func(module, use string) map[string]string {
		return map[string]string{
			"go.mod": "module m\n\ngo 1.26.0\n\nrequire " + module + " " + known(module) + "\n", "go.sum": string(sums),
			"main.go": "package main\n\nimport _ \"" + use + "\"\n\nfunc main() { println(\"built\") }\n",
		}
	}
	image := filepath.Join(t.TempDir(), "modules")
	fetch := exec.CommandContext(t.Context(), "go", "mod", "download", "golang.org/x/mod@"+known("golang.org/x/mod"))
	fetch.Dir = t.TempDir()
	fetch.Env = append(os.Environ(), "GOMODCACHE="+image, "GOPROXY="+proxy, "GONOSUMDB=*", "GOFLAGS=-modcacherw")
	if out, err := fetch.CombinedOutput(); err != nil {
		t.Skipf("the modules that this needs are not in the module cache: %v: %s", err, out)
	}
	readOnly(t, image)
	t.Setenv("GOMODCACHE", image)
	t.Setenv("GOPROXY", proxy)
	repository := newRepository(t)
	dir := t.TempDir()
	b, err := build.New(build.Config{Source: repository, Dir: dir, Cache: filepath.Join(warm(t), "cache")})
	if err != nil {
		t.Fatal(err)
	}
	in := pathApp(t, "acme", ".", repository.commit(app("golang.org/x/mod", "golang.org/x/mod/semver")))
	_, digest := makeRelease(t, b, in)
	if _, err := os.Stat(filepath.Join(dir, "modules")); err == nil || says(t, in.Volume, digest) != "built" {
		t.Error("what the image has was fetched")
	}
	in = pathApp(t, "beta", ".", repository.commit(app("golang.org/x/sync", "golang.org/x/sync/errgroup")))
	if _, digest = makeRelease(t, b, in); says(t, in.Volume, digest) != "built" {
		t.Error("the release says something else")
	}
	if _, err := os.Stat(filepath.Join(dir, "modules", "golang.org", "x")); err != nil {
		t.Errorf("nothing was fetched beside the image: %v", err)
	}
}

// TestWithoutGo: a builder that need only migrate is made, and says where to build.
func TestWithoutGo(t *testing.T) {
	repository := newRepository(t)
	none := t.TempDir()
	t.Setenv("PATH", none)
	if _, err := build.New(build.Config{Source: repository, Dir: none}); err == nil {
		t.Error("a builder without the go command was made")
	}
	b, err := build.New(build.Config{Source: repository, Dir: none, Migrates: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Generate(t.Context(), designApp(t, "acme", &tenant.Design{Title: "x"}))
	if !fault.Is(err, fault.Stalled) {
		t.Errorf("generate: %v, want Stalled", err)
	}
}
