package local_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
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
	"github.com/gitopsd/gitopsd/internal/platform/local"
	"github.com/gitopsd/gitopsd/internal/release"
)

// flip returns what changes a byte in the middle of a snapshot's file. The file
// is made anew: it may be a link to what the tenant serves.
func (p *place) flip(file string) func(*testing.T, string, string) func() {
	return func(t *testing.T, tenant, snapshot string) func() {
		path := filepath.Join(p.dir, "snapshots", tenant, snapshot, file)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := bytes.Clone(b)
		changed[len(b)/2] ^= 1
		p.replace(t, path, changed)
		return func() { p.replace(t, path, b) }
	}
}

func (p *place) replace(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, content, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func (p *place) hide(file string) func(*testing.T, string, string) func() {
	return func(t *testing.T, tenant, snapshot string) func() {
		path := filepath.Join(p.dir, "snapshots", tenant, snapshot, file)
		aside := filepath.Join(p.dir, "snapshots", "aside")
		if err := os.Rename(path, aside); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := os.Rename(aside, path); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (p *place) intrude(t *testing.T, tenant, snapshot string) func() {
	path := filepath.Join(p.dir, "snapshots", tenant, snapshot, "static", "more.txt")
	p.replace(t, path, []byte("more"))
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// link puts a link to a file of the same content in the place of a snapshot's.
func (p *place) link(file string) func(*testing.T, string, string) func() {
	return func(t *testing.T, tenant, snapshot string) func() {
		back := p.hide(file)(t, tenant, snapshot)
		path := filepath.Join(p.dir, "snapshots", tenant, snapshot, file)
		if err := os.Symlink(filepath.Join(p.dir, "snapshots", "aside"), path); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			back()
		}
	}
}

// snapshotManifest reads what a snapshot says of itself.
func snapshotManifest(t *testing.T, w *world) {
	path, err := w.driver.Snapshot(t.Context(), "left")
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		Tenant, Postgres, Static string
		Keys, Tables             int
		Release                  *release.Pointer
		Files                    []release.File
	}
	b, err := os.ReadFile(filepath.Join(path, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &manifest); err != nil || manifest.Keys != 1 || manifest.Release == nil ||
		manifest.Tenant != "left" || manifest.Postgres == "" {
		t.Fatalf("manifest: %s, %v", b, err)
	}
	var names []string
	for _, f := range manifest.Files {
		names = append(names, f.Path)
	}
	want := []string{"cache.jsonl", "database.dump", "release/app", "release/manifest.json", "release/static/assets/index.txt"}
	if manifest.Static != "" {
		want = append(want, "static/assets/index.txt")
	}
	if !slices.Equal(names, want) {
		t.Errorf("files: %v, want %v", names, want)
	}
	v, err := w.driver.Volume(t.Context(), "left")
	if err != nil {
		t.Fatal(err)
	}
	m, err := v.Manifest(manifest.Release.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.Index(names, "release/app"); manifest.Files[i].SHA256 != m.Binary.SHA256 || manifest.Files[i].Size != m.Binary.Size {
		t.Errorf("the app is %+v in the snapshot, and %+v in its release", manifest.Files[i], m.Binary)
	}
}

// hostileDump restores a database whose constraint tries, as it is restored, to
// become who restores it.
func hostileDump(t *testing.T, w *world) {
	sql := func(q string) (int, string) {
		t.Helper()
		status, body, err := w.post(t.Context(), "right", "/sql", url.Values{"q": {q}})
		if err != nil {
			t.Fatal(err)
		}
		return status, body
	}
	for _, q := range []string{
		`CREATE FUNCTION grab() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
			BEGIN RESET ROLE; EXCEPTION WHEN OTHERS THEN NULL; END;
			BEGIN EXECUTE 'SET ROLE gitopsd'; EXCEPTION WHEN OTHERS THEN NULL; END;
			BEGIN EXECUTE 'CREATE ROLE grabbed'; EXCEPTION WHEN OTHERS THEN NULL; END;
			RETURN true; END $$`,
		`CREATE TABLE bait (v text CHECK (public.grab()))`,
		`INSERT INTO bait VALUES ('x')`,
		`DO $$ BEGIN -- nor does that keep it from being restored
			ALTER ROLE t_right SET default_transaction_read_only = on;
			ALTER ROLE t_right PASSWORD 'another'; END $$`,
	} {
		if status, body := sql(q); status != http.StatusOK {
			t.Fatalf("%s: status %d: %s", q, status, body)
		}
	}
	path, err := w.driver.Snapshot(t.Context(), "right")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.driver.RestoreSnapshot(t.Context(), "right", filepath.Base(path)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its rows are not back", func() bool {
		status, body := sql("SELECT v FROM bait")
		return status == http.StatusOK && body == `["x"]`
	})
	conn := w.super(t)
	defer conn.Close(t.Context())
	var roles int
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_roles WHERE rolname = 'grabbed'`).Scan(&roles); err != nil || roles > 0 {
		t.Errorf("a dump made %d roles (%v)", roles, err)
	}
	w.exec(t, `ALTER ROLE t_right RESET default_transaction_read_only`)
}

// unfit restores a snapshot whose dump is as it was saved and yet of no use.
func unfit(t *testing.T, w *world) {
	path, err := w.driver.Snapshot(t.Context(), "left")
	if err != nil {
		t.Fatal(err)
	}
	dump := []byte("PGDMP, and then nothing of the kind")
	w.replace(t, filepath.Join(path, "database.dump"), dump)
	var manifest map[string]any
	w.readJSON(t, &manifest, "snapshots", "left", filepath.Base(path), "manifest.json")
	for _, f := range manifest["files"].([]any) {
		if file := f.(map[string]any); file["path"] == "database.dump" {
			file["sha256"], file["size"] = fmt.Sprintf("%x", sha256.Sum256(dump)), len(dump)
		}
	}
	b, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	w.replace(t, filepath.Join(path, "manifest.json"), b)
	if !w.serves(t, "left") {
		t.Fatal("not served")
	}
	err = w.driver.RestoreSnapshot(t.Context(), "left", filepath.Base(path))
	if r := fault.RecordOf(err); r == nil || r.Kind != fault.Stalled || !strings.Contains(r.Detail, "pg_restore") {
		t.Errorf("%+v, want Stalled, and what pg_restore says", r)
	}
	if !w.serves(t, "left") {
		t.Error("not served after a restore that failed")
	}
	w.nothingLeft(t)
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// pinned verifies the oldest snapshot: it outlives younger ones.
func pinned(t *testing.T, w *world) {
	all, err := w.driver.Snapshots(t.Context(), "left")
	if err != nil || len(all) != 5 {
		t.Fatalf("%+v, %v", all, err)
	}
	oldest := all[len(all)-1].Name
	if err := w.driver.VerifySnapshot(t.Context(), "left", oldest); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := w.driver.Snapshot(t.Context(), "left"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.driver.VerifySnapshot(t.Context(), "left", oldest); err != nil {
		t.Errorf("the one to be restored was pruned: %v", err)
	}
	if all, err = w.driver.Snapshots(t.Context(), "left"); err != nil || len(all) != 5 {
		t.Errorf("%d are kept, want 5 (%v)", len(all), err)
	}
}

// restoreOften is a control plane that does nothing but restore.
func restoreOften(ctx context.Context, d *local.Driver, snapshot string) error {
	for {
		if err := d.RestoreSnapshot(ctx, "driven", snapshot); err != nil {
			return err
		}
	}
}

// TestRestoreKilledAnywhere kills the control plane while it restores. What the
// next one finds is what was there before or what was restored, never some of both.
func TestRestoreKilledAnywhere(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	c := config("driven")
	d := p.open(t)
	provision := func() {
		t.Helper()
		if err := errors.Join(d.EnsureInfrastructure(t.Context(), c), d.EnsureDatabase(t.Context(), c), d.EnsureCacheUser(t.Context(), c)); err != nil {
			t.Fatal(err)
		}
	}
	provision()
	p.setData(t, "saved")
	path, err := d.Snapshot(t.Context(), "driven")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for i := range 12 {
		p.setData(t, "changed")
		p.leave(t)
		p.killRestoring(t, filepath.Base(path), rand.N(400*time.Millisecond))
		d = p.open(t)
		if i%2 == 0 {
			if err := d.EnsureDatabase(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		} else if _, err := d.Snapshot(t.Context(), "driven"); err != nil {
			t.Fatal(err)
		}
		row, key := p.data(t)
		if row != key {
			t.Fatalf("round %d: the row is %q and the key %q", i, row, key)
		}
		seen[row]++
		p.nothingLeft(t)
	}
	t.Logf("found: %v", seen)
	if err := d.RestoreSnapshot(t.Context(), "driven", filepath.Base(path)); err != nil {
		t.Fatal(err)
	}
	if row, key := p.data(t); row != "saved" || key != "saved" {
		t.Errorf("after a restore that was not killed: %q, %q", row, key)
	}
	if err := unmake(t.Context(), d); err != nil {
		t.Error(err)
	}
}

func (p *place) killRestoring(t *testing.T, snapshot string, after time.Duration) {
	t.Helper()
	c := p.config(t)
	cmd := exec.Command(c.Self, "drive", "-dir", p.dir, "-edge", p.edge, "-self", c.Self, "-agent", p.agent, "-restore", snapshot)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // "open"
		t.Fatalf("the control plane does not open: %v\n%s", err, errs.String())
	}
	time.Sleep(after) // the moment to kill it at
	_ = cmd.Process.Kill()
	if err := cmd.Wait(); err == nil || errs.Len() > 0 {
		t.Fatalf("the control plane ended by itself: %v\n%s", err, errs.String())
	}
}

// setData has one row and one key of the tenant say what, as an operator.
func (p *place) setData(t *testing.T, what string) {
	t.Helper()
	conn := p.database(t)
	defer conn.Close(t.Context())
	for _, q := range []string{
		`CREATE TABLE IF NOT EXISTS data (v text, filler text)`, `ALTER TABLE data OWNER TO t_driven`, `DELETE FROM data`,
		`INSERT INTO data SELECT '` + what + `', repeat(i::text, 50) FROM generate_series(1, 5000) i`,
	} {
		if _, err := conn.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	admin := p.admin(t)
	defer admin.Close()
	_, err := admin.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
		for i := range 2000 {
			pipe.Set(t.Context(), fmt.Sprintf("driven:%d", i), what, 0)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (p *place) data(t *testing.T) (row, key string) {
	t.Helper()
	conn := p.database(t)
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), `SELECT string_agg(DISTINCT v, '+') FROM data`).Scan(&row); err != nil {
		t.Fatal(err)
	}
	admin := p.admin(t)
	defer admin.Close()
	keys, err := admin.Keys(t.Context(), "driven:*").Result()
	if err != nil || len(keys) != 2000 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	values, err := admin.MGet(t.Context(), keys...).Result()
	if err != nil {
		t.Fatal(err)
	}
	var distinct []string
	for _, v := range values {
		if s := fmt.Sprint(v); !slices.Contains(distinct, s) {
			distinct = append(distinct, s)
		}
	}
	return row, strings.Join(distinct, "+")
}

// database connects to the tenant's database as the superuser.
func (p *place) database(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://postgres:%s@127.0.0.1:%d/t_driven",
		p.keys(t).PostgresSuper, p.port(t, "postgres")))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// nothingLeft looks for databases and keys that a restore works with.
func (p *place) nothingLeft(t *testing.T) {
	t.Helper()
	conn := p.super(t)
	defer conn.Close(t.Context())
	var left []string
	if err := conn.QueryRow(t.Context(), `SELECT array_agg(datname) FROM pg_database WHERE datname LIKE '%.%'`).Scan(&left); err != nil || len(left) > 0 {
		t.Errorf("databases are left: %v, %v", left, err)
	}
	admin := p.admin(t)
	defer admin.Close()
	if keys, err := admin.Keys(t.Context(), "~*").Result(); err != nil || len(keys) > 0 {
		t.Errorf("keys are left: %v, %v", keys, err)
	}
}
