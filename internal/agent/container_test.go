package agent_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/agent"
)

// container runs the agent as in a container: configured by its environment,
// as a user without privileges (where the test may choose one). Its standard
// output is in the buffer once it has ended.
func (in *instance) container(more ...string) (*exec.Cmd, *bytes.Buffer) {
	in.t.Helper()
	in.cfg.Listen, in.cfg.Control = freeAddr(in.t), freeAddr(in.t)
	in.url, in.ctl = "http://"+in.cfg.Listen, "http://"+in.cfg.Control
	dir, err := os.MkdirTemp("", "agent-container-") // where another user gets to
	if err != nil {
		in.t.Fatal(err)
	}
	in.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	in.cfg.Volume = in.open(dir, in.cfg.Volume)
	cmd := exec.Command(in.open(dir, programs.agent))
	cmd.Env = append([]string{
		"PATH=/bin", "GITOPSD_TENANT=acme", "GITOPSD_VOLUME=" + in.cfg.Volume, "TMPDIR=" + dir,
		"GITOPSD_LISTEN=" + in.cfg.Listen, "GITOPSD_CONTROL=" + in.cfg.Control,
		"GITOPSD_CONTROL_KEY=" + controlKey, "GITOPSD_LOG=stdout",
		`GITOPSD_ENVIRONMENT={"STRIPE_KEY":"sk_live_1","GREETING":"hello"}`,
	}, more...)
	var out bytes.Buffer
	cmd.Stdout = &out
	cmd.Stderr = in.t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 23_456, Gid: 23_456}
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		in.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		in.t.Fatal(err)
	}
	in.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(in.t, "the instance is up", func() bool { return get(in.ctl+"/-/runtime") == http.StatusOK })
	return cmd, &out
}

// open returns a copy of a path that everybody can read, below dir.
func (in *instance) open(dir, path string) string {
	in.t.Helper()
	to := filepath.Join(dir, filepath.Base(path))
	if out, err := exec.Command("cp", "-a", path, to).CombinedOutput(); err != nil {
		in.t.Fatalf("copy %s: %v\n%s", path, err, out)
	}
	if out, err := exec.Command("chmod", "-R", "a+rX", to).CombinedOutput(); err != nil {
		in.t.Fatalf("chmod %s: %v\n%s", path, err, out)
	}
	return to
}

// get returns an answer's status; 0 for none.
func get(url string) int {
	res, err := http.Get(url)
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

func TestContainer(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	p := in.publish(in.stage(map[string]string{"VERSION": "v1", "SECRETS": "STRIPE_KEY"}))
	cmd, out := in.container("GITOPSD_EDGE_KEY=", "GITOPSD_LINGER=600ms")
	if r := in.await(p.Seq); r.Seq != p.Seq {
		t.Fatalf("report: %+v", r)
	}
	in.mustServe("v1")

	env := strings.Join(in.appState().Env, "\n")
	if strings.Contains(env, controlKey) || strings.Contains(env, "GITOPSD") || !strings.Contains(env, "STRIPE_KEY=sk_live_1") {
		t.Errorf("the app's environment: %s", env)
	}
	if _, body := in.get("/parent"); !strings.HasPrefix(body, "open /proc/") || !strings.Contains(body, "permission denied") {
		t.Errorf("the app reads the environment of its agent: %.300s", body)
	}
	in.get("/print?n=1")
	if err := in.check(cmd.Path); err != nil {
		t.Errorf("health check: %v", err)
	}

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	told := time.Now()
	eventually(t, "it says that it stops", func() bool { return get(in.ctl+"/-/runtime") == http.StatusServiceUnavailable })
	if err := in.check(cmd.Path); err == nil {
		t.Error("the health check finds a stopping agent well")
	}
	eventually(t, "the public port is closed", func() bool { return get(in.url+"/") == 0 })
	if took := time.Since(told); took < 600*time.Millisecond {
		t.Errorf("the public port was closed %s after the signal", took)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("agent: %v", err)
	}
	if !strings.Contains(out.String(), p.SHA256[:12]+" starting v1\n") || !strings.Contains(out.String(), p.SHA256[:12]+" stopping v1\n") {
		t.Errorf("standard output:\n%s", out)
	}
}

func (in *instance) check(program string) error {
	cmd := exec.Command(program, "-check")
	cmd.Env = []string{"GITOPSD_CONTROL=:" + in.cfg.Control[strings.LastIndexByte(in.cfg.Control, ':')+1:]}
	return cmd.Run()
}

func TestFromEnvironment(t *testing.T) {
	t.Parallel()
	c, err := agent.FromEnvironment([]string{
		"HOME=/", "GITOPSD_TENANT=acme", "GITOPSD_VOLUME=/volume", "GITOPSD_LISTEN=:8080", "GITOPSD_CONTROL=:8081",
		"GITOPSD_EDGE_KEY=e=e", "GITOPSD_CONTROL_KEY=c", "GITOPSD_LOG=stdout", "GITOPSD_LINGER=10s", `GITOPSD_ENVIRONMENT={"A":"1"}`,
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	host, _ := os.Hostname()
	want := agent.Config{
		Tenant: "acme", Instance: host, Volume: "/volume", Local: filepath.Join(os.TempDir(), "gitopsd", "acme"), Listen: ":8080",
		Control: ":8081", EdgeKey: "e=e", ControlKey: "c", Stdout: true, Linger: agent.Duration(10 * time.Second),
	}
	if w, _ := json.Marshal(want); string(b) != string(w) {
		t.Errorf("got  %s\nwant %s", b, w)
	}
	for variable, want := range map[string]string{
		"GITOPSD_TENAT=acme":             "GITOPSD_TENAT is no variable",
		"GITOPSD_LINGER=soon":            "GITOPSD_LINGER",
		"GITOPSD_LOG=syslog":             `GITOPSD_LOG is "syslog"`,
		`GITOPSD_ENVIRONMENT={"A":"s3c"`: "GITOPSD_ENVIRONMENT is not a JSON object of strings",
		`GITOPSD_ENVIRONMENT={"A":1}`:    "GITOPSD_ENVIRONMENT is not a JSON object of strings",
	} {
		if _, err := agent.FromEnvironment([]string{variable}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3c") {
			t.Errorf("%s: %v", variable, err)
		}
	}
}
