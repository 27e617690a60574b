package aws_test

import (
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	cdn "github.com/aws/aws-sdk-go-v2/service/cloudfront/types"

	"github.com/gitopsd/gitopsd/internal/fault"
	aws "github.com/gitopsd/gitopsd/internal/platform/aws"
)

func TestDistributionGoesInSteps(t *testing.T) {
	w := newSite(t)
	d := aws.NewDistributions(w.c, owner)
	id := w.site.Distribution
	if err := d.Remove(t.Context(), "acme", id); !fault.Is(err, fault.Conflict) {
		t.Fatalf("a distribution without tags: %v, want Conflict", err)
	}
	got, err := w.cdn.GetDistribution(t.Context(), &cloudfront.GetDistributionInput{Id: awssdk.String(id)})
	if err != nil || !*got.Distribution.DistributionConfig.Enabled {
		t.Fatalf("it was touched (%v)", err)
	}
	var tags []cdn.Tag
	for k, v := range map[string]string{"managed-by": "gitopsd", "gitopsd:platform": "cell1", "gitopsd:tenant": "acme"} {
		tags = append(tags, cdn.Tag{Key: awssdk.String(k), Value: awssdk.String(v)})
	}
	config := got.Distribution.DistributionConfig
	config.CallerReference = awssdk.String("tagged")
	made, err := w.cdn.CreateDistributionWithTags(t.Context(), &cloudfront.CreateDistributionWithTagsInput{
		DistributionConfigWithTags: &cdn.DistributionConfigWithTags{DistributionConfig: config, Tags: &cdn.Tags{Items: tags}},
	})
	if err != nil {
		t.Fatal(err)
	}
	id = *made.Distribution.Id
	err = d.Remove(t.Context(), "acme", id)
	if !fault.Is(err, fault.Transient) || !fault.After(err).After(time.Now()) {
		t.Fatalf("the first call: %v, want Transient with a time", err)
	}
	for range 30 { // as a task is tried again; moto deploys after a few looks
		if err = d.Remove(t.Context(), "acme", id); err == nil || !fault.Is(err, fault.Transient) {
			break
		}
	}
	if err != nil {
		t.Fatalf("it does not go: %v", err)
	}
	if err := d.Remove(t.Context(), "acme", id); err != nil {
		t.Errorf("one that is gone: %v", err)
	}
}
