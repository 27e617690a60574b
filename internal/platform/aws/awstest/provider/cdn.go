package provider

import (
	"context"
	"fmt"
	"strconv"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront/types"
)

// behavior is a cache behavior as the provider has it.
type behavior struct {
	Path     string                     `json:"pathPattern"`
	Target   string                     `json:"targetOriginId"`
	Protocol types.ViewerProtocolPolicy `json:"viewerProtocolPolicy"`
	Allowed  []types.Method             `json:"allowedMethods"`
	Cached   []types.Method             `json:"cachedMethods"`
	Cache    string                     `json:"cachePolicyId"`
	Request  *string                    `json:"originRequestPolicyId"`
	Headers  string                     `json:"responseHeadersPolicyId"`
	Compress bool                       `json:"compress"`
	Runs     []struct {
		On  types.EventType `json:"eventType"`
		ARN string          `json:"functionArn"`
	} `json:"functionAssociations"`
}

func (b behavior) functions() *types.FunctionAssociations {
	f := &types.FunctionAssociations{Quantity: count(len(b.Runs))}
	for _, r := range b.Runs {
		f.Items = append(f.Items, types.FunctionAssociation{EventType: r.On, FunctionARN: &r.ARN})
	}
	return f
}

func (b behavior) methods() *types.AllowedMethods {
	return &types.AllowedMethods{
		Quantity: count(len(b.Allowed)), Items: b.Allowed,
		CachedMethods: &types.CachedMethods{Quantity: count(len(b.Cached)), Items: b.Cached},
	}
}

// ownDistribution is a distribution as the provider has it.
type ownDistribution struct {
	Comment string            `json:"comment"`
	Enabled bool              `json:"enabled"`
	Aliases []string          `json:"aliases"`
	HTTP    types.HttpVersion `json:"httpVersion"`
	IPv6    bool              `json:"isIpv6Enabled"`
	Price   types.PriceClass  `json:"priceClass"`
	Origins []struct {
		ID      string `json:"originId"`
		Domain  string `json:"domainName"`
		Path    string `json:"originPath"`
		Control string `json:"originAccessControlId"`
		Custom  *struct {
			HTTP     float64                    `json:"httpPort"`
			HTTPS    float64                    `json:"httpsPort"`
			Protocol types.OriginProtocolPolicy `json:"originProtocolPolicy"`
			SSL      []types.SslProtocol        `json:"originSslProtocols"`
		} `json:"customOriginConfig"`
		Headers []struct{ Name, Value string } `json:"customHeaders"`
	} `json:"origins"`
	Default     behavior   `json:"defaultCacheBehavior"`
	Ordered     []behavior `json:"orderedCacheBehaviors"`
	Certificate struct {
		ARN     string                       `json:"acmCertificateArn"`
		Minimum types.MinimumProtocolVersion `json:"minimumProtocolVersion"`
		SSL     types.SSLSupportMethod       `json:"sslSupportMethod"`
	} `json:"viewerCertificate"`
}

func count(n int) *int32 { return awssdk.Int32(int32(n)) } //nolint:gosec // few

// config returns what CloudFront is told.
func (d ownDistribution) config(reference string) *types.DistributionConfig {
	g := &types.DistributionConfig{
		CallerReference: &reference, Comment: &d.Comment, Enabled: &d.Enabled, HttpVersion: d.HTTP, IsIPV6Enabled: &d.IPv6, PriceClass: d.Price,
		Aliases: &types.Aliases{Quantity: count(len(d.Aliases)), Items: d.Aliases},
		Origins: &types.Origins{Quantity: count(len(d.Origins))},
		DefaultCacheBehavior: &types.DefaultCacheBehavior{
			TargetOriginId: &d.Default.Target, ViewerProtocolPolicy: d.Default.Protocol, AllowedMethods: d.Default.methods(), CachePolicyId: &d.Default.Cache,
			OriginRequestPolicyId: d.Default.Request, ResponseHeadersPolicyId: &d.Default.Headers, Compress: &d.Default.Compress, FunctionAssociations: d.Default.functions(),
		},
		CacheBehaviors: &types.CacheBehaviors{Quantity: count(len(d.Ordered))},
		Restrictions:   &types.Restrictions{GeoRestriction: &types.GeoRestriction{RestrictionType: types.GeoRestrictionTypeNone, Quantity: count(0)}},
		ViewerCertificate: &types.ViewerCertificate{
			ACMCertificateArn: &d.Certificate.ARN, MinimumProtocolVersion: d.Certificate.Minimum, SSLSupportMethod: d.Certificate.SSL,
		},
	}
	for _, o := range d.Origins {
		origin := types.Origin{Id: &o.ID, DomainName: &o.Domain, OriginPath: &o.Path, CustomHeaders: &types.CustomHeaders{Quantity: count(len(o.Headers))}}
		for _, h := range o.Headers {
			origin.CustomHeaders.Items = append(origin.CustomHeaders.Items, types.OriginCustomHeader{HeaderName: &h.Name, HeaderValue: &h.Value})
		}
		if o.Control != "" {
			origin.OriginAccessControlId, origin.S3OriginConfig = &o.Control, &types.S3OriginConfig{OriginAccessIdentity: awssdk.String("")}
		}
		if c := o.Custom; c != nil {
			origin.CustomOriginConfig = &types.CustomOriginConfig{
				HTTPPort: awssdk.Int32(int32(c.HTTP)), HTTPSPort: awssdk.Int32(int32(c.HTTPS)), OriginProtocolPolicy: c.Protocol,
				OriginSslProtocols: &types.OriginSslProtocols{Quantity: count(len(c.SSL)), Items: c.SSL},
			}
		}
		g.Origins.Items = append(g.Origins.Items, origin)
	}
	for _, b := range d.Ordered {
		g.CacheBehaviors.Items = append(g.CacheBehaviors.Items, types.CacheBehavior{
			PathPattern: &b.Path, TargetOriginId: &b.Target, ViewerProtocolPolicy: b.Protocol, AllowedMethods: b.methods(), CachePolicyId: &b.Cache,
			OriginRequestPolicyId: b.Request, ResponseHeadersPolicyId: &b.Headers, Compress: &b.Compress, FunctionAssociations: b.functions(),
		})
	}
	return g
}

var distribution = real{
	create: func(ctx context.Context, c *clients, in Properties) (string, Properties, error) {
		d, err := decode[ownDistribution](in)
		if err != nil {
			return "", nil, err
		}
		out, err := c.cdn.CreateDistributionWithTags(ctx, &cloudfront.CreateDistributionWithTagsInput{DistributionConfigWithTags: &types.DistributionConfigWithTags{
			DistributionConfig: d.config("terraform-" + strconv.FormatInt(time.Now().UnixNano(), 10)), Tags: &types.Tags{Items: cdnTags(in)},
		}})
		if err != nil {
			return "", nil, err
		}
		one := out.Distribution
		return *one.Id, Properties{"arn": *one.ARN, "domainName": *one.DomainName, "status": *one.Status}, nil
	},
	read: func(ctx context.Context, c *clients, id string, _ Properties) (Properties, error) {
		out, err := c.cdn.GetDistribution(ctx, &cloudfront.GetDistributionInput{Id: &id})
		if err != nil {
			return nil, gone(err)
		}
		g := out.Distribution.DistributionConfig
		return Properties{"enabled": awssdk.ToBool(g.Enabled), "comment": awssdk.ToString(g.Comment), "status": awssdk.ToString(out.Distribution.Status)}, nil
	},
	update: func(ctx context.Context, c *clients, id string, _, news Properties) (Properties, error) {
		d, err := decode[ownDistribution](news)
		if err != nil {
			return nil, err
		}
		out, err := c.cdn.GetDistribution(ctx, &cloudfront.GetDistributionInput{Id: &id})
		if err != nil {
			return nil, err
		}
		_, err = c.cdn.UpdateDistribution(ctx, &cloudfront.UpdateDistributionInput{
			Id: &id, IfMatch: out.ETag, DistributionConfig: d.config(*out.Distribution.DistributionConfig.CallerReference),
		})
		return nil, err
	},
	// As the provider does: disabled first, and deleted once that is so everywhere.
	delete: func(ctx context.Context, c *clients, id string, _ Properties) error {
		for {
			out, err := c.cdn.GetDistribution(ctx, &cloudfront.GetDistributionInput{Id: &id})
			if err != nil {
				return gone(err)
			}
			g := out.Distribution.DistributionConfig
			switch {
			case awssdk.ToBool(g.Enabled):
				g.Enabled = awssdk.Bool(false)
				_, err = c.cdn.UpdateDistribution(ctx, &cloudfront.UpdateDistributionInput{Id: &id, IfMatch: out.ETag, DistributionConfig: g})
			case awssdk.ToString(out.Distribution.Status) == "Deployed":
				_, err = c.cdn.DeleteDistribution(ctx, &cloudfront.DeleteDistributionInput{Id: &id, IfMatch: out.ETag})
				return gone(err)
			}
			if err != nil {
				return err
			}
			if err := c.pause(ctx); err != nil {
				return err
			}
		}
	},
}

// tenantOf is a distribution tenant as the provider has it.
type tenantOf struct {
	Name            string `json:"name"`
	Distribution    string `json:"distributionId"`
	ConnectionGroup string `json:"connectionGroupId"`
	Enabled         bool   `json:"enabled"`
	Domains         []struct {
		Domain string `json:"domain"`
	} `json:"domains"`
	Parameters     []struct{ Name, Value string } `json:"parameters"`
	Customizations *struct {
		Certificate struct {
			ARN string `json:"arn"`
		} `json:"certificate"`
	} `json:"customizations"`
}

func (t tenantOf) domains() (list []types.DomainItem) {
	for _, d := range t.Domains {
		list = append(list, types.DomainItem{Domain: &d.Domain})
	}
	return list
}

func (t tenantOf) parameters() (list []types.Parameter) {
	for _, p := range t.Parameters {
		list = append(list, types.Parameter{Name: &p.Name, Value: &p.Value})
	}
	return list
}

func (t tenantOf) customizations() *types.Customizations {
	if t.Customizations == nil {
		return nil
	}
	return &types.Customizations{Certificate: &types.Certificate{Arn: &t.Customizations.Certificate.ARN}}
}

var distributionTenant = real{
	create: func(ctx context.Context, c *clients, in Properties) (string, Properties, error) {
		t, err := decode[tenantOf](in)
		if err != nil {
			return "", nil, err
		}
		out, err := c.cdn.CreateDistributionTenant(ctx, &cloudfront.CreateDistributionTenantInput{
			Name: &t.Name, DistributionId: &t.Distribution, ConnectionGroupId: &t.ConnectionGroup, Enabled: &t.Enabled,
			Domains: t.domains(), Parameters: t.parameters(), Customizations: t.customizations(), Tags: &types.Tags{Items: cdnTags(in)},
		})
		if err != nil {
			return "", nil, err
		}
		return *out.DistributionTenant.Id, Properties{"arn": *out.DistributionTenant.Arn}, nil
	},
	read: func(ctx context.Context, c *clients, id string, _ Properties) (Properties, error) {
		out, err := c.cdn.GetDistributionTenant(ctx, &cloudfront.GetDistributionTenantInput{Identifier: &id})
		if err != nil {
			return nil, gone(err)
		}
		return Properties{"name": awssdk.ToString(out.DistributionTenant.Name), "enabled": awssdk.ToBool(out.DistributionTenant.Enabled)}, nil
	},
	update: func(ctx context.Context, c *clients, id string, _, news Properties) (Properties, error) {
		t, err := decode[tenantOf](news)
		if err != nil {
			return nil, err
		}
		out, err := c.cdn.GetDistributionTenant(ctx, &cloudfront.GetDistributionTenantInput{Identifier: &id})
		if err != nil {
			return nil, err
		}
		_, err = c.cdn.UpdateDistributionTenant(ctx, &cloudfront.UpdateDistributionTenantInput{
			Id: &id, IfMatch: out.ETag, Enabled: &t.Enabled, Domains: t.domains(), Parameters: t.parameters(), Customizations: t.customizations(),
		})
		return nil, err
	},
	delete: func(ctx context.Context, c *clients, id string, _ Properties) error {
		for {
			out, err := c.cdn.GetDistributionTenant(ctx, &cloudfront.GetDistributionTenantInput{Identifier: &id})
			if err != nil {
				return gone(err)
			}
			t := out.DistributionTenant
			switch {
			case awssdk.ToBool(t.Enabled):
				_, err = c.cdn.UpdateDistributionTenant(ctx, &cloudfront.UpdateDistributionTenantInput{Id: &id, IfMatch: out.ETag, Enabled: awssdk.Bool(false)})
			case awssdk.ToString(t.Status) == "Deployed":
				_, err = c.cdn.DeleteDistributionTenant(ctx, &cloudfront.DeleteDistributionTenantInput{Id: &id, IfMatch: out.ETag})
				return gone(err)
			}
			if err != nil {
				return err
			}
			if err := c.pause(ctx); err != nil {
				return err
			}
		}
	},
}

// pause waits before what is slow is looked at again.
func (c *clients) pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("it takes too long: %w", ctx.Err())
	case <-time.After(c.poll):
		return nil
	}
}

func cdnTags(in Properties) []types.Tag {
	var out []types.Tag
	for k, v := range tagsOf(in) {
		out = append(out, types.Tag{Key: awssdk.String(k), Value: awssdk.String(v)})
	}
	return out
}
