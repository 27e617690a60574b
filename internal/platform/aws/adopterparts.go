package aws

import (
	"context"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	cftypes "github.com/aws/aws-sdk-go-v2/service/cloudfront/types"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	sdtypes "github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"
)

// What a cell's distributions share has names that only its program uses, and no
// tags.

func (a *adopter) connectionGroup(ctx context.Context, w wanted) (there, error) {
	pages := cloudfront.NewListConnectionGroupsPaginator(a.cdn, &cloudfront.ListConnectionGroupsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return there{}, err
		}
		for _, g := range page.ConnectionGroups {
			if awssdk.ToString(g.Name) == w.text("name") {
				tags, err := a.edgeTags(ctx, g.Arn)
				return there{awssdk.ToString(g.Id), tags}, err
			}
		}
	}
	return there{}, nil
}

func (a *adopter) originAccess(ctx context.Context, w wanted) (there, error) {
	pages := cloudfront.NewListOriginAccessControlsPaginator(a.cdn, &cloudfront.ListOriginAccessControlsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return there{}, err
		}
		for _, c := range page.OriginAccessControlList.Items {
			if awssdk.ToString(c.Name) == w.text("name") {
				return there{awssdk.ToString(c.Id), w.tags()}, nil
			}
		}
	}
	return there{}, nil
}

func (a *adopter) headersPolicy(ctx context.Context, w wanted) (there, error) {
	in := &cloudfront.ListResponseHeadersPoliciesInput{Type: cftypes.ResponseHeadersPolicyTypeCustom}
	for {
		page, err := a.cdn.ListResponseHeadersPolicies(ctx, in)
		if err != nil {
			return there{}, err
		}
		for _, h := range page.ResponseHeadersPolicyList.Items {
			if p := h.ResponseHeadersPolicy; p.ResponseHeadersPolicyConfig != nil && awssdk.ToString(p.ResponseHeadersPolicyConfig.Name) == w.text("name") {
				return there{awssdk.ToString(p.Id), w.tags()}, nil
			}
		}
		if in.Marker = page.ResponseHeadersPolicyList.NextMarker; in.Marker == nil {
			return there{}, nil
		}
	}
}

func (a *adopter) namespace(ctx context.Context, w wanted) (there, error) {
	pages := servicediscovery.NewListNamespacesPaginator(a.discovery, &servicediscovery.ListNamespacesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return there{}, err
		}
		for _, n := range page.Namespaces {
			if awssdk.ToString(n.Name) != w.text("name") {
				continue
			}
			out, err := a.discovery.ListTagsForResource(ctx, &servicediscovery.ListTagsForResourceInput{ResourceARN: n.Arn})
			if err != nil {
				return there{}, err
			}
			id := awssdk.ToString(n.Id) + ":" + w.text("vpc")
			return there{id, tagMap(out.Tags, func(t sdtypes.Tag) (*string, *string) { return t.Key, t.Value })}, nil
		}
	}
	return there{}, nil
}
