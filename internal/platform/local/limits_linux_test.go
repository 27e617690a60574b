package local_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// limited: an app is in its instance's control groups, which say what its file
// says, and its agent is not.
func limited(t *testing.T, w *world) {
	if _, err := os.Stat(filepath.Join(w.dir, "groups.json")); err != nil {
		t.Skip("no control groups here")
	}
	var root struct {
		Unified string
		Split   map[string]string
	}
	w.readJSON(t, &root, "groups.json")
	memory, file := filepath.Join(root.Unified, "agent.left.0", "app"), "memory.max"
	if root.Unified == "" {
		memory, file = filepath.Join(root.Split["memory"], "agent.left.0", "app"), "memory.limit_in_bytes"
	}
	if b, err := os.ReadFile(filepath.Join(memory, file)); err != nil || strings.TrimSpace(string(b)) != strconv.Itoa(512<<20) {
		t.Errorf("%s: %s, %v", file, b, err)
	}
	agent := w.pid(t, "agent.left.0")
	b, err := os.ReadFile(filepath.Join(memory, "cgroup.procs"))
	if err != nil {
		t.Fatal(err)
	}
	pids := strings.Fields(string(b))
	if slices.Contains(pids, strconv.Itoa(agent)) {
		t.Error("the agent is bound as its app is")
	}
	if len(pids) == 0 {
		t.Fatal("no app in its group")
	}
	for _, pid := range pids {
		status, err := os.ReadFile("/proc/" + pid + "/status")
		if err != nil || !strings.Contains(string(status), "PPid:\t"+strconv.Itoa(agent)+"\n") || !strings.Contains(string(status), "NoNewPrivs:\t1") {
			t.Errorf("in the app's group: %v\n%s", err, status)
		}
	}
}
