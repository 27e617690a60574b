package awstest

import (
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront/types"
)

// CloudFront plays distributions, tenants of a distribution, connection groups,
// invalidations, and key-value stores with what is in them.
//
// As AWS: what changes is in progress for a while; a change needs the ETag of what
// it changes; a distribution is deleted once it is disabled, everywhere; a domain
// is one distribution's or tenant's; a certificate must be issued, in us-east-1,
// for all of the domains. Quotas are the defaults, those too that many
// distributions meet together: on functions, origin access and policies.
type CloudFront struct {
	Delays CloudFrontDelays
	Quotas CloudFrontQuotas
	// Certified returns the names of a certificate that is issued, nil otherwise.
	Certified func(arn string) []string

	mu            sync.Mutex
	next          int
	distributions map[string]*distribution
	tenants       map[string]*distributionTenant
	groups        map[string]*connectionGroup
	stores        map[string]*keyValueStore // by name
	invalidations map[string]*invalidation
	tags          map[string][]types.Tag // by ARN
}

// CloudFrontDelays are how long AWS takes.
type CloudFrontDelays struct {
	Deploy     time.Duration // of a distribution, all over the world
	Tenant     time.Duration // of a tenant or a connection group
	Invalidate time.Duration
	Store      time.Duration // of a key-value store's provisioning
}

// CloudFrontQuotas are the account's. Source: "Quotas" of CloudFront's guide.
type CloudFrontQuotas struct {
	Distributions, Tenants, Groups, Aliases                                     int
	PerFunction, PerOriginAccess, PerHeadersPolicy, Invalidations, Wildcards    int
	Stores, KeySize, ValueSize, StoreSize, KeysPerUpdate, UpdateSize, TagsLimit int
}

var cloudFrontDefaults = CloudFrontQuotas{
	Distributions: 500, Tenants: 10_000, Groups: 500, Aliases: 100,
	PerFunction: 100, PerOriginAccess: 100, PerHeadersPolicy: 100, Invalidations: 3000, Wildcards: 15,
	Stores: 50, KeySize: 512, ValueSize: 1024, StoreSize: 5 << 20, KeysPerUpdate: 50, UpdateSize: 3 << 20, TagsLimit: 50,
}

type distribution struct {
	types.Distribution
	etag string
	done time.Time // when it is deployed
}

type invalidation struct {
	types.Invalidation
	owner string // distribution or tenant
	done  time.Time
}

// PlayCloudFront adds a CloudFront and its key-value stores.
func (s *Server) PlayCloudFront() *CloudFront {
	c := &CloudFront{
		Quotas: cloudFrontDefaults, Certified: func(string) []string { return nil },
		distributions: make(map[string]*distribution), tenants: make(map[string]*distributionTenant), groups: make(map[string]*connectionGroup),
		stores: make(map[string]*keyValueStore), invalidations: make(map[string]*invalidation), tags: make(map[string][]types.Tag),
	}
	const api = " /2020-05-31"
	s.services["cloudfront"] = &rest{mu: &c.mu, codec: xmlCodec{}, before: c.settle, routes: []route{
		call("CreateDistributionWithTags", "POST"+api+"/distribution?WithTags", "DistributionConfigWithTags", op(c.createWithTags)),
		call("CreateDistribution", "POST"+api+"/distribution", "DistributionConfig", op(c.create)),
		call("ListDistributions", "GET"+api+"/distribution", "", op(c.list)),
		call("GetDistribution", "GET"+api+"/distribution/{Id}", "", op(c.get)),
		call("GetDistributionConfig", "GET"+api+"/distribution/{Id}/config", "", op(c.getConfig)),
		call("UpdateDistribution", "PUT"+api+"/distribution/{Id}/config", "DistributionConfig", op(c.update)),
		call("DeleteDistribution", "DELETE"+api+"/distribution/{Id}", "", op(c.delete)),
		call("CreateInvalidation", "POST"+api+"/distribution/{DistributionId}/invalidation", "InvalidationBatch", op(c.invalidate)),
		call("GetInvalidation", "GET"+api+"/distribution/{DistributionId}/invalidation/{Id}", "", op(c.getInvalidation)),
		call("CreateInvalidationForDistributionTenant", "POST"+api+"/distribution-tenant/{Id}/invalidation", "InvalidationBatch", op(c.invalidateTenant)),
		call("GetInvalidationForDistributionTenant", "GET"+api+"/distribution-tenant/{DistributionTenantId}/invalidation/{Id}", "", op(c.getTenantInvalidation)),
		call("ListTagsForResource", "GET"+api+"/tagging", "", op(c.listTags)),
		call("TagResource", "POST"+api+"/tagging?Operation=Tag", "Tags", op(c.tag)),
		call("UntagResource", "POST"+api+"/tagging?Operation=Untag", "TagKeys", op(c.untag)),
		call("CreateDistributionTenant", "POST"+api+"/distribution-tenant", "", op(c.createTenant)),
		call("GetDistributionTenantByDomain", "GET"+api+"/distribution-tenant", "", op(c.getTenantByDomain)),
		call("GetDistributionTenant", "GET"+api+"/distribution-tenant/{Identifier}", "", op(c.getTenant)),
		call("UpdateDistributionTenant", "PUT"+api+"/distribution-tenant/{Id}", "", op(c.updateTenant)),
		call("DeleteDistributionTenant", "DELETE"+api+"/distribution-tenant/{Id}", "", op(c.deleteTenant)),
		call("ListDistributionTenants", "POST"+api+"/distribution-tenants", "", op(c.listTenants)),
		call("CreateConnectionGroup", "POST"+api+"/connection-group", "", op(c.createGroup)),
		call("GetConnectionGroup", "GET"+api+"/connection-group/{Identifier}", "", op(c.getGroup)),
		call("UpdateConnectionGroup", "PUT"+api+"/connection-group/{Id}", "", op(c.updateGroup)),
		call("DeleteConnectionGroup", "DELETE"+api+"/connection-group/{Id}", "", op(c.deleteGroup)),
		call("CreateKeyValueStore", "POST"+api+"/key-value-store", "", op(c.createStore)),
		call("ListKeyValueStores", "GET"+api+"/key-value-store", "", op(c.listStores)),
		call("DescribeKeyValueStore", "GET"+api+"/key-value-store/{Name}", "", op(c.describeStore)),
		call("UpdateKeyValueStore", "PUT"+api+"/key-value-store/{Name}", "", op(c.updateStore)),
		call("DeleteKeyValueStore", "DELETE"+api+"/key-value-store/{Name}", "", op(c.deleteStore)),
	}}
	s.playKeys(c)
	return c
}

// settle ends what was in progress.
func (c *CloudFront) settle() {
	now := time.Now()
	for _, d := range c.distributions {
		if !now.Before(d.done) {
			d.Status = awssdk.String("Deployed")
		}
	}
	for _, t := range c.tenants {
		if !now.Before(t.done) {
			t.Status = awssdk.String("Deployed")
		}
	}
	for _, g := range c.groups {
		if !now.Before(g.done) {
			g.Status = awssdk.String("Deployed")
		}
	}
	for _, i := range c.invalidations {
		if !now.Before(i.done) {
			i.Status = awssdk.String("Completed")
		}
	}
	for _, s := range c.stores {
		if !now.Before(s.done) {
			s.Status = awssdk.String("READY")
		}
	}
}

// id returns a new ID, or ETag, as CloudFront's look.
func (c *CloudFront) id(prefix string) string {
	c.next++
	return prefix + strings.ToUpper(strings.ReplaceAll(identity("cloudfront", prefix, strconv.Itoa(c.next)), "-", "")[:13])
}

func cloudFrontARN(kind, id string) *string {
	return awssdk.String("arn:aws:cloudfront::" + Account + ":" + kind + "/" + id)
}

func (c *CloudFront) create(in *cloudfront.CreateDistributionInput) (*cloudfront.CreateDistributionOutput, *refusal) {
	d, no := c.make(in.DistributionConfig, nil)
	if no != nil {
		return nil, no
	}
	return &cloudfront.CreateDistributionOutput{Distribution: &d.Distribution, ETag: &d.etag, Location: d.ARN}, nil
}

func (c *CloudFront) createWithTags(in *cloudfront.CreateDistributionWithTagsInput) (*cloudfront.CreateDistributionWithTagsOutput, *refusal) {
	var tags []types.Tag
	if in.DistributionConfigWithTags.Tags != nil {
		tags = in.DistributionConfigWithTags.Tags.Items
	}
	d, no := c.make(in.DistributionConfigWithTags.DistributionConfig, tags)
	if no != nil {
		return nil, no
	}
	return &cloudfront.CreateDistributionWithTagsOutput{Distribution: &d.Distribution, ETag: &d.etag, Location: d.ARN}, nil
}

func (c *CloudFront) make(config *types.DistributionConfig, tags []types.Tag) (*distribution, *refusal) {
	for _, d := range c.distributions {
		if *d.DistributionConfig.CallerReference == awssdk.ToString(config.CallerReference) {
			if reflect.DeepEqual(d.DistributionConfig, config) {
				return d, nil // asked for again
			}
			return nil, refuse("DistributionAlreadyExists", "The caller reference that you are using to create a distribution is associated with another distribution. Already exists: %s", *d.Id)
		}
	}
	if len(c.distributions) >= c.Quotas.Distributions {
		return nil, refuse("TooManyDistributions", "You have exceeded the maximum number of distributions.")
	}
	if no := c.check("", config); no != nil {
		return nil, no
	}
	id := c.id("E")
	d := &distribution{etag: c.id("E"), done: time.Now().Add(c.Delays.Deploy), Distribution: types.Distribution{
		Id: &id, ARN: cloudFrontARN("distribution", id), DistributionConfig: config, Status: awssdk.String("InProgress"),
		DomainName: awssdk.String("d" + strings.ToLower(id[1:]) + ".cloudfront.net"), LastModifiedTime: ptr(time.Now()), InProgressInvalidationBatches: awssdk.Int32(0),
	}}
	c.distributions[id] = d
	c.tags[*d.ARN] = tags
	return d, nil
}

func (c *CloudFront) find(id *string) (*distribution, *refusal) {
	d := c.distributions[awssdk.ToString(id)]
	if d == nil {
		return nil, refuse("NoSuchDistribution", "The specified distribution does not exist.")
	}
	return d, nil
}

func (c *CloudFront) get(in *cloudfront.GetDistributionInput) (*cloudfront.GetDistributionOutput, *refusal) {
	d, no := c.find(in.Id)
	if no != nil {
		return nil, no
	}
	return &cloudfront.GetDistributionOutput{Distribution: &d.Distribution, ETag: &d.etag}, nil
}

func (c *CloudFront) getConfig(in *cloudfront.GetDistributionConfigInput) (*cloudfront.GetDistributionConfigOutput, *refusal) {
	d, no := c.find(in.Id)
	if no != nil {
		return nil, no
	}
	return &cloudfront.GetDistributionConfigOutput{DistributionConfig: d.DistributionConfig, ETag: &d.etag}, nil
}

// matches checks the ETag of what is to be changed.
func matches(ifMatch *string, etag string) *refusal {
	switch {
	case awssdk.ToString(ifMatch) == "":
		return refuse("InvalidIfMatchVersion", "The If-Match version is missing or not valid for the resource.")
	case *ifMatch != etag:
		return refuse("PreconditionFailed", "The precondition given in one or more of the request-header fields evaluated to false.")
	}
	return nil
}

func (c *CloudFront) update(in *cloudfront.UpdateDistributionInput) (*cloudfront.UpdateDistributionOutput, *refusal) {
	d, no := c.find(in.Id)
	if no == nil {
		no = matches(in.IfMatch, d.etag)
	}
	if no == nil && *in.DistributionConfig.CallerReference != *d.DistributionConfig.CallerReference {
		no = refuse("IllegalUpdate", "The caller reference cannot be changed.")
	}
	if no == nil {
		no = c.check(*d.Id, in.DistributionConfig)
	}
	if no != nil {
		return nil, no
	}
	d.DistributionConfig, d.etag, d.LastModifiedTime = in.DistributionConfig, c.id("E"), ptr(time.Now())
	d.Status, d.done = awssdk.String("InProgress"), time.Now().Add(c.Delays.Deploy)
	return &cloudfront.UpdateDistributionOutput{Distribution: &d.Distribution, ETag: &d.etag}, nil
}

func (c *CloudFront) delete(in *cloudfront.DeleteDistributionInput) (*cloudfront.DeleteDistributionOutput, *refusal) {
	d, no := c.find(in.Id)
	if no == nil {
		no = matches(in.IfMatch, d.etag)
	}
	if no != nil {
		return nil, no
	}
	if *d.DistributionConfig.Enabled || *d.Status != "Deployed" {
		return nil, refuse("DistributionNotDisabled", "The distribution you are trying to delete has not been disabled.")
	}
	for _, t := range c.tenants {
		if *t.DistributionId == *d.Id {
			return nil, refuse("ResourceInUse", "The distribution has tenants.")
		}
	}
	delete(c.distributions, *d.Id)
	delete(c.tags, *d.ARN)
	return &cloudfront.DeleteDistributionOutput{}, nil
}

func (c *CloudFront) list(in *cloudfront.ListDistributionsInput) (*cloudfront.ListDistributionsOutput, *refusal) {
	var all []types.DistributionSummary
	for _, id := range sortedKeys(c.distributions) {
		d := c.distributions[id]
		g := d.DistributionConfig
		all = append(all, types.DistributionSummary{
			Id: d.Id, ARN: d.ARN, Status: d.Status, DomainName: d.DomainName, LastModifiedTime: d.LastModifiedTime, Enabled: g.Enabled, Comment: g.Comment,
			Aliases: g.Aliases, Origins: g.Origins, DefaultCacheBehavior: g.DefaultCacheBehavior, CacheBehaviors: g.CacheBehaviors,
			CustomErrorResponses: g.CustomErrorResponses, PriceClass: g.PriceClass, ViewerCertificate: g.ViewerCertificate, Restrictions: g.Restrictions,
			WebACLId: g.WebACLId, HttpVersion: g.HttpVersion, IsIPV6Enabled: g.IsIPV6Enabled, Staging: g.Staging,
		})
	}
	page, next, no := paged(all, in.Marker, awssdk.ToInt32(in.MaxItems), 100)
	return &cloudfront.ListDistributionsOutput{DistributionList: &types.DistributionList{
		Items: page, NextMarker: next, IsTruncated: awssdk.Bool(next != nil), Quantity: awssdk.Int32(int32(len(page))), Marker: awssdk.String(awssdk.ToString(in.Marker)), MaxItems: awssdk.Int32(100), //nolint:gosec // a page
	}}, no
}
