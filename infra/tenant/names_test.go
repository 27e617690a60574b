package tenant_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"pgregory.net/rapid"

	"github.com/gitopsd/gitopsd/infra/aws"
	"github.com/gitopsd/gitopsd/infra/check"
	"github.com/gitopsd/gitopsd/infra/tenant"
	model "github.com/gitopsd/gitopsd/internal/tenant"
)

// forms are what AWS takes as the name of each kind of resource, by the input
// that has it.
// Source: each service's API reference.
var forms = map[string]*regexp.Regexp{
	"aws:s3/bucket:Bucket bucket":                                          regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`),
	"aws:iam/role:Role name":                                               regexp.MustCompile(`^[\w+=,.@-]{1,64}$`),
	"aws:ecs/cluster:Cluster name":                                         regexp.MustCompile(`^[a-zA-Z0-9_-]{1,255}$`),
	"aws:ecs/capacityProvider:CapacityProvider name":                       regexp.MustCompile(`^[a-zA-Z0-9_-]{1,255}$`),
	"aws:ecs/service:Service name":                                         regexp.MustCompile(`^[a-zA-Z0-9_-]{1,255}$`),
	"aws:ecs/taskDefinition:TaskDefinition family":                         regexp.MustCompile(`^[a-zA-Z0-9_-]{1,255}$`),
	"aws:servicediscovery/service:Service name":                            regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$`),
	"aws:cloudfront/distributionTenant:DistributionTenant name":            regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9.-]{1,126}[a-zA-Z0-9]$`),
	"aws:rds/cluster:Cluster clusterIdentifier":                            regexp.MustCompile(`^[a-z](-?[a-z0-9]){0,62}$`),
	"aws:rds/clusterInstance:ClusterInstance identifier":                   regexp.MustCompile(`^[a-z](-?[a-z0-9]){0,62}$`),
	"aws:elasticache/replicationGroup:ReplicationGroup replicationGroupId": regexp.MustCompile(`^[a-z](-?[a-z0-9]){0,39}$`),
	"aws:elasticache/userGroup:UserGroup userGroupId":                      regexp.MustCompile(`^[a-z](-?[a-z0-9]){0,39}$`),
	"aws:autoscaling/group:Group name":                                     regexp.MustCompile(`^[\x21-\x7e]{1,255}$`),
	"aws:ec2/launchTemplate:LaunchTemplate name":                           regexp.MustCompile(`^[a-zA-Z0-9().\-/_]{3,128}$`),
	"aws:cloudwatch/logGroup:LogGroup name":                                regexp.MustCompile(`^[.\-_/#A-Za-z0-9]{1,512}$`),
	"aws:efs/accessPoint:AccessPoint rootDirectory":                        regexp.MustCompile(`^(/[^/]{1,100}){1,4}$`),
}

// anyTenant draws what a tenant may be called: also the longest, and one like
// another's name cut short.
func anyTenant() *rapid.Generator[string] {
	return rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?`)
}

// named returns a tenant of the name, with everything, in the cell.
func named(name, cell string) tenant.Config {
	return config(isolated, func(c *tenant.Config) {
		c.Tenant.Tenant, c.Shared.Cell = name, cell
		c.Tenant.Hosts = []string{name + ".apps.example"}
	})
}

func names(t *rapid.T, c tenant.Config) map[string]string {
	r, err := check.Program(tenant.Program(c), false)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, res := range r.Resources {
		for _, input := range []string{"bucket", "name", "family", "clusterIdentifier", "identifier", "replicationGroupId", "userGroupId"} {
			if v := res.Inputs[resource.PropertyKey(input)]; v.IsString() {
				out[res.Token+" "+input] = v.StringValue()
			}
		}
		if v := res.Inputs["rootDirectory"]; v.IsObject() {
			out[res.Token+" rootDirectory"] = v.ObjectValue()["path"].StringValue()
		}
	}
	return out
}

// TestNames: whatever tenants are called, AWS takes each name, the same tenant
// always has the same names, and no two tenants share one.
func TestNames(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cell := rapid.StringMatching(`[a-z][a-z0-9]{0,11}`).Draw(t, "cell")
		one, two := anyTenant().Draw(t, "one"), anyTenant().Draw(t, "two")
		first, second := names(t, named(one, cell)), names(t, named(two, cell))
		for key, form := range forms {
			if !form.MatchString(first[key]) {
				t.Errorf("%s: %q", key, first[key])
			}
		}
		for key, name := range names(t, named(one, cell)) {
			if first[key] != name {
				t.Errorf("%s: %q, then %q", key, first[key], name)
			}
			switch own := forms[key] != nil; {
			case own && one != two && name == second[key]:
				t.Errorf("%s: %q and %q are both %q", key, one, two, name)
			case own && strings.HasPrefix(name, "gitopsd-") && !strings.HasPrefix(name, tenant.EntityPrefix(cell)) && !strings.HasPrefix(name, named(one, cell).BucketPrefix()):
				t.Errorf("%s: %q could be the cell's own", key, name)
			}
		}
	})
}

// TestCutNames: a name that is cut cannot be chosen by another tenant, since no
// whole name is as long.
func TestCutNames(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(24, 64).Draw(t, "limit")
		one, two := anyTenant().Draw(t, "one"), anyTenant().Draw(t, "two")
		a := aws.Name(limit, "gitopsd", "a", "t", one)
		if len(a) > limit {
			t.Errorf("%q is longer than %d", a, limit)
		}
		// Somebody calls himself what another's cut name ends in.
		if tail, ok := strings.CutPrefix(a, "gitopsd-a-t-"); ok && tail != one && aws.Name(limit, "gitopsd", "a", "t", tail) == a {
			t.Errorf("%q and %q are both %q", one, tail, a)
		}
		if one != two && a == aws.Name(limit, "gitopsd", "a", "t", two) {
			t.Errorf("%q and %q are both %q", one, two, a)
		}
	})
	if model.MaxName != 40 {
		t.Errorf("tenants' names have %d bytes: draw them as long", model.MaxName)
	}
}

// TestPolicies: a tenant's role mounts its own directory and does nothing else.
func TestPolicies(t *testing.T) {
	t.Parallel()
	for name, c := range variants() {
		statements, err := check.Policies(run(t, c).Resources)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range check.TooWide(statements) {
			t.Errorf("%s: %s", name, s)
		}
		for _, s := range statements {
			if !strings.HasSuffix(s.Of, " role-volume") {
				continue
			}
			equals, _ := s.Condition["StringEquals"].(map[string]any)
			if len(s.Actions) != 1 || s.Actions[0] != "elasticfilesystem:ClientMount" || equals["elasticfilesystem:AccessPointArn"] == nil {
				t.Errorf("%s: a tenant may %+v", name, s)
			}
		}
	}
}
