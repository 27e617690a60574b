package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/github/githubtest"
)

// A pull request that deletes most tenants waits for an approver, and for nobody
// any more once it is merged; and where signatures are demanded, what has none is
// held.
func TestPolicyOfRepository(t *testing.T) {
	t.Parallel()
	f := newForge(t, false)
	files := f.probeFiles("apps/acme")
	files["gitopsd.yaml"] = "apiVersion: gitopsd.dev/v1\nkind: Policy\nspec:\n  approvers: [ann]\n"
	files["tenants/t1.yaml"] = tenantFile("t1", "apps/acme")
	for _, name := range []string{"t2", "t3", "t4", "t5", "t6"} {
		files["tenants/"+name+".yaml"] = tenantFile(name, "apps/acme", "  suspend: true\n")
	}
	first := f.push("main", githubtest.Commit{Message: "Add six tenants", Files: files})
	f.start()
	f.status(first, "gitopsd/sync", "success")
	f.equal("version", f.get("t1", "/version"), "v1")

	braked(t, f)
	signed(t, f)
}

func braked(t *testing.T, f *forge) {
	head := f.push("drop", githubtest.Commit{
		Message: "Drop four", Remove: []string{"tenants/t1.yaml", "tenants/t2.yaml", "tenants/t3.yaml", "tenants/t4.yaml"},
	})
	number := f.open(githubtest.Pull{Branch: "drop", Title: "Drop four", Author: "bob"})
	if text := f.plan(head, "failure"); !strings.Contains(text, "Needs /gitopsd approve: the commit would delete 4 of 6 tenants") {
		t.Errorf("the plan says %q", text)
	}
	f.later()
	f.answered(number, "bob", "confused") // may write, and is no approver
	if s := f.last(head, "gitopsd/plan"); s.State != "failure" {
		t.Errorf("without an approver it is %+v", s)
	}
	f.answered(number, "ann", "+1")
	f.plan(head, "success")
	f.says(number, "Approved by ann")
	merged := f.merge(number, githubtest.Squash)
	f.status(merged, "gitopsd/sync", "success")
	for _, s := range f.github.Statuses(merged) {
		if strings.Contains(s.Description, "Held") {
			t.Errorf("it was held all the same: %+v", s)
		}
	}
	r, _, err := f.request(http.MethodGet, "t1", "/version", "")
	f.must(err)
	f.must(expectStatus(r, http.StatusNotFound))
	f.names("t5", "t6")
}

// answered comments /gitopsd approve in somebody's name and waits for the sign
// that answers it.
func (f *forge) answered(number int, by, sign string) {
	f.t.Helper()
	id, err := f.github.Comment(number, by, "/gitopsd approve")
	f.must(err)
	f.eventually(20*time.Second, by+" is answered "+sign, func() error {
		for _, c := range f.github.CommentsOf(number) {
			if c.ID == id && !slices.Equal(c.Signs, []string{sign}) {
				return fmt.Errorf("the signs are %v", c.Signs)
			}
		}
		return nil
	})
}

// names checks which tenants there are.
func (f *forge) names(want ...string) {
	f.t.Helper()
	out, errs, code := f.cli("get", "tenants")
	if code != 0 {
		f.t.Fatalf("get tenants: %s", errs)
	}
	var names []string
	for _, line := range strings.Split(strings.TrimSpace(out), "\n")[1:] {
		names = append(names, strings.Fields(line)[0])
	}
	if !slices.Equal(names, want) {
		f.t.Errorf("there are %v, want %v:\n%s", names, want, out)
	}
}

// later waits for a later second: GitHub's times are no finer.
func (w *world) later() {
	w.t.Helper()
	now := time.Now().Unix()
	w.eventually(2*time.Second, "it is a later second", func() error {
		if time.Now().Unix() == now {
			return errors.New("it is not")
		}
		return nil
	})
}

func signed(t *testing.T, f *forge) {
	key := filepath.Join(filepath.Dir(f.data), "signer")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	public, err := os.ReadFile(key + ".pub")
	f.must(err)
	demanded := f.push("main", githubtest.Commit{Message: "Demand signatures", Files: map[string]string{
		"gitopsd.yaml": "apiVersion: gitopsd.dev/v1\nkind: Policy\nspec:\n  signatures:\n    required: true\n    keys: [{name: ann, key: " + strings.TrimSpace(string(public)) + "}]\n",
	}})
	f.status(demanded, "gitopsd/sync", "success")

	file := map[string]string{"tenants/new.yaml": tenantFile("new", "apps/acme", "  suspend: true\n")}
	head := f.push("unsigned", githubtest.Commit{Message: "Add new", Files: file})
	f.open(githubtest.Pull{Branch: "unsigned", Author: "bob"})
	if text := f.plan(head, "failure"); !strings.Contains(text, head[:7]+" is not signed") {
		t.Errorf("the plan of a commit without signature says %q", text)
	}
	unsigned := f.push("main", githubtest.Commit{Message: "Add new", Files: file})
	f.eventually(20*time.Second, "the commit is held", func() error {
		s := f.last(unsigned, "gitopsd/sync")
		if s.State != "pending" || !strings.Contains(s.Description, "Held: ") || !strings.Contains(s.Description, "is not signed") {
			return fmt.Errorf("it is %q: %s", s.State, s.Description)
		}
		return nil
	})
	f.names("t5", "t6")

	f.git("fetch", "-q", f.github.GitDir(), "main")
	f.git("checkout", "-q", "-f", "-B", "signed", demanded)
	f.write("tenants/new.yaml", file["tenants/new.yaml"])
	f.git("add", "tenants/new.yaml")
	f.git("-c", "gpg.format=ssh", "-c", "user.signingkey="+key, "commit", "-q", "-S", "-m", "Add new, signed")
	good := f.git("rev-parse", "HEAD")
	f.git("push", "-q", "--force", f.github.GitDir(), "signed:main")
	f.must(f.github.Refresh())
	f.status(good, "gitopsd/sync", "success")
	f.names("new", "t5", "t6")
	if text := f.status(unsigned, "gitopsd/sync", "success"); !strings.Contains(text, "Superseded") {
		t.Errorf("what was held ended as %q", text)
	}
	for _, sha := range []string{demanded, unsigned, good} {
		if n := f.terminals(sha); n != 1 {
			t.Errorf("commit %s has %d terminal statuses, want 1: %+v", sha[:7], n, f.github.Statuses(sha))
		}
	}
}
