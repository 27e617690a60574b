package aws

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	acmtypes "github.com/aws/aws-sdk-go-v2/service/acm/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	tagtypes "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	sdtypes "github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"

	infraaws "github.com/gitopsd/gitopsd/infra/aws"
	infra "github.com/gitopsd/gitopsd/infra/tenant"
)

// The looks: each returns what AWS has under the name of what was wanted, and
// nothing, or an error that says so, where there is none.

// tagMap returns the tags of a list of any service's.
func tagMap[T any](list []T, pair func(T) (key, value *string)) map[string]string {
	out := make(map[string]string, len(list))
	for _, t := range list {
		k, v := pair(t)
		out[awssdk.ToString(k)] = awssdk.ToString(v)
	}
	return out
}

// withTags returns the ARNs of the resources of a kind that have the marks.
func withTags(ctx context.Context, api *resourcegroupstaggingapi.Client, kind string, want map[string]string) ([]string, error) {
	in := &resourcegroupstaggingapi.GetResourcesInput{ResourceTypeFilters: []string{kind}}
	for _, mark := range []string{infra.TagManagedBy, infra.TagPlatform, infra.TagTenant, infraaws.TagResource} {
		if want[mark] != "" {
			in.TagFilters = append(in.TagFilters, tagtypes.TagFilter{Key: awssdk.String(mark), Values: []string{want[mark]}})
		}
	}
	var arns []string
	pages := resourcegroupstaggingapi.NewGetResourcesPaginator(api, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range page.ResourceTagMappingList {
			arns = append(arns, awssdk.ToString(r.ResourceARN))
		}
	}
	return arns, nil
}

func (a *adopter) bucket(ctx context.Context, w wanted) (there, error) {
	b := Bucket{a.buckets, w.text("bucket")}
	if is, err := b.Present(ctx); err != nil || !is {
		return there{}, err
	}
	out, err := a.buckets.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: awssdk.String(b.name)})
	if isCode(err, "NoSuchTagSet") {
		// It is tagged by a call of its own, which died with Pulumi. The name, which has
		// the account, the region and the cell in it, says whose it is.
		return there{b.name, w.tags()}, nil
	}
	if err != nil {
		return there{}, err
	}
	tags := make(map[string]string, len(out.TagSet))
	for _, t := range out.TagSet {
		tags[awssdk.ToString(t.Key)] = awssdk.ToString(t.Value)
	}
	return there{b.name, tags}, nil
}

func (a *adopter) role(ctx context.Context, w wanted) (there, error) {
	out, err := a.roles.GetRole(ctx, &iam.GetRoleInput{RoleName: awssdk.String(w.text("name"))})
	if err != nil {
		return there{}, err
	}
	tags := make(map[string]string, len(out.Role.Tags))
	for _, t := range out.Role.Tags {
		tags[awssdk.ToString(t.Key)] = awssdk.ToString(t.Value)
	}
	return there{w.text("name"), tags}, nil
}

func (a *adopter) logGroup(ctx context.Context, w wanted) (there, error) {
	name := w.text("name")
	pages := cloudwatchlogs.NewDescribeLogGroupsPaginator(a.logs, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: &name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return there{}, err
		}
		for _, g := range page.LogGroups {
			if awssdk.ToString(g.LogGroupName) != name {
				continue
			}
			arn := strings.TrimSuffix(awssdk.ToString(g.Arn), ":*")
			out, err := a.logs.ListTagsForResource(ctx, &cloudwatchlogs.ListTagsForResourceInput{ResourceArn: &arn})
			if err != nil {
				return there{}, err
			}
			return there{name, out.Tags}, nil
		}
	}
	return there{}, nil
}

func ecsTags(tags []ecstypes.Tag) map[string]string {
	return tagMap(tags, func(t ecstypes.Tag) (*string, *string) { return t.Key, t.Value })
}

// taskDefinition takes over the newest revision if its containers are those that
// were wanted: else the revision was not made.
func (a *adopter) taskDefinition(ctx context.Context, w wanted) (there, error) {
	out, err := a.ecs.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{
		TaskDefinition: awssdk.String(w.text("family")), Include: []ecstypes.TaskDefinitionField{ecstypes.TaskDefinitionFieldTags},
	})
	if err != nil {
		if isCode(err, "ClientException") { // ECS has no other word for a family that is not there
			return there{}, nil
		}
		return there{}, err
	}
	var want []ecstypes.ContainerDefinition
	if err := json.Unmarshal([]byte(w.text("containerDefinitions")), &want); err != nil {
		return there{}, err
	}
	have := out.TaskDefinition.ContainerDefinitions
	if !slices.EqualFunc(want, have, sameContainer) {
		return there{}, nil
	}
	return there{awssdk.ToString(out.TaskDefinition.TaskDefinitionArn), ecsTags(out.Tags)}, nil
}

// sameContainer compares what differs between a tenant's revisions.
func sameContainer(a, b ecstypes.ContainerDefinition) bool {
	environment := func(c ecstypes.ContainerDefinition) map[string]string {
		out := tagMap(c.Environment, func(p ecstypes.KeyValuePair) (*string, *string) { return p.Name, p.Value })
		for _, s := range c.Secrets {
			out[awssdk.ToString(s.Name)] = awssdk.ToString(s.ValueFrom)
		}
		return out
	}
	return awssdk.ToString(a.Image) == awssdk.ToString(b.Image) && a.Cpu == b.Cpu && awssdk.ToInt32(a.Memory) == awssdk.ToInt32(b.Memory) &&
		slices.Equal(a.Command, b.Command) && reflect.DeepEqual(environment(a), environment(b))
}

func (a *adopter) service(ctx context.Context, w wanted) (there, error) {
	cluster, name := w.text("cluster"), w.text("name")
	out, err := a.ecs.DescribeServices(ctx, &ecs.DescribeServicesInput{
		Cluster: &cluster, Services: []string{name}, Include: []ecstypes.ServiceField{ecstypes.ServiceFieldTags},
	})
	if err != nil {
		return there{}, err
	}
	for _, s := range out.Services {
		if awssdk.ToString(s.Status) == "ACTIVE" {
			return there{cluster[strings.LastIndexByte(cluster, '/')+1:] + "/" + name, ecsTags(s.Tags)}, nil
		}
	}
	return there{}, nil
}

func (a *adopter) discoveryService(ctx context.Context, w wanted) (there, error) {
	dns, _ := w.inputs["dnsConfig"].(map[string]any)
	namespace, _ := dns["namespaceId"].(string)
	pages := servicediscovery.NewListServicesPaginator(a.discovery, &servicediscovery.ListServicesInput{Filters: []sdtypes.ServiceFilter{
		{Name: sdtypes.ServiceFilterNameNamespaceId, Values: []string{namespace}, Condition: sdtypes.FilterConditionEq},
	}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return there{}, err
		}
		for _, s := range page.Services {
			if awssdk.ToString(s.Name) != w.text("name") {
				continue
			}
			out, err := a.discovery.ListTagsForResource(ctx, &servicediscovery.ListTagsForResourceInput{ResourceARN: s.Arn})
			if err != nil {
				return there{}, err
			}
			return there{awssdk.ToString(s.Id), tagMap(out.Tags, func(t sdtypes.Tag) (*string, *string) { return t.Key, t.Value })}, nil
		}
	}
	return there{}, nil
}

func (a *adopter) accessPoint(ctx context.Context, w wanted) (there, error) {
	root, _ := w.inputs["rootDirectory"].(map[string]any)
	pages := efs.NewDescribeAccessPointsPaginator(a.files, &efs.DescribeAccessPointsInput{FileSystemId: awssdk.String(w.text("fileSystemId"))})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return there{}, err
		}
		for _, p := range page.AccessPoints {
			tags := make(map[string]string, len(p.Tags))
			for _, t := range p.Tags {
				tags[awssdk.ToString(t.Key)] = awssdk.ToString(t.Value)
			}
			// More than one may show the same directory: ours is known by its tags.
			if p.RootDirectory != nil && awssdk.ToString(p.RootDirectory.Path) == root["path"] && w.owned(there{tags: tags}) == nil {
				return there{awssdk.ToString(p.AccessPointId), tags}, nil
			}
		}
	}
	return there{}, nil
}

func (a *adopter) mountTarget(ctx context.Context, w wanted) (there, error) {
	out, err := a.files.DescribeMountTargets(ctx, &efs.DescribeMountTargetsInput{FileSystemId: awssdk.String(w.text("fileSystemId"))})
	if err != nil {
		return there{}, err
	}
	for _, m := range out.MountTargets {
		if awssdk.ToString(m.SubnetId) == w.text("subnetId") {
			return there{awssdk.ToString(m.MountTargetId), w.tags()}, nil // a part of the file system
		}
	}
	return there{}, nil
}

// distribution knows its own by comment and tags: a distribution has no name.
func (a *adopter) distribution(ctx context.Context, w wanted) (there, error) {
	pages := cloudfront.NewListDistributionsPaginator(a.cdn, &cloudfront.ListDistributionsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return there{}, err
		}
		for _, d := range page.DistributionList.Items {
			if awssdk.ToString(d.Comment) != w.text("comment") {
				continue
			}
			tags, err := a.edgeTags(ctx, d.ARN)
			if err != nil {
				return there{}, err
			}
			if w.owned(there{tags: tags}) == nil {
				return there{awssdk.ToString(d.Id), tags}, nil
			}
		}
	}
	return there{}, nil
}

func (a *adopter) distributionTenant(ctx context.Context, w wanted) (there, error) {
	pages := cloudfront.NewListDistributionTenantsPaginator(a.cdn, &cloudfront.ListDistributionTenantsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return there{}, err
		}
		for _, d := range page.DistributionTenantList {
			if awssdk.ToString(d.Name) == w.text("name") {
				tags, err := a.edgeTags(ctx, d.Arn)
				return there{awssdk.ToString(d.Id), tags}, err
			}
		}
	}
	return there{}, nil
}

func (a *adopter) edgeTags(ctx context.Context, arn *string) (map[string]string, error) {
	out, err := a.cdn.ListTagsForResource(ctx, &cloudfront.ListTagsForResourceInput{Resource: arn})
	if err != nil || out.Tags == nil {
		return nil, err
	}
	tags := make(map[string]string, len(out.Tags.Items))
	for _, t := range out.Tags.Items {
		tags[awssdk.ToString(t.Key)] = awssdk.ToString(t.Value)
	}
	return tags, nil
}

// certificate finds the one for just these hosts that is wanted still.
func (a *adopter) certificate(ctx context.Context, w wanted) (there, error) {
	hosts := map[string]bool{w.text("domainName"): true}
	more, _ := w.inputs["subjectAlternativeNames"].([]any)
	for _, h := range more {
		s, _ := h.(string)
		hosts[s] = true
	}
	pages := acm.NewListCertificatesPaginator(a.acm, &acm.ListCertificatesInput{
		CertificateStatuses: []acmtypes.CertificateStatus{acmtypes.CertificateStatusPendingValidation, acmtypes.CertificateStatusIssued},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return there{}, err
		}
		for _, c := range page.CertificateSummaryList {
			if awssdk.ToString(c.DomainName) != w.text("domainName") {
				continue
			}
			d, err := a.acm.DescribeCertificate(ctx, &acm.DescribeCertificateInput{CertificateArn: c.CertificateArn})
			if err != nil {
				return there{}, err
			}
			have := map[string]bool{awssdk.ToString(c.DomainName): true}
			for _, h := range d.Certificate.SubjectAlternativeNames {
				have[h] = true
			}
			out, err := a.acm.ListTagsForCertificate(ctx, &acm.ListTagsForCertificateInput{CertificateArn: c.CertificateArn})
			if err != nil {
				return there{}, err
			}
			tags := tagMap(out.Tags, func(t acmtypes.Tag) (*string, *string) { return t.Key, t.Value })
			if maps.Equal(hosts, have) && w.owned(there{tags: tags}) == nil {
				return there{awssdk.ToString(c.CertificateArn), tags}, nil
			}
		}
	}
	return there{}, nil
}
