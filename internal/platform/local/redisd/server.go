package redisd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/durable"
	"github.com/gitopsd/gitopsd/internal/platform/local/process"
	"github.com/gitopsd/gitopsd/internal/platform/tenantkeys"
)

// admin is the user that makes the others.
const admin = "gitopsd"

// Config configures a server.
type Config struct {
	Dir      string        // of its data; its parents must be traversable for Owner
	Owner    durable.Owner // the user it runs as; zero for the own one
	Password string        // of the admin, letters and digits
	Runner   *process.Runner
	Logger   *slog.Logger
}

// Server is a running redis-server.
type Server struct {
	c      Config
	binary string
	admin  *redis.Client
	ports  process.Ports
}

// Find returns the path of redis-server.
func Find() (string, error) {
	for _, name := range []string{"redis-server", "/opt/homebrew/bin/redis-server", "/usr/local/bin/redis-server"} {
		if path, err := exec.LookPath(name); err == nil {
			if err := checkVersion(path); err != nil {
				return "", err
			}
			return filepath.Abs(path)
		}
	}
	return "", fault.Errorf(fault.Invalid, "redis-server is not installed").
		WithHint("apt-get install redis-server (on a Mac: brew install redis)")
}

// checkVersion refuses servers older than 7, whose users cannot be barred from
// single subcommands nor from channels by pattern.
func checkVersion(binary string) error {
	out, err := exec.Command(binary, "--version").Output()
	if err != nil {
		return fault.Errorf(fault.Invalid, "%s --version: %w", binary, err)
	}
	match := regexp.MustCompile(`\bv=(\d+)\.`).FindSubmatch(out)
	if match == nil {
		return nil // a relative of redis that counts otherwise
	}
	if major, _ := strconv.Atoi(string(match[1])); major < 7 {
		return fault.Errorf(fault.Invalid, "%s is version %d: 7 or later is needed", binary, major).
			WithHint("install a newer redis-server, see https://redis.io/docs/install")
	}
	return nil
}

// Open has the server running and ready.
func Open(ctx context.Context, c Config) (*Server, error) {
	binary, err := Find()
	if err != nil {
		return nil, err
	}
	s := &Server{c: c, binary: binary}
	if err := s.lay(); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	if err := s.start(ctx); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	return s, nil
}

// Close ends the connections to the server, which goes on running.
func (s *Server) Close() error { return s.admin.Close() }

// Addr returns where the server listens.
func (s *Server) Addr() string { return s.ports.Addr("redis") }

// Keys returns the tenants' keys.
func (s *Server) Keys() *tenantkeys.Keys { return tenantkeys.New(s.admin) }

func (s *Server) data() string { return filepath.Join(s.c.Dir, "data") }

func (s *Server) users() string { return filepath.Join(s.data(), "users.acl") }

// lay makes the directories, and the file of users unless there is one.
func (s *Server) lay() error {
	if err := os.MkdirAll(s.data(), 0o700); err != nil {
		return err
	}
	if s.c.Owner != (durable.Owner{}) {
		if err := os.Chown(s.data(), s.c.Owner.UID, s.c.Owner.GID); err != nil {
			return err
		}
	}
	_, err := os.Stat(s.users())
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	sum := sha256.Sum256([]byte(s.c.Password))
	content := fmt.Sprintf("user default off resetchannels -@all\nuser %s on #%s ~* &* +@all\n",
		admin, hex.EncodeToString(sum[:]))
	return durable.Write(s.users(), []byte(content), 0o600, s.c.Owner)
}

func (s *Server) start(ctx context.Context) error {
	status, err := s.c.Runner.Ensure(ctx, process.Service{
		Name: "redis", Ports: []string{"redis"}, Prepare: s.prepare,
		Signal: syscall.SIGTERM, Grace: 20 * time.Second,
	})
	if err != nil {
		return err
	}
	s.ports = status.Ports
	s.admin = redis.NewClient(&redis.Options{
		Addr: s.Addr(), Username: admin, Password: s.c.Password,
		PoolSize: 4, MaxRetries: 1, DialTimeout: 2 * time.Second, ReadTimeout: 10 * time.Second,
		DisableIdentity: true,
	})
	return s.awaitReady(ctx)
}

// prepare writes the configuration. One database, so that numbers of databases
// mean nothing; no commands that change the server.
func (s *Server) prepare(ports process.Ports) (process.Command, error) {
	config := strings.Join([]string{
		"bind 127.0.0.1",
		fmt.Sprintf("port %d", ports["redis"]),
		"daemonize no",
		"set-proc-title no", // a title would overwrite the environment, and with it the Runner's mark
		"databases 1",
		"dir " + quote(s.data()),
		"aclfile " + quote(s.users()),
		`save ""`,
		"appendonly yes",
		"appendfsync everysec",
		"maxclients 5000",
		"busy-reply-threshold 1000",
		"maxmemory-policy noeviction",
		"enable-debug-command no",
		"enable-module-command no",
		"acllog-max-len 16",
		"",
	}, "\n")
	path := filepath.Join(s.c.Dir, "redis.conf")
	if err := durable.Write(path, []byte(config), 0o644, durable.Owner{}); err != nil {
		return process.Command{}, err
	}
	return process.Command{
		Path: s.binary, Args: []string{path}, Dir: s.data(), Owner: s.c.Owner,
		Env:  []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"},
		Same: strings.Join([]string{s.binary, config}, "\n"),
	}, nil
}

func quote(path string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(path) + `"`
}

func (s *Server) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second) // a long append-only file takes a while to load
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.admin.Ping(ctx).Err()
		if err == nil {
			return nil
		}
		if strings.HasPrefix(err.Error(), "WRONGPASS") {
			return fault.Errorf(fault.Invalid, "the admin's password is not the one in %s", s.users())
		}
		if err := s.c.Runner.Ended("redis"); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fault.Errorf(fault.Stalled, "not ready in time: %w", err).
				WithHint("see %s", s.c.Runner.LogFile("redis"))
		case <-tick.C:
		}
	}
}
