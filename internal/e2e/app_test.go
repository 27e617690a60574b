package e2e_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/github/githubtest"
)

// An App sees a private repository with tokens that end all the time, shows what
// is wrong at its line, and each tenant as an environment.
func TestGitHubApp(t *testing.T) {
	t.Parallel()
	f := newAppForge(t)
	files := f.probeFiles("apps/acme")
	files["tenants/other.yaml"] = tenantFile("other", "apps/acme", "  suspend: true\n")
	first := f.push("main", githubtest.Commit{Message: "Add the app", Files: files})
	f.start()
	f.status(first, "gitopsd/sync", "success")
	if by := f.last(first, "gitopsd/sync").By; by != "gitopsd[bot]" {
		t.Errorf("the status is by %q", by)
	}

	// What is wrong with a file is at its line, in the pull request and after it.
	file := tenantFile("acme", "apps/acme")
	broken := f.push("add-acme", githubtest.Commit{Message: "Add acme", Files: map[string]string{"tenants/acme.yaml": file + "  databse: {enabled: true}\n"}})
	number := f.open(githubtest.Pull{Branch: "add-acme", Title: "Add acme", Author: "bob"})
	f.plan(broken, "failure")
	line := strings.Count(file, "\n") + 1
	f.annotated(broken, "gitopsd/plan", line)
	merged := f.merge(number, githubtest.MergeCommit)
	f.status(merged, "gitopsd/sync", "failure")
	f.annotated(merged, "gitopsd/sync", line)

	mended := f.push("main", githubtest.Commit{Message: "Mend acme", Files: map[string]string{"tenants/acme.yaml": file}})
	f.status(mended, "gitopsd/sync", "success")
	f.checked(mended, "gitopsd/sync", "success")
	f.equal("version", f.get("acme", "/version"), "v1")
	f.eventually(20*time.Second, "acme is deployed", func() error { return f.deployed("acme", mended, "success") })

	bad := f.push("main", githubtest.Commit{Message: "Break the app", Files: map[string]string{"apps/acme/broken.go": "package main\n\nvar x int = \"x\"\n"}})
	f.status(bad, "gitopsd/sync", "failure")
	f.checked(bad, "gitopsd/sync", "failure")
	f.eventually(20*time.Second, "the deployment failed", func() error { return f.deployed("acme", bad, "failure") })
	f.equal("version", f.get("acme", "/version"), "v1")

	// The token of now ends before its time: another is asked for, and nothing is lost.
	f.github.RevokeTokens()
	dropped := f.push("main", githubtest.Commit{Message: "Drop acme", Remove: []string{"tenants/acme.yaml"}})
	f.status(dropped, "gitopsd/sync", "success")
	f.checked(dropped, "gitopsd/sync", "success")
	f.eventually(20*time.Second, "the environment is inactive", func() error {
		for _, d := range f.deployments("acme") {
			if last := d.Statuses[len(d.Statuses)-1].State; d.Transient || last != "inactive" && d.SHA != bad {
				return fmt.Errorf("that of %s is %s, and transient: %t", d.SHA[:7], last, d.Transient)
			}
		}
		return nil
	})
	for _, sha := range []string{first, merged, mended, bad, dropped} {
		if n := f.terminals(sha); n != 1 {
			t.Errorf("commit %s has %d terminal statuses, want 1: %+v", sha[:7], n, f.github.Statuses(sha))
		}
	}
	if n := f.github.Requests()["POST /app/installations/{installation_id}/access_tokens"]; n < 3 {
		t.Errorf("%d tokens were asked for: none ended", n)
	}
}

// newAppForge is a private repository that only an App may read, and a platform
// that is the App. The App's tokens are good for a minute and two seconds, and
// whoever has one asks for the next a minute before its end.
func newAppForge(t *testing.T) *forge {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	f := &forge{world: newWorld(t)}
	f.github = githubtest.Start(t, githubtest.Options{
		Tokens: map[string]githubtest.Account{},
		App: &githubtest.App{
			ID: 7, Installation: 42, Slug: "gitopsd", Key: &key.PublicKey, Scopes: githubtest.AllScopes(), TokenLife: 62 * time.Second,
		},
	})
	c := exec.Command("git", "ls-remote", f.github.CloneURL())
	c.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	if out, err := c.CombinedOutput(); err == nil {
		t.Fatalf("the repository can be read without a token:\n%s", out)
	}
	file := filepath.Join(filepath.Dir(f.data), "app.pem")
	f.must(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600))
	f.auth = []string{"  app: {id: 7, keyFile: " + file + "}"} // the installation is found
	f.follow(true)
	return f
}

// checked waits for the newest check run of a name on a commit.
func (f *forge) checked(sha, name, conclusion string) (run githubtest.Check) {
	f.t.Helper()
	f.eventually(20*time.Second, fmt.Sprintf("check run %s of %s is %s", name, sha[:7], conclusion), func() error {
		all := slices.DeleteFunc(f.github.Checks(sha), func(c githubtest.Check) bool { return c.Name != name })
		if len(all) == 0 {
			return errors.New("there is none")
		}
		if run = all[len(all)-1]; run.Status != "completed" || run.Conclusion != conclusion {
			return fmt.Errorf("it is %s %s: %s", run.Status, run.Conclusion, run.Title)
		}
		return nil
	})
	return run
}

// annotated checks that a failed check run has one remark, on acme's line.
func (f *forge) annotated(sha, name string, line int) {
	f.t.Helper()
	run := f.checked(sha, name, "failure")
	if len(run.Annotations) != 1 {
		f.t.Fatalf("%s has the remarks %+v", name, run.Annotations)
	}
	a := run.Annotations[0]
	if a.Path != "tenants/acme.yaml" || a.Line != line || a.Level != "failure" || !strings.Contains(a.Message, "databse") || !strings.Contains(a.Message, "database") {
		f.t.Errorf("%s has the remark %+v, and line %d is wrong", name, a, line)
	}
	f.link(run.URL)
}
