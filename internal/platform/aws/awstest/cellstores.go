package awstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	efstypes "github.com/aws/aws-sdk-go-v2/service/efs/types"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	infraaws "github.com/gitopsd/gitopsd/infra/aws"
	tenants "github.com/gitopsd/gitopsd/infra/tenant"
	aws "github.com/gitopsd/gitopsd/internal/platform/aws"
	"github.com/gitopsd/gitopsd/internal/postgres/postgrestest"
)

// Who enters the stores of a played cell.
const (
	masterUser     = "gitopsd"
	masterPassword = "master-password-of-a-played-cell"
	keysUser       = "gitopsd"
	keysPassword   = "keys-password-of-a-played-cell"
	defaultUser    = "nobody" // the user group's, who may do nothing
)

// startPostgres starts the cell's Aurora: over TCP everybody needs a password,
// and the master is no superuser, as RDS' is none.
func (c *Cell) startPostgres(tb testing.TB) {
	tb.Helper()
	port := must[int](tb)(freePort())
	hba := filepath.Join(c.dir, "pg_hba.conf")
	rules := "local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
	if err := os.WriteFile(hba, []byte(rules), 0o644); err != nil { //nolint:gosec // Postgres is another user
		tb.Fatal(err)
	}
	var err error
	c.Postgres, err = postgrestest.Start("listen_addresses=127.0.0.1", "port="+strconv.Itoa(port), "hba_file="+hba, "max_connections=300")
	if err != nil {
		tb.Fatalf("start a Postgres: %v", err)
	}
	tb.Cleanup(c.Postgres.Stop)
	ctx := tb.Context()
	conn := must[*pgx.Conn](tb)(pgx.Connect(ctx, c.Postgres.URL("postgres")))
	defer conn.Close(ctx)
	for _, q := range []string{
		"CREATE ROLE " + masterUser + " LOGIN CREATEDB CREATEROLE PASSWORD '" + masterPassword + "'",
		"GRANT pg_monitor, pg_signal_backend TO " + masterUser,
		"ALTER DATABASE postgres OWNER TO " + masterUser, "ALTER DATABASE template1 OWNER TO " + masterUser,
		"CREATE DATABASE gitopsd OWNER " + masterUser,
	} {
		if _, err := conn.Exec(ctx, q); err != nil {
			tb.Fatalf("make the master: %v", err)
		}
	}
	c.master = aws.Master{
		Host: "127.0.0.1", Port: port, User: masterUser, Database: "gitopsd",
		Password: func(context.Context) (string, error) { return masterPassword, nil },
	}
	c.outputs.Database, c.outputs.DatabaseID = "127.0.0.1:"+strconv.Itoa(port), c.config.Name(infraaws.MaxDatabase)
}

// startRedis starts the cell's cache, whose users ElastiCache makes.
func (c *Cell) startRedis(tb testing.TB, slow time.Duration) {
	tb.Helper()
	const admin = "admin-password-of-a-played-cell"
	port := must[int](tb)(freePort())
	addr := "127.0.0.1:" + strconv.Itoa(port)
	users := filepath.Join(tb.TempDir(), "users.acl")
	acl := "user default off -@all\nuser admin on >" + admin + " ~* &* +@all\nuser " + keysUser + " on >" + keysPassword + " ~* &* +@all -@admin\n"
	if err := os.WriteFile(users, []byte(acl), 0o600); err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command("redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--databases", "1", "--aclfile", users, "--dir", filepath.Dir(users))
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		tb.Fatalf("start a Redis: %v", err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if tb.Failed() {
			tb.Logf("Redis says:\n%s", log.String())
		}
	})
	awaitTCP(tb, addr)
	c.Redis = redis.NewClient(&redis.Options{Addr: addr, Username: "admin", Password: admin, Protocol: 2})
	tb.Cleanup(func() { _ = c.Redis.Close() })
	if err := c.Redis.Ping(tb.Context()).Err(); err != nil {
		tb.Fatalf("enter the Redis: %v", err)
	}
	group := c.config.Name(infraaws.MaxUserGroup)
	c.Cache = c.PlayElastiCache(group, c.Redis, slow)
	c.keys = aws.KeysConfig{Addr: addr, User: keysUser, Password: func(context.Context) (string, error) { return keysPassword, nil }}
	c.outputs.CacheGroup, c.outputs.CacheEndpoint, c.outputs.CacheID = group, addr, c.config.Name(infraaws.MaxReplicationGroup)
}

func (c *Cell) makeFiles(ctx context.Context, tb testing.TB, shared *tenants.Shared) {
	tb.Helper()
	api := efs.NewFromConfig(c.moto)
	system := must[*efs.CreateFileSystemOutput](tb)(api.CreateFileSystem(ctx, &efs.CreateFileSystemInput{CreationToken: awssdk.String("gitopsd"), Encrypted: awssdk.Bool(true)}))
	shared.FileSystemID, shared.FileSystemARN = *system.FileSystemId, *system.FileSystemArn
	root := &efstypes.RootDirectory{Path: awssdk.String("/tenants"), CreationInfo: &efstypes.CreationInfo{
		OwnerUid: awssdk.Int64(int64(shared.PublisherUID)), OwnerGid: awssdk.Int64(int64(shared.PublisherUID)), Permissions: awssdk.String("0755"),
	}}
	point := must[*efs.CreateAccessPointOutput](tb)(api.CreateAccessPoint(ctx, &efs.CreateAccessPointInput{
		FileSystemId: system.FileSystemId, ClientToken: awssdk.String("publisher"), RootDirectory: root,
		PosixUser: &efstypes.PosixUser{Uid: root.CreationInfo.OwnerUid, Gid: root.CreationInfo.OwnerGid},
	}))
	c.outputs.FileSystem, c.outputs.Publisher = *system.FileSystemId, *point.AccessPointId
}

func (c *Cell) makeStores(ctx context.Context, tb testing.TB, shared *tenants.Shared) {
	tb.Helper()
	zone := must[*route53.CreateHostedZoneOutput](tb)(route53.NewFromConfig(c.moto).CreateHostedZone(ctx, &route53.CreateHostedZoneInput{
		Name: awssdk.String(Domain), CallerReference: awssdk.String("gitopsd"),
	}))
	shared.ZoneID = (*zone.HostedZone.Id)[strings.LastIndex(*zone.HostedZone.Id, "/")+1:]
	c.outputs.NameServers = zone.DelegationSet.NameServers
	buckets := c.buckets()
	for use, name := range map[string]*string{"state": &c.outputs.State, "snapshots": &c.outputs.Snapshots, "logs": &c.outputs.Logs} {
		*name = c.config.Name(infraaws.MaxBucket, Account, Region, use)
		must[*s3.CreateBucketOutput](tb)(buckets.CreateBucket(ctx, &s3.CreateBucketInput{
			Bucket: name, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: Region},
		}))
		must[*s3.PutBucketVersioningOutput](tb)(buckets.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
			Bucket: name, VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled},
		}))
	}
	secrets := secretsmanager.NewFromConfig(c.moto)
	secret := func(name, value string) string {
		out := must[*secretsmanager.CreateSecretOutput](tb)(secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{
			Name: awssdk.String("gitopsd/" + c.config.Cell + "/" + name), SecretString: &value,
		}))
		return *out.ARN
	}
	login, _ := json.Marshal(map[string]string{"username": masterUser, "password": masterPassword}) // strings only
	c.outputs.OriginSecret, c.outputs.MasterSecret = secret("origin", OriginSecret), secret("master", string(login))
}

// secretValue returns what a container's secret means: an ARN, and of a JSON
// value one key: arn:…:secret:<name>:<key>:<stage>:<version>. Only the execution
// role's may be read.
func (c *Cell) secretValue(ctx context.Context, valueFrom string) (string, error) {
	if !strings.HasPrefix(valueFrom, c.outputs.Shared.SecretPrefix) {
		return "", fmt.Errorf("AccessDeniedException: the execution role may not read %s", valueFrom)
	}
	parts := strings.Split(valueFrom, ":")
	in := &secretsmanager.GetSecretValueInput{
		SecretId:     awssdk.String(strings.Join(parts[:min(len(parts), 7)], ":")),
		VersionStage: awssdk.String("AWSCURRENT"), // moto's own default is the version that was put last
	}
	key := ""
	if len(parts) > 7 {
		if len(parts) != 10 {
			return "", fmt.Errorf("unexpected ARN format with parameters when trying to retrieve ASM secret: %s", valueFrom)
		}
		key = parts[7]
		if parts[8] != "" {
			in.VersionStage = &parts[8]
		}
		if parts[9] != "" {
			in.VersionId = &parts[9]
		}
	}
	out, err := secretsmanager.NewFromConfig(c.moto).GetSecretValue(ctx, in)
	if err != nil {
		return "", err
	}
	if key == "" {
		return awssdk.ToString(out.SecretString), nil
	}
	var values map[string]any
	if err := json.Unmarshal([]byte(*out.SecretString), &values); err != nil {
		return "", errors.New("the secret is not a JSON object")
	}
	value, ok := values[key].(string)
	if !ok {
		return "", fmt.Errorf("retrieved secret from Secrets Manager did not contain json key %s", key)
	}
	return value, nil
}

func makeDir(tb testing.TB, dir string) {
	tb.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // tenants' users pass through
		tb.Fatal(err)
	}
}

// makeOwned makes a directory, unless it is there, as an access point says.
func makeOwned(dir string, info *efstypes.CreationInfo) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if info == nil {
		return fmt.Errorf("%s does not exist and the access point has no creation info", dir)
	}
	mode, err := strconv.ParseUint(*info.Permissions, 8, 32)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the mode follows
		return err
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, int(*info.OwnerUid), int(*info.OwnerGid)); err != nil {
			return err
		}
	}
	return os.Chmod(dir, fs.FileMode(mode&0o777)|special(mode))
}

// special returns the bits that are not permissions.
func special(mode uint64) (m fs.FileMode) {
	if mode&0o2000 != 0 {
		m |= fs.ModeSetgid
	}
	if mode&0o1000 != 0 {
		m |= fs.ModeSticky
	}
	return m
}
