package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/console/consoletest"
)

// TestRestoreWrites brings a deleted tenant's file back into a clone.
func TestRestoreWrites(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(code int, name string, args ...string) (string, string) {
		t.Helper()
		c := exec.Command(name, args...)
		var out, errs bytes.Buffer
		c.Dir, c.Stdout, c.Stderr = dir, &out, &errs
		c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GITOPSD_DATA="+filepath.Join(dir, ".gitopsd"),
			"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com")
		if err := c.Run(); c.ProcessState == nil || c.ProcessState.ExitCode() != code {
			t.Fatalf("%s %v: %v, want exit code %d\n%s%s", name, args, err, code, out.String(), errs.String())
		}
		return strings.TrimSpace(out.String()), errs.String()
	}
	git := func(args ...string) string {
		t.Helper()
		out, _ := run(0, "git", args...)
		return out
	}
	const text = "# ours\napiVersion: gitopsd.dev/v1\nkind: Tenant\nmetadata: {name: late}\nspec: {app: {path: apps/late}}\n"
	file := filepath.Join(dir, "tenants", "late.yaml")
	git("init", "-q", "-b", "main")
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	git("add", ".")
	git("commit", "-q", "-m", "add it")
	accepted := git("rev-parse", "HEAD")
	git("checkout", "-q", "-b", "delete")
	git("rm", "-q", "-r", "tenants")
	git("commit", "-q", "-m", "delete it")
	git("checkout", "-q", "main")
	git("merge", "-q", "--no-ff", "-m", "merge", "delete")
	merge := git("rev-parse", "HEAD")

	state := saved(time.Now())
	state.Records[2].Commit, state.Tombstones[0].Commit = accepted, merge
	world := consoletest.New(state)
	stop, err := serveWorld(world, filepath.Join(dir, ".gitopsd"), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()

	if out, _ := run(1, "gitopsd", "restore", "late"); out != "git revert -m 1 "+merge[:7] {
		t.Errorf("of a merge it says %q", out)
	}
	out, errs := run(0, "gitopsd", "restore", "late", "--write")
	if out != "wrote tenants/late.yaml as it is in "+accepted[:7] || !strings.Contains(errs, "git checkout "+accepted[:7]+" -- apps/late") {
		t.Errorf("it says %q, %q", out, errs)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != text {
		t.Errorf("the file is %q (%v)", b, err)
	}
	if err := os.WriteFile(file, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, errs := run(1, "gitopsd", "restore", "late", "--write"); !strings.Contains(errs, "is there already") {
		t.Errorf("over a file that is there: %s", errs)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "mine" {
		t.Errorf("the file is %q (%v)", b, err)
	}
	world.Update(func(s *consoletest.State) { s.Records[2].Commit = goodSHA })
	if _, errs := run(4, "gitopsd", "restore", "late", "--write"); !strings.Contains(errs, "git fetch") {
		t.Errorf("without the commit: %s", errs)
	}
}
