package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/agent"
	"github.com/gitopsd/gitopsd/internal/release"
)

const controlKey = "control-key"

// Programs that the tests run, built once.
var programs struct{ app, agent string }

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "agent-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		programs.app, programs.agent = filepath.Join(dir, "app"), filepath.Join(dir, "gitopsd-agent")
		for path, pkg := range map[string]string{programs.app: "./testdata/app", programs.agent: "../../cmd/gitopsd-agent"} {
			cmd := exec.Command("go", "build", "-o", path, pkg)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "build %s: %v\n%s", pkg, err, out)
				return 1
			}
		}
		return m.Run()
	}())
}

// instance is an agent under test, with its volume.
type instance struct {
	t     testing.TB
	cfg   agent.Config
	vol   *release.Volume
	url   string // public port
	ctl   string // control port
	stop  func() error
	build int
}

type option func(*agent.Config)

// newInstance makes a volume and a configuration; start runs the agent.
func newInstance(t testing.TB, options ...option) *instance {
	t.Helper()
	dir := t.TempDir()
	in := &instance{t: t, cfg: agent.Config{
		Tenant: "acme", Instance: "acme-0", Volume: filepath.Join(dir, "volume"), Local: filepath.Join(dir, "local"),
		Listen: "127.0.0.1:0", Control: "127.0.0.1:0", ControlKey: controlKey,
		Poll: agent.Duration(20 * time.Millisecond), StopGrace: agent.Duration(5 * time.Second),
	}}
	for _, o := range options {
		o(&in.cfg)
	}
	if err := os.Mkdir(in.cfg.Volume, 0o755); err != nil {
		t.Fatal(err)
	}
	in.vol = release.Open(in.cfg.Volume)
	return in
}

func (in *instance) start() *instance {
	in.t.Helper()
	a, err := agent.New(in.cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		in.t.Fatal(err)
	}
	in.url, in.ctl = "http://"+a.Addr().String(), "http://"+a.Control().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	in.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	in.t.Cleanup(func() {
		if err := in.stop(); err != nil {
			in.t.Errorf("agent: %v", err)
		}
	})
	return in
}

// stage puts a release of the test app with the given environment on the volume.
func (in *instance) stage(env map[string]string) string {
	in.t.Helper()
	return in.stageBinary(programs.app, env)
}

func (in *instance) stageBinary(path string, env map[string]string) string {
	in.t.Helper()
	s, err := in.vol.Stage()
	if err != nil {
		in.t.Fatal(err)
	}
	defer s.Abort()
	if err := s.AddBinary(path); err != nil {
		in.t.Fatal(err)
	}
	m := release.Manifest{Tenant: "acme", Env: maps.Clone(env), Health: "/healthz"}
	if names, ok := m.Env["SECRETS"]; ok {
		m.Secrets = strings.Split(names, ",")
	}
	digest, err := s.Commit(m)
	if err != nil {
		in.t.Fatal(err)
	}
	return digest
}

func (in *instance) publish(digest string) release.Pointer {
	in.t.Helper()
	in.build++
	p, err := in.vol.Publish(digest, fmt.Sprintf("commit-%d", in.build))
	if err != nil {
		in.t.Fatal(err)
	}
	return p
}

// deploy stages, publishes and waits until the agent has settled the pointer.
func (in *instance) deploy(env map[string]string) (release.Pointer, agent.Report) {
	in.t.Helper()
	p := in.publish(in.stage(env))
	return p, in.await(p.Seq)
}

func (in *instance) control(method, path string) *http.Response {
	in.t.Helper()
	req, err := http.NewRequestWithContext(in.t.Context(), method, in.ctl+path, nil)
	if err != nil {
		in.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+controlKey)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		in.t.Fatal(err)
	}
	return res
}

func (in *instance) ring() {
	in.t.Helper()
	res := in.control("POST", "/-/ring")
	res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		in.t.Fatalf("ring: %s", res.Status)
	}
}

func (in *instance) report() agent.Report { return in.appReport("/-/app") }

// await long-polls until the pointer serves or failed.
func (in *instance) await(seq uint64) agent.Report {
	in.t.Helper()
	return in.appReport(fmt.Sprintf("/-/app?seq=%d&wait=20s", seq))
}

func (in *instance) appReport(path string) agent.Report {
	in.t.Helper()
	res := in.control("GET", path)
	defer res.Body.Close()
	var r agent.Report
	if err := json.NewDecoder(res.Body).Decode(&r); err != nil {
		in.t.Fatalf("report: %s: %v", res.Status, err)
	}
	return r
}

// get returns status and body.
func (in *instance) get(path string) (int, string) {
	in.t.Helper()
	res, err := http.Get(in.url + path)
	if err != nil {
		in.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		in.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func (in *instance) mustServe(version string) {
	in.t.Helper()
	if code, body := in.get("/"); code != http.StatusOK || body != version {
		in.t.Fatalf("GET /: %d %q, want 200 %q", code, body, version)
	}
}

// appState is what the test app says of its own process.
type appState struct {
	Env  []string
	PID  int
	PGID int
	Dir  string
	Tmp  int
}

func (in *instance) appState() appState {
	in.t.Helper()
	code, body := in.get("/env")
	var s appState
	if err := json.Unmarshal([]byte(body), &s); code != http.StatusOK || err != nil {
		in.t.Fatalf("GET /env: %d %s", code, body)
	}
	return s
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	if runtime.GOOS != "linux" {
		p, err := os.FindProcess(pid)
		return err == nil && p.Signal(nil) == nil
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	i := bytes.LastIndexByte(b, ')')
	return i+2 < len(b) && b[i+2] != 'Z'
}

// crash has a request end the app.
func (in *instance) crash(path string) {
	in.t.Helper()
	if res, err := http.Post(in.url+path, "", nil); err == nil {
		res.Body.Close()
	}
}
