package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// The project's own files for GitHub, from here.
const (
	githubDir  = "../../.github"
	actionFile = githubDir + "/actions/validate/action.yml"
)

// workflow is the part of a workflow, or of a composite action, that is tested.
type workflow struct {
	On          yaml.Node
	Permissions map[string]string
	Jobs        map[string]struct{ Steps []step }
	Inputs      map[string]struct{ Default string }
	Runs        struct {
		Using string
		Steps []step
	}
}

type step struct {
	ID, Name, If, Uses, Shell, Run string
	Env, With                      map[string]string
}

func readWorkflow(t *testing.T, text []byte) workflow {
	t.Helper()
	var w workflow
	if err := yaml.Unmarshal(text, &w); err != nil {
		t.Fatal(err)
	}
	return w
}

// githubFiles returns every workflow and action, by name: the project's, and
// those that gitopsd init writes.
func githubFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(githubDir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s := starter{Name: "hello", Domain: "localhost", Owner: placeholderOwner, Ref: strings.Repeat("0a", 20), RefNote: "v1.2.3"}
	started, err := s.files()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range started {
		if strings.HasSuffix(f.path, ".yml") {
			files["starter/"+f.path] = f.data
		}
	}
	return files
}

// TestWorkflowsAreHarmless holds every workflow to what keeps a hostile pull
// request from doing anything: no rights, no text of its own in a script, and
// no code of others but what was looked at.
func TestWorkflowsAreHarmless(t *testing.T) {
	t.Parallel()
	pinned := regexp.MustCompile(`uses: (\./\S+|\S+@[0-9a-f]{40} # .+)$`)
	action, err := os.ReadFile(actionFile)
	if err != nil {
		t.Fatal(err)
	}
	inputs := readWorkflow(t, action).Inputs
	seen := 0
	for name, text := range githubFiles(t) {
		w := readWorkflow(t, text)
		steps := w.Runs.Steps
		if len(w.Jobs) > 0 {
			if len(w.Permissions) != 1 || w.Permissions["contents"] != "read" {
				t.Errorf("%s: permissions are %v, want contents: read alone", name, w.Permissions)
			}
			if strings.Contains(string(text), "pull_request_target") {
				t.Errorf("%s runs with the rights of the base", name)
			}
		}
		for _, job := range w.Jobs {
			steps = append(steps, job.Steps...)
		}
		for _, s := range steps {
			seen++
			switch {
			case strings.Contains(s.Run, "${{"):
				t.Errorf("%s: a script has an expression in it:\n%s", name, s.Run)
			case strings.HasPrefix(s.Uses, "actions/checkout@") && s.With["persist-credentials"] != "false":
				t.Errorf("%s: a checkout leaves the token on disk", name)
			case strings.HasSuffix(strings.Split(s.Uses, "@")[0], "/actions/validate"):
				for key := range s.With {
					if _, ok := inputs[key]; !ok {
						t.Errorf("%s: the action has no input %s", name, key)
					}
				}
			}
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); strings.Contains(line, "uses: ") && !strings.HasPrefix(line, "#") && !pinned.MatchString(line) {
				t.Errorf("%s: not pinned to a commit with a remark: %s", name, line)
			}
		}
	}
	if seen < 8 {
		t.Errorf("only %d steps were found: the test reads them wrong", seen)
	}
}

// runner runs a composite action's scripts as GitHub's runner does.
type runner struct {
	t         *testing.T
	workspace string
	temp      string
	action    string            // its directory
	values    map[string]string // of expressions
}

var expression = regexp.MustCompile(`\$\{\{ *([^}]+?) *\}\}`)

func (r *runner) expand(text string) string {
	return expression.ReplaceAllStringFunc(text, func(e string) string { return r.value(expression.FindStringSubmatch(e)[1]) })
}

// value is a literal's, or that of a name in the contexts.
func (r *runner) value(name string) string {
	if literal, ok := strings.CutPrefix(name, "'"); ok {
		return strings.TrimSuffix(literal, "'")
	}
	known := slices.ContainsFunc([]string{"inputs.", "steps.", "runner.", "github."}, func(context string) bool {
		return strings.HasPrefix(name, context)
	})
	if _, ok := r.values[name]; !ok && (!known || strings.HasPrefix(name, "inputs.")) {
		r.t.Fatalf("the runner knows no %q", name)
	}
	return r.values[name]
}

// wanted evaluates a step's condition.
func (r *runner) wanted(condition string) bool {
	if condition == "" {
		return true
	}
	for _, part := range strings.Split(condition, " && ") {
		word := strings.Fields(part)
		if len(word) != 3 || word[1] != "==" && word[1] != "!=" {
			r.t.Fatalf("the runner does not understand %q", part)
		}
		if (r.value(word[0]) == r.value(word[2])) != (word[1] == "==") {
			return false
		}
	}
	return true
}

// run runs the steps until one fails, and returns what they wrote.
func (r *runner) run(w workflow, inputs map[string]string) (log, summary string, err error) {
	r.t.Helper()
	r.values["github.action_path"], r.values["runner.temp"] = r.action, r.temp
	r.values["runner.os"], r.values["runner.arch"] = runtime.GOOS, runtime.GOARCH
	for name, input := range w.Inputs {
		r.values["inputs."+name] = input.Default
	}
	for name, value := range inputs {
		r.values["inputs."+name] = value
	}
	files := r.t.TempDir()
	summaryFile := filepath.Join(files, "summary")
	var out bytes.Buffer
	for i, s := range w.Runs.Steps {
		if s.Uses != "" || !r.wanted(s.If) {
			continue
		}
		script := filepath.Join(files, fmt.Sprintf("%d.sh", i))
		outputs := filepath.Join(files, fmt.Sprintf("outputs%d", i))
		if err := os.WriteFile(script, []byte(s.Run), 0o600); err != nil {
			r.t.Fatal(err)
		}
		if s.Shell != "bash" {
			r.t.Fatalf("step %q has the shell %q", s.Name, s.Shell)
		}
		c := exec.Command("bash", "--noprofile", "--norc", "-eo", "pipefail", script)
		c.Dir, c.Stdout, c.Stderr = r.workspace, &out, &out
		c.Env = append(os.Environ(), "CI=true", "GITHUB_ACTIONS=true", "GITHUB_WORKSPACE="+r.workspace, "RUNNER_TEMP="+r.temp,
			"GITHUB_ACTION_PATH="+r.action, "GITHUB_OUTPUT="+outputs, "GITHUB_STEP_SUMMARY="+summaryFile)
		for name, value := range s.Env {
			c.Env = append(c.Env, name+"="+r.expand(value))
		}
		if err = c.Run(); err != nil {
			break
		}
		r.outputs(s.ID, outputs)
	}
	text, readErr := os.ReadFile(summaryFile)
	if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
		r.t.Fatal(readErr)
	}
	return out.String(), string(text), err
}

// outputs takes up what a step sets.
func (r *runner) outputs(id, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		return // it sets nothing
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		r.values["steps."+id+".outputs."+name] = value
	}
}

// TestActionValidates runs the action's own scripts: on a repository as gitopsd
// init writes it, and on one that a workflow checked out below its workspace and
// that has a problem.
func TestActionValidates(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the whole program")
	}
	t.Parallel()
	text, err := os.ReadFile(actionFile)
	if err != nil {
		t.Fatal(err)
	}
	action := readWorkflow(t, text)
	if action.Runs.Using != "composite" {
		t.Fatalf("the action runs by %q", action.Runs.Using)
	}
	dir, err := filepath.Abs(filepath.Dir(actionFile))
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{t: t, workspace: t.TempDir(), temp: t.TempDir(), action: dir, values: map[string]string{}}
	out := &screen{}
	if code := execute([]string{"init", filepath.Join(r.workspace, "head")}, &terminal{in: os.Stdin, out: out, err: out}); code != exitDone {
		t.Fatalf("init: %d\n%s", code, out)
	}

	log, summary, err := r.run(action, map[string]string{"directory": "head"})
	if err != nil || strings.Contains(log, "::error") || !strings.Contains(summary, "1 tenant file valid") {
		t.Fatalf("good files: %v\n%s\n%s", err, log, summary)
	}

	// From now on what was built is kept.
	r.values["steps.kept.outputs.cache-hit"] = "true"
	bad := "apiVersion: gitopsd.dev/v1\nkind: Tenant\nmetadata: {name: hello}\nspec:\n  apps: {}\n```\n````\n"
	if err := os.WriteFile(filepath.Join(r.workspace, "head/tenants/hello.yaml"), []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	log, summary, err = r.run(action, map[string]string{"directory": "head", "domain": "apps.example.com"})
	if err == nil || err.Error() != "exit status 2" {
		t.Errorf("bad files: %v, want exit status 2", err)
	}
	for line := range strings.Lines(log) {
		if !strings.HasPrefix(line, "::error file=tenants/hello.yaml,line=") {
			t.Errorf("no remark on a line: %q", line)
		}
	}
	if log == "" || !strings.Contains(summary, "\nhead/tenants/hello.yaml:") || !strings.HasSuffix(summary, "1 of 1 tenant file invalid\n````\n") {
		t.Errorf("remarks:\n%s\nsummary:\n%s", log, summary)
	}
}

// TestActionNamesItsSources has the name under which the built program is kept
// change with the sources, and with nothing else.
func TestActionNamesItsSources(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(actionFile)
	if err != nil {
		t.Fatal(err)
	}
	action := readWorkflow(t, text)
	steps := slices.DeleteFunc(action.Runs.Steps, func(s step) bool { return s.ID != "sources" })
	if len(steps) != 1 {
		t.Fatal("no step names the sources")
	}
	action.Runs.Steps = steps
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum", "cmd/a b.go", "internal/x/x.go", "infra/f.js", "schema/s.json", ".github/actions/validate/action.yml"} {
		write(name, name)
	}
	name := func() string {
		r := &runner{t: t, workspace: t.TempDir(), temp: t.TempDir(), action: filepath.Join(root, ".github/actions/validate"), values: map[string]string{}}
		if log, _, err := r.run(action, nil); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		return r.values["steps.sources.outputs.digest"]
	}
	before := name()
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(before) {
		t.Errorf("the sources are named %q", before)
	}
	write("README.md", "not a source")
	if again := name(); again != before {
		t.Errorf("the same sources are named %s and %s", before, again)
	}
	write("internal/x/x.go", "changed")
	if changed := name(); changed == before {
		t.Error("other sources have the same name")
	}
}
