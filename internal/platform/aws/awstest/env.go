package awstest

import (
	"bytes"
	"context"
	"io"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/jackc/pgx/v5"

	tenants "github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/platform/platformtest"
)

// Env returns the surroundings of a driver for the conformance suite, once the
// edge runs. What stores secrets is the driver's.
func (c *Cell) Env(tb testing.TB, setSecret func(ctx context.Context, tenant, name, value string) error) platformtest.Env {
	tb.Helper()
	c.edge.Do(func() { c.edgeAddr = c.startEdge(tb) })
	in := c.Obstructions()
	return platformtest.Env{
		Domain: Domain, Edge: c.edgeAddr, Late: true, SetSecret: setSecret,
		Obstruct: map[string]func(*testing.T, string) func(){
			"EnsureInfrastructure": in["service"], "DestroyInfrastructure": in["bucket"],
			"EnsureDatabase": in["database"], "DropDatabase": in["role"], "EnsureCacheUser": in["cache user"], "DropCacheUser": in["cache user"],
		},
		Damage: map[string]func(*testing.T, string, string) func(){
			"a changed byte in the dump": c.flip("database.dump"), "a changed byte in the keys": c.flip("cache.jsonl"),
			"a changed byte in the app": c.flip("release/app"), "a changed byte in an asset": c.flip("static/assets/index.txt"),
			"a file that is not there": c.hide("cache.jsonl"), "no manifest": c.hide("manifest.json"),
			"a file that nobody listed": c.intrude("static/more.txt"),
		},
	}
}

// named returns the names of a tenant's things in the cell.
func (c *Cell) named(tenant string) tenants.Config {
	return tenants.Config{Shared: c.outputs.Shared, Tenant: platform.Config{Tenant: tenant, Hosts: []string{tenant + "." + Domain}}}
}

// Obstructions put something in the way of a tenant that has the name of the
// tenant's, and not its tags or mark. Each returns what takes it away again, and
// fails the test if it is not there any more.
func (c *Cell) Obstructions() map[string]func(t *testing.T, tenant string) (remove func()) {
	return map[string]func(*testing.T, string) func(){
		"bucket": c.foreignBucket, "secret": c.foreignSecret, "cache user": c.foreignUser, "role": c.foreignRole,
		"database": c.foreignDatabase, "service": c.foreignService, "log group": c.foreignLogs,
	}
}

func (c *Cell) foreignBucket(t *testing.T, tenant string) func() {
	t.Helper()
	api, name := c.buckets(), c.named(tenant).BucketName()
	_, err := api.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: &name, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: Region},
	})
	fatal(t, err)
	_, err = api.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &name, Key: awssdk.String("theirs"), Body: bytes.NewReader([]byte("theirs"))})
	fatal(t, err)
	return func() {
		t.Helper()
		_, err := api.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &name, Key: awssdk.String("theirs")})
		fatal(t, err)
		_, err = api.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &name, Key: awssdk.String("theirs")})
		fatal(t, err)
		_, err = api.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: &name})
		fatal(t, err)
	}
}

func (c *Cell) foreignSecret(t *testing.T, tenant string) func() {
	t.Helper()
	api, name := secretsmanager.NewFromConfig(c.moto), "gitopsd/"+c.config.Cell+"/tenant/"+tenant
	_, err := api.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: awssdk.String(`{"theirs":"yes"}`)})
	fatal(t, err)
	return func() {
		t.Helper()
		_, err := api.DeleteSecret(t.Context(), &secretsmanager.DeleteSecretInput{SecretId: &name, ForceDeleteWithoutRecovery: awssdk.Bool(true)})
		fatal(t, err)
	}
}

func (c *Cell) foreignUser(t *testing.T, tenant string) func() {
	t.Helper()
	api, id := elasticache.NewFromConfig(c.Config()), tenants.UserID(c.config.Cell, tenant)
	_, err := api.CreateUser(t.Context(), &elasticache.CreateUserInput{
		UserId: &id, UserName: awssdk.String("t_" + tenant), Engine: awssdk.String("redis"), AccessString: awssdk.String("on ~* +@read"),
		Passwords: []string{"a-password-of-somebody-else"},
	})
	fatal(t, err)
	return func() {
		t.Helper()
		_, err := api.DeleteUser(t.Context(), &elasticache.DeleteUserInput{UserId: &id})
		fatal(t, err)
	}
}

func (c *Cell) foreignRole(t *testing.T, tenant string) func() {
	c.exec(t, `CREATE ROLE "t_`+tenant+`"`)
	return func() { c.exec(t, `DROP ROLE "t_`+tenant+`"`) }
}

func (c *Cell) foreignDatabase(t *testing.T, tenant string) func() {
	c.exec(t, `CREATE DATABASE "t_`+tenant+`"`)
	return func() { c.exec(t, `DROP DATABASE "t_`+tenant+`"`) }
}

func (c *Cell) exec(t *testing.T, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.Postgres.URL("postgres"))
	fatal(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	_, err = conn.Exec(t.Context(), sql)
	fatal(t, err)
}

func (c *Cell) foreignService(t *testing.T, tenant string) func() {
	t.Helper()
	api, name, cluster := ecs.NewFromConfig(c.Config()), c.named(tenant).ServiceName(), &c.outputs.Shared.ClusterName
	_, err := api.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: awssdk.String("foreign-" + tenant), ContainerDefinitions: []ecstypes.ContainerDefinition{
			{Name: awssdk.String("theirs"), Image: awssdk.String("theirs"), Memory: awssdk.Int32(64)},
		},
	})
	fatal(t, err)
	_, err = api.CreateService(t.Context(), &ecs.CreateServiceInput{
		Cluster: cluster, ServiceName: &name, TaskDefinition: awssdk.String("foreign-" + tenant), DesiredCount: awssdk.Int32(0),
	})
	fatal(t, err)
	return func() {
		t.Helper()
		_, err := api.DeleteService(t.Context(), &ecs.DeleteServiceInput{Cluster: cluster, Service: &name})
		fatal(t, err)
		_, err = api.DeregisterTaskDefinition(t.Context(), &ecs.DeregisterTaskDefinitionInput{TaskDefinition: awssdk.String("foreign-" + tenant + ":1")})
		fatal(t, err)
	}
}

func (c *Cell) foreignLogs(t *testing.T, tenant string) func() {
	t.Helper()
	api, name := cloudwatchlogs.NewFromConfig(c.Config()), c.named(tenant).LogGroupName()
	_, err := api.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &name})
	fatal(t, err)
	return func() {
		t.Helper()
		_, err := api.DeleteLogGroup(t.Context(), &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: &name})
		fatal(t, err)
	}
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (c *Cell) buckets() *s3.Client {
	return s3.NewFromConfig(c.moto, func(o *s3.Options) { o.UsePathStyle = true })
}

// What changes a snapshot: its files are objects tenants/<tenant>/<name>/<path>.

func (c *Cell) read(t *testing.T, key string) []byte {
	t.Helper()
	out, err := c.buckets().GetObject(t.Context(), &s3.GetObjectInput{Bucket: &c.outputs.Snapshots, Key: &key})
	fatal(t, err)
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	fatal(t, err)
	return b
}

func (c *Cell) write(t *testing.T, key string, b []byte) {
	t.Helper()
	_, err := c.buckets().PutObject(t.Context(), &s3.PutObjectInput{Bucket: &c.outputs.Snapshots, Key: &key, Body: bytes.NewReader(b)})
	fatal(t, err)
}

func (c *Cell) remove(t *testing.T, key string) {
	t.Helper()
	_, err := c.buckets().DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &c.outputs.Snapshots, Key: &key})
	fatal(t, err)
}

func snapshotKey(tenant, snapshot, file string) string {
	return "tenants/" + tenant + "/" + snapshot + "/" + file
}

func (c *Cell) flip(file string) func(*testing.T, string, string) func() {
	return func(t *testing.T, tenant, snapshot string) func() {
		key := snapshotKey(tenant, snapshot, file)
		b := c.read(t, key)
		changed := bytes.Clone(b)
		changed[len(b)/2] ^= 1
		c.write(t, key, changed)
		return func() { c.write(t, key, b) }
	}
}

func (c *Cell) hide(file string) func(*testing.T, string, string) func() {
	return func(t *testing.T, tenant, snapshot string) func() {
		key := snapshotKey(tenant, snapshot, file)
		b := c.read(t, key)
		c.remove(t, key)
		return func() { c.write(t, key, b) }
	}
}

func (c *Cell) intrude(file string) func(*testing.T, string, string) func() {
	return func(t *testing.T, tenant, snapshot string) func() {
		key := snapshotKey(tenant, snapshot, file)
		c.write(t, key, []byte("more"))
		return func() { c.remove(t, key) }
	}
}
