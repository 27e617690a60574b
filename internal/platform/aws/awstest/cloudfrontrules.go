package awstest

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront/types"
)

// check is what CloudFront checks of a distribution, id "" for a new one.
func (c *CloudFront) check(id string, g *types.DistributionConfig) *refusal {
	switch {
	case g == nil || awssdk.ToString(g.CallerReference) == "" || g.Enabled == nil || g.Comment == nil || g.DefaultCacheBehavior == nil:
		return refuse("InvalidArgument", "The parameter is missing.")
	case len(*g.Comment) > 128:
		return refuse("InvalidArgument", "The parameter Comment is too long.")
	case g.Origins == nil || len(g.Origins.Items) == 0:
		return refuse("InvalidArgument", "The parameter Origins is required.")
	}
	if no := quantities(reflect.ValueOf(*g), "DistributionConfig"); no != nil {
		return no
	}
	behaviors := behaviorsOf(g)
	for _, b := range behaviors {
		if !slices.ContainsFunc(g.Origins.Items, func(o types.Origin) bool { return *o.Id == b.origin }) {
			return refuse("NoSuchOrigin", "One or more of your origins or origin groups do not exist.")
		}
	}
	if g.Aliases != nil && len(g.Aliases.Items) > 0 {
		if len(g.Aliases.Items) > c.Quotas.Aliases {
			return refuse("TooManyDistributionCNAMEs", "Your request contains more CNAMEs than are allowed per distribution.")
		}
		if no := c.free(id, g.Aliases.Items); no != nil {
			return no
		}
		if no := c.covered(certificateOf(g), g.Aliases.Items); no != nil {
			return no
		}
	}
	return c.together(id, g)
}

func certificateOf(g *types.DistributionConfig) string {
	if g.ViewerCertificate == nil {
		return ""
	}
	return awssdk.ToString(g.ViewerCertificate.ACMCertificateArn)
}

// quantities checks that each Quantity is the number of Items.
func quantities(v reflect.Value, at string) *refusal {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return quantities(v.Elem(), at)
	case reflect.Slice:
		for i := range v.Len() {
			if no := quantities(v.Index(i), at); no != nil {
				return no
			}
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return nil
		}
		q, items := v.FieldByName("Quantity"), v.FieldByName("Items")
		if q.IsValid() && items.IsValid() && (q.IsNil() || int(q.Elem().Int()) != items.Len()) {
			return refuse("InconsistentQuantities", "The value of Quantity and the size of Items don't match: %s.", at)
		}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				if no := quantities(v.Field(i), f.Name); no != nil {
					return no
				}
			}
		}
	}
	return nil
}

// free checks that no other distribution or tenant has one of the domains.
func (c *CloudFront) free(id string, domains []string) *refusal {
	taken := refuse("CNAMEAlreadyExists", "One or more of the CNAMEs you provided are already associated with a different resource.")
	for _, d := range c.distributions {
		if a := d.DistributionConfig.Aliases; *d.Id != id && a != nil && slices.ContainsFunc(a.Items, func(n string) bool { return slices.Contains(domains, n) }) {
			return taken
		}
	}
	for _, t := range c.tenants {
		if *t.Id != id && slices.ContainsFunc(t.Domains, func(r types.DomainResult) bool { return slices.Contains(domains, *r.Domain) }) {
			return taken
		}
	}
	return nil
}

// covered checks that a certificate is issued and for all the domains.
func (c *CloudFront) covered(arn string, domains []string) *refusal {
	if arn != "" && !strings.HasPrefix(arn, "arn:aws:acm:us-east-1:") {
		return refuse("InvalidViewerCertificate", "The specified SSL certificate doesn't exist, isn't in us-east-1 region, isn't valid, or doesn't include a valid certificate chain.")
	}
	names := c.Certified(arn)
	if names == nil {
		return refuse("InvalidViewerCertificate", "To add an alternate domain name (CNAME) to a CloudFront distribution, you must attach a trusted certificate that validates your authorization to use the domain name: %q is not issued.", arn)
	}
	for _, d := range domains {
		if !slices.ContainsFunc(names, func(n string) bool { return covers(n, d) }) {
			return refuse("InvalidViewerCertificate", "The certificate that is attached to your distribution doesn't cover the alternate domain name (CNAME) %s.", d)
		}
	}
	return nil
}

func covers(name, domain string) bool {
	if rest, ok := strings.CutPrefix(name, "*."); ok {
		_, parent, _ := strings.Cut(domain, ".")
		return parent == rest
	}
	return name == domain
}

type behavior struct {
	origin, headers string
	functions       []string
}

func behaviorsOf(g *types.DistributionConfig) []behavior {
	functions := func(f *types.FunctionAssociations) (arns []string) {
		if f != nil {
			for _, one := range f.Items {
				arns = append(arns, *one.FunctionARN)
			}
		}
		return arns
	}
	d := g.DefaultCacheBehavior
	list := []behavior{{awssdk.ToString(d.TargetOriginId), awssdk.ToString(d.ResponseHeadersPolicyId), functions(d.FunctionAssociations)}}
	if g.CacheBehaviors != nil {
		for _, b := range g.CacheBehaviors.Items {
			list = append(list, behavior{awssdk.ToString(b.TargetOriginId), awssdk.ToString(b.ResponseHeadersPolicyId), functions(b.FunctionAssociations)})
		}
	}
	return list
}

// shared are what many distributions may use together, and how each is named.
func shared(g *types.DistributionConfig) map[string]bool {
	used := make(map[string]bool)
	for _, b := range behaviorsOf(g) {
		used["policy "+b.headers] = b.headers != ""
		for _, f := range b.functions {
			used["function "+f] = true
		}
	}
	for _, o := range g.Origins.Items {
		if id := awssdk.ToString(o.OriginAccessControlId); id != "" {
			used["access "+id] = true
		}
	}
	maps.DeleteFunc(used, func(_ string, is bool) bool { return !is })
	return used
}

// together checks the quotas on what many distributions use.
func (c *CloudFront) together(id string, g *types.DistributionConfig) *refusal {
	users := make(map[string]int)
	for _, d := range c.distributions {
		if *d.Id != id {
			for name := range shared(d.DistributionConfig) {
				users[name]++
			}
		}
	}
	for name := range shared(g) {
		kind, what, _ := strings.Cut(name, " ")
		switch {
		case kind == "function" && users[name] >= c.Quotas.PerFunction:
			return refuse("TooManyDistributionsWithSingleFunctionARN", "The maximum number of distributions have been associated with %s.", what)
		case kind == "access" && users[name] >= c.Quotas.PerOriginAccess:
			return refuse("TooManyDistributionsAssociatedToOriginAccessControl", "The maximum number of distributions have been associated with the specified origin access control %s.", what)
		case kind == "policy" && users[name] >= c.Quotas.PerHeadersPolicy:
			return refuse("TooManyDistributionsAssociatedToResponseHeadersPolicy", "The maximum number of distributions have been associated with the specified response headers policy %s.", what)
		}
	}
	return nil
}

// Uses returns who uses a certificate.
func (c *CloudFront) Uses(certificate string) (arns []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.distributions {
		if certificateOf(d.DistributionConfig) == certificate {
			arns = append(arns, *d.ARN)
		}
	}
	for _, t := range c.tenants {
		if t.Customizations != nil && t.Customizations.Certificate != nil && awssdk.ToString(t.Customizations.Certificate.Arn) == certificate {
			arns = append(arns, *t.Arn)
		}
	}
	slices.Sort(arns)
	return arns
}

func (c *CloudFront) tagged(arn *string) *refusal {
	if _, there := c.tags[awssdk.ToString(arn)]; !there {
		return refuse("NoSuchResource", "The resource %s does not exist.", awssdk.ToString(arn))
	}
	return nil
}

func (c *CloudFront) listTags(in *cloudfront.ListTagsForResourceInput) (*cloudfront.ListTagsForResourceOutput, *refusal) {
	if no := c.tagged(in.Resource); no != nil {
		return nil, no
	}
	return &cloudfront.ListTagsForResourceOutput{Tags: &types.Tags{Items: c.tags[*in.Resource]}}, nil
}

func (c *CloudFront) tag(in *cloudfront.TagResourceInput) (*cloudfront.TagResourceOutput, *refusal) {
	if no := c.tagged(in.Resource); no != nil {
		return nil, no
	}
	for _, t := range in.Tags.Items {
		c.tags[*in.Resource] = append(slices.DeleteFunc(slices.Clone(c.tags[*in.Resource]), func(o types.Tag) bool { return *o.Key == *t.Key }), t)
	}
	if len(c.tags[*in.Resource]) > c.Quotas.TagsLimit {
		return nil, refuse("InvalidTagging", "The tagging specified is not valid.")
	}
	return &cloudfront.TagResourceOutput{}, nil
}

func (c *CloudFront) untag(in *cloudfront.UntagResourceInput) (*cloudfront.UntagResourceOutput, *refusal) {
	if no := c.tagged(in.Resource); no != nil {
		return nil, no
	}
	c.tags[*in.Resource] = slices.DeleteFunc(slices.Clone(c.tags[*in.Resource]), func(o types.Tag) bool { return slices.Contains(in.TagKeys.Items, *o.Key) })
	return &cloudfront.UntagResourceOutput{}, nil
}

func (c *CloudFront) invalidate(in *cloudfront.CreateInvalidationInput) (*cloudfront.CreateInvalidationOutput, *refusal) {
	d, no := c.find(in.DistributionId)
	if no != nil {
		return nil, no
	}
	i, no := c.addInvalidation(*d.Id, in.InvalidationBatch)
	if no != nil {
		return nil, no
	}
	return &cloudfront.CreateInvalidationOutput{Invalidation: &i.Invalidation}, nil
}

func (c *CloudFront) addInvalidation(owner string, batch *types.InvalidationBatch) (*invalidation, *refusal) {
	paths, wild := 0, 0
	for _, i := range c.invalidations {
		if i.owner != owner {
			continue
		}
		if *i.InvalidationBatch.CallerReference == *batch.CallerReference {
			if reflect.DeepEqual(i.InvalidationBatch, batch) {
				return i, nil
			}
			return nil, refuse("InvalidArgument", "Your request contains a caller reference that was used for a previous invalidation batch for the same distribution.")
		}
		if *i.Status == "InProgress" {
			p, w := pathsOf(i.InvalidationBatch)
			paths, wild = paths+p, wild+w
		}
	}
	p, w := pathsOf(batch)
	switch {
	case p+w == 0:
		return nil, refuse("InvalidArgument", "Your request contains empty/invalid/out of limits paths.")
	case paths+p > c.Quotas.Invalidations || wild+w > c.Quotas.Wildcards:
		return nil, refuse("TooManyInvalidationsInProgress", "You have exceeded the maximum number of allowable InProgress invalidation batch requests, or invalidation objects.")
	}
	i := &invalidation{owner: owner, done: time.Now().Add(c.Delays.Invalidate), Invalidation: types.Invalidation{
		Id: awssdk.String(c.id("I")), Status: awssdk.String("InProgress"), CreateTime: ptr(time.Now()), InvalidationBatch: batch,
	}}
	c.invalidations[*i.Id] = i
	return i, nil
}

func pathsOf(b *types.InvalidationBatch) (plain, wild int) {
	for _, p := range b.Paths.Items {
		if strings.HasSuffix(p, "*") {
			wild++
		} else {
			plain++
		}
	}
	return plain, wild
}

func (c *CloudFront) getInvalidation(in *cloudfront.GetInvalidationInput) (*cloudfront.GetInvalidationOutput, *refusal) {
	i := c.invalidations[awssdk.ToString(in.Id)]
	if i == nil || i.owner != awssdk.ToString(in.DistributionId) {
		return nil, refuse("NoSuchInvalidation", "The specified invalidation does not exist.")
	}
	return &cloudfront.GetInvalidationOutput{Invalidation: &i.Invalidation}, nil
}

// Invalidated returns the paths that were invalidated of a distribution or tenant.
func (c *CloudFront) Invalidated(owner string) (paths []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range sortedKeys(c.invalidations) {
		if i := c.invalidations[id]; i.owner == owner {
			paths = append(paths, i.InvalidationBatch.Paths.Items...)
		}
	}
	return paths
}
