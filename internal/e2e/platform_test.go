package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// binDir has the programs under test, built once; buildCache is the go
// command's own, so that not every platform compiles the standard library.
var binDir, buildCache string

func TestMain(m *testing.M) {
	code := func() int {
		dir, err := os.MkdirTemp("", "gitopsd-e2e-bin-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		build := exec.Command("go", "build", "-o", dir+"/", "github.com/gitopsd/gitopsd/cmd/gitopsd", "github.com/gitopsd/gitopsd/cmd/gitopsd-agent")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		cache, err := exec.Command("go", "env", "GOCACHE").Output()
		if err != nil {
			fmt.Fprintln(os.Stderr, "go env GOCACHE:", err)
			return 1
		}
		binDir, buildCache = dir, strings.TrimSpace(string(cache))
		return m.Run()
	}()
	os.Exit(code)
}

// world is one platform with its own repository, data directory and ports.
type world struct {
	t       testing.TB
	repo    string
	data    string
	edge    string // address
	domain  string // of the platform
	console string
	up      *exec.Cmd
	output  *lockedBuffer
	command func() *exec.Cmd // of the control plane; nil for up
}

// newWorld makes a repository with a first, empty commit.
func newWorld(t testing.TB) *world {
	t.Helper()
	// The tenants' users must be able to reach their directories.
	root, err := os.MkdirTemp("", "gitopsd-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, repo: filepath.Join(root, "repo"), data: filepath.Join(root, "data"),
		edge: freeAddr(t), domain: "localhost", console: freeAddr(t), output: &lockedBuffer{},
	}
	t.Cleanup(func() {
		w.stop()
		if t.Failed() {
			t.Logf("output of up:\n%s", w.output.String())
			if log, err := os.ReadFile(filepath.Join(w.data, "logs/gitopsd.log")); err == nil {
				t.Logf("log:\n%s", tail(string(log), 60))
			}
		}
		_ = os.RemoveAll(root)
	})
	w.must(os.MkdirAll(w.repo, 0o755))
	w.git("init", "-q", "-b", "main")
	w.write("README.md", "a repository of tenants\n")
	w.commit("start")
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// start runs `gitopsd up` and waits until its API answers.
func (w *world) start() {
	w.t.Helper()
	w.up = exec.Command(filepath.Join(binDir, "gitopsd"), "up", "--repo", w.repo, "--data", w.data,
		"--edge-addr", w.edge, "--console-addr", w.console, "--build-cache", buildCache)
	if w.command != nil {
		w.up = w.command()
	}
	w.up.Stdout, w.up.Stderr = w.output, w.output
	w.up.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	w.must(w.up.Start())
	w.eventually(2*time.Minute, "the API answers", func() error {
		r, err := http.Get("http://" + w.console + "/healthz")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		return expectStatus(r, http.StatusOK)
	})
}

// kill ends the control plane as a crash would.
func (w *world) kill() {
	w.t.Helper()
	w.must(w.up.Process.Kill())
	_ = w.up.Wait()
	w.up = nil
}

// stop ends everything as Ctrl-C does. A control plane that was killed is
// started again first, since only it knows what it left running.
func (w *world) stop() {
	if w.up == nil {
		if _, err := os.Stat(filepath.Join(w.data, "run")); err != nil {
			return
		}
		w.start()
	}
	_ = w.up.Process.Signal(os.Interrupt)
	done := make(chan error, 1)
	go func(up *exec.Cmd) { done <- up.Wait() }(w.up)
	select {
	case err := <-done:
		if err != nil {
			w.t.Errorf("up ended with %v", err)
		}
	case <-time.After(90 * time.Second):
		w.t.Error("up does not end")
		_ = w.up.Process.Kill()
	}
	w.up = nil
}

func (w *world) git(args ...string) string {
	w.t.Helper()
	c := exec.Command("git", args...)
	c.Dir = w.repo
	c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com")
	out, err := c.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (w *world) write(name, text string) {
	w.t.Helper()
	file := filepath.Join(w.repo, name)
	w.must(os.MkdirAll(filepath.Dir(file), 0o755))
	w.must(os.WriteFile(file, []byte(text), 0o644))
}

func (w *world) remove(name string) {
	w.t.Helper()
	w.must(os.RemoveAll(filepath.Join(w.repo, name)))
}

// commit commits everything and returns the commit's name.
func (w *world) commit(message string) string {
	w.t.Helper()
	w.git("add", "-A")
	w.git("commit", "-q", "--allow-empty", "-m", message)
	return w.git("rev-parse", "HEAD")
}

// probe puts the probe app into the repository.
func (w *world) probe(dir string) {
	w.t.Helper()
	w.must(os.CopyFS(filepath.Join(w.repo, dir), os.DirFS("testdata/probe")))
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join("../../apps/guestbook", name))
		w.must(err)
		w.write(filepath.Join(dir, name), string(text))
	}
}

func (w *world) version(dir, version string) {
	w.t.Helper()
	w.write(dir+"/version.go", "package main\n\nconst Version = \""+version+"\"\n")
}

// tenantFile returns a tenant file that runs the app at path.
func tenantFile(name, path string, more ...string) string {
	return "apiVersion: gitopsd.dev/v1\nkind: Tenant\nmetadata:\n  name: " + name + "\nspec:\n  app:\n    path: " + path +
		"\n  deletion: {grace: 0s}\n" + strings.Join(more, "")
}

func (w *world) tenant(name, path string, more ...string) {
	w.t.Helper()
	w.write("tenants/"+name+".yaml", tenantFile(name, path, more...))
}

// cli runs gitopsd and returns its output and exit code.
func (w *world) cli(args ...string) (stdout, stderr string, code int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, filepath.Join(binDir, "gitopsd"), args...)
	c.Dir = w.repo
	c.Env = append(os.Environ(), "GITOPSD_DATA="+w.data)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		w.t.Fatal(err)
	}
	return out.String(), errs.String(), code
}

// wait waits for a commit's terminal status and returns the exit code.
func (w *world) wait(commit string) (text string, code int) {
	w.t.Helper()
	out, errs, code := w.cli("wait", commit, "--timeout", "3m")
	return out + errs, code
}

// done waits for a commit and fails unless it succeeded.
func (w *world) done(commit string) {
	w.t.Helper()
	if text, code := w.wait(commit); code != 0 {
		w.t.Fatalf("commit %s ended with %d:\n%s", commit[:7], code, text)
	}
}

// request asks a tenant through the edge.
func (w *world) request(method, tenant, path, body string, header ...string) (*http.Response, string, error) {
	r, err := http.NewRequest(method, "http://"+w.edge+path, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	r.Host = tenant + "." + w.domain
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer, string(text), err
}

// get asks a tenant and fails unless it answers 200.
func (w *world) get(tenant, path string) string {
	w.t.Helper()
	return w.ok(http.MethodGet, tenant, path, "")
}

func (w *world) post(tenant, path, body string, header ...string) string {
	w.t.Helper()
	return w.ok(http.MethodPost, tenant, path, body, header...)
}

func (w *world) ok(method, tenant, path, body string, header ...string) string {
	w.t.Helper()
	r, text, err := w.request(method, tenant, path, body, header...)
	if err != nil {
		w.t.Fatalf("%s %s of %s: %v", method, path, tenant, err)
	}
	if err := expectStatus(r, http.StatusOK); err != nil {
		w.t.Fatalf("%s %s of %s: %v\n%s", method, path, tenant, err, text)
	}
	return text
}

func (w *world) equal(what, got, want string) {
	w.t.Helper()
	if got != want {
		w.t.Fatalf("%s: got %q, want %q", what, got, want)
	}
}

// eventually polls until check has nothing to complain of.
func (w *world) eventually(limit time.Duration, what string, check func() error) {
	w.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("waited %s until %s: %v", limit, what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func expectStatus(r *http.Response, want int) error {
	if r.StatusCode != want {
		return fmt.Errorf("status %d, want %d", r.StatusCode, want)
	}
	return nil
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func tail(text string, lines int) string {
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
