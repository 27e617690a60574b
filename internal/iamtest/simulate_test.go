package iamtest

import (
	"bytes"
	"encoding/json"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gitopsd/gitopsd/infra/check"
	"github.com/gitopsd/gitopsd/infra/platform"
)

// request is what a simulator is asked.
type request struct {
	Action   string            `json:"action"`
	Resource string            `json:"resource"`
	Context  map[string]string `json:"context,omitempty"`

	want string // Allowed or ImplicitlyDenied
}

// asked is a role and what it is asked for.
type asked struct {
	Role    string         `json:"role"`
	Account string         `json:"account"`
	Policy  map[string]any `json:"policy"`
	// Resources are policies of what is asked for, by its ARN.
	Resources map[string]any `json:"resources"`
	Requests  []request      `json:"requests"`
}

// answer is what the simulator says of a request.
type answer struct {
	Result  string   `json:"result"`
	Ignored []string `json:"ignored"` // conditions that AWS knows nothing of here
	Error   string   `json:"error"`
}

// peers returns where scripts/iam put its packages; without them the test is skipped.
func peers(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../bin/iam/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	_, err = exec.LookPath("node")
	if _, gone := filepath.EvalSymlinks(filepath.Join(dir, "@cloud-copilot", "iam-simulate")); err == nil {
		err = gone
	}
	switch {
	case err != nil && required():
		t.Fatalf("run scripts/iam: %v", err)
	case err != nil:
		t.Skipf("what roles are simulated with is not here (run scripts/iam): %v", err)
	}
	return dir
}

func simulate(t *testing.T, roles []asked) []answer {
	t.Helper()
	in, err := json.Marshal(roles)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "testdata/simulate.mjs", peers(t))
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, &stderr)
	}
	var answers []answer
	if err := json.Unmarshal(out, &answers); err != nil {
		t.Fatal(err)
	}
	return answers
}

// document returns statements as a policy.
func document(list []check.Statement) map[string]any {
	var all []any
	for _, s := range list {
		m := map[string]any{"Effect": s.Effect, "Action": s.Actions, "Resource": s.Resources}
		if s.Condition != nil {
			m["Condition"] = s.Condition
		}
		all = append(all, m)
	}
	return map[string]any{"Version": "2012-10-17", "Statement": all}
}

// guarded returns the policies of the cell's key and of its file system, by ARN.
func guarded(t *testing.T) map[string]any {
	t.Helper()
	w := newWorld(ourCell)
	r, err := check.Program(platform.Program(w.Config), false)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	for token, arn := range map[string]string{"aws:kms/key:Key": w.key(), "aws:efs/fileSystemPolicy:FileSystemPolicy": w.files()} {
		var doc any
		if err := json.Unmarshal([]byte(r.Of(token)[0].Inputs["policy"].StringValue()), &doc); err != nil {
			t.Fatal(err)
		}
		out[arn] = doc
	}
	return out
}

// requestsOf returns what a role must be allowed; of another cell, what must be refused.
func requestsOf(needs map[string][]use, want string) []request {
	var out []request
	for _, a := range slices.Sorted(maps.Keys(needs)) {
		for _, u := range needs[a] {
			if u.unknown || want != "Allowed" && u.shared != "" {
				continue
			}
			for _, r := range u.on {
				out = append(out, request{a, r, u.context, want})
			}
		}
	}
	return out
}

// TestSimulated: a simulator of IAM, which knows which resources and conditions
// each action has, allows each role what is done with it, and refuses it the same
// in another cell.
func TestSimulated(t *testing.T) {
	t.Parallel()
	peers(t)
	roles, guards, p := statements(t), guarded(t), ours(t)
	var all []asked
	parts := newWorld(ourCell).parts()
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		code := p.calls(t, name, parts[name].root).list()
		a := asked{Role: name, Account: account, Policy: document(roles[name]), Resources: guards}
		a.Requests = requestsOf(newWorld(ourCell).needs(t, name, code), "Allowed")
		for _, cell := range otherCells {
			a.Requests = append(a.Requests, requestsOf(newWorld(cell).needs(t, name, code), "ImplicitlyDenied")...)
		}
		all = append(all, a)
	}
	answers, allowed, refused := simulate(t, all), 0, 0
	for _, role := range all {
		for _, r := range role.Requests {
			got := answers[0]
			answers = answers[1:]
			if got.Error != "" || got.Result != r.want || len(got.Ignored) > 0 {
				t.Errorf("%s: %s on %s %v: %+v, want %s", role.Role, r.Action, r.Resource, r.Context, got, r.want)
			}
			if r.want == "Allowed" {
				allowed++
			} else {
				refused++
			}
		}
	}
	t.Logf("%d requests of %d roles allowed, %d of other cells refused", allowed, len(all), refused)
	if allowed == 0 || refused == 0 {
		t.Error("nothing was asked")
	}
}
