package postgresd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/durable"
	"github.com/gitopsd/gitopsd/internal/platform/local/process"
)

func (s *Server) data() string { return filepath.Join(s.c.Dir, "data") }

// create makes the data directory unless it is there. What a killed initdb
// left is thrown away.
func (s *Server) create(ctx context.Context) error {
	if _, err := os.Stat(s.data()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.c.Progress("creating the Postgres data directory")
	if err := s.c.Runner.EndStrays(ctx, "initdb"); err != nil { // it goes on when its caller is killed
		return err
	}
	begun := filepath.Join(s.c.Dir, "data.new")
	if err := os.RemoveAll(begun); err != nil {
		return err
	}
	if err := s.ownDir(begun); err != nil {
		return err
	}
	secret := filepath.Join(s.c.Dir, "initdb.password")
	if err := durable.Write(secret, []byte(s.c.SuperPassword+"\n"), 0o600, s.c.Owner); err != nil {
		return err
	}
	defer os.Remove(secret)
	cmd := s.command(ctx, "initdb", "--pgdata="+begun, "--username=postgres", "--pwfile="+secret,
		"--auth-local=scram-sha-256", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale="+s.locale(), "--no-instructions")
	cmd.Env = append(cmd.Env, s.c.Runner.Mark("initdb"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fault.Errorf(fault.Transient, "initdb: %w", err).WithDetail(string(out))
	}
	if err := os.Rename(begun, s.data()); err != nil {
		return err
	}
	return durable.SyncDir(s.c.Dir)
}

// locale is one that does not depend on what the machine has installed.
func (s *Server) locale() string {
	if _, err := os.Stat("/usr/lib/locale/C.utf8"); err == nil {
		return "C.UTF-8"
	}
	return "C"
}

func (s *Server) ownDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if s.c.Owner == (durable.Owner{}) {
		return nil
	}
	return os.Chown(dir, s.c.Owner.UID, s.c.Owner.GID)
}

// command returns one of Postgres' programs, to run as the server's user.
func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
	cmd.Dir = s.c.Dir
	cmd.Env = environment()
	if s.c.Owner != (durable.Owner{}) && os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{
			Uid: uint32(s.c.Owner.UID), Gid: uint32(s.c.Owner.GID), Groups: []uint32{},
		}}
	}
	return cmd
}

func environment() []string {
	return []string{"PATH=/usr/bin:/bin", "LANG=C", "LC_ALL=C", "TZ=UTC"}
}

// service is the server, for many small databases on one machine.
func (s *Server) service() process.Service {
	return process.Service{
		Name: "postgres", Ports: []string{"postgres"},
		Signal: syscall.SIGINT, // fast shutdown: do not wait for clients
		Grace:  60 * time.Second,
		Prepare: func(ports process.Ports) (process.Command, error) {
			if err := s.clearLock(); err != nil {
				return process.Command{}, err
			}
			args := []string{"-D", s.data(), "-p", strconv.Itoa(ports["postgres"])}
			for _, setting := range []string{
				"listen_addresses=127.0.0.1", "unix_socket_directories=", "external_pid_file=",
				"max_connections=500", "superuser_reserved_connections=10", "shared_buffers=128MB",
				"work_mem=4MB", "maintenance_work_mem=32MB", "temp_file_limit=1GB", "jit=off",
				"fsync=on", "synchronous_commit=on", "full_page_writes=on",
				"wal_level=minimal", "max_wal_senders=0", "min_wal_size=80MB", "max_wal_size=512MB",
				"autovacuum_max_workers=2", "max_parallel_workers=2", "max_worker_processes=4",
				"password_encryption=scram-sha-256", "logging_collector=off", "log_timezone=UTC", "timezone=UTC",
				"log_statement=none", "log_min_error_statement=panic", "log_min_duration_statement=-1",
			} {
				args = append(args, "-c", setting)
			}
			return process.Command{
				Path: filepath.Join(s.bin, "postgres"), Args: args, Env: environment(),
				Dir: s.c.Dir, Owner: s.c.Owner,
			}, nil
		},
	}
}

// clearLock removes the lock file of a server that was killed, if its pid has
// come to be another program's: Postgres would refuse to start. As long as
// anything works in the data directory the file stays, for then it is right.
func (s *Server) clearLock() error {
	path := filepath.Join(s.data(), "postmaster.pid")
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(content), "\n")
	if pid, err := strconv.Atoi(first); err != nil || syscall.Kill(pid, 0) == syscall.ESRCH {
		return nil // Postgres sees for itself that the owner is gone
	}
	data, err := filepath.EvalSymlinks(s.data())
	if err != nil {
		return err
	}
	pids, err := process.Within(data) // the server and its children work there
	if err != nil || len(pids) > 0 {
		return nil //nolint:nilerr // unknown: leave the decision to Postgres
	}
	s.c.Logger.Warn("removing the lock file of a Postgres that is gone", "file", path)
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove stale lock: %w", err)
	}
	return nil
}
