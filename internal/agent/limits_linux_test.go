package agent_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gitopsd/gitopsd/internal/agent"
	"github.com/gitopsd/gitopsd/internal/platform/local/cgroup"
)

// groups makes control groups, where the tests' machine and user can have them.
func groups(t *testing.T, l cgroup.Limits) []string {
	t.Helper()
	root, err := cgroup.Find("test-" + strconv.Itoa(os.Getpid()) + "-" + strings.ToLower(t.Name()))
	if err != nil {
		t.Skip("no control groups: ", err)
	}
	group, err := root.Ensure("agent.acme.0", l, cgroup.Owner{UID: os.Getuid(), GID: os.Getgid()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := root.Remove("agent.acme.0"); err != nil {
			t.Error(err)
		}
		root.RemoveAll()
	})
	return group.Apps
}

func TestOutOfMemoryInGroup(t *testing.T) {
	t.Parallel()
	const limit = 96 << 20
	dirs := groups(t, cgroup.Limits{Memory: limit})
	in := newInstance(t, func(c *agent.Config) { c.Limits = agent.Limits{Memory: limit, Groups: dirs} }).start()
	p, _ := in.deploy(map[string]string{"VERSION": "v1"})
	pid := in.appState().PID

	// A release that takes all there is dies before the one that serves.
	hog, r := in.deploy(map[string]string{"MODE": "hog"})
	if r.FailedSeq != hog.Seq || !strings.HasPrefix(r.Failure, "app was killed: out of memory (limit 96 MiB) before") {
		t.Errorf("report: %+v", r)
	}
	if now := in.appState().PID; now != pid {
		t.Errorf("the app that served was the victim: pid %d, then %d", pid, now)
	}
	in.crash("/hog")
	eventually(t, "the app is back", func() bool { r = in.report(); return r.Restarts == 1 && r.Phase == agent.Serving })
	if r.Seq != p.Seq || r.Failure != "app was killed: out of memory (limit 96 MiB) while it served" {
		t.Errorf("report: %+v", r)
	}
	// Killed by somebody else is not out of memory.
	if err := syscall.Kill(in.appState().PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the app is back", func() bool { r = in.report(); return r.Restarts == 2 && r.Phase == agent.Serving })
	if !strings.Contains(r.Failure, "signal 9") {
		t.Errorf("report: %+v", r)
	}
}

func TestForkBombIsBounded(t *testing.T) {
	t.Parallel()
	dirs := groups(t, cgroup.Limits{Processes: 64})
	in := newInstance(t, func(c *agent.Config) { c.Limits.Groups = dirs }).start()
	in.deploy(map[string]string{"VERSION": "v1"})
	code, body := in.post("/bomb")
	if n, err := strconv.Atoi(body); code != http.StatusOK || err != nil || n < 8 || n > 64 {
		t.Errorf("%d %q processes, with 64 allowed", code, body)
	}
	// The next release gets in all the same once the old one's are gone, and
	// what there is goes on.
	in.mustServe("v1")
	in.crash("/crash")
	eventually(t, "the app is back", func() bool { r := in.report(); return r.Restarts >= 1 && r.Phase == agent.Serving })
	in.mustServe("v1")
}

func (in *instance) post(path string) (int, string) {
	in.t.Helper()
	res, err := http.Post(in.url+path, "", nil)
	if err != nil {
		in.t.Fatal(err)
	}
	defer res.Body.Close()
	var b strings.Builder
	_ = res.Write(&b)
	_, body, _ := strings.Cut(b.String(), "\r\n\r\n")
	return res.StatusCode, body
}

// A group that is not there is no reason to run without limits.
func TestGroupIsGone(t *testing.T) {
	t.Parallel()
	in := newInstance(t, func(c *agent.Config) { c.Limits.Groups = []string{filepath.Join(t.TempDir(), "gone")} }).start()
	p, r := in.deploy(map[string]string{"VERSION": "v1"})
	if r.FailedSeq != p.Seq || !strings.Contains(r.Failure, "cannot limit the app") {
		t.Errorf("report: %+v", r)
	}
}

// Without groups, limits are those of the process.
func TestProcessLimits(t *testing.T) {
	t.Parallel()
	in := newInstance(t, func(c *agent.Config) { c.Limits = agent.Limits{Memory: 128 << 20, Processes: 4000} }).start()
	in.deploy(map[string]string{"VERSION": "v1"})
	_, status := in.get("/status")
	for _, want := range []string{
		"NoNewPrivs:\t1", "Max core file size        0                    0", "Max processes             4000                 4000",
		"Max data size             134217728            134217728", "\n500\n", "TracerPid:\t0",
	} {
		if !strings.Contains(status, want) {
			t.Errorf("lacks %q:\n%s", want, status)
		}
	}
	in.crash("/hog")
	var r agent.Report
	eventually(t, "the app is back", func() bool { r = in.report(); return r.Restarts == 1 && r.Phase == agent.Serving })
	if r.Failure != "app was killed: out of memory (limit 128 MiB) while it served" {
		t.Errorf("report: %+v", r)
	}
}
