package awstest

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/jackc/pgx/v5"

	tenants "github.com/gitopsd/gitopsd/infra/tenant"
)

// Left returns all of a tenant that is anywhere in the cell, but for snapshots,
// which stay, and the output of tasks that nobody removed. It looks into what
// plays AWS, past its API, where it can.
func (c *Cell) Left(ctx context.Context, tenant string) ([]string, error) {
	found := slices.Concat(c.leftPlayed(tenant), c.leftOnDisk(tenant))
	for _, look := range []func(context.Context, string) ([]string, error){
		c.leftInBuckets, c.leftSecrets, c.leftRoles, c.leftPoints, c.leftRecords, c.leftData,
	} {
		more, err := look(ctx, tenant)
		if err != nil {
			return nil, fmt.Errorf("what is left of %s: %w", tenant, err)
		}
		found = append(found, more...)
	}
	slices.Sort(found)
	return found, nil
}

// leftPlayed looks into what is played here.
func (c *Cell) leftPlayed(tenant string) []string {
	return slices.Concat(c.ECS.left(c.named(tenant)), c.CloudMap.left(c.named(tenant)), c.AutoScaling.left(c.named(tenant)),
		c.Logs.left(c.named(tenant)), c.CloudFront.left(tenant), c.ACM.left(tenant), c.Cache.left(tenants.UserID(c.config.Cell, tenant)))
}

func (e *ECS) left(n tenants.Config) (found []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, cl := range e.clusters {
		if s := cl.services[n.ServiceName()]; s != nil && *s.Status != "INACTIVE" {
			found = append(found, "service "+*s.ServiceArn+" "+*s.Status)
		}
		for arn, t := range cl.tasks {
			if *t.service.ServiceName == n.ServiceName() && *t.LastStatus != "STOPPED" {
				found = append(found, "task "+arn+" "+*t.LastStatus)
			}
		}
		if *cl.Status == "ACTIVE" && *cl.ClusterName == n.ServiceName() {
			found = append(found, "cluster "+*cl.ClusterArn)
		}
	}
	for _, d := range e.definitions[n.ServiceName()] {
		if d != nil && d.Status == "ACTIVE" {
			found = append(found, "task definition "+*d.TaskDefinitionArn)
		}
	}
	return found
}

func (m *CloudMap) left(n tenants.Config) (found []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.services {
		if *s.Name == n.DiscoveryName() && *s.NamespaceId == n.Shared.NamespaceID {
			found = append(found, "discovery "+*s.Arn)
		}
	}
	return found
}

func (a *AutoScaling) left(n tenants.Config) (found []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.targets {
		if path.Base(*t.ResourceId) == n.ServiceName() {
			found = append(found, "scaling target "+*t.ResourceId)
		}
	}
	return found
}

func (l *Logs) left(n tenants.Config) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.groups[n.LogGroupName()] != nil {
		found = append(found, "log group "+n.LogGroupName())
	}
	return found
}

// left goes by tags: distributions have no names.
func (c *CloudFront) left(tenant string) (found []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for arn, tags := range c.tags {
		for _, t := range tags {
			if *t.Key == tenants.TagTenant && awssdk.ToString(t.Value) == tenant {
				found = append(found, arn)
			}
		}
	}
	for _, s := range c.stores {
		for host, value := range s.keys {
			if value == tenant {
				found = append(found, "host "+host+" in "+*s.Name)
			}
		}
	}
	return found
}

func (a *ACM) left(tenant string) (found []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for arn, c := range a.certificates {
		for _, t := range c.tags {
			if *t.Key == tenants.TagTenant && awssdk.ToString(t.Value) == tenant {
				found = append(found, "certificate "+arn)
			}
		}
	}
	return found
}

func (c *ElastiCache) left(id string) (found []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	if u := c.users[id]; u != nil {
		found = append(found, "cache user "+id+" "+*u.Status)
	}
	return found
}

func (c *Cell) leftOnDisk(tenant string) (found []string) {
	for _, p := range []string{filepath.Join(c.Volumes(), tenant), filepath.Join(c.Volumes(), ".edge", "routes", tenant+".json")} {
		if _, err := os.Lstat(p); err == nil {
			found = append(found, p)
		}
	}
	return found
}

// leftInBuckets looks for the tenant's bucket, its record and its stacks.
func (c *Cell) leftInBuckets(ctx context.Context, tenant string) (found []string, err error) {
	api := c.buckets()
	list, err := api.ListBuckets(ctx, &s3.ListBucketsInput{})
	if err != nil {
		return nil, err
	}
	for _, b := range list.Buckets {
		if *b.Name == c.named(tenant).BucketName() {
			found = append(found, "bucket "+*b.Name)
		}
	}
	pages := s3.NewListObjectsV2Paginator(api, &s3.ListObjectsV2Input{Bucket: &c.outputs.State})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			history := strings.Contains(*o.Key, "/history/") || strings.Contains(*o.Key, "/backups/") // of stacks that are gone
			if !history && (path.Base(*o.Key) == tenant+".json" || path.Base(path.Dir(*o.Key)) == tenant) {
				found = append(found, "object "+*o.Key)
			}
		}
	}
	return found, nil
}

func (c *Cell) leftSecrets(ctx context.Context, tenant string) (found []string, err error) {
	pages := secretsmanager.NewListSecretsPaginator(secretsmanager.NewFromConfig(c.moto), &secretsmanager.ListSecretsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range page.SecretList {
			if path.Base(*s.Name) == tenant {
				found = append(found, "secret "+*s.Name)
			}
		}
	}
	return found, nil
}

func (c *Cell) leftRoles(ctx context.Context, tenant string) (found []string, err error) {
	pages := iam.NewListRolesPaginator(iam.NewFromConfig(c.moto), &iam.ListRolesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Roles {
			if *r.RoleName == c.named(tenant).RoleName() {
				found = append(found, "role "+*r.Arn)
			}
		}
	}
	return found, nil
}

func (c *Cell) leftPoints(ctx context.Context, tenant string) (found []string, err error) {
	pages := efs.NewDescribeAccessPointsPaginator(efs.NewFromConfig(c.moto), &efs.DescribeAccessPointsInput{FileSystemId: &c.outputs.FileSystem})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range page.AccessPoints {
			if p.RootDirectory != nil && awssdk.ToString(p.RootDirectory.Path) == c.named(tenant).VolumeRoot() {
				found = append(found, "access point "+*p.AccessPointId)
			}
		}
	}
	return found, nil
}

func (c *Cell) leftRecords(ctx context.Context, tenant string) (found []string, err error) {
	pages := route53.NewListResourceRecordSetsPaginator(route53.NewFromConfig(c.moto), &route53.ListResourceRecordSetsInput{HostedZoneId: &c.outputs.Shared.ZoneID})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range page.ResourceRecordSets {
			if name := strings.TrimSuffix(*r.Name, "."); name == tenant+"."+Domain || strings.HasSuffix(name, "."+tenant+"."+Domain) {
				found = append(found, "record "+string(r.Type)+" "+name)
			}
		}
	}
	return found, nil
}

// leftData looks for the tenant's role, databases and keys.
func (c *Cell) leftData(ctx context.Context, tenant string) (found []string, err error) {
	conn, err := pgx.Connect(ctx, c.Postgres.URL("postgres"))
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, `SELECT 'role ' || rolname FROM pg_roles WHERE rolname = $1
		UNION ALL SELECT 'database ' || datname FROM pg_database WHERE datname = $1 OR shobj_description(oid, 'pg_database') LIKE $2`,
		"t_"+tenant, "gitopsd%:"+tenant)
	if err != nil {
		return nil, err
	}
	if found, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return nil, err
	}
	keys := c.Redis.Scan(ctx, 0, tenant+":*", 1000).Iterator()
	for keys.Next(ctx) {
		found = append(found, "key "+keys.Val())
	}
	if err := keys.Err(); err != nil {
		return nil, err
	}
	users, err := c.Redis.Do(ctx, "ACL", "USERS").StringSlice()
	if slices.Contains(users, "t_"+tenant) {
		found = append(found, "user t_"+tenant)
	}
	return found, err
}
