package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/agent"
	"github.com/gitopsd/gitopsd/internal/platform"
)

// The platform reads what the agent writes, and may not import it.
func TestReportShape(t *testing.T) {
	t.Parallel()
	ours, theirs := reflect.TypeFor[agent.Report](), reflect.TypeFor[platform.AgentReport]()
	if ours.NumField() != theirs.NumField() {
		t.Fatalf("%d fields here, %d there", ours.NumField(), theirs.NumField())
	}
	for i := range ours.NumField() {
		a, b := ours.Field(i), theirs.Field(i)
		if a.Name != b.Name || a.Type != b.Type || a.Tag != b.Tag {
			t.Errorf("field %d: %s %s `%s` here, %s %s `%s` there", i, a.Name, a.Type, a.Tag, b.Name, b.Type, b.Tag)
		}
	}
}

func TestAppGetsExactlyItsEnvironment(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "environment.json")
	write := func(values map[string]string) {
		b, err := json.Marshal(values)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(map[string]string{"DATABASE_URL": "postgres://x", "STRIPE_KEY": "s1", "SHARED": "file", "PORT": "1"})
	in := newInstance(t, func(c *agent.Config) { c.Environment = file }).start()
	env := map[string]string{"GREETING": "hello", "SECRETS": "STRIPE_KEY", "SHARED": "release", "TENANT": "other"}
	p, _ := in.deploy(env)
	s := in.appState()
	got := map[string]string{}
	for _, e := range s.Env {
		name, value, _ := strings.Cut(e, "=")
		got[name] = value
	}
	port, err := strconv.Atoi(got["PORT"])
	if err != nil || port < 1024 {
		t.Errorf("PORT=%s", got["PORT"])
	}
	want := map[string]string{
		"PORT": got["PORT"], "TENANT": "acme", "RELEASE": p.SHA256, "COMMIT": p.Commit,
		"TMPDIR": got["TMPDIR"], "HOME": filepath.Join(in.cfg.Local, "home"), "PATH": got["PATH"],
		"GREETING": "hello", "SECRETS": "STRIPE_KEY", "SHARED": "file", "DATABASE_URL": "postgres://x", "STRIPE_KEY": "s1",
	}
	if !reflect.DeepEqual(got, want) || len(s.Env) != len(want) {
		t.Errorf("environment:\n got %v\nwant %v", got, want)
	}
	if s.PGID != s.PID || s.Dir != want["HOME"] || s.Tmp != 0 || !strings.HasPrefix(got["TMPDIR"], in.cfg.Local) || got["PATH"] == os.Getenv("PATH") {
		t.Errorf("process: %+v", s)
	}
	// The same release: adopted while the file is the same, restarted when not.
	again, err := in.vol.Publish(p.SHA256, "again")
	if err != nil {
		t.Fatal(err)
	}
	if r := in.await(again.Seq); r.Seq != again.Seq || r.Commit != "again" || in.appState().PID != s.PID {
		t.Errorf("republished: %+v", r)
	}
	write(map[string]string{"STRIPE_KEY": "s2"})
	rotated, err := in.vol.Publish(p.SHA256, "rotated")
	if err != nil {
		t.Fatal(err)
	}
	in.await(rotated.Seq)
	now := in.appState()
	if now.PID == s.PID || !slices.Contains(now.Env, "STRIPE_KEY=s2") || now.Tmp != 0 {
		t.Errorf("after a changed environment file: %+v", now)
	}
}

// A crash of the serving app: requests wait for its return.
func TestCrashIsHeldAndCounted(t *testing.T) {
	t.Parallel()
	in := newInstance(t).start()
	p, _ := in.deploy(map[string]string{"VERSION": "v1", "DELAY": "500ms"})
	if res, err := http.Post(in.url+"/crash", "", nil); err == nil {
		res.Body.Close()
		if res.StatusCode != http.StatusBadGateway {
			t.Errorf("the request that crashed the app: %s", res.Status)
		}
	}
	// What meets the dying process itself may fail: it may have been processed.
	eventually(t, "the crash is noticed", func() bool { return in.report().Phase != agent.Serving })
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := echo(http.DefaultClient, in.url, "x"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	r := in.report()
	if r.Phase != agent.Serving || r.Restarts != 1 || r.Seq != p.Seq || !strings.Contains(r.Failure, "exited with status 9") {
		t.Errorf("report: %+v", r)
	}
}

func TestCrashLoopBacksOffAndIsReplaced(t *testing.T) {
	t.Parallel()
	in := newInstance(t).start()
	in.publish(in.stage(map[string]string{"MODE": "crashloop", "VERSION": "v1"}))
	eventually(t, "several restarts", func() bool { return in.report().Restarts >= 4 })
	// Requests no longer wait by now.
	eventually(t, "503 at once", func() bool {
		start := time.Now()
		code, _ := in.get("/")
		return code == http.StatusServiceUnavailable && time.Since(start) < time.Second
	})
	p, r := in.deploy(map[string]string{"VERSION": "v2"})
	if r.Seq != p.Seq {
		t.Fatalf("report: %+v", r)
	}
	in.mustServe("v2")
	restarts := in.report().Restarts
	if p, r = in.deploy(map[string]string{"VERSION": "v3"}); r.Seq != p.Seq || r.Restarts != restarts {
		t.Errorf("report: %+v, want %d restarts", r, restarts)
	}
}

// A stream stays on the release it began on, until the drain deadline.
func TestStreamsOutliveReload(t *testing.T) {
	t.Parallel()
	in := newInstance(t, func(c *agent.Config) {
		c.Drain, c.StopGrace = agent.Duration(1500*time.Millisecond), agent.Duration(300*time.Millisecond)
	}).start()
	in.deploy(map[string]string{"VERSION": "v1", "MODE": "deaf"})
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	events := openEvents(t, ctx, in.url)
	socket := openSocket(t, in.url)
	in.deploy(map[string]string{"VERSION": "v2"})
	swapped := time.Now()
	in.mustServe("v2")
	if line := events.next(); !strings.HasPrefix(line, "data: v1 ") {
		t.Errorf("event after the reload: %q", line)
	}
	if line := socket.say("hello"); line != "v1 hello" {
		t.Errorf("socket after the reload: %q", line)
	}
	// Both end with the old release, not before its deadline.
	for events.next() != "" {
	}
	if took := time.Since(swapped); took < time.Second {
		t.Errorf("the stream was cut %s after the reload", took)
	}
	if line := socket.say("late"); line != "" {
		t.Errorf("socket after the deadline: %q", line)
	}
	in.mustServe("v2")
}

// process runs the agent as a process of its own.
func (in *instance) process(change ...func(*exec.Cmd)) *exec.Cmd {
	in.t.Helper()
	if in.cfg.Listen == "127.0.0.1:0" {
		in.cfg.Listen, in.cfg.Control = freeAddr(in.t), freeAddr(in.t)
	}
	in.url, in.ctl = "http://"+in.cfg.Listen, "http://"+in.cfg.Control
	b, err := json.Marshal(in.cfg)
	if err != nil {
		in.t.Fatal(err)
	}
	path := filepath.Join(in.t.TempDir(), "agent.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		in.t.Fatal(err)
	}
	cmd := exec.Command(programs.agent, "-config", path)
	for _, f := range change {
		f(cmd)
	}
	if err := cmd.Start(); err != nil {
		in.t.Fatal(err)
	}
	in.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(in.t, "the instance is up", func() bool {
		res, err := http.Get(in.ctl + "/-/runtime")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return cmd
}

func TestKilledAgentLeavesNoOrphan(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells a child of its parent's death")
	}
	in := newInstance(t)
	cmd := in.process()
	in.deploy(map[string]string{"VERSION": "v1"})
	// Reloads between: the thread that forks must be the one that stays.
	in.deploy(map[string]string{"VERSION": "v2"})
	pid := in.appState().PID
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, "the app is gone", func() bool { return !alive(pid) })
	// The next agent finds nothing in its way and brings the app back.
	in.process()
	eventually(t, "serving", func() bool { return in.report().Phase == agent.Serving })
	in.mustServe("v2")
}

func TestTerminationDrains(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	cmd := in.process()
	in.deploy(map[string]string{"VERSION": "v1"})
	pid := in.appState().PID
	res, err := http.Post(in.url+"/spawn", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(res.Body)
	res.Body.Close()
	child, err := strconv.Atoi(string(b))
	if err != nil || !alive(child) {
		t.Fatalf("spawned %q: %v", b, err)
	}
	answered := make(chan string, 1)
	go func() {
		code, body := in.get("/slow?d=700ms")
		answered <- fmt.Sprint(code, body)
	}()
	eventually(t, "a request in flight", func() bool { return in.report().InFlight == 1 })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the public port is closed", func() bool {
		res, err := http.Post(in.url+"/echo", "", nil)
		if err == nil {
			res.Body.Close()
		}
		return err != nil
	})
	if got := <-answered; got != "200v1" {
		t.Errorf("the request in flight got %s", got)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("agent: %v", err)
	}
	if alive(pid) || alive(child) {
		t.Error("the app, or its child, outlived the agent")
	}
}

func TestDeafAppIsKilled(t *testing.T) {
	t.Parallel()
	in := newInstance(t, func(c *agent.Config) { c.StopGrace = agent.Duration(100 * time.Millisecond) }).start()
	in.deploy(map[string]string{"VERSION": "v1", "MODE": "deaf"})
	pid := in.appState().PID
	in.deploy(map[string]string{"VERSION": "v2"})
	eventually(t, "the deaf app is gone", func() bool { return !alive(pid) })
	in.mustServe("v2")
}

func TestLogRotates(t *testing.T) {
	t.Parallel()
	in := newInstance(t).start()
	in.deploy(map[string]string{"VERSION": "v1"})
	path := filepath.Join(in.cfg.Local, "app.log")
	eventually(t, "rotated", func() bool {
		in.get("/print?n=1000")
		_, err := os.Stat(path + ".1")
		return err == nil
	})
	for _, p := range []string{path, path + ".1"} {
		if info, err := os.Stat(p); err != nil || info.Size() > 6<<20 {
			t.Errorf("%s: %v, %d bytes", p, err, info.Size())
		}
	}
}

func TestTwoAgentsOnOneDirectory(t *testing.T) {
	t.Parallel()
	in := newInstance(t).start()
	if a, err := agent.New(in.cfg, discardLog()); err == nil || !strings.Contains(err.Error(), "another agent has it") {
		t.Fatalf("second agent: %v, %v", a, err)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		content string
		mode    os.FileMode
		want    string
	}{
		"good":          {`{"tenant":"a","poll":"5s"}`, 0o600, ""},
		"readable":      {`{}`, 0o644, "chmod 600"},
		"unknown":       {`{"tenat":"a"}`, 0o600, "tenat"},
		"no duration":   {`{"poll":"soon"}`, 0o600, "soon"},
		"not JSON":      {`tenant: a`, 0o600, "invalid character"},
		"missing parts": {``, 0o600, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "c.json")
			if err := os.WriteFile(path, []byte(tc.content), tc.mode); err != nil {
				t.Fatal(err)
			}
			c, err := agent.Load(path)
			if tc.want == "" {
				if err != nil || c.Tenant != "a" || c.Poll != agent.Duration(5*time.Second) {
					t.Fatalf("%+v, %v", c, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("%v, want %q", err, tc.want)
			}
		})
	}
	if _, err := agent.New(agent.Config{Poll: -1}, discardLog()); err == nil || !strings.Contains(err.Error(), "controlKey") || !strings.Contains(err.Error(), "negative") {
		t.Errorf("incomplete configuration: %v", err)
	}
}
