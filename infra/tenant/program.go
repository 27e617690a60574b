package tenant

import (
	"maps"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/gitopsd/gitopsd/infra/aws"
	core "github.com/gitopsd/gitopsd/internal/tenant"
)

// program is one run.
type program struct {
	*aws.Scope
	c    Config
	name string // of the tenant
	out  pulumi.Map
}

// Program returns what makes the tenant's own infrastructure.
func Program(c Config) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		if err := c.Validate(); err != nil {
			return err
		}
		return aws.Run(ctx, c.Tags(), func(s *aws.Scope) {
			p := &program{Scope: s, c: c, name: c.Tenant.Tenant, out: pulumi.Map{}}
			p.database()
			p.cache()
			p.edge(p.bucket())
			p.service()
			for name, value := range p.out {
				ctx.Export(name, value)
			}
		})
	}
}

// Settings returns the settings of the tenant's stacks.
func (c Config) Settings() map[string]string {
	return aws.Settings(c.Shared.Account, c.Shared.Region)
}

// Tags that mark what is a tenant's. What lacks them is not touched.
const (
	TagManagedBy = "managed-by"
	TagTenant    = "gitopsd:tenant"
	TagPlatform  = "gitopsd:platform" // the cell
	ManagedBy    = "gitopsd"
	labelTag     = "gitopsd:label/"
)

// maxLabels bounds the labels that become tags: a resource has at most 50 tags.
const maxLabels = 20

// Tags returns the tags of all that is the tenant's. By tenant and cell costs
// are allocated, and ownership is proven.
func (c Config) Tags() map[string]string {
	tags := maps.Clone(c.Shared.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	for _, k := range firstOf(slices.Sorted(maps.Keys(c.Tenant.Labels)), maxLabels) {
		tags[labelTag+k] = tagValue(c.Tenant.Labels[k])
	}
	tags[TagManagedBy] = ManagedBy
	tags[TagTenant] = c.Tenant.Tenant
	tags[TagPlatform] = c.Shared.Cell
	return tags
}

func firstOf(list []string, n int) []string { return list[:min(len(list), n)] }

// tagValue returns a label's value without what a tag's may not have.
func tagValue(v string) string {
	v = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(" _.:/=+-@", r) {
			return r
		}
		return '_'
	}, v)
	return v[:min(len(v), 256)]
}

// EntityPrefix returns what the names of tenants' things in a cell begin with: the
// cell's own are never called so, whatever a tenant is called.
func EntityPrefix(cell string) string { return "gitopsd-" + cell + "-t-" }

// entity returns the name of something of the tenant's within its cell.
func (c Config) entity(limit int) string {
	return aws.Name(limit, "gitopsd", c.Shared.Cell, "t", c.Tenant.Tenant)
}

// Names of what is found without asking the stack.

// BucketPrefix returns what the names of all tenants' buckets of the cell begin with.
func (c Config) BucketPrefix() string {
	return "gitopsd-t-" + aws.Hash(c.Shared.Account, c.Shared.Region, c.Shared.Cell) + "-"
}

// BucketName returns the tenant's bucket. Buckets are unique in all the world, so
// the account and the region are in it, as a hash: there is no room for more.
func (c Config) BucketName() string {
	return c.BucketPrefix() + c.Tenant.Tenant
}

// ServiceName returns the tenant's service in its cluster.
func (c Config) ServiceName() string { return c.entity(aws.MaxService) }

// ClusterName returns the tenant's cluster, if it has one of its own.
func (c Config) ClusterName() string { return c.entity(aws.MaxService) }

// DistributionTenantName returns the tenant's name among the tenants of the cell's distribution.
func (c Config) DistributionTenantName() string { return c.entity(aws.MaxEntity) }

// UserID returns the ID of a tenant's user of a cache: see DataName.
func UserID(cell, tenant string) string {
	return aws.Name(aws.MaxUserGroup, "gitopsd", cell, "t", aws.Hash(tenant))
}

// RoleName returns the role of the tenant's tasks.
func (c Config) RoleName() string { return c.entity(aws.MaxRole) }

// LogGroupName returns the group of the tenant's logs.
func (c Config) LogGroupName() string {
	return "/gitopsd/" + c.Shared.Cell + "/tenant/" + c.Tenant.Tenant
}

// DiscoveryName returns the tenant's name in the namespace.
func (c Config) DiscoveryName() string { return aws.Name(aws.MaxDiscovery, c.Tenant.Tenant) }

// SRV returns the name whose SRV records are the tenant's instances.
func (c Config) SRV() string { return c.DiscoveryName() + "." + c.Shared.NamespaceName }

// VolumeRoot returns the tenant's directory on the file system.
func (c Config) VolumeRoot() string { return "/tenants/" + c.Tenant.Tenant }

// DataName returns the name of a database or cache of the tenant's own: those
// services refuse much of what a tenant may be called.
func (c Config) DataName() string {
	return UserID(c.Shared.Cell, c.Tenant.Tenant)
}

func dedicated(s core.Sharing) bool { return s == core.Dedicated }

// guard protects what holds data: a destroy fails until a withdrawal lifted it.
func (p *program) guard() pulumi.ResourceOption { return pulumi.Protect(!p.c.Withdrawn) }
