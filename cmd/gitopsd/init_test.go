package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// TestInitKilled kills init at moments from its beginning to its end. Whatever
// it left, the next run completes it.
func TestInitKilled(t *testing.T) {
	t.Parallel()
	program := installed(t)
	begin, kills := time.Now(), 0
	if out, err := initCommand(program, filepath.Join(t.TempDir(), "tenants")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const moments = 14
	part := time.Since(begin) / moments
	for delay := time.Duration(0); delay < moments*part; delay += part {
		dir := filepath.Join(t.TempDir(), "tenants")
		first := initCommand(program, dir)
		if err := first.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(delay, func() { _ = first.Process.Kill() })
		if first.Wait() != nil {
			kills++
		}
		kill.Stop()
		if out, err := initCommand(program, dir).CombinedOutput(); err != nil {
			t.Fatalf("after a kill at %s: %v\n%s", delay, err, out)
		}
		complete(t, dir, delay)
	}
	if kills == 0 {
		t.Error("no run was killed")
	}
}

// complete wants a repository with one commit of every file, and nothing else.
func complete(t *testing.T, dir string, delay time.Duration) {
	t.Helper()
	for want, args := range map[string][]string{
		"":  {"status", "--porcelain"},
		"1": {"rev-list", "--count", "main"},
	} {
		out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("after a kill at %s: git %v = %q (%v), want %q", delay, args, got, err, want)
		}
	}
	var out bytes.Buffer
	if code := execute([]string{"validate", dir}, &terminal{in: os.Stdin, out: &out, err: &out}); code != exitDone {
		t.Errorf("after a kill at %s: validate: %d\n%s", delay, code, &out)
	}
}

func initCommand(program, dir string) *exec.Cmd {
	c := exec.Command(program, "init", dir)
	c.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull,
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com")
	return c
}

// installed returns this program as testscript put it into PATH.
func installed(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("gitopsd")
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// TestInitWithoutGit leaves the files without a repository.
func TestInitWithoutGit(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	dir := filepath.Join(t.TempDir(), "tenants")
	out := &screen{}
	if code := execute([]string{"init", dir}, &terminal{in: os.Stdin, out: out, err: out}); code != exitDone {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	if !strings.Contains(out.String(), "note: git is not installed") {
		t.Errorf("nobody is told that there is no repository:\n%s", out)
	}
	if repositoryRoot(dir) != "" {
		t.Error("there is a repository")
	}
	if code := execute([]string{"validate", dir}, &terminal{in: os.Stdin, out: out, err: out}); code != exitDone {
		t.Errorf("validate: exit code %d\n%s", code, out)
	}
}

func TestActionRef(t *testing.T) {
	t.Parallel()
	commit := strings.Repeat("0123456789", 4)
	built := func(version, revision string) *debug.BuildInfo {
		return &debug.BuildInfo{
			Main:     debug.Module{Version: version},
			Settings: []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: revision}},
		}
	}
	for name, c := range map[string]struct {
		info   *debug.BuildInfo
		ref    string
		pinned bool
	}{
		"checkout":         {built("(devel)", commit), commit, true},
		"release":          {built("v1.2.3", ""), "v1.2.3", true},
		"candidate":        {built("v1.2.3-rc.1", ""), "v1.2.3-rc.1", true},
		"pseudo-version":   {built("v0.0.0-20261122201500-0123456789ab", ""), "main", false},
		"pre-release base": {built("v1.2.4-0.20261122201500-0123456789ab", ""), "main", false},
		"changed":          {built("v1.2.3+dirty", ""), "main", false},
		"unknown":          {built("(devel)", ""), "main", false},
		"nothing":          {nil, "main", false},
	} {
		if ref, _, pinned := actionRef(c.info); ref != c.ref || pinned != c.pinned {
			t.Errorf("%s: %s, %v; want %s, %v", name, ref, pinned, c.ref, c.pinned)
		}
	}
}

func TestShellWord(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"tenants", "../a/b-c_d.e", "a b", "it's", "-n", "$(id)", "a\"b", "~x", "`id`", "*"} {
		out, err := exec.Command("sh", "-c", "printf %s "+shellWord(dir)).CombinedOutput()
		if got := strings.TrimPrefix(string(out), "./"); err != nil || got != dir {
			t.Errorf("a shell reads %s as %q (%v), want %q", shellWord(dir), out, err, dir)
		}
	}
}
