package platform

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/gitopsd/gitopsd/infra/aws"
	"github.com/gitopsd/gitopsd/infra/cdn"
	"github.com/gitopsd/gitopsd/infra/functions"
)

// edge is what stands before all tenants.
type edge struct {
	zone              *aws.Zone
	certificate       pulumi.StringOutput // of *.<domain>, for CloudFront
	store             *aws.Resource
	request, response *aws.Resource
	headers           *aws.Plain
	access            *aws.Resource
	group             *aws.ConnectionGroup
	multitenant       *aws.Multitenant
	wildcard          *aws.Distribution
	balancer          *aws.LoadBalancer
	targets           *aws.TargetGroup
	rule              *aws.Resource
}

// originHost is the load balancer's name, which its certificate is for.
func (c Config) originHost() string { return "origin." + c.Domain }

func (p *program) edge(logs *aws.Bucket) *edge {
	e := &edge{zone: aws.Make(p.Scope, "zone", aws.ZoneArgs{Name: p.c.Domain, Comment: "gitopsd " + p.c.Cell}, p.guard())}
	e.certificate = p.certificate(e, "domain", "*."+p.c.Domain, cdn.Region)
	p.balancer(e, logs)
	p.cdnParts(e)
	parts := cdn.Edge{
		RequestFunction: e.request.Arn, ResponseFunction: e.response.Arn, HeadersPolicy: e.headers.ID().ToStringOutput(),
		OriginAccess: e.access.ID().ToStringOutput(), OriginHost: aws.S(p.c.originHost()), OriginSecret: aws.Secret(p.c.OriginSecret),
	}
	secret := pulumi.AdditionalSecretOutputs([]string{"origins"})
	var paths []aws.TenantPath
	for _, pattern := range cdn.AssetPaths() {
		paths = append(paths, parts.Static().Tenant().At(pattern))
	}
	e.multitenant = aws.Make(p.Scope, "tenants", aws.MultitenantArgs{
		Comment: "gitopsd " + p.c.Cell + ": tenants", Enabled: true, HTTPVersion: "http2and3",
		Origins: []aws.TenantOrigin{parts.TenantAppOrigin(), parts.TenantStaticOrigin(p.c.Region)},
		Default: parts.App().Tenant(), Behaviors: paths, Restrictions: cdn.Anywhere(), ViewerCertificate: cdn.Certificate(e.certificate),
		TenantConfig: aws.TenantConfig{Parameters: []aws.ParameterDefinition{{
			Name: cdn.BucketParameter, Definitions: []aws.ParameterSchema{{Strings: []aws.StringSchema{{Required: true, Comment: "bucket of the tenant's assets"}}}},
		}}},
	}, secret)
	e.wildcard = aws.Make(p.Scope, "wildcard", aws.DistributionArgs{
		Comment: "gitopsd " + p.c.Cell + ": *." + p.c.Domain, Enabled: true, Aliases: []string{"*." + p.c.Domain},
		HTTPVersion: "http2and3", IPv6: true, PriceClass: "PriceClass_100",
		Origins: []aws.Origin{parts.AppOrigin()}, Default: parts.App(),
		Restrictions: cdn.Anywhere(), ViewerCertificate: cdn.Certificate(e.certificate),
	}, secret)
	p.alias(e, "wildcard", "*."+p.c.Domain, e.wildcard.DomainName, e.wildcard.HostedZoneID)
	p.alias(e, "origin", p.c.originHost(), e.balancer.DNSName, e.balancer.ZoneID)
	return e
}

// alias makes the records of a host that is a name at AWS.
func (p *program) alias(e *edge, name, host string, target, zone pulumi.StringInput) {
	kinds := []string{"A", "AAAA"}
	if name == "origin" {
		kinds = kinds[:1] // the load balancer has no IPv6
	}
	for _, kind := range kinds {
		aws.Make(p.Scope, name+"-"+kind, aws.RecordArgs{
			ZoneID: e.zone.ZoneID, Name: aws.S(host), Type: aws.S(kind), Aliases: []aws.RecordAlias{{Name: target, ZoneID: zone}},
		})
	}
}

// certificate asks for a certificate of a host of ours and waits for it: the zone
// is ours, so that takes minutes, once the domain is delegated to it.
func (p *program) certificate(e *edge, name, host, region string) pulumi.StringOutput {
	cert := aws.Make(p.Scope, name, aws.CertificateArgs{DomainName: host, ValidationMethod: "DNS", Region: region})
	o := cert.Option(host)
	record := aws.Make(p.Scope, name+"-validation", aws.RecordArgs{
		ZoneID: e.zone.ZoneID, Name: o.Name, Type: o.Type, TTL: 60, Records: []pulumi.StringInput{o.Value}, AllowOverwrite: true,
	})
	return aws.Make(p.Scope, name, aws.CertificateValidationArgs{
		CertificateArn: cert.Arn, RecordFQDNs: []pulumi.StringInput{record.FQDN}, Region: region,
	}).CertificateArn
}

// cdnParts makes what all distributions of the cell share: functions are few in
// an account, so all tenants have the same two.
func (p *program) cdnParts(e *edge) {
	e.store = aws.Make(p.Scope, "hosts", aws.KeyValueStoreArgs{Name: p.c.name("hosts"), Comment: "host to tenant"}, p.guard())
	e.request = aws.Make(p.Scope, "viewer-request", aws.EdgeFunctionArgs{
		Name: p.c.name("viewer-request"), Runtime: "cloudfront-js-2.0", Comment: "names the tenant", Code: functions.ViewerRequest,
		Publish: true, KeyValueStores: []pulumi.StringInput{e.store.Arn},
	})
	e.response = aws.Make(p.Scope, "viewer-response", aws.EdgeFunctionArgs{
		Name: p.c.name("viewer-response"), Runtime: "cloudfront-js-2.0", Comment: "hides what is behind", Code: functions.ViewerResponse,
		Publish: true,
	})
	const year = 31536000 // seconds
	// No function runs for an answer of 400 and above; this policy's headers are on all.
	e.headers = aws.Make(p.Scope, "headers", aws.HeadersPolicyArgs{
		Name: p.c.name(), Comment: "gitopsd " + p.c.Cell,
		Security: aws.SecurityHeaders{
			ContentType: aws.ContentTypeOptions{Override: true},
			Frame:       aws.FrameOptions{Option: "SAMEORIGIN"},
			Referrer:    aws.ReferrerPolicy{Policy: "strict-origin-when-cross-origin"},
			Transport:   aws.StrictTransport{MaxAge: year},
		},
		Remove: aws.RemovedHeaders{Items: []aws.RemovedHeader{{Header: "Server"}, {Header: "X-Powered-By"}}},
	})
	e.access = aws.Make(p.Scope, "origin-access", aws.OriginAccessArgs{
		Name: p.c.name(), Description: "buckets of gitopsd " + p.c.Cell, OriginType: "s3", SigningBehavior: "always", SigningProtocol: "sigv4",
	})
	e.group = aws.Make(p.Scope, "connections", aws.ConnectionGroupArgs{Name: p.c.name(), Enabled: true, IPv6: true})
}

// balancer makes the load balancer before Caddy. It passes on what has CloudFront's
// secret, and refuses the rest: a list of CloudFront's addresses would let in
// everybody's distributions.
func (p *program) balancer(e *edge, logs *aws.Bucket) {
	e.balancer = aws.Make(p.Scope, "edge", aws.LoadBalancerArgs{
		Name: p.c.Name(aws.MaxLoadBalancer), Type: "application", Subnets: p.net.public,
		SecurityGroups: []pulumi.StringInput{p.net.balancer}, DropInvalidHeaders: true, IdleTimeout: 65,
		DeletionProtection: !p.c.Unprotected,
		AccessLogs:         aws.LoadBalancerLogs{Bucket: logs.ID().ToStringOutput(), Prefix: "balancer", Enabled: true},
	})
	e.targets = aws.Make(p.Scope, "edge", aws.TargetGroupArgs{
		Name: p.c.Name(aws.MaxTargetGroup), Port: edgePort, Protocol: "HTTP", TargetType: "instance", VPC: p.net.vpc,
		DeregistrationDelay: 30, Algorithm: "least_outstanding_requests",
		// What the edge answers without the secret, once it has read the routes.
		HealthCheck: aws.TargetHealth{Path: "/-/edge", Protocol: "HTTP", Interval: 10, Timeout: 5, Healthy: 2, Unhealthy: 3, Matcher: "200"},
	})
	certificate := p.certificate(e, "origin", p.c.originHost(), p.c.Region)
	listener := aws.Make(p.Scope, "edge", aws.ListenerArgs{
		LoadBalancer: e.balancer.Arn, Port: httpsPort, Protocol: "HTTPS", SSLPolicy: "ELBSecurityPolicy-TLS13-1-2-2021-06",
		Certificate: certificate,
		Actions:     []aws.ListenerAction{{Type: "fixed-response", Fixed: &aws.FixedResponse{ContentType: "text/plain", Body: "Forbidden", Status: "403"}}},
	})
	e.rule = aws.Make(p.Scope, "edge", aws.ListenerRuleArgs{
		Listener: listener.Arn, Priority: 1,
		Conditions: []aws.ListenerCondition{{Header: aws.HeaderCondition{
			Name: cdn.SecretHeader, Values: []pulumi.StringInput{aws.Secret(p.c.OriginSecret)},
		}}},
		Actions: []aws.ListenerAction{{Type: "forward", TargetGroup: e.targets.Arn}},
	}, pulumi.AdditionalSecretOutputs([]string{"conditions"}))
}
