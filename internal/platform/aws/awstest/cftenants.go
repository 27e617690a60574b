package awstest

import (
	"maps"
	"slices"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront/types"
)

type distributionTenant struct {
	types.DistributionTenant
	etag string
	done time.Time
}

type connectionGroup struct {
	types.ConnectionGroup
	etag string
	done time.Time
}

func (c *CloudFront) createTenant(in *cloudfront.CreateDistributionTenantInput) (*cloudfront.CreateDistributionTenantOutput, *refusal) {
	name := awssdk.ToString(in.Name)
	for _, t := range c.tenants {
		if *t.Name == name {
			return nil, refuse("EntityAlreadyExists", "A distribution tenant of this name exists: %s", name)
		}
	}
	if len(name) < 3 || len(name) > 128 {
		return nil, refuse("InvalidArgument", "name %q", name)
	}
	if len(c.tenants) >= c.Quotas.Tenants {
		return nil, refuse("EntityLimitExceeded", "The maximum number of distribution tenants is reached.")
	}
	enabled := in.Enabled == nil || *in.Enabled
	t := &distributionTenant{DistributionTenant: types.DistributionTenant{
		Name: in.Name, DistributionId: in.DistributionId, ConnectionGroupId: in.ConnectionGroupId, Customizations: in.Customizations,
		Enabled: &enabled, Parameters: in.Parameters, CreatedTime: ptr(time.Now()),
	}}
	if no := c.checkTenant(t, in.Domains); no != nil {
		return nil, no
	}
	id := strings.Replace(c.id("dt_"), "DT_", "dt_", 1)
	t.Id, t.Arn = &id, cloudFrontARN("distribution-tenant", id)
	c.tenants[id] = t
	var tags []types.Tag
	if in.Tags != nil {
		tags = in.Tags.Items
	}
	c.tags[*t.Arn] = tags
	c.changeTenant(t, in.Domains)
	return &cloudfront.CreateDistributionTenantOutput{DistributionTenant: &t.DistributionTenant, ETag: &t.etag}, nil
}

// checkTenant is what CloudFront checks of a tenant with these domains.
func (c *CloudFront) checkTenant(t *distributionTenant, domains []types.DomainItem) *refusal {
	d, no := c.find(t.DistributionId)
	switch {
	case no != nil:
		return refuse("EntityNotFound", "The distribution %s does not exist.", awssdk.ToString(t.DistributionId))
	case d.DistributionConfig.ConnectionMode != types.ConnectionModeTenantOnly:
		return refuse("InvalidAssociation", "The distribution %s is no multi-tenant distribution.", *d.Id)
	case len(domains) == 0 || len(domains) > c.Quotas.Aliases:
		return refuse("InvalidArgument", "1 to %d domains.", c.Quotas.Aliases)
	case t.ConnectionGroupId != nil && c.groups[*t.ConnectionGroupId] == nil:
		return refuse("EntityNotFound", "The connection group %s does not exist.", *t.ConnectionGroupId)
	}
	var names []string
	for _, n := range domains {
		names = append(names, awssdk.ToString(n.Domain))
	}
	if no := c.free(awssdk.ToString(t.Id), names); no != nil {
		return no
	}
	certificate := certificateOf(d.DistributionConfig)
	if t.Customizations != nil && t.Customizations.Certificate != nil {
		certificate = awssdk.ToString(t.Customizations.Certificate.Arn)
	}
	if no := c.covered(certificate, names); no != nil {
		return no
	}
	if g := d.DistributionConfig.TenantConfig; g != nil {
		for _, p := range g.ParameterDefinitions {
			required := p.Definition != nil && p.Definition.StringSchema != nil && awssdk.ToBool(p.Definition.StringSchema.Required)
			if required && !slices.ContainsFunc(t.Parameters, func(o types.Parameter) bool { return *o.Name == *p.Name }) {
				return refuse("InvalidArgument", "The parameter %s is required.", *p.Name)
			}
		}
	}
	return nil
}

// changeTenant begins to deploy a change.
func (c *CloudFront) changeTenant(t *distributionTenant, domains []types.DomainItem) {
	t.Domains = nil
	for _, n := range domains {
		t.Domains = append(t.Domains, types.DomainResult{Domain: n.Domain, Status: types.DomainStatusActive})
	}
	t.etag, t.LastModifiedTime, t.Status, t.done = c.id("E"), ptr(time.Now()), awssdk.String("InProgress"), time.Now().Add(c.Delays.Tenant)
}

// tenant returns the one that an ID, ARN or name means.
func (c *CloudFront) tenant(name *string) (*distributionTenant, *refusal) {
	for _, t := range c.tenants {
		if n := awssdk.ToString(name); n == *t.Id || n == *t.Arn || n == *t.Name {
			return t, nil
		}
	}
	return nil, refuse("EntityNotFound", "The distribution tenant %s does not exist.", awssdk.ToString(name))
}

func (c *CloudFront) getTenant(in *cloudfront.GetDistributionTenantInput) (*cloudfront.GetDistributionTenantOutput, *refusal) {
	t, no := c.tenant(in.Identifier)
	if no != nil {
		return nil, no
	}
	return &cloudfront.GetDistributionTenantOutput{DistributionTenant: &t.DistributionTenant, ETag: &t.etag}, nil
}

func (c *CloudFront) getTenantByDomain(in *cloudfront.GetDistributionTenantByDomainInput) (*cloudfront.GetDistributionTenantByDomainOutput, *refusal) {
	for _, t := range c.tenants {
		if slices.ContainsFunc(t.Domains, func(r types.DomainResult) bool { return *r.Domain == awssdk.ToString(in.Domain) }) {
			return &cloudfront.GetDistributionTenantByDomainOutput{DistributionTenant: &t.DistributionTenant, ETag: &t.etag}, nil
		}
	}
	return nil, refuse("EntityNotFound", "No distribution tenant has the domain %s.", awssdk.ToString(in.Domain))
}

func (c *CloudFront) updateTenant(in *cloudfront.UpdateDistributionTenantInput) (*cloudfront.UpdateDistributionTenantOutput, *refusal) {
	t, no := c.tenant(in.Id)
	if no == nil {
		no = matches(in.IfMatch, t.etag)
	}
	if no != nil {
		return nil, no
	}
	next, domains := *t, in.Domains
	if domains == nil {
		for _, r := range t.Domains {
			domains = append(domains, types.DomainItem{Domain: r.Domain})
		}
	}
	if in.DistributionId != nil {
		next.DistributionId = in.DistributionId
	}
	if in.ConnectionGroupId != nil {
		next.ConnectionGroupId = in.ConnectionGroupId
	}
	if in.Customizations != nil {
		next.Customizations = in.Customizations
	}
	if in.Parameters != nil {
		next.Parameters = in.Parameters
	}
	if in.Enabled != nil {
		next.Enabled = in.Enabled
	}
	if no := c.checkTenant(&next, domains); no != nil {
		return nil, no
	}
	*t = next
	c.changeTenant(t, domains)
	return &cloudfront.UpdateDistributionTenantOutput{DistributionTenant: &t.DistributionTenant, ETag: &t.etag}, nil
}

func (c *CloudFront) deleteTenant(in *cloudfront.DeleteDistributionTenantInput) (*cloudfront.DeleteDistributionTenantOutput, *refusal) {
	t, no := c.tenant(in.Id)
	if no == nil {
		no = matches(in.IfMatch, t.etag)
	}
	switch {
	case no != nil:
		return nil, no
	case *t.Enabled || *t.Status != "Deployed":
		return nil, refuse("ResourceNotDisabled", "The specified resource has not been disabled.")
	}
	delete(c.tenants, *t.Id)
	delete(c.tags, *t.Arn)
	return &cloudfront.DeleteDistributionTenantOutput{}, nil
}

func (c *CloudFront) listTenants(in *cloudfront.ListDistributionTenantsInput) (*cloudfront.ListDistributionTenantsOutput, *refusal) {
	var all []types.DistributionTenantSummary
	for _, id := range sortedKeys(c.tenants) {
		t := c.tenants[id]
		if f := in.AssociationFilter; f != nil {
			if f.DistributionId != nil && *f.DistributionId != *t.DistributionId || f.ConnectionGroupId != nil && *f.ConnectionGroupId != awssdk.ToString(t.ConnectionGroupId) {
				continue
			}
		}
		all = append(all, types.DistributionTenantSummary{
			Id: t.Id, Arn: t.Arn, Name: t.Name, DistributionId: t.DistributionId, Domains: t.Domains, ConnectionGroupId: t.ConnectionGroupId,
			Customizations: t.Customizations, CreatedTime: t.CreatedTime, LastModifiedTime: t.LastModifiedTime, ETag: &t.etag, Enabled: t.Enabled, Status: t.Status,
		})
	}
	page, next, no := paged(all, in.Marker, awssdk.ToInt32(in.MaxItems), 100)
	return &cloudfront.ListDistributionTenantsOutput{DistributionTenantList: page, NextMarker: next}, no
}

func (c *CloudFront) invalidateTenant(in *cloudfront.CreateInvalidationForDistributionTenantInput) (*cloudfront.CreateInvalidationForDistributionTenantOutput, *refusal) {
	t, no := c.tenant(in.Id)
	if no != nil {
		return nil, no
	}
	i, no := c.addInvalidation(*t.Id, in.InvalidationBatch)
	if no != nil {
		return nil, no
	}
	return &cloudfront.CreateInvalidationForDistributionTenantOutput{Invalidation: &i.Invalidation}, nil
}

func (c *CloudFront) getTenantInvalidation(in *cloudfront.GetInvalidationForDistributionTenantInput) (*cloudfront.GetInvalidationForDistributionTenantOutput, *refusal) {
	i := c.invalidations[awssdk.ToString(in.Id)]
	if i == nil || i.owner != awssdk.ToString(in.DistributionTenantId) {
		return nil, refuse("NoSuchInvalidation", "The specified invalidation does not exist.")
	}
	return &cloudfront.GetInvalidationForDistributionTenantOutput{Invalidation: &i.Invalidation}, nil
}

func (c *CloudFront) createGroup(in *cloudfront.CreateConnectionGroupInput) (*cloudfront.CreateConnectionGroupOutput, *refusal) {
	for _, g := range c.groups {
		if *g.Name == awssdk.ToString(in.Name) {
			return nil, refuse("EntityAlreadyExists", "A connection group of this name exists.")
		}
	}
	if len(c.groups) >= c.Quotas.Groups {
		return nil, refuse("EntityLimitExceeded", "The maximum number of connection groups is reached.")
	}
	id := strings.Replace(c.id("cg_"), "CG_", "cg_", 1)
	g := &connectionGroup{etag: c.id("E"), done: time.Now().Add(c.Delays.Tenant), ConnectionGroup: types.ConnectionGroup{
		Id: &id, Arn: cloudFrontARN("connection-group", id), Name: in.Name, Enabled: in.Enabled, Ipv6Enabled: in.Ipv6Enabled,
		RoutingEndpoint: awssdk.String("d" + strings.ToLower(id[3:]) + ".cloudfront.net"), Status: awssdk.String("InProgress"),
		CreatedTime: ptr(time.Now()), LastModifiedTime: ptr(time.Now()), IsDefault: awssdk.Bool(false),
	}}
	c.groups[id] = g
	c.tags[*g.Arn] = nil
	if in.Tags != nil {
		c.tags[*g.Arn] = in.Tags.Items
	}
	return &cloudfront.CreateConnectionGroupOutput{ConnectionGroup: &g.ConnectionGroup, ETag: &g.etag}, nil
}

func (c *CloudFront) group(name *string) (*connectionGroup, *refusal) {
	for _, g := range c.groups {
		if n := awssdk.ToString(name); n == *g.Id || n == *g.Arn || n == *g.Name {
			return g, nil
		}
	}
	return nil, refuse("EntityNotFound", "The connection group %s does not exist.", awssdk.ToString(name))
}

func (c *CloudFront) getGroup(in *cloudfront.GetConnectionGroupInput) (*cloudfront.GetConnectionGroupOutput, *refusal) {
	g, no := c.group(in.Identifier)
	if no != nil {
		return nil, no
	}
	return &cloudfront.GetConnectionGroupOutput{ConnectionGroup: &g.ConnectionGroup, ETag: &g.etag}, nil
}

func (c *CloudFront) updateGroup(in *cloudfront.UpdateConnectionGroupInput) (*cloudfront.UpdateConnectionGroupOutput, *refusal) {
	g, no := c.group(in.Id)
	if no == nil {
		no = matches(in.IfMatch, g.etag)
	}
	if no != nil {
		return nil, no
	}
	if in.Enabled != nil {
		g.Enabled = in.Enabled
	}
	if in.Ipv6Enabled != nil {
		g.Ipv6Enabled = in.Ipv6Enabled
	}
	g.etag, g.LastModifiedTime, g.Status, g.done = c.id("E"), ptr(time.Now()), awssdk.String("InProgress"), time.Now().Add(c.Delays.Tenant)
	return &cloudfront.UpdateConnectionGroupOutput{ConnectionGroup: &g.ConnectionGroup, ETag: &g.etag}, nil
}

func (c *CloudFront) deleteGroup(in *cloudfront.DeleteConnectionGroupInput) (*cloudfront.DeleteConnectionGroupOutput, *refusal) {
	g, no := c.group(in.Id)
	if no == nil {
		no = matches(in.IfMatch, g.etag)
	}
	if no != nil {
		return nil, no
	}
	if awssdk.ToBool(g.Enabled) || *g.Status != "Deployed" {
		return nil, refuse("ResourceNotDisabled", "The specified resource has not been disabled.")
	}
	for _, t := range c.tenants {
		if awssdk.ToString(t.ConnectionGroupId) == *g.Id {
			return nil, refuse("CannotDeleteEntityWhileInUse", "The connection group has tenants.")
		}
	}
	delete(c.groups, *g.Id)
	delete(c.tags, *g.Arn)
	return &cloudfront.DeleteConnectionGroupOutput{}, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
