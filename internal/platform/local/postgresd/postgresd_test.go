package postgresd_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/durable"
	"github.com/gitopsd/gitopsd/internal/platform/local/postgresd"
	"github.com/gitopsd/gitopsd/internal/platform/local/process"
)

type fixture struct {
	s      *postgresd.Server
	c      postgresd.Config
	runner *process.Runner
	cancel context.CancelFunc
}

func open(t *testing.T) *fixture {
	t.Helper()
	t.Parallel()
	runner, err := process.New(t.TempDir(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	base, err := os.MkdirTemp("", "gitopsd-postgresd-") // not t.TempDir: the server's user must pass
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(base, 0o711); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { _ = runner.Supervise(ctx) }()
	f := &fixture{runner: runner, cancel: cancel, c: postgresd.Config{
		Dir: filepath.Join(base, "postgres"), Owner: owner(t), SuperPassword: "super0", MasterPassword: "master0",
		Runner: runner, Logger: slog.New(slog.DiscardHandler), Progress: func(string) {},
	}}
	t.Cleanup(func() {
		cancel()
		if err := runner.Remove(context.Background(), "postgres", 10*time.Second); err != nil {
			t.Error(err)
		}
		runner.Close()
		os.RemoveAll(base)
	})
	f.s = f.open(t)
	return f
}

func (f *fixture) open(t *testing.T) *postgresd.Server {
	t.Helper()
	s, err := postgresd.Open(t.Context(), f.c)
	if err != nil {
		t.Fatalf("open: %v (%+v)", err, fault.RecordOf(err))
	}
	t.Cleanup(s.Close)
	return s
}

func owner(t *testing.T) durable.Owner {
	t.Helper()
	if os.Geteuid() != 0 {
		return durable.Owner{}
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return durable.Owner{UID: uid, GID: gid}
}

func connect(t *testing.T, url string) (*pgx.Conn, error) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err == nil {
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
	}
	return conn, err
}

func exec1(t *testing.T, conn *pgx.Conn, q string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), q); err != nil {
		t.Fatalf("%s: %v", q, err)
	}
}

func (f *fixture) tenant(t *testing.T, name string) *pgx.Conn {
	t.Helper()
	if err := f.s.Databases().Ensure(t.Context(), name, "pw"+strings.ReplaceAll(name, "-", ""), 5); err != nil {
		t.Fatal(err)
	}
	conn, err := connect(t, f.url(name))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func (f *fixture) url(name string) string {
	return f.s.Databases().URL(name, "pw"+strings.ReplaceAll(name, "-", ""))
}

// at returns how a tenant would connect to another database.
func (f *fixture) at(name, database string) string {
	own, _, _ := strings.Cut(f.url(name), "/t_"+name+"?")
	return own + "/" + database + "?sslmode=disable"
}

func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return fmt.Sprint(err)
}

// One server for all that leaves it as it was: making one takes a while.
func TestTenants(t *testing.T) {
	f := open(t)
	for name, test := range map[string]func(*testing.T, *fixture){
		"made, changed, apart": tenants, "half made": adoptsHalfMade, "foreign objects": foreignObjects,
		"dropped against resistance": dropsAgainstResistance, "dumped": dump, "nothing logged": logsNoPasswords,
	} {
		t.Run(name, func(t *testing.T) { test(t, f) })
	}
}

func tenants(t *testing.T, f *fixture) {
	var group sync.WaitGroup
	for i := range 3 { // at the same time, each twice
		group.Go(func() {
			for range 2 {
				if err := f.s.Databases().Ensure(t.Context(), fmt.Sprintf("n-%d", i), fmt.Sprintf("pwn%d", i), 5); err != nil {
					t.Errorf("tenant %d: %v", i, err)
				}
			}
		})
	}
	group.Wait()
	a, b := f.tenant(t, "n-0"), f.tenant(t, "n-1")
	exec1(t, a, "CREATE TABLE t (v int)")
	for _, database := range []string{"postgres", "template1", "gitopsd", "t_n-1"} {
		url := f.at("n-0", database)
		if _, err := connect(t, url); code(err) != "42501" {
			t.Errorf("a tenant connects to %s: %v", database, err)
		}
	}
	if _, err := connect(t, strings.Replace(f.url("n-0"), "pwn0", "wrong", 1)); code(err) != "28P01" {
		t.Errorf("a wrong password: %v", err)
	}
	var limit int
	if err := b.QueryRow(t.Context(), "SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user").Scan(&limit); err != nil || limit != 5 {
		t.Errorf("connection limit: %d, %v", limit, err)
	}
	if err := f.s.Databases().Ensure(t.Context(), "n-1", "other", 7); err != nil {
		t.Fatal(err)
	}
	if err := b.QueryRow(t.Context(), "SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user").Scan(&limit); err != nil || limit != 7 {
		t.Errorf("changed connection limit: %d, %v", limit, err)
	}
}

// A database whose making was interrupted after CREATE DATABASE is adopted.
func adoptsHalfMade(t *testing.T, f *fixture) {
	master, err := connect(t, f.s.LedgerURL())
	if err != nil {
		t.Fatal(err)
	}
	exec1(t, master, `CREATE ROLE "t_half-a" LOGIN`)
	exec1(t, master, `COMMENT ON ROLE "t_half-a" IS 'gitopsd:half-a'`)
	exec1(t, master, `GRANT "t_half-a" TO gitopsd`)
	exec1(t, master, `CREATE DATABASE "t_half-a" OWNER "t_half-a"`)
	f.tenant(t, "half-a")
	f.tenant(t, "half-b")
	url := f.at("half-b", "t_half-a")
	if _, err := connect(t, url); code(err) != "42501" {
		t.Errorf("the adopted database is open: %v", err)
	}
}

func foreignObjects(t *testing.T, f *fixture) {
	master, err := connect(t, f.s.LedgerURL())
	if err != nil {
		t.Fatal(err)
	}
	exec1(t, master, `CREATE ROLE "t_for-a"`)
	exec1(t, master, `CREATE DATABASE "t_for-b"`)
	for _, name := range []string{"for-a", "for-b"} {
		if err := f.s.Databases().Ensure(t.Context(), name, "pw", 5); !fault.Is(err, fault.Conflict) {
			t.Errorf("ensure %s: %v, want Conflict", name, err)
		}
		if err := f.s.Databases().Drop(t.Context(), name); !fault.Is(err, fault.Conflict) {
			t.Errorf("drop %s: %v, want Conflict", name, err)
		}
	}
	role, database, err := f.s.Databases().Has(t.Context(), "for-b")
	if err != nil || role || !database {
		t.Errorf("b: role %v, database %v, %v", role, database, err)
	}
}

// Neither a tenant's connections, nor what another grants to it, nor what it
// does to its own database's mark keep it from being removed.
func dropsAgainstResistance(t *testing.T, f *fixture) {
	a, b := f.tenant(t, "res-a"), f.tenant(t, "res-b")
	exec1(t, b, "CREATE TABLE shared (v int)")
	exec1(t, b, `GRANT SELECT ON shared TO "t_res-a"`)
	exec1(t, b, `GRANT CONNECT ON DATABASE "t_res-b" TO "t_res-a"`)
	exec1(t, b, `GRANT CREATE ON SCHEMA public TO "t_res-a"`)
	inB, err := connect(t, f.at("res-a", "t_res-b"))
	if err != nil {
		t.Fatal(err)
	}
	exec1(t, inB, "CREATE TABLE left_behind (v int)")
	exec1(t, a, `COMMENT ON DATABASE "t_res-a" IS 'somebody else''s'`)
	exec1(t, a, `ALTER ROLE "t_res-a" PASSWORD 'changed'`)
	for range 2 {
		if err := f.s.Databases().Drop(t.Context(), "res-a"); err != nil {
			t.Fatal(err)
		}
	}
	if role, database, err := f.s.Databases().Has(t.Context(), "res-a"); err != nil || role || database {
		t.Errorf("left: role %v, database %v, %v", role, database, err)
	}
	exec1(t, b, "INSERT INTO shared VALUES (1)")
}

func (f *fixture) dump(t *testing.T, tenant, path string) error {
	t.Helper()
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	return f.s.Databases().Dump(t.Context(), tenant, out)
}

func dump(t *testing.T, f *fixture) {
	a := f.tenant(t, "dump")
	exec1(t, a, "CREATE TABLE things (v text)")
	exec1(t, a, "INSERT INTO things VALUES ('kept')")
	exec1(t, a, `ALTER ROLE "t_dump" PASSWORD 'changed'`) // its own business
	for range 4 {                                         // the limit is 5
		if _, err := connect(t, strings.Replace(f.url("dump"), "pwdump", "changed", 1)); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "dump")
	if err := f.dump(t, "dump", path); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("pg_restore", "--file=-", path).Output()
	if err != nil || !strings.Contains(string(out), "kept") {
		t.Errorf("restored: %s, %v", out, err)
	}
}

// The server is killed: its data are there, it comes back on its port, and so
// it does when its pid has come to be another process's.
func TestComesBack(t *testing.T) {
	f := open(t)
	exec1(t, f.tenant(t, "a"), "CREATE TABLE things (v text)")
	before := f.runner.Status("postgres")
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it does not come back", func() bool {
		conn, err := pgx.Connect(t.Context(), f.url("a"))
		if err != nil {
			return false
		}
		defer conn.Close(t.Context())
		_, err = conn.Exec(t.Context(), "SELECT FROM things")
		return err == nil && f.runner.Status("postgres").PID != before.PID
	})
	if after := f.runner.Status("postgres"); after.Ports["postgres"] != before.Ports["postgres"] {
		t.Errorf("ports: %v, before %v", after.Ports, before.Ports)
	}
	if err := f.runner.Stop(t.Context(), "postgres", 20*time.Second); err != nil {
		t.Fatal(err)
	}
	// As a machine's reset leaves it: a lock file that names a living stranger
	// of the same user, whom Postgres would take for its former self.
	stranger := exec.Command("sleep", "60")
	if o := f.c.Owner; o != (durable.Owner{}) {
		stranger.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(o.UID), Gid: uint32(o.GID)}}
	}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	lock := filepath.Join(f.c.Dir, "data", "postmaster.pid")
	content := fmt.Sprintf("%d\n%s\n0\n%d\n\n127.0.0.1\n", stranger.Process.Pid, filepath.Dir(lock), before.Ports["postgres"])
	if err := durable.Write(lock, []byte(content), 0o600, f.c.Owner); err != nil {
		t.Fatal(err)
	}
	f.open(t)
	// As an initdb that was killed leaves it: half a data directory, beside.
	if err := f.runner.Stop(t.Context(), "postgres", 20*time.Second); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(f.c.Dir, "data")
	if err := os.Rename(data, data+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(data+".new", "PG_VERSION")); err != nil {
		t.Fatal(err)
	}
	f.s = f.open(t)
	f.tenant(t, "a")
}

func logsNoPasswords(t *testing.T, f *fixture) {
	f.tenant(t, "log")
	master, err := connect(t, f.s.LedgerURL())
	if err != nil {
		t.Fatal(err)
	}
	_, err = master.Exec(t.Context(), "ALTER ROLE nobody_of_that_name PASSWORD 'pwsecret'")
	if err == nil {
		t.Fatal("the statement was to fail")
	}
	b, err := os.ReadFile(f.runner.LogFile("postgres"))
	if err != nil || !strings.Contains(string(b), "nobody_of_that_name") {
		t.Fatalf("the log lacks the error: %v\n%s", err, b)
	}
	if strings.Contains(string(b), "pwsecret") {
		t.Errorf("the log has the statement with its password:\n%s", b)
	}
}

func eventually(t *testing.T, complaint string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(complaint)
		}
	}
}
