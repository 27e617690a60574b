package agent

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// starter starts processes from one thread that lives as long as the agent:
// the kernel ties "kill me when my parent dies" to the thread that forked.
type starter struct {
	jobs     chan func()
	ended    chan struct{}
	children children
}

func newStarter() (*starter, error) {
	s := &starter{jobs: make(chan func()), ended: make(chan struct{}), children: children{pids: map[int]bool{}}}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		defer close(s.ended)
		ready <- noNewPrivileges()
		for job := range s.jobs {
			job()
		}
	}()
	if err := <-ready; err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// close ends the thread; everything it started must be gone.
func (s *starter) close() {
	close(s.jobs)
	<-s.ended
}

// process is a child in a process group of its own.
type process struct {
	pid    int
	exited chan struct{} // closed once it is reaped and its group is gone
	state  *os.ProcessState
	lost   error       // why state is not known
	killed atomic.Bool // with SIGKILL, by the agent
}

// start starts a program under the limits. Its output goes to each, line by line; when exited
// closes, each was called with the last.
func (s *starter) start(path, dir string, env []string, limits Limits, each func(string)) (*process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		r.Close()
		return nil, err
	}
	defer null.Close()
	attr := &os.ProcAttr{Dir: dir, Env: env, Files: []*os.File{null, w, w}, Sys: sysProcAttr()}
	var child *os.Process
	done := make(chan struct{})
	s.jobs <- func() {
		defer close(done)
		// Held over the start, so that the reaper of orphans knows the child
		// before it can see it dead.
		s.children.mu.Lock()
		defer s.children.mu.Unlock()
		if child, err = launchClosed(path, attr, limits); err == nil {
			s.children.pids[child.Pid] = true
		}
	}
	<-done
	if err != nil {
		r.Close()
		return nil, err
	}
	p := &process{pid: child.Pid, exited: make(chan struct{})}
	read := make(chan struct{})
	go func() {
		defer close(read)
		readLines(r, each)
	}()
	go s.await(p, child, r, read)
	return p, nil
}

// launchClosed is launchLimited of a file that was just written. A process that
// another thread forked meanwhile has it open for writing, until it executes its
// own program; as long as that takes, this one cannot be executed.
func launchClosed(path string, attr *os.ProcAttr, limits Limits) (*os.Process, error) {
	const tries, pause = 200, 5 * time.Millisecond
	for try := 1; ; try++ {
		child, err := launchLimited(path, attr, limits)
		if !errors.Is(err, syscall.ETXTBSY) || try == tries {
			return child, err
		}
		time.Sleep(pause)
	}
}

// await sees a child to its end.
func (s *starter) await(p *process, child *os.Process, out *os.File, read <-chan struct{}) {
	var err error
	if p.state, err = reapGroup(child); err != nil {
		p.lost = err
	}
	s.children.forget(p.pid)
	// A descendant that left the group may keep the pipe open.
	_ = out.SetReadDeadline(time.Now().Add(250 * time.Millisecond))
	<-read
	out.Close()
	close(p.exited)
}

// signal sends a signal to the whole group.
func (p *process) signal(sig syscall.Signal) {
	select {
	case <-p.exited:
	default:
		p.killed.Store(p.killed.Load() || sig == syscall.SIGKILL)
		_ = syscall.Kill(-p.pid, sig)
	}
}

// stop ends the process: SIGTERM, and SIGKILL after the grace period.
func (p *process) stop(grace time.Duration) {
	p.signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.exited:
		return
	case <-timer.C:
	}
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// outcome says how the process ended, for people.
func (p *process) outcome() string {
	if p.lost != nil {
		return fmt.Sprintf("ended, and how is not known: %v", p.lost)
	}
	if signal, ok := p.signaled(); ok {
		return fmt.Sprintf("was killed by signal %d (%s)", int(signal), signal)
	}
	return fmt.Sprintf("exited with status %d", p.state.ExitCode())
}

// signaled returns the signal that ended the process, if one did.
func (p *process) signaled() (syscall.Signal, bool) {
	status, ok := p.state.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return 0, false
	}
	return status.Signal(), true
}

// children are the processes that have someone waiting for them.
type children struct {
	mu   sync.Mutex
	pids map[int]bool
}

func (c *children) forget(pid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pids, pid)
}
