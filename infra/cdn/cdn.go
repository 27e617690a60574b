// Package cdn says how CloudFront serves a tenant: what is cached, what the two
// origins get, and where the functions run. A tenant's own distribution and the
// cell's are made of the same parts.
package cdn

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/gitopsd/gitopsd/infra/aws"
)

// SecretHeader carries the secret between CloudFront and the load balancer.
const SecretHeader = "X-Gitopsd-Secret"

// HostedZone is the zone of every CloudFront name, for alias records.
// Source: Amazon Route 53 API, AliasTarget.
const HostedZone = "Z2FDTNDATAQYW2"

// Region is where CloudFront's certificates must be.
const Region = "us-east-1"

// Policies that AWS manages. The app's answers are not cached: they are for one
// user. It gets all of a request, and its host, by which the gate knows the tenant;
// a bucket would refuse another host than its own.
const (
	cachingDisabled  = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
	cachingOptimized = "658327ea-f89d-4fab-a63d-7e88639e58f6"
	allViewer        = "216adef6-5c7f-47e4-b989-5492eafa07d3"
)

// IDs of the origins.
const (
	appOrigin    = "app"
	staticOrigin = "static"
)

// AssetPaths are what the bucket serves. Other static files come, like the
// app's answers, from behind the load balancer: an origin group, which would ask
// one after the other, takes no POST.
func AssetPaths() []string { return []string{"/assets/*", "/static/*"} }

// LivePrefix is the folder of the bucket whose files are served.
const LivePrefix = "live"

// Edge is what all distributions of a cell share.
type Edge struct {
	RequestFunction  pulumi.StringInput // ARN
	ResponseFunction pulumi.StringInput // ARN
	HeadersPolicy    pulumi.StringInput // ID
	OriginAccess     pulumi.StringInput // ID
	OriginHost       pulumi.StringInput
	OriginSecret     pulumi.StringInput
}

// App is how the app's answers are served.
func (e Edge) App() aws.Behavior {
	return aws.Behavior{
		TargetOriginID: appOrigin, ViewerProtocol: "redirect-to-https",
		AllowedMethods: []string{"GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"},
		CachedMethods:  []string{"GET", "HEAD"},
		CachePolicy:    cachingDisabled, RequestPolicy: allViewer,
		ResponseHeaders: e.HeadersPolicy, Compress: true, Functions: e.functions(),
	}
}

// Static is how the bucket's files are served.
func (e Edge) Static() aws.Behavior {
	return aws.Behavior{
		TargetOriginID: staticOrigin, ViewerProtocol: "redirect-to-https",
		AllowedMethods:  []string{"GET", "HEAD", "OPTIONS"},
		CachedMethods:   []string{"GET", "HEAD"},
		CachePolicy:     cachingOptimized,
		ResponseHeaders: e.HeadersPolicy, Compress: true, Functions: e.functions(),
	}
}

func (e Edge) functions() []aws.EdgeFunction {
	return []aws.EdgeFunction{
		{EventType: "viewer-request", ARN: e.RequestFunction},
		{EventType: "viewer-response", ARN: e.ResponseFunction},
	}
}

// custom is the load balancer as an origin; it keeps connections longer than
// CloudFront, which so never writes to one that is being closed.
func custom() aws.CustomOrigin {
	return aws.CustomOrigin{
		HTTPPort: 80, HTTPSPort: 443, ProtocolPolicy: "https-only", SSLProtocols: []string{"TLSv1.2"},
		ReadTimeout: 60, Keepalive: 60,
	}
}

// AppOrigin is the load balancer.
func (e Edge) AppOrigin() aws.Origin {
	c := custom()
	return aws.Origin{
		ID: appOrigin, DomainName: e.OriginHost, Custom: &c,
		Headers: []aws.OriginHeader{{Name: SecretHeader, Value: e.OriginSecret}},
	}
}

// StaticOrigin is a bucket.
func (e Edge) StaticOrigin(domain pulumi.StringInput) aws.Origin {
	return aws.Origin{ID: staticOrigin, DomainName: domain, Path: "/" + LivePrefix, AccessControl: e.OriginAccess}
}

// TenantAppOrigin is the load balancer, for a multi-tenant distribution.
func (e Edge) TenantAppOrigin() aws.TenantOrigin {
	return aws.TenantOrigin{
		ID: appOrigin, DomainName: e.OriginHost, Custom: []aws.CustomOrigin{custom()},
		Headers: []aws.TenantOriginHeader{{Name: SecretHeader, Value: e.OriginSecret}},
	}
}

// BucketParameter is the parameter by which a distribution tenant names its bucket.
const BucketParameter = "bucket"

// TenantStaticOrigin is the bucket that each distribution tenant names.
func (e Edge) TenantStaticOrigin(region string) aws.TenantOrigin {
	return aws.TenantOrigin{
		ID: staticOrigin, DomainName: aws.S("{{" + BucketParameter + "}}.s3." + region + ".amazonaws.com"),
		Path: "/" + LivePrefix, AccessControl: e.OriginAccess,
	}
}

// Certificate is a certificate as browsers are shown it.
func Certificate(arn pulumi.StringInput) aws.ViewerCertificate {
	return aws.ViewerCertificate{ARN: arn, MinimumProtocol: "TLSv1.2_2021", SSLSupport: "sni-only"}
}

// Anywhere restricts nothing.
func Anywhere() aws.Restrictions {
	return aws.Restrictions{Geo: aws.GeoRestriction{Type: "none"}}
}

// Reads lets a distribution, and nobody else, read a bucket's live files.
func Reads(bucket, distribution pulumi.StringInput) []aws.Statement {
	files := pulumi.Sprintf("arn:aws:s3:::%s/%s/*", bucket, LivePrefix)
	return []aws.Statement{{
		Sid:       "CloudFront",
		Principal: map[string]any{"Service": "cloudfront.amazonaws.com"},
		Actions:   []string{"s3:GetObject"},
		Resources: []pulumi.StringInput{files},
		Condition: map[string]any{"StringEquals": map[string]any{"aws:SourceArn": distribution}},
	}}
}

// OnlyTLS refuses what is not encrypted on the way to a bucket.
func OnlyTLS(bucket pulumi.StringInput) aws.Statement {
	return aws.Statement{
		Sid: "OnlyTLS", Deny: true,
		Principal: map[string]any{"AWS": "*"},
		Actions:   []string{"s3:*"},
		Resources: []pulumi.StringInput{
			pulumi.Sprintf("arn:aws:s3:::%s", bucket), pulumi.Sprintf("arn:aws:s3:::%s/*", bucket),
		},
		Condition: map[string]any{"Bool": map[string]any{"aws:SecureTransport": "false"}},
	}
}
