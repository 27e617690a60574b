package aws_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	cell "github.com/gitopsd/gitopsd/infra/platform"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
	aws "github.com/gitopsd/gitopsd/internal/platform/aws"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
	"github.com/gitopsd/gitopsd/internal/platform/platformtest"
	"github.com/gitopsd/gitopsd/internal/release"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// restoreEnv tells a process of the tests to do nothing but restore: see restoreOften.
const restoreEnv = "GITOPSD_TEST_RESTORE"

// noStacks fails whoever wants infrastructure: these tests have it there already.
type noStacks struct{ aws.Stacks }

// place is a cell as another process needs to know it.
type place struct {
	Cell                   cell.Outputs
	AWS                    string // URL
	Volumes, Temp          string
	Host                   string
	Port                   int
	MasterUser, Master     string
	CacheAddr, User, Cache string
	Tenant, Snapshot       string
}

func constant(s string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return s, nil }
}

func (p place) open(ctx context.Context) (*aws.Driver, error) {
	return aws.Open(ctx, aws.Config{
		Cell: p.Cell, OriginSecret: awstest.OriginSecret, Volumes: p.Volumes, Temp: p.Temp, Stacks: noStacks{},
		AWS: awssdk.Config{
			Region: awstest.Region, BaseEndpoint: awssdk.String(p.AWS), HTTPClient: http.DefaultClient,
			Credentials: awssdk.CredentialsProviderFunc(func(context.Context) (awssdk.Credentials, error) {
				return awssdk.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
			}),
		},
		Master: aws.Master{Host: p.Host, Port: p.Port, User: p.MasterUser, Database: "gitopsd", Password: constant(p.Master)},
		Keys:   aws.KeysConfig{Addr: p.CacheAddr, User: p.User, Password: constant(p.Cache)},
		Logger: slog.New(slog.DiscardHandler),
	})
}

// restoreOften is a control plane that does nothing but restore.
func restoreOften(ctx context.Context, text string) error {
	var p place
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return err
	}
	d, err := p.open(ctx)
	if err != nil {
		return err
	}
	fmt.Println("open")
	for {
		if err := d.RestoreSnapshot(ctx, p.Tenant, p.Snapshot); err != nil {
			return err
		}
	}
}

// snapshotWorld is a cell with tenants that have data, a release and assets, and
// no tasks.
type snapshotWorld struct {
	*awstest.Cell
	at place
	d  *aws.Driver
	s3 *s3.Client

	ends func(func()) // does something when the world ends
}

func newSnapshotWorld(t *testing.T) *snapshotWorld {
	t.Helper()
	w := &snapshotWorld{Cell: awstest.NewCell(t, awstest.WithoutProcesses()), ends: t.Cleanup}
	master, keys := w.Master(), w.Keys()
	secret := func(ask func(context.Context) (string, error)) string {
		value, err := ask(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	w.at = place{
		Cell: w.Outputs(), AWS: *w.AWS().BaseEndpoint, Volumes: w.Volumes(), Temp: t.TempDir(),
		Host: master.Host, Port: master.Port, MasterUser: master.User, Master: secret(master.Password),
		CacheAddr: keys.Addr, User: keys.User, Cache: secret(keys.Password),
	}
	w.reopen(t)
	w.s3 = s3.NewFromConfig(w.AWS(), func(o *s3.Options) { o.UsePathStyle = true })
	_, err := w.s3.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{ // as infra/platform says
		Bucket:                  awssdk.String(w.Outputs().Snapshots),
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *snapshotWorld) reopen(t *testing.T) {
	t.Helper()
	d, err := w.at.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.ends(func() { d.Close() })
	w.d = d
}

func snapshotConfig(name string) platform.Config {
	return platform.Assemble(&tenant.Tenant{
		Name: name, Compute: tenant.Compute{Scale: tenant.Scale{Min: 1, Max: 1}},
		Database: tenant.Database{Enabled: true, Connections: 5}, Cache: tenant.Cache{Enabled: true},
	}, awstest.Domain)
}

// provision has a tenant there, as if it was drained.
func (w *snapshotWorld) provision(t *testing.T, name string) {
	t.Helper()
	c := snapshotConfig(name)
	record, err := json.Marshal(map[string]any{
		"tenant": name, "uid": 20000, "config": c, "phase": "drained", "outputs": map[string]string{"bucket": w.bucket(name)},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.put(t, w.Outputs().State, "tenants/"+name+".json", record)
	_, err = w.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: awssdk.String(w.bucket(name)), CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: awstest.Region},
	})
	if err != nil && !strings.Contains(err.Error(), "BucketAlreadyOwnedByYou") {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(w.Volumes(), name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := w.d.EnsureDatabase(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := w.d.EnsureCacheUser(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func (w *snapshotWorld) bucket(name string) string { return "assets-of-" + name }

// publish makes a release of an app of that many bytes the current one.
func (w *snapshotWorld) publish(t *testing.T, name, text string, size int) string {
	t.Helper()
	app := filepath.Join(t.TempDir(), "app")
	if err := os.WriteFile(app, bytes.Repeat([]byte("0123456789abcdef"), size/16), 0o755); err != nil { //nolint:gosec // an app
		t.Fatal(err)
	}
	v := release.Open(filepath.Join(w.Volumes(), name))
	digest, err := platformtest.Stage(v, release.Manifest{Tenant: name, Build: text, Health: "/healthz"}, app, text)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.d.UploadStatic(t.Context(), name, digest); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Publish(digest, strings.Repeat("a", 40)); err != nil {
		t.Fatal(err)
	}
	if err := w.d.ActivateStatic(t.Context(), name, digest); err != nil {
		t.Fatal(err)
	}
	return digest
}

// conn connects as the tenant does.
func (w *snapshotWorld) conn(t *testing.T, name string) *pgx.Conn {
	t.Helper()
	url, err := w.d.Database(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// setData has rows and keys of the tenant say what.
func (w *snapshotWorld) setData(t *testing.T, name, what string) {
	t.Helper()
	conn := w.conn(t, name)
	defer conn.Close(t.Context())
	for _, q := range []string{
		`CREATE TABLE IF NOT EXISTS data (v text, filler text)`, `DELETE FROM data`,
		`INSERT INTO data SELECT '` + what + `', repeat(i::text, 50) FROM generate_series(1, 3000) i`,
	} {
		if _, err := conn.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.Redis.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
		for i := range 1500 {
			pipe.Set(t.Context(), fmt.Sprintf("%s:%d", name, i), what, 0)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// data returns what rows and keys say: one word each, or several with '+' between.
func (w *snapshotWorld) data(t *testing.T, name string) (row, key string) {
	t.Helper()
	conn := w.conn(t, name)
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), `SELECT string_agg(DISTINCT v, '+') FROM data`).Scan(&row); err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for i := range 1500 {
		said[w.Redis.Get(t.Context(), fmt.Sprintf("%s:%d", name, i)).Val()] = true
	}
	for s := range said {
		key += "+" + s
	}
	return row, strings.TrimPrefix(key, "+")
}

func (w *snapshotWorld) wantData(t *testing.T, name, want, when string) {
	t.Helper()
	if row, key := w.data(t, name); row != want || key != want {
		t.Errorf("%s, the rows of %s say %q and its keys %q, want %q", when, name, row, key, want)
	}
}

func (w *snapshotWorld) put(t *testing.T, bucket, key string, content []byte) {
	t.Helper()
	_, err := w.s3.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: awssdk.String(bucket), Key: awssdk.String(key), Body: bytes.NewReader(content),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *snapshotWorld) get(t *testing.T, bucket, key string) []byte {
	t.Helper()
	out, err := w.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: awssdk.String(bucket), Key: awssdk.String(key)})
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (w *snapshotWorld) remove(t *testing.T, bucket, key string) {
	t.Helper()
	_, err := w.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: awssdk.String(bucket), Key: awssdk.String(key)})
	if err != nil {
		t.Fatal(err)
	}
}

// objects returns the keys below a prefix of the bucket of snapshots, and how many
// versions there are, removed ones too.
func (w *snapshotWorld) objects(t *testing.T, prefix string) (keys []string, versions int) {
	t.Helper()
	out, err := w.s3.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{
		Bucket: awssdk.String(w.Outputs().Snapshots), Prefix: awssdk.String(prefix),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range out.Versions {
		if *v.IsLatest {
			keys = append(keys, *v.Key)
		}
	}
	return keys, len(out.Versions) + len(out.DeleteMarkers)
}

// nothingLeft looks for what a restore works with.
func (w *snapshotWorld) nothingLeft(t *testing.T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), w.Postgres.URL("postgres")+fmt.Sprintf("&port=%d", w.at.Port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var left []string
	if err := conn.QueryRow(t.Context(), `SELECT array_agg(datname) FROM pg_database WHERE datname LIKE '%.%'`).Scan(&left); err != nil || len(left) > 0 {
		t.Errorf("databases are left: %v, %v", left, err)
	}
	if keys, err := w.Redis.Keys(t.Context(), "~*").Result(); err != nil || len(keys) > 0 {
		t.Errorf("keys are left: %v, %v", keys, err)
	}
}

// take takes a snapshot and returns its name.
func (w *snapshotWorld) take(t *testing.T, name string) string {
	t.Helper()
	where, err := w.d.Snapshot(t.Context(), name)
	if err != nil {
		t.Fatalf("%v: %s", err, fault.RecordOf(err).Detail)
	}
	return where[strings.LastIndex(where, "/")+1:]
}

func sum(content []byte) string { return fmt.Sprintf("%x", sha256.Sum256(content)) }
