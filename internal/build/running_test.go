package build_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/build"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// designApp returns a build of a design, with a volume of its own.
func designApp(t testing.TB, name string, d *tenant.Design) pipeline.Build {
	t.Helper()
	return pipeline.Build{
		Run: "run-1", Commit: "c0ffee", Volume: t.TempDir(),
		Tenant: &tenant.Tenant{Name: name, App: tenant.App{Design: d, Health: "/healthz"}},
	}
}

// running is an app that was built, migrated and started.
type running struct {
	t   testing.TB
	url string
	cmd *exec.Cmd
}

// start deploys the build as the platform would, without the platform.
func start(t testing.TB, b *build.Builder, in pipeline.Build, databaseURL string, env ...string) *running {
	t.Helper()
	_, digest := makeRelease(t, b, in)
	if _, err := b.Migrate(t.Context(), in, digest, databaseURL); err != nil {
		t.Fatalf("Migrate: %v\n%s", err, detail(err))
	}
	return run(t, filepath.Join(in.Volume, "releases", digest, "app"), databaseURL, env...)
}

func run(t testing.TB, binary, databaseURL string, env ...string) *running {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	var output bytes.Buffer
	cmd := exec.Command(binary)
	cmd.Env = append(env, "PORT="+strconv.Itoa(port), "DATABASE_URL="+databaseURL, "TENANT=x", "RELEASE=r")
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_, _ = cmd.Process.Wait()
	})
	r := &running{t: t, url: fmt.Sprintf("http://127.0.0.1:%d", port), cmd: cmd}
	for deadline := time.Now().Add(10 * time.Second); ; {
		response, err := http.Get(r.url + "/healthz")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return r
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("the app does not get healthy: %v\n%s", err, output.String())
		}
		time.Sleep(5 * time.Millisecond) // between looks at a condition with a deadline
	}
}

// call sends body (a string as it is, nil for none, else as JSON) and returns
// status and answer.
func (r *running) call(method, path string, body any) (int, map[string]any, http.Header) {
	r.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			r.t.Fatal(err)
		}
		reader = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, reader)
	if err != nil {
		r.t.Fatal(err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	var answer map[string]any
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &answer); err != nil {
			answer = map[string]any{"raw": string(raw)}
		}
	}
	return response.StatusCode, answer, response.Header
}

// want calls and fails the test unless the status is right.
func (r *running) want(status int, method, path string, body any) map[string]any {
	r.t.Helper()
	got, answer, _ := r.call(method, path, body)
	if got != status {
		r.t.Errorf("%s %s %v: %d %v, want %d", method, path, body, got, answer, status)
	}
	return answer
}

// titles returns one field of each record of a list.
func titles(answer map[string]any, field string) string {
	var all []string
	items, _ := answer["items"].([]any)
	for _, i := range items {
		all = append(all, fmt.Sprint(i.(map[string]any)[field]))
	}
	return strings.Join(all, " ")
}

// stop asks the app to end and returns what it thinks of that.
func (r *running) stop() error {
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return r.cmd.Wait()
}

// redisServer starts a private Redis and returns its URL.
func redisServer(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	cmd := exec.Command("redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Kill)
		_, _ = cmd.Process.Wait()
	})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return "redis://" + address
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) // between looks at a condition with a deadline
	}
}
