package githubtest_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/github/githubtest"
)

// git runs git as a user does, with a token or without.
func git(t *testing.T, dir, token string, args ...string) (string, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "git", args...)
	c.Dir = dir
	c.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
	}
	if token != "" {
		c.Env = append(c.Env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=credential.helper",
			`GIT_CONFIG_VALUE_0=!f() { echo username=x-access-token; echo password=`+token+`; }; f`)
	}
	out, err := c.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func must(t *testing.T) func(out string, err error) string {
	return func(out string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return out
	}
}

// TestGit clones and pushes over smart HTTP, as people do, and looks at what
// becomes of pull requests.
func TestGit(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, githubtest.Options{Tokens: map[string]githubtest.Account{
		"ghp_writer": {Login: "writer", Scopes: githubtest.AllScopes()}, "ghp_reader": {Login: "reader"},
	}})
	must := must(t)
	first := must(s.Commit("main", githubtest.Commit{Files: map[string]string{"tenants/acme.yaml": "one\n"}}))
	must(s.Commit("mallory:evil", githubtest.Commit{Files: map[string]string{"evil": "x"}}))
	dir := t.TempDir()

	for name, token := range map[string]string{"nobody": "", "a wrong token": "ghp_wrong"} {
		if out, err := git(t, dir, token, "clone", s.CloneURL(), "as-"+token); err == nil {
			t.Errorf("%s clones: %s", name, out)
		}
	}
	must(git(t, dir, "ghp_reader", "clone", "--quiet", s.CloneURL(), "work"))
	work := filepath.Join(dir, "work")
	if head := must(git(t, work, "", "rev-parse", "HEAD")); head != first {
		t.Errorf("cloned %s, not %s", head, first)
	}
	if refs := must(git(t, work, "ghp_reader", "ls-remote")); strings.Contains(refs, "mallory") {
		t.Errorf("a fork's branch is shown:\n%s", refs)
	}
	must(git(t, work, "", "checkout", "--quiet", "-b", "feature"))
	must(git(t, work, "", "commit", "--quiet", "--allow-empty", "-m", "more"))
	if out, err := git(t, work, "ghp_reader", "push", "origin", "feature"); err == nil {
		t.Errorf("a reader pushes: %s", out)
	}
	must(git(t, work, "ghp_writer", "push", "--quiet", "origin", "feature"))
	n, err := s.OpenPull(githubtest.Pull{Branch: "feature"})
	if err != nil {
		t.Fatal(err)
	}
	must(git(t, work, "", "commit", "--quiet", "--amend", "--allow-empty", "-m", "other"))
	must(git(t, work, "ghp_writer", "push", "--quiet", "--force", "origin", "feature"))
	head := must(git(t, work, "", "rev-parse", "HEAD"))
	must(git(t, work, "ghp_reader", "fetch", "--quiet", "origin", "refs/pull/1/head"))
	if got := must(git(t, work, "", "rev-parse", "FETCH_HEAD")); got != head || n != 1 {
		t.Errorf("refs/pull/1/head is %s, not %s", got, head)
	}

	// Past the server, by the repository's path.
	must(git(t, work, "", "commit", "--quiet", "--allow-empty", "-m", "again"))
	must(git(t, work, "", "push", "--quiet", s.GitDir(), "feature"))
	if err := s.Refresh(); err != nil {
		t.Fatal(err)
	}
	head = must(git(t, work, "", "rev-parse", "HEAD"))
	if got := must(git(t, work, "ghp_reader", "ls-remote", "origin", "refs/pull/1/head")); !strings.HasPrefix(got, head) {
		t.Errorf("refs/pull/1/head is %s, not %s", got, head)
	}
	merged, err := s.Merge(n, githubtest.MergeCommit)
	if err != nil {
		t.Fatal(err)
	}
	must(git(t, work, "ghp_reader", "fetch", "--quiet", "origin", "main"))
	if parents := must(git(t, work, "", "log", "-1", "--format=%P", merged)); parents != first+" "+head {
		t.Errorf("the merge has the parents %s", parents)
	}
}

// TestFaults: what is to fail fails, git's requests as well, as often as is said.
func TestFaults(t *testing.T) {
	t.Parallel()
	s := githubtest.Start(t, githubtest.Options{})
	client := &http.Client{Timeout: 10 * time.Second}
	get := func() int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"/user", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+githubtest.Token)
		resp, err := client.Do(r)
		if err != nil {
			return 0
		}
		_ = resp.Body.Close() // the status says all
		return resp.StatusCode
	}
	for _, test := range []struct {
		kind githubtest.FaultKind
		want int
	}{{githubtest.ServerError, 500}, {githubtest.Limited, 403}, {githubtest.Reset, 0}, {githubtest.Lost, 0}} {
		// A client tries a GET again whose connection was reset, so until it is ended.
		end := s.Fail(githubtest.Fault{Kind: test.kind})
		for range 3 {
			if got := get(); got != test.want {
				t.Errorf("%s: %d", test.kind, got)
			}
		}
		if out, err := git(t, t.TempDir(), githubtest.Token, "ls-remote", s.CloneURL()); err == nil {
			t.Errorf("%s: git gets %s", test.kind, out)
		}
		end()
		end()
		if got := get(); got != 200 {
			t.Errorf("after %s: %d", test.kind, got)
		}
	}
	s.Fail(githubtest.Fault{Kind: githubtest.ServerError, Times: 2})
	if a, b, c := get(), get(), get(); a != 500 || b != 500 || c != 200 {
		t.Errorf("twice: %d %d %d", a, b, c)
	}
	end := s.Fail(githubtest.Fault{Kind: githubtest.Hold})
	done := make(chan int, 1)
	go func() { done <- get() }()
	select {
	case got := <-done:
		t.Errorf("held, and answered %d", got)
	case <-time.After(50 * time.Millisecond):
	}
	end()
	<-done
}
