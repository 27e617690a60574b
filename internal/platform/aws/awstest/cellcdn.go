package awstest

import (
	"context"
	"strings"
	"sync"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	acmtypes "github.com/aws/aws-sdk-go-v2/service/acm/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	cftypes "github.com/aws/aws-sdk-go-v2/service/cloudfront/types"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"

	infraaws "github.com/gitopsd/gitopsd/infra/aws"
	"github.com/gitopsd/gitopsd/infra/cdn"
	tenants "github.com/gitopsd/gitopsd/infra/tenant"
)

// elsewhere are the CNAMEs in zones that are not the cell's.
type elsewhere struct {
	mu    sync.Mutex
	names map[string]string
}

// AddCNAME is what a customer does who proves a domain: a record in a zone of
// the customer's. An empty value takes it away again.
func (c *Cell) AddCNAME(name, value string) {
	c.elsewhere.mu.Lock()
	defer c.elsewhere.mu.Unlock()
	c.elsewhere.names[strings.TrimSuffix(name, ".")] = value
}

// lookup returns the CNAME of a name: of the cell's zone, or of a customer's.
func (c *Cell) lookup(ctx context.Context, name string) string {
	name = strings.TrimSuffix(name, ".")
	c.elsewhere.mu.Lock()
	value := c.elsewhere.names[name]
	c.elsewhere.mu.Unlock()
	if value != "" || !strings.HasSuffix(name, "."+Domain) {
		return value
	}
	out, err := route53.NewFromConfig(c.moto).ListResourceRecordSets(ctx, &route53.ListResourceRecordSetsInput{
		HostedZoneId: &c.outputs.Shared.ZoneID, StartRecordName: &name, StartRecordType: r53types.RRTypeCname, MaxItems: awssdk.Int32(1),
	})
	if err != nil || len(out.ResourceRecordSets) == 0 {
		return ""
	}
	r := out.ResourceRecordSets[0]
	if strings.TrimSuffix(*r.Name, ".") != name || r.Type != r53types.RRTypeCname || len(r.ResourceRecords) == 0 {
		return ""
	}
	return *r.ResourceRecords[0].Value
}

// makeCDN makes what all distributions share, and the cell's two.
func (c *Cell) makeCDN(ctx context.Context, tb testing.TB, shared *tenants.Shared) {
	tb.Helper()
	shared.DomainCertificate = c.certificate(ctx, tb, shared.ZoneID)
	function := func(name string) string {
		return *cloudFrontARN("function", c.config.Name(infraaws.MaxRole, name))
	}
	shared.RequestFunction, shared.ResponseFunction = function("viewer-request"), function("viewer-response")
	shared.HeadersPolicy, shared.OriginAccess = identity("headers", c.config.Cell), "E2QWRUHAPOMQZL"
	api := cloudfront.NewFromConfig(c.Config())
	store := must[*cloudfront.CreateKeyValueStoreOutput](tb)(api.CreateKeyValueStore(ctx, &cloudfront.CreateKeyValueStoreInput{
		Name: awssdk.String(c.config.Name(infraaws.MaxRole, "hosts")),
	}))
	c.outputs.KeyValueStore = *store.KeyValueStore.ARN
	group := must[*cloudfront.CreateConnectionGroupOutput](tb)(api.CreateConnectionGroup(ctx, &cloudfront.CreateConnectionGroupInput{
		Name: awssdk.String(c.config.Name(infraaws.MaxRole)), Enabled: awssdk.Bool(true), Ipv6Enabled: awssdk.Bool(true),
	}))
	shared.ConnectionGroup, shared.ConnectionEndpoint = *group.ConnectionGroup.Id, *group.ConnectionGroup.RoutingEndpoint
	multi := must[*cloudfront.CreateDistributionOutput](tb)(api.CreateDistribution(ctx, &cloudfront.CreateDistributionInput{
		DistributionConfig: distributionConfig(shared, "tenants", true),
	}))
	shared.DistributionID, shared.DistributionARN = *multi.Distribution.Id, *multi.Distribution.ARN
	wildcard := must[*cloudfront.CreateDistributionOutput](tb)(api.CreateDistribution(ctx, &cloudfront.CreateDistributionInput{
		DistributionConfig: distributionConfig(shared, "wildcard", false),
	}))
	shared.WildcardARN = *wildcard.Distribution.ARN
}

// certificate makes the cell's own, of *.<domain>.
func (c *Cell) certificate(ctx context.Context, tb testing.TB, zone string) string {
	tb.Helper()
	c.outputs.Shared.ZoneID = zone
	config := c.Config()
	config.Region = cdn.Region
	api := acm.NewFromConfig(config)
	out := must[*acm.RequestCertificateOutput](tb)(api.RequestCertificate(ctx, &acm.RequestCertificateInput{
		DomainName: awssdk.String("*." + Domain), ValidationMethod: acmtypes.ValidationMethodDns,
	}))
	certificate := must[*acm.DescribeCertificateOutput](tb)(api.DescribeCertificate(ctx, &acm.DescribeCertificateInput{CertificateArn: out.CertificateArn}))
	record := certificate.Certificate.DomainValidationOptions[0].ResourceRecord
	must[*route53.ChangeResourceRecordSetsOutput](tb)(route53.NewFromConfig(c.moto).ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{
		HostedZoneId: &zone, ChangeBatch: &r53types.ChangeBatch{Changes: []r53types.Change{{
			Action: r53types.ChangeActionUpsert, ResourceRecordSet: &r53types.ResourceRecordSet{
				Name: record.Name, Type: r53types.RRTypeCname, TTL: awssdk.Int64(60), ResourceRecords: []r53types.ResourceRecord{{Value: record.Value}},
			},
		}}},
	}))
	certificate = must[*acm.DescribeCertificateOutput](tb)(api.DescribeCertificate(ctx, &acm.DescribeCertificateInput{CertificateArn: out.CertificateArn}))
	if certificate.Certificate.Status != acmtypes.CertificateStatusIssued {
		tb.Fatalf("the cell's certificate is %s", certificate.Certificate.Status)
	}
	return *out.CertificateArn
}

// distributionConfig returns one of the cell's own distributions.
func distributionConfig(shared *tenants.Shared, name string, multi bool) *cftypes.DistributionConfig {
	functions := &cftypes.FunctionAssociations{Quantity: awssdk.Int32(2), Items: []cftypes.FunctionAssociation{
		{EventType: cftypes.EventTypeViewerRequest, FunctionARN: &shared.RequestFunction}, {EventType: cftypes.EventTypeViewerResponse, FunctionARN: &shared.ResponseFunction},
	}}
	g := &cftypes.DistributionConfig{
		CallerReference: awssdk.String(shared.Cell + " " + name), Comment: awssdk.String("gitopsd " + shared.Cell + ": " + name), Enabled: awssdk.Bool(true),
		Origins: &cftypes.Origins{Quantity: awssdk.Int32(1), Items: []cftypes.Origin{{
			Id: awssdk.String("app"), DomainName: &shared.OriginHost,
			CustomHeaders: &cftypes.CustomHeaders{Quantity: awssdk.Int32(1), Items: []cftypes.OriginCustomHeader{
				{HeaderName: awssdk.String(cdn.SecretHeader), HeaderValue: awssdk.String(OriginSecret)},
			}},
		}}},
		DefaultCacheBehavior: &cftypes.DefaultCacheBehavior{
			TargetOriginId: awssdk.String("app"), ViewerProtocolPolicy: cftypes.ViewerProtocolPolicyRedirectToHttps,
			FunctionAssociations: functions, ResponseHeadersPolicyId: &shared.HeadersPolicy,
		},
		ViewerCertificate: &cftypes.ViewerCertificate{ACMCertificateArn: &shared.DomainCertificate, SSLSupportMethod: cftypes.SSLSupportMethodSniOnly},
	}
	if !multi {
		g.Aliases = &cftypes.Aliases{Quantity: awssdk.Int32(1), Items: []string{"*." + Domain}}
		return g
	}
	g.ConnectionMode = cftypes.ConnectionModeTenantOnly
	g.Origins.Quantity = awssdk.Int32(2)
	g.Origins.Items = append(g.Origins.Items, cftypes.Origin{
		Id: awssdk.String("static"), DomainName: awssdk.String("{{" + cdn.BucketParameter + "}}.s3." + Region + ".amazonaws.com"),
		OriginPath: awssdk.String("/" + cdn.LivePrefix), OriginAccessControlId: &shared.OriginAccess,
	})
	g.TenantConfig = &cftypes.TenantConfig{ParameterDefinitions: []cftypes.ParameterDefinition{{
		Name: awssdk.String(cdn.BucketParameter), Definition: &cftypes.ParameterDefinitionSchema{StringSchema: &cftypes.StringSchemaConfig{Required: awssdk.Bool(true)}},
	}}}
	g.CacheBehaviors = &cftypes.CacheBehaviors{}
	for _, pattern := range cdn.AssetPaths() {
		g.CacheBehaviors.Items = append(g.CacheBehaviors.Items, cftypes.CacheBehavior{
			PathPattern: awssdk.String(pattern), TargetOriginId: awssdk.String("static"), ViewerProtocolPolicy: cftypes.ViewerProtocolPolicyRedirectToHttps,
			FunctionAssociations: functions, ResponseHeadersPolicyId: &shared.HeadersPolicy,
		})
	}
	g.CacheBehaviors.Quantity = awssdk.Int32(int32(len(g.CacheBehaviors.Items))) //nolint:gosec // few
	return g
}
