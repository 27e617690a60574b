package tenant_test

import (
	"testing"

	"github.com/gitopsd/gitopsd/infra/check"
	"github.com/gitopsd/gitopsd/infra/tenant"
	core "github.com/gitopsd/gitopsd/internal/platform"
	model "github.com/gitopsd/gitopsd/internal/tenant"
)

const originSecret = "the-secret-between-cloudfront-and-the-load-balancer"

// config returns a tenant with everything, sharing everything.
func config(change ...func(*tenant.Config)) tenant.Config {
	c := tenant.Config{
		Tenant: core.Config{
			Tenant: "acme", Labels: map[string]string{"plan": "pro", "owner": "ann & bob"},
			Hosts:     []string{"acme.apps.example", "www.acme.example", "acme.example"},
			Compute:   model.Compute{CPU: 256, Memory: 512, Scale: model.Scale{Min: 1, Max: 4, TargetCPU: 60}},
			Isolation: model.Isolation{Compute: model.Shared, Database: model.Shared, Cache: model.Shared},
			Database:  model.Database{Enabled: true, Connections: 10}, Cache: model.Cache{Enabled: true},
		},
		Shared: shared(), Edge: tenant.EdgeTenant, UID: 10_007,
		Secrets: tenant.AgentSecrets(shared().SecretPrefix + "acme-AbCdEf"),
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func shared() tenant.Shared {
	arn := func(service, rest string) string { return "arn:aws:" + service + ":eu-west-1:123456789012:" + rest }
	return tenant.Shared{
		Account: "123456789012", Region: "eu-west-1", Cell: "a", Domain: "apps.example", ZoneID: "Z1",
		VPC: "vpc-1", PrivateSubnets: []string{"subnet-1", "subnet-2"}, InstanceGroup: "sg-1", DataGroup: "sg-2",
		InstanceProfile: arn("iam", "instance-profile/x"), InstanceTypes: []string{"m7g.large"}, InstanceImage: "resolve:ssm:/x",
		ClusterARN: arn("ecs", "cluster/gitopsd-a"), ClusterName: "gitopsd-a", CapacityProvider: "gitopsd-a",
		ExecutionRole: arn("iam", "role/execution"), SecretPrefix: arn("secretsmanager", "secret:gitopsd/a/tenant/"),
		RuntimeImage: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/runtime@sha256:00",
		NamespaceID:  "ns-1", NamespaceName: "a.gitopsd.internal",
		FileSystemID: "fs-1", FileSystemARN: arn("elasticfilesystem", "file-system/fs-1"), PublisherUID: 9000,
		DistributionID: "EMULTI", DistributionARN: "arn:aws:cloudfront::123456789012:distribution/EMULTI",
		ConnectionGroup: "cg-1", ConnectionEndpoint: "d1.cloudfront.net",
		WildcardARN:     "arn:aws:cloudfront::123456789012:distribution/EWILD",
		RequestFunction: "arn:aws:cloudfront::123456789012:function/request", ResponseFunction: "arn:aws:cloudfront::123456789012:function/response",
		HeadersPolicy: "hp-1", OriginAccess: "oac-1", OriginHost: "origin.apps.example", OriginSecret: originSecret,
		DomainCertificate: "arn:aws:acm:us-east-1:123456789012:certificate/domain",
		DatabaseVersion:   "16.6", DatabaseParameters: "gitopsd-a", CacheVersion: "7.1", CacheNodeType: "cache.t4g.micro",
		CacheDefaultUser: "gitopsd-a-default", CacheControlUser: "gitopsd-a-control", DatabaseSubnets: "gitopsd-a", CacheSubnets: "gitopsd-a", CacheParameters: "gitopsd-a-redis7", KMSKey: arn("kms", "key/1"),
		LogRetentionDays: 30, Tags: map[string]string{"team": "platform"},
	}
}

// variants are the modes of the edge, each isolation, and what else changes
// which resources there are.
func variants() map[string]tenant.Config {
	return map[string]tenant.Config{
		"edge tenant":    config(),
		"edge dedicated": config(func(c *tenant.Config) { c.Edge = tenant.EdgeDedicated }),
		"edge wildcard": config(func(c *tenant.Config) {
			c.Edge = tenant.EdgeWildcard
			c.Tenant.Hosts = c.Tenant.Hosts[:1]
		}),
		"certified tenant":    config(certified),
		"certified dedicated": config(certified, func(c *tenant.Config) { c.Edge = tenant.EdgeDedicated }),
		"all dedicated":       config(isolated),
		"withdrawn":           config(isolated, func(c *tenant.Config) { c.Withdrawn = true }),
		"withdrawn dedicated edge": config(func(c *tenant.Config) {
			c.Withdrawn, c.Edge = true, tenant.EdgeDedicated
		}),
	}
}

func certified(c *tenant.Config) {
	c.Certificate = tenant.Certificate{ARN: "arn:aws:acm:us-east-1:123456789012:certificate/acme", Hosts: c.Tenant.Hosts}
}

func isolated(c *tenant.Config) {
	c.Tenant.Isolation = model.Isolation{Compute: model.Dedicated, Database: model.Dedicated, Cache: model.Dedicated}
}

func run(t *testing.T, c tenant.Config) check.Run {
	t.Helper()
	r, err := check.Program(tenant.Program(c), false)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// one returns the only resource of a token.
func one(t *testing.T, r check.Run, token string) check.Resource {
	t.Helper()
	all := r.Of(token)
	if len(all) != 1 {
		t.Fatalf("%d resources %s, want 1", len(all), token)
	}
	return all[0]
}
