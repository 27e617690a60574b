package agent_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// As a container's first process the agent gets everyone's orphans, and must
// reap them without taking the app's end from whoever waits for it.
func TestFirstProcessReapsOrphans(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root makes a process namespace")
	}
	in := newInstance(t)
	cmd := in.process(func(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID} })
	in.deploy(map[string]string{"VERSION": "v1"})
	if pid := in.appState().PID; pid > 100 {
		t.Fatalf("no namespace of its own: the app has pid %d", pid)
	}
	for range 5 {
		res, err := http.Post(in.url+"/orphan", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
	}
	eventually(t, "only the app is left", func() bool { return len(childrenOf(t, cmd.Process.Pid)) == 1 })
	if res, err := http.Post(in.url+"/crash", "", nil); err == nil {
		res.Body.Close()
	}
	eventually(t, "the crash was seen", func() bool { r := in.report(); return r.Restarts == 1 && r.Phase == "serving" })
	in.mustServe("v1")
}

// childrenOf returns the pids of a process's children, the dead ones too.
func childrenOf(t *testing.T, parent int) []int {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // state, ppid, ...
		if len(f) > 1 && string(f[1]) == strconv.Itoa(parent) {
			var pid int
			_, _ = fmt.Sscan(string(b), &pid)
			pids = append(pids, pid)
		}
	}
	return pids
}
