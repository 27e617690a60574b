package cgroup_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/platform/local/cgroup"
)

// tenant is the user the app runs as.
const tenant = 23_457

// root makes groups of the test's own, or skips.
func root(t *testing.T) *cgroup.Root {
	t.Helper()
	r, err := cgroup.Find("test-" + strconv.Itoa(os.Getpid()) + "-" + strings.ToLower(t.Name()))
	if err != nil {
		t.Skip("no control groups: ", err)
	}
	t.Cleanup(func() {
		for _, instance := range []string{"agent.acme.0", "agent.other.0"} {
			if err := r.Remove(instance); err != nil {
				t.Error(err)
			}
		}
		r.RemoveAll()
		if r.Exists() {
			t.Error("the root is still there")
		}
	})
	if !r.Exists() {
		t.Error("the root is not there")
	}
	return r
}

// as runs a shell script as the tenant.
func as(t *testing.T, script string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: tenant, Gid: tenant}}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return strings.TrimSpace(out.String()), err
}

func TestGroups(t *testing.T) {
	r := root(t)
	limits := cgroup.Limits{Memory: 64 << 20, Processes: 20, Shares: 256}
	owner := cgroup.Owner{UID: tenant, GID: tenant}
	g, err := r.Ensure("agent.acme.0", limits, owner)
	if err != nil {
		t.Fatal(err)
	}
	other, err := r.Ensure("agent.other.0", limits, cgroup.Owner{UID: tenant + 1, GID: tenant + 1})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := r.Ensure("agent.acme.0", limits, owner); err != nil || again.Agent != g.Agent || len(again.Apps) != len(g.Apps) {
		t.Errorf("again: %+v, %v", again, err)
	}
	if len(g.Apps) == 0 {
		t.Fatalf("no groups: %+v", g)
	}
	join := "true"
	for _, dir := range g.Apps {
		join += " && echo $$ >" + filepath.Join(dir, "cgroup.procs")
	}
	if g.Agent != "" { // who puts a process into a group must be beside it
		attach(t, g.Agent)
	}
	t.Run("memory", func(t *testing.T) {
		_, err := as(t, join+`; exec awk 'BEGIN { s = "x"; while (length(s) < 1e9) s = s s }'`)
		var ended *exec.ExitError
		if !errors.As(err, &ended) || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("1 GB of memory, 64 MiB allowed: %v", err)
		}
	})
	t.Run("the tenant cannot lift them", func(t *testing.T) {
		for _, dir := range g.Apps {
			for _, file := range []string{"memory.max", "pids.max", "cpu.max", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "cpu.cfs_quota_us"} {
				if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
					continue
				}
				if out, err := as(t, "echo 100000 >"+filepath.Join(dir, file)); err == nil {
					t.Errorf("the tenant wrote %s: %s", filepath.Join(dir, file), out)
				}
			}
			if out, err := as(t, "mkdir "+filepath.Join(dir, "below")); err == nil {
				t.Errorf("the tenant made a group in %s: %s", dir, out)
			}
		}
		for _, dir := range append([]string{g.Agent, other.Agent}, other.Apps...) {
			if dir == "" {
				continue
			}
			if out, err := as(t, "echo $$ >"+filepath.Join(dir, "cgroup.procs")); err == nil {
				t.Errorf("the tenant entered %s: %s", dir, out)
			}
		}
	})
	t.Run("removed with what runs there", func(t *testing.T) {
		if out, err := as(t, join+"; setsid sleep 300 >/dev/null 2>&1 </dev/null &"); err != nil {
			t.Fatal(err, out)
		}
		begin := time.Now()
		detach(t)
		if err := r.Remove("agent.acme.0"); err != nil || time.Since(begin) > time.Second {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
		if _, err := os.Stat(g.Apps[0]); err == nil {
			t.Error("the group is still there")
		}
	})
	// Last: whoever reaps the orphans may take its time, and they count until then.
	if g, err = r.Ensure("agent.acme.0", limits, owner); err != nil {
		t.Fatal(err)
	}
	if g.Agent != "" {
		attach(t, g.Agent)
	}
	t.Run("processes", func(t *testing.T) {
		out, _ := as(t, join+"; i=0; while [ $i -lt 60 ]; do sleep 1 & i=$((i+1)); done; wait")
		if !strings.Contains(out, "ork") { // "Cannot fork", as each shell words it
			t.Errorf("60 processes, 20 allowed: %s", out)
		}
	})
}

// attach puts this process into a group of version 2, until detach.
func attach(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { detach(t) })
}

// detach puts this process back to the top of version 2, where there is one.
func detach(t *testing.T) {
	t.Helper()
	for _, top := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(top, "cgroup.controllers")); err != nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(top, "cgroup.procs"), []byte("0"), 0); err != nil {
			t.Log(err)
		}
	}
}

func TestFindRefusesNames(t *testing.T) {
	for _, name := range []string{"", "..", "a/b", "A"} {
		if _, err := cgroup.Find(name); err == nil {
			t.Errorf("%q is no name", name)
		}
	}
}
