package tenant

import (
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/gitopsd/gitopsd/infra/aws"
	"github.com/gitopsd/gitopsd/infra/cdn"
)

// bucket makes the bucket of the tenant's assets. Releases' copies go after a
// while: the files served lie apart from them.
func (p *program) bucket() *aws.Bucket {
	const keptDays = 90
	b := aws.Make(p.Scope, "bucket", aws.BucketArgs{
		Bucket: p.c.BucketName(), ForceDestroy: true, // only works when it was stored before the destroy
	})
	name := b.ID().ToStringOutput()
	aws.Make(p.Scope, "bucket-private", aws.PublicAccessBlockArgs{
		Bucket: name, BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true,
	})
	aws.Make(p.Scope, "bucket-lifecycle", aws.BucketLifecycleArgs{Bucket: name, Rules: []aws.LifecycleRule{
		{
			ID: "uploads", Status: "Enabled", Incomplete: &aws.LifecycleUploads{Days: 1},
		},
		{
			ID: "releases", Status: "Enabled", Filter: aws.LifecycleFilter{Prefix: ReleasesPrefix + "/"},
			Expiration: &aws.LifecycleDays{Days: keptDays},
		},
	}})
	p.out[OutBucket] = name
	return b
}

// policy lets the distribution read the bucket; without one, nobody.
func (p *program) policy(b *aws.Bucket, distribution pulumi.StringInput) {
	name := b.ID().ToStringOutput()
	statements := []aws.Statement{cdn.OnlyTLS(name)}
	if distribution != nil {
		statements = append(statements, cdn.Reads(name, distribution)...)
	}
	aws.Make(p.Scope, "bucket-policy", aws.BucketPolicyArgs{Bucket: name, Policy: aws.Policy(statements...)})
}

// edge makes what stands before the tenant.
func (p *program) edge(b *aws.Bucket) {
	s := p.c.Shared
	switch p.c.Edge {
	case EdgeDedicated:
		d := p.distribution(b)
		p.policy(b, d.Arn)
		p.records(d.DomainName, d.HostedZoneID)
		p.out[OutDistributionID] = d.ID()
		p.out[OutEdgeDomain] = d.DomainName
	case EdgeTenant:
		p.policy(b, aws.S(s.DistributionARN))
		p.out[OutDistributionTen] = p.distributionTenant(b).ID()
		p.records(aws.S(s.ConnectionEndpoint), aws.S(cdn.HostedZone))
		p.out[OutDistributionID] = pulumi.String(s.DistributionID)
		p.out[OutEdgeDomain] = pulumi.String(s.ConnectionEndpoint)
	case EdgeWildcard:
		// The record and the certificate of *.<domain> are the cell's, and its
		// distribution has no bucket: assets come from behind the load balancer.
		p.policy(b, nil)
		p.out[OutDistributionID] = pulumi.String(lastPart(s.WildcardARN))
		p.out[OutEdgeDomain] = pulumi.String(p.c.Tenant.Hosts[0])
	}
}

func lastPart(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

func (p *program) parts() cdn.Edge {
	s := p.c.Shared
	return cdn.Edge{
		RequestFunction: aws.S(s.RequestFunction), ResponseFunction: aws.S(s.ResponseFunction),
		HeadersPolicy: aws.S(s.HeadersPolicy), OriginAccess: aws.S(s.OriginAccess),
		OriginHost: aws.S(s.OriginHost), OriginSecret: aws.Secret(s.OriginSecret),
	}
}

// distribution makes one of the tenant's own. Nothing waits for it: CloudFront
// takes a quarter of an hour, and what was deployed before serves meanwhile.
func (p *program) distribution(b *aws.Bucket) *aws.Distribution {
	parts := p.parts()
	certificate := p.c.Shared.DomainCertificate
	if p.c.Certificate.ARN != "" {
		certificate = p.c.Certificate.ARN
	}
	var paths []aws.PathBehavior
	for _, pattern := range cdn.AssetPaths() {
		paths = append(paths, parts.Static().At(pattern))
	}
	return aws.Make(p.Scope, "distribution", aws.DistributionArgs{
		Comment: "gitopsd " + p.c.Shared.Cell + ": " + p.name, Enabled: !p.c.Withdrawn,
		Aliases: p.c.Hosts(), HTTPVersion: "http2and3", IPv6: true, PriceClass: "PriceClass_100",
		Origins: []aws.Origin{parts.AppOrigin(), parts.StaticOrigin(b.RegionalDomainName)},
		Default: parts.App(), Ordered: paths,
		Restrictions: cdn.Anywhere(), ViewerCertificate: cdn.Certificate(aws.S(certificate)),
	}, pulumi.AdditionalSecretOutputs([]string{"origins"}))
}

// distributionTenant makes a tenant of the cell's distribution.
func (p *program) distributionTenant(b *aws.Bucket) *aws.Resource {
	var domains []aws.TenantDomain
	for _, h := range p.c.Hosts() {
		domains = append(domains, aws.TenantDomain{Domain: h})
	}
	var own *aws.TenantCustomizations
	if p.c.Certificate.ARN != "" {
		own = &aws.TenantCustomizations{Certificate: aws.TenantCertificate{ARN: aws.S(p.c.Certificate.ARN)}}
	}
	return aws.Make(p.Scope, "distribution-tenant", aws.DistributionTenantArgs{
		Name: p.c.DistributionTenantName(), DistributionID: aws.S(p.c.Shared.DistributionID),
		ConnectionGroup: aws.S(p.c.Shared.ConnectionGroup), Enabled: !p.c.Withdrawn,
		Domains: domains, Customizations: own,
		Parameters: []aws.TenantParameter{{Name: cdn.BucketParameter, Value: b.ID().ToStringOutput()}},
	})
}

// records makes the tenant's host below the platform's domain. Its own domains
// lie in zones of its own.
func (p *program) records(target, zone pulumi.StringInput) {
	if p.c.Withdrawn {
		return
	}
	for _, kind := range []string{"A", "AAAA"} {
		aws.Make(p.Scope, "record-"+strings.ToLower(kind), aws.RecordArgs{
			ZoneID: aws.S(p.c.Shared.ZoneID), Name: aws.S(p.c.Tenant.Hosts[0]), Type: aws.S(kind),
			Aliases: []aws.RecordAlias{{Name: target, ZoneID: zone}},
		})
	}
}
