package build_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// server is the Postgres of this test binary.
var server struct {
	admin string // URL of its superuser
	port  int
	next  atomic.Int64
}

func TestMain(m *testing.M) {
	stop, err := startPostgres()
	if err != nil {
		fmt.Fprintln(os.Stderr, "start Postgres:", err)
		os.Exit(1)
	}
	code := m.Run()
	stop()
	if warmDir != "" {
		os.RemoveAll(warmDir)
	}
	os.Exit(code)
}

// startPostgres starts a private server and returns what stops it.
func startPostgres() (stop func(), err error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gitopsd-build-pg-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	attr := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 { // Postgres does not run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "admin", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server.port = listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	var output bytes.Buffer
	cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(server.port), "-h", "127.0.0.1", "-k", dir, "-F")
	cmd.Dir, cmd.SysProcAttr, cmd.Stderr = dir, attr, &output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		_ = cmd.Wait()
		os.RemoveAll(dir)
	}
	server.admin = fmt.Sprintf("postgres://admin@127.0.0.1:%d/postgres", server.port)
	for deadline := time.Now().Add(20 * time.Second); ; {
		conn, err := pgx.Connect(context.Background(), server.admin)
		if err == nil {
			conn.Close(context.Background())
			return stop, nil
		}
		if time.Now().After(deadline) {
			stop()
			return nil, fmt.Errorf("%w: %s", err, output.String())
		}
		time.Sleep(20 * time.Millisecond) // between looks at a condition with a deadline
	}
}

func postgresBin() (string, error) {
	if p, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(p), nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", fmt.Errorf("no initdb in PATH or /usr/lib/postgresql")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// newDatabase makes a tenant's role and database, and returns the role's URL.
func newDatabase(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("t%d", server.next.Add(1))
	admin, err := pgx.Connect(t.Context(), server.admin)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	for _, s := range []string{
		"CREATE ROLE " + name + " LOGIN CONNECTION LIMIT 10",
		"CREATE DATABASE " + name + " OWNER " + name,
	} {
		if _, err := admin.Exec(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	return strings.NewReplacer("admin@", name+"@", "/postgres", "/"+name).Replace(server.admin)
}

func query[T any](t testing.TB, url, sql string, args ...any) []T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, _ := conn.Query(t.Context(), sql, args...)
	out, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return out
}

func execute(t testing.TB, url string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, s := range statements {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}
