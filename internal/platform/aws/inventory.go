package aws

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	"golang.org/x/sync/errgroup"

	infra "github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/platform/tenantkeys"
	model "github.com/gitopsd/gitopsd/internal/tenant"
)

// sight says whether one thing is there. One that a tenant may lack while it serves
// is listed then only if it is there: what is gone is listed in any case.
type sight struct {
	kind, name string
	optional   bool
	present    func(context.Context) (bool, error)
}

// Inventory implements platform.Platform. It asks AWS for everything by the names
// that all of it has, whatever the record says.
func (d *Driver) Inventory(ctx context.Context, tenant string) ([]platform.Resource, error) {
	r, err := d.load(ctx, tenant)
	if err != nil {
		return nil, err
	}
	looks := slices.Concat(d.storeLooks(tenant, r), d.edgeLooks(tenant, r), d.computeLooks(tenant, r), d.ownLooks(tenant, r))
	there := make([]bool, len(looks))
	group, asked := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, l := range looks {
		group.Go(func() (err error) {
			if there[i], err = l.present(asked); err != nil {
				return fmt.Errorf("inventory of %s: %s: %w", tenant, l.kind, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	serves := r != nil && r.Phase == running
	var found []platform.Resource
	for i, l := range looks {
		if there[i] || !l.optional || !serves {
			found = append(found, platform.Resource{Kind: l.kind, Name: l.name, Present: there[i]})
		}
	}
	return found, nil
}

// storeLooks are for data and credentials. What a tenant has on servers of its own
// goes with those: see ownLooks.
func (d *Driver) storeLooks(tenant string, r *record) []sight {
	has := func(which func(roleThere, databaseThere bool) bool) func(context.Context) (bool, error) {
		return func(ctx context.Context) (bool, error) {
			db, done, err := d.databaseOf(ctx, r)
			if err != nil {
				return false, err
			}
			defer done()
			role, database, err := db.Has(ctx, tenant)
			return which(role, database), err
		}
	}
	cache := func(ask func(*Cache, context.Context, string) (bool, error)) func(context.Context) (bool, error) {
		return func(ctx context.Context) (bool, error) {
			c, done := d.cacheOf(r)
			defer done()
			return ask(c, ctx, tenant)
		}
	}
	left := func(ctx context.Context) (bool, error) {
		db, done, err := d.databaseOf(ctx, r)
		if err != nil {
			return false, err
		}
		defer done()
		left, err := db.Leftover(ctx, tenant)
		return left.Fresh || left.Former || left.Copy, err
	}
	restoring := func(c *Cache, ctx context.Context, tenant string) (bool, error) {
		begun, _, err := c.c.Keys.Restoring(ctx, tenant)
		return begun, err
	}
	noDatabase, noCache := r != nil && !r.Config.Database.Enabled, r != nil && !r.Config.Cache.Enabled
	return []sight{
		{"database", role(tenant), noDatabase, has(func(_, there bool) bool { return there })},
		{"role", role(tenant), noDatabase, has(func(there, _ bool) bool { return there })},
		{"database", "copy of " + role(tenant), true, left},
		{"cache-keys", "restore of " + tenantkeys.Prefix(tenant) + "*", true, cache(restoring)},
		{"cache-user", d.caches.userID(tenant), noCache, cache((*Cache).Has)},
		{"cache-keys", tenantkeys.Prefix(tenant) + "*", noCache, cache(func(c *Cache, ctx context.Context, tenant string) (bool, error) { return c.c.Keys.Has(ctx, tenant) })},
		{"secret", d.secrets.Name(tenant), false, func(ctx context.Context) (bool, error) {
			arn, err := d.secrets.ARN(ctx, tenant)
			return arn != "", err
		}},
		{"volume", d.volume(tenant), false, onDisk(d.volume(tenant))},
		{"record", recordKey(tenant), false, func(context.Context) (bool, error) { return r != nil, nil }},
	}
}

// edgeLooks are for what leads to the tenant.
func (d *Driver) edgeLooks(tenant string, r *record) []sight {
	named := d.named(tenant)
	host := named.Tenant.Hosts[0]
	edge := d.c.Edge
	if r != nil {
		edge = d.edgeOf(r.Config)
	}
	list := []sight{
		{"bucket", named.BucketName(), false, OpenBucket(d.c.AWS, named.BucketName()).Present},
		{"route", tenant, false, d.routed(tenant, false)},
		{"notice", tenant, true, d.routed(tenant, true)},
		{"address", host, edge == infra.EdgeWildcard, func(ctx context.Context) (bool, error) { return d.looker.address(ctx, d.shared.ZoneID, host) }},
		{"distribution-tenant", named.DistributionTenantName(), edge != infra.EdgeTenant, func(ctx context.Context) (bool, error) {
			return d.looker.distributionTenant(ctx, named.DistributionTenantName())
		}},
		{"distribution", host, edge != infra.EdgeDedicated, func(ctx context.Context) (bool, error) { return d.looker.distribution(ctx, host) }},
	}
	for _, h := range d.hostsOf(tenant, r) {
		list = append(list, sight{"host", h, h != host, func(ctx context.Context) (bool, error) {
			owner, err := d.hosts.owner(ctx, h)
			return owner == tenant, err
		}})
	}
	if r != nil && r.Certificate.Wanted.ARN != "" {
		for _, arn := range []string{r.Certificate.Wanted.ARN, r.Certificate.Used.ARN} {
			list = append(list, sight{"certificate", arn, true, func(ctx context.Context) (bool, error) { return d.hasCertificate(ctx, arn) }})
		}
	}
	return list
}

func (d *Driver) hasCertificate(ctx context.Context, arn string) (bool, error) {
	if arn == "" {
		return false, nil
	}
	_, err := d.certificates.DescribeCertificate(ctx, &acm.DescribeCertificateInput{CertificateArn: awssdk.String(arn)})
	return present("look at certificate "+arn, err)
}

// computeLooks are for what runs, and what it needs.
func (d *Driver) computeLooks(tenant string, r *record) []sight {
	named := d.named(tenant)
	at := Service{Tenant: tenant, Cluster: d.shared.ClusterARN, Name: named.ServiceName()}
	if r != nil {
		at = d.serviceOf(r)
	}
	has := func(project string) func(context.Context) (bool, error) {
		return func(ctx context.Context) (bool, error) {
			return d.c.Stacks.Has(ctx, Stack{Project: project, Name: infra.StackName(tenant), Settings: named.Settings()})
		}
	}
	return []sight{
		{"stack", infra.StackName(tenant), false, has(infra.Project)},
		{"certificate-stack", infra.StackName(tenant), true, has(infra.CertificateProject)},
		{"service", at.Name, false, func(ctx context.Context) (bool, error) {
			service, err := d.services.describe(ctx, at)
			return service != nil, err
		}},
		{"process", at.Name, false, func(ctx context.Context) (bool, error) {
			tasks, err := d.services.tasks(ctx, at)
			return len(tasks) > 0, err
		}},
		{"autoscaling", scalingOf(at), false, func(ctx context.Context) (bool, error) {
			target, err := d.services.target(ctx, at)
			return target != nil, err
		}},
		{"discovery", named.DiscoveryName(), false, func(ctx context.Context) (bool, error) {
			return d.looker.discovery(ctx, d.shared.NamespaceName, named.DiscoveryName())
		}},
		{"log-group", named.LogGroupName(), false, func(ctx context.Context) (bool, error) {
			_, err := d.logs.DescribeLogStreams(ctx, &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: awssdk.String(named.LogGroupName()), Limit: awssdk.Int32(1)})
			return present("look at log group "+named.LogGroupName(), err)
		}},
		{"iam-role", named.RoleName(), false, func(ctx context.Context) (bool, error) { return d.looker.role(ctx, named.RoleName()) }},
		{"access-point", named.VolumeRoot(), false, func(ctx context.Context) (bool, error) {
			return d.looker.accessPoint(ctx, d.shared.FileSystemID, named.VolumeRoot())
		}},
	}
}

// ownLooks are for servers of the tenant's own.
func (d *Driver) ownLooks(tenant string, r *record) []sight {
	named := d.named(tenant)
	name, cluster := named.DataName(), named.ClusterName()
	return []sight{
		{"own-cluster", cluster, r == nil || r.Config.Isolation.Compute != model.Dedicated, func(ctx context.Context) (bool, error) { return d.services.hasCluster(ctx, cluster) }},
		{"own-database", name, r == nil || !ownDatabase(r.Config), func(ctx context.Context) (bool, error) { return d.looker.database(ctx, name) }},
		{"own-cache", name, r == nil || !ownCache(r.Config), func(ctx context.Context) (bool, error) { return d.looker.cache(ctx, name) }},
	}
}

// looker looks for what else there is at AWS.
type looker struct {
	cdn       *cloudfront.Client
	zones     *route53.Client
	discovers *servicediscovery.Client
	roles     *iam.Client
	files     *efs.Client
	databases *rds.Client
	caches    *elasticache.Client
}

func newLooker(c awssdk.Config) *looker {
	return &looker{
		cdn: cloudfront.NewFromConfig(c), zones: route53.NewFromConfig(c), discovers: servicediscovery.NewFromConfig(c), roles: iam.NewFromConfig(c),
		files: efs.NewFromConfig(c), databases: rds.NewFromConfig(c), caches: elasticache.NewFromConfig(c),
	}
}

func onDisk(path string) func(context.Context) (bool, error) {
	return func(context.Context) (bool, error) {
		_, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
}

// present reads the answer to a look at one thing.
func present(what string, err error) (bool, error) {
	if absent(err) {
		return false, nil
	}
	return err == nil, failure(what, err)
}

func (l *looker) address(ctx context.Context, zone, host string) (bool, error) {
	out, err := l.zones.ListResourceRecordSets(ctx, &route53.ListResourceRecordSetsInput{
		HostedZoneId: awssdk.String(zone), StartRecordName: awssdk.String(host), MaxItems: awssdk.Int32(1),
	})
	if err != nil {
		return false, failure("look up "+host, err)
	}
	return len(out.ResourceRecordSets) > 0 && strings.TrimSuffix(awssdk.ToString(out.ResourceRecordSets[0].Name), ".") == host, nil
}

func (l *looker) distributionTenant(ctx context.Context, name string) (bool, error) {
	_, err := l.cdn.GetDistributionTenant(ctx, &cloudfront.GetDistributionTenantInput{Identifier: awssdk.String(name)})
	return present("look at distribution tenant "+name, err)
}

// distribution looks for one of the tenant's own: any that has its host.
func (l *looker) distribution(ctx context.Context, host string) (bool, error) {
	pages := cloudfront.NewListDistributionsPaginator(l.cdn, &cloudfront.ListDistributionsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return false, failure("list distributions", err)
		}
		for _, one := range page.DistributionList.Items {
			if one.Aliases != nil && slices.Contains(one.Aliases.Items, host) {
				return true, nil
			}
		}
	}
	return false, nil
}

func (l *looker) discovery(ctx context.Context, namespace, name string) (bool, error) {
	_, err := l.discovers.DiscoverInstances(ctx, &servicediscovery.DiscoverInstancesInput{
		NamespaceName: awssdk.String(namespace), ServiceName: awssdk.String(name), MaxResults: awssdk.Int32(1),
	})
	return present("look for the service "+name+" of Cloud Map", err)
}

func (l *looker) role(ctx context.Context, name string) (bool, error) {
	_, err := l.roles.GetRole(ctx, &iam.GetRoleInput{RoleName: awssdk.String(name)})
	return present("look at role "+name, err)
}

func (l *looker) accessPoint(ctx context.Context, files, root string) (bool, error) {
	pages := efs.NewDescribeAccessPointsPaginator(l.files, &efs.DescribeAccessPointsInput{FileSystemId: awssdk.String(files)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return false, failure("list access points", err)
		}
		for _, p := range page.AccessPoints {
			if p.RootDirectory != nil && awssdk.ToString(p.RootDirectory.Path) == root && p.LifeCycleState != "deleted" {
				return true, nil
			}
		}
	}
	return false, nil
}

func (l *looker) database(ctx context.Context, name string) (bool, error) {
	_, err := l.databases.DescribeDBClusters(ctx, &rds.DescribeDBClustersInput{DBClusterIdentifier: awssdk.String(name)})
	return present("look at database cluster "+name, err)
}

func (l *looker) cache(ctx context.Context, name string) (bool, error) {
	_, err := l.caches.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: awssdk.String(name)})
	return present("look at cache "+name, err)
}

func (s *services) hasCluster(ctx context.Context, name string) (bool, error) {
	out, err := s.ecs.DescribeClusters(ctx, &ecs.DescribeClustersInput{Clusters: []string{name}})
	if err != nil {
		return false, failure("look at cluster "+name, err)
	}
	for _, c := range out.Clusters {
		if awssdk.ToString(c.Status) != "INACTIVE" {
			return true, nil
		}
	}
	return false, nil
}
