package snapshot_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/snapshot"
	"github.com/gitopsd/gitopsd/internal/platform/tenantdb"
	"github.com/gitopsd/gitopsd/internal/platform/tenantkeys"
	"github.com/gitopsd/gitopsd/internal/postgres/postgrestest"
	"github.com/gitopsd/gitopsd/internal/release"
)

// The drivers' own tests take and restore snapshots; here is what is hard to bring
// about there.

var server *postgrestest.Server

func TestMain(m *testing.M) { postgrestest.Main(m, func(s *postgrestest.Server) { server = s }) }

// shelf is a Store of which only Create works: what is put is told, and fails at a name.
type shelf struct {
	snapshot.Store
	put       []string
	fail      string
	committed bool
}

func (s *shelf) Create(context.Context, string, string) (snapshot.Writer, error) { return s, nil }

func (s *shelf) List(context.Context, string) ([]snapshot.Kept, error) { return nil, nil }

func (s *shelf) Put(_ context.Context, f release.File, source string) error {
	info, err := os.Stat(source)
	if err != nil || info.Size() != f.Size {
		return errors.Join(errors.New("it is not the file that is put"), err)
	}
	s.put = append(s.put, f.Path)
	if f.Path == s.fail {
		return errors.New("the shelf is full")
	}
	return nil
}

func (s *shelf) Commit(context.Context, []byte) error {
	s.committed = true
	return nil
}

type noAssets struct{ snapshot.Assets }

func (noAssets) Served(context.Context, string, func(context.Context, string, string) error) (string, error) {
	return "", nil
}

// subject is a tenant with more in its database than a few bytes.
func subject(t *testing.T) snapshot.Subject {
	t.Helper()
	u, err := url.Parse(server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	nobody := func(context.Context) (string, error) { return "", nil }
	d, err := tenantdb.Open(t.Context(), tenantdb.Config{Master: tenantdb.Master{
		Host: u.Query().Get("host"), User: "postgres", Database: "postgres", Password: nobody,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	if err := d.Ensure(t.Context(), "acme", "pw", 5); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), d.URL("acme", "pw"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), `CREATE TABLE IF NOT EXISTS things AS SELECT gen_random_uuid() FROM generate_series(1, 20000)`); err != nil {
		t.Fatal(err)
	}
	return snapshot.Subject{
		Tenant: "acme", Databases: d, Keys: tenantkeys.New(openRedis(t)), Volume: release.Open(t.TempDir()), Assets: noAssets{}, Password: "pw",
	}
}

func openRedis(t *testing.T) *redis.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	cmd := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	db := redis.NewClient(&redis.Options{
		DisableIdentity: true,
		Dialer:          func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) },
	})
	t.Cleanup(func() { db.Close() })
	for deadline := time.Now().Add(15 * time.Second); db.Ping(t.Context()).Err() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(db.Ping(t.Context()).Err())
		}
	}
	return db
}

// A dump that takes more room than there is ends the snapshot, and not the disk.
func TestDumpThatIsTooLong(t *testing.T) {
	s := subject(t)
	for limit, fits := range map[int64]bool{0: true, 1000: false, 100 << 20: true} {
		temp := t.TempDir()
		shelf := new(shelf)
		k := snapshot.Keeper{Store: shelf, Temp: temp, Limit: limit, Logger: slog.New(slog.DiscardHandler)}
		name, err := k.Take(t.Context(), s)
		if fits != (err == nil && name != "") || fits != shelf.committed {
			t.Errorf("with %d bytes: %q, %v; committed: %t", limit, name, err, shelf.committed)
		}
		if r := fault.RecordOf(err); !fits && (r.Kind != fault.Stalled || r.Hint == "") {
			t.Errorf("with %d bytes: %+v, want Stalled and what to do", limit, r)
		}
		if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
			t.Errorf("with %d bytes it leaves %v, %v", limit, left, err)
		}
	}
}

// What cannot be kept is no snapshot; and what one that was killed left on local
// disk goes.
func TestStoreThatFails(t *testing.T) {
	s := subject(t)
	temp := t.TempDir()
	if err := os.MkdirAll(filepath.Join(temp, "acme"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(temp, "acme", "database.dump"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	shelf := &shelf{fail: "cache.jsonl"}
	k := snapshot.Keeper{Store: shelf, Temp: temp, Logger: slog.New(slog.DiscardHandler)}
	if _, err := k.Take(t.Context(), s); err == nil || !strings.Contains(err.Error(), "full") || shelf.committed {
		t.Errorf("%v; committed: %t", err, shelf.committed)
	}
	if !slices.Equal(shelf.put, []string{"database.dump", "cache.jsonl"}) {
		t.Errorf("put: %v", shelf.put)
	}
	if _, err := os.Stat(filepath.Join(temp, "acme")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left on local disk: %v", err)
	}
}
