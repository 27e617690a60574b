package process

import (
	"context"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/gitopsd/gitopsd/internal/platform/durable"
)

// maxLog is how long a log gets, in bytes, before it is put aside as <log>.1.
const maxLog = 10 << 20

// start runs the service. Nothing runs under its name.
func (r *Runner) start(s *Service, kept record) (Status, error) {
	ports, err := r.choosePorts(s.Name, s.Ports, kept.Ports)
	if err != nil {
		return Status{}, err
	}
	cmd, err := s.Prepare(ports)
	if err != nil {
		return Status{}, err
	}
	rec := record{
		Name: s.Name, Boot: boot(), Since: time.Now().UTC(), Digest: cmd.digest(),
		Argv: append([]string{cmd.Path}, cmd.Args...), Ports: ports, Signal: s.Signal,
	}
	if err := r.write(rec); err != nil { // the intent: from here on, strays are looked for
		return Status{}, err
	}
	p, err := r.fork(s.Name, cmd)
	if err != nil {
		return Status{}, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	_, begun, _ := look(p.Pid) // a zombie has a start time too
	rec.PID, rec.Start = p.Pid, begun
	if err := r.write(rec); err != nil {
		_ = p.Kill()
		_, _ = p.Wait()
		return Status{}, err
	}
	r.claimWatch(p.Pid)
	go r.watch(s.Name, rec, p)
	status := rec.status()
	status.Running, status.Started = true, true
	return status, nil
}

// fork starts the command in a session of its own, so that neither the
// terminal's signals nor the end of this process reach it.
func (r *Runner) fork(name string, cmd Command) (*os.Process, error) {
	if err := boundLog(r.LogFile(name)); err != nil {
		return nil, err
	}
	out, err := os.OpenFile(r.LogFile(name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	attr := &syscall.SysProcAttr{Setsid: true}
	if cmd.Owner != (durable.Owner{}) && os.Geteuid() == 0 {
		attr.Credential = &syscall.Credential{
			Uid: uint32(cmd.Owner.UID), Gid: uint32(cmd.Owner.GID), Groups: []uint32{},
		}
	}
	done, err := startIn(attr, cmd.Group)
	if err != nil {
		return nil, err
	}
	defer done()
	return os.StartProcess(cmd.Path, append([]string{cmd.Path}, cmd.Args...), &os.ProcAttr{
		Dir: cmd.Dir, Files: []*os.File{null, out, out}, Sys: attr,
		Env: append(append([]string(nil), cmd.Env...), r.mark+name),
	})
}

// boundLog puts a log aside that has grown too long. Who writes to it appends,
// so it can be cut while it is written to.
func boundLog(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Size() <= maxLog {
		return nil
	}
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(path+".1", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := in.Seek(-maxLog, io.SeekEnd); err != nil {
		return err
	}
	if _, err := io.Copy(out, io.LimitReader(in, maxLog)); err != nil {
		return err
	}
	return os.Truncate(path, 0)
}

// watch waits for the end of a process, reaps it if it is a child, and tells
// Supervise. It goes on after Close for children alone, which nobody else can reap.
func (r *Runner) watch(name string, rec record, child *os.Process) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if child == nil {
		go func() {
			select {
			case <-r.closed:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	awaitExit(ctx, rec.PID, rec.Start)
	if ctx.Err() != nil {
		return
	}
	if child != nil {
		_, _ = child.Wait()
	}
	r.mu.Lock()
	delete(r.watching, rec.PID)
	r.dead[name] = true
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
