package awstest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	acmtypes "github.com/aws/aws-sdk-go-v2/service/acm/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	cftypes "github.com/aws/aws-sdk-go-v2/service/cloudfront/types"
	kvs "github.com/aws/aws-sdk-go-v2/service/cloudfrontkeyvaluestore"
	kvstypes "github.com/aws/aws-sdk-go-v2/service/cloudfrontkeyvaluestore/types"

	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
)

func distributionConfig(reference string) *cftypes.DistributionConfig {
	return &cftypes.DistributionConfig{
		CallerReference: &reference, Comment: awssdk.String("a test's"), Enabled: awssdk.Bool(true),
		Origins: &cftypes.Origins{Quantity: awssdk.Int32(1), Items: []cftypes.Origin{{
			Id: awssdk.String("app"), DomainName: awssdk.String("origin.example"), OriginAccessControlId: awssdk.String("OAC1"),
		}}},
		DefaultCacheBehavior: &cftypes.DefaultCacheBehavior{
			TargetOriginId: awssdk.String("app"), ViewerProtocolPolicy: cftypes.ViewerProtocolPolicyRedirectToHttps,
			AllowedMethods: &cftypes.AllowedMethods{Quantity: awssdk.Int32(2), Items: []cftypes.Method{"GET", "HEAD"}, CachedMethods: &cftypes.CachedMethods{
				Quantity: awssdk.Int32(2), Items: []cftypes.Method{"GET", "HEAD"},
			}},
		},
	}
}

func TestADistributionGoesInSteps(t *testing.T) {
	t.Parallel()
	s := awstest.New(t, "")
	c := s.PlayCloudFront()
	c.Delays.Deploy = 50 * time.Millisecond
	api, ctx := cloudfront.NewFromConfig(s.Config()), t.Context()
	made, err := api.CreateDistributionWithTags(ctx, &cloudfront.CreateDistributionWithTagsInput{DistributionConfigWithTags: &cftypes.DistributionConfigWithTags{
		DistributionConfig: distributionConfig("one"), Tags: &cftypes.Tags{Items: []cftypes.Tag{{Key: awssdk.String("k"), Value: awssdk.String("v")}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	id := made.Distribution.Id
	if *made.Distribution.Status != "InProgress" {
		t.Errorf("a new distribution is %s", *made.Distribution.Status)
	}
	tags, err := api.ListTagsForResource(ctx, &cloudfront.ListTagsForResourceInput{Resource: made.Distribution.ARN})
	if err != nil || len(tags.Tags.Items) != 1 {
		t.Errorf("tags: %v, %v", tags, err)
	}
	if _, err := api.DeleteDistribution(ctx, &cloudfront.DeleteDistributionInput{Id: id, IfMatch: made.ETag}); codeOf(err) != "DistributionNotDisabled" {
		t.Errorf("deleted while it is enabled: %v", err)
	}
	config := made.Distribution.DistributionConfig
	config.Enabled = awssdk.Bool(false)
	if _, err := api.UpdateDistribution(ctx, &cloudfront.UpdateDistributionInput{Id: id, IfMatch: awssdk.String("EOLD"), DistributionConfig: config}); codeOf(err) != "PreconditionFailed" {
		t.Errorf("changed with another ETag: %v", err)
	}
	disabled, err := api.UpdateDistribution(ctx, &cloudfront.UpdateDistributionInput{Id: id, IfMatch: made.ETag, DistributionConfig: config})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.DeleteDistribution(ctx, &cloudfront.DeleteDistributionInput{Id: id, IfMatch: disabled.ETag}); codeOf(err) != "DistributionNotDisabled" {
		t.Errorf("deleted while it is being disabled: %v", err)
	}
	eventually(t, func() error {
		out, err := api.GetDistribution(ctx, &cloudfront.GetDistributionInput{Id: id})
		if err == nil && *out.Distribution.Status != "Deployed" {
			return fmt.Errorf("it is %s", *out.Distribution.Status)
		}
		return err
	})
	if _, err := api.DeleteDistribution(ctx, &cloudfront.DeleteDistributionInput{Id: id, IfMatch: disabled.ETag}); err != nil {
		t.Error(err)
	}
	if _, err := api.GetDistribution(ctx, &cloudfront.GetDistributionInput{Id: id}); codeOf(err) != "NoSuchDistribution" {
		t.Errorf("after it was deleted: %v", err)
	}
}

func TestWhatDistributionsHaveTogetherIsFew(t *testing.T) {
	t.Parallel()
	s := awstest.New(t, "")
	c := s.PlayCloudFront()
	c.Quotas.PerOriginAccess = 2
	api := cloudfront.NewFromConfig(s.Config())
	for n, want := range []string{"<nil>", "<nil>", "TooManyDistributionsAssociatedToOriginAccessControl"} {
		_, err := api.CreateDistribution(t.Context(), &cloudfront.CreateDistributionInput{DistributionConfig: distributionConfig(fmt.Sprint(n))})
		if codeOf(err) != want {
			t.Errorf("distribution %d: %v, want %s", n, err, want)
		}
	}
	wrong := distributionConfig("wrong")
	wrong.Origins.Quantity = awssdk.Int32(7)
	if _, err := api.CreateDistribution(t.Context(), &cloudfront.CreateDistributionInput{DistributionConfig: wrong}); codeOf(err) != "InconsistentQuantities" {
		t.Errorf("a wrong quantity: %v", err)
	}
}

func TestAKeyValueStoreHasOneETag(t *testing.T) {
	t.Parallel()
	s := awstest.New(t, "")
	c := s.PlayCloudFront()
	control, keys, ctx := cloudfront.NewFromConfig(s.Config()), kvs.NewFromConfig(s.Config()), t.Context()
	store, err := control.CreateKeyValueStore(ctx, &cloudfront.CreateKeyValueStoreInput{Name: awssdk.String("hosts")})
	if err != nil {
		t.Fatal(err)
	}
	arn := store.KeyValueStore.ARN
	if _, err := keys.PutKey(ctx, &kvs.PutKeyInput{KvsARN: arn, Key: awssdk.String("a.example"), Value: awssdk.String("a"), IfMatch: store.ETag}); codeOf(err) != "ConflictException" {
		t.Errorf("changed by the ETag of the store: %v", err)
	}
	is, err := keys.DescribeKeyValueStore(ctx, &kvs.DescribeKeyValueStoreInput{KvsARN: arn})
	if err != nil {
		t.Fatal(err)
	}
	put, err := keys.PutKey(ctx, &kvs.PutKeyInput{KvsARN: arn, Key: awssdk.String("a.example"), Value: awssdk.String("a"), IfMatch: is.ETag})
	if err != nil || *put.ItemCount != 1 {
		t.Fatalf("%+v, %v", put, err)
	}
	if _, err := keys.PutKey(ctx, &kvs.PutKeyInput{KvsARN: arn, Key: awssdk.String("b.example"), Value: awssdk.String("b"), IfMatch: is.ETag}); codeOf(err) != "ConflictException" {
		t.Errorf("changed by an ETag that is past: %v", err)
	}
	updated, err := keys.UpdateKeys(ctx, &kvs.UpdateKeysInput{
		KvsARN: arn, IfMatch: put.ETag,
		Puts:    []kvstypes.PutKeyRequestListItem{{Key: awssdk.String("b.example"), Value: awssdk.String(`"b"`)}},
		Deletes: []kvstypes.DeleteKeyRequestListItem{{Key: awssdk.String("a.example")}},
	})
	if err != nil || *updated.ItemCount != 1 {
		t.Fatalf("%+v, %v", updated, err)
	}
	if v, there := c.Value(*arn, "b.example"); !there || v != `"b"` {
		t.Errorf("the function gets %q, %v", v, there)
	}
	if _, err := keys.GetKey(ctx, &kvs.GetKeyInput{KvsARN: arn, Key: awssdk.String("a.example")}); codeOf(err) != "ResourceNotFoundException" {
		t.Errorf("a key that went: %v", err)
	}
}

func TestACertificateWaitsForItsNames(t *testing.T) {
	t.Parallel()
	s := awstest.New(t, "")
	names := make(map[string]string)
	a := s.PlayACM(func(_ context.Context, name string) string { return names[name] })
	used := []string{"arn:aws:cloudfront::1:distribution/E1"}
	a.Used = func(string) []string { return used }
	config := s.Config()
	config.Region = "us-east-1"
	api, ctx := acm.NewFromConfig(config), t.Context()
	out, err := api.RequestCertificate(ctx, &acm.RequestCertificateInput{DomainName: awssdk.String("a.example"), SubjectAlternativeNames: []string{"b.example"}, ValidationMethod: acmtypes.ValidationMethodDns})
	if err != nil {
		t.Fatal(err)
	}
	look := func() *acmtypes.CertificateDetail {
		t.Helper()
		d, err := api.DescribeCertificate(ctx, &acm.DescribeCertificateInput{CertificateArn: out.CertificateArn})
		if err != nil {
			t.Fatal(err)
		}
		return d.Certificate
	}
	options := look().DomainValidationOptions
	names[*options[0].ResourceRecord.Name] = *options[0].ResourceRecord.Value
	if d := look(); d.Status != acmtypes.CertificateStatusPendingValidation || d.DomainValidationOptions[0].ValidationStatus != acmtypes.DomainStatusSuccess {
		t.Errorf("half proven: %+v", d)
	}
	names[*options[1].ResourceRecord.Name] = *options[1].ResourceRecord.Value
	if d := look(); d.Status != acmtypes.CertificateStatusIssued {
		t.Errorf("proven: %s", d.Status)
	}
	if _, err := acm.NewFromConfig(s.Config()).DescribeCertificate(ctx, &acm.DescribeCertificateInput{CertificateArn: out.CertificateArn}); codeOf(err) != "ResourceNotFoundException" {
		t.Errorf("looked for in another region: %v", err)
	}
	if _, err := api.DeleteCertificate(ctx, &acm.DeleteCertificateInput{CertificateArn: out.CertificateArn}); codeOf(err) != "ResourceInUseException" {
		t.Errorf("deleted while it is in use: %v", err)
	}
	used = nil
	if _, err := api.DeleteCertificate(ctx, &acm.DeleteCertificateInput{CertificateArn: out.CertificateArn}); err != nil {
		t.Error(err)
	}
}
