//go:build !linux

package agent

import (
	"context"
	"os"
	"syscall"
)

// Without a parent-death signal an app outlives an agent that is killed; its
// next start finds the port of its own choice anyway.
func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// hide has nothing to do: only Linux runs agents in containers.
func hide() error { return nil }

// reapGroup waits for a child and kills what is left of its group.
func reapGroup(child *os.Process) (*os.ProcessState, error) {
	state, err := child.Wait()
	_ = syscall.Kill(-child.Pid, syscall.SIGKILL)
	return state, err
}

// reapOrphans has nothing to do: only Linux containers make an agent process 1.
func (s *starter) reapOrphans(context.Context) {}
