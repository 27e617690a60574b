package aws

import (
	"context"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// settling is how long CloudFront takes, as a rule, until a distribution that
// was disabled is so everywhere, and how soon it is worth looking again.
const settling = 2 * time.Minute

// Distributions removes tenants' own distributions.
type Distributions struct {
	api   *cloudfront.Client
	owner Owner
}

// NewDistributions returns the distributions of a cell's tenants.
func NewDistributions(c awssdk.Config, owner Owner) *Distributions {
	return &Distributions{api: cloudfront.NewFromConfig(c), owner: owner}
}

// Remove removes a tenant's distribution, which takes about a quarter of an hour:
// it is to be disabled everywhere before. Remove does not wait for that: it does
// what can be done now and returns fault.Transient with the time after which to
// call again, until it is gone. One that is not there is no error.
func (d *Distributions) Remove(ctx context.Context, tenant, id string) error {
	what := "remove distribution " + id
	out, err := d.api.GetDistribution(ctx, &cloudfront.GetDistributionInput{Id: awssdk.String(id)})
	if isCode(err, "NoSuchDistribution") {
		return nil
	}
	if err != nil {
		return failure(what, err)
	}
	if err := d.check(ctx, tenant, id, awssdk.ToString(out.Distribution.ARN)); err != nil {
		return err
	}
	config := out.Distribution.DistributionConfig
	if awssdk.ToBool(config.Enabled) {
		config.Enabled = awssdk.Bool(false)
		_, err := d.api.UpdateDistribution(ctx, &cloudfront.UpdateDistributionInput{
			Id: awssdk.String(id), IfMatch: out.ETag, DistributionConfig: config,
		})
		if err != nil {
			return failure(what, err)
		}
		return later(what, "it is being disabled")
	}
	if status := awssdk.ToString(out.Distribution.Status); status != "Deployed" {
		return later(what, "it is "+status)
	}
	_, err = d.api.DeleteDistribution(ctx, &cloudfront.DeleteDistributionInput{Id: awssdk.String(id), IfMatch: out.ETag})
	switch {
	case isCode(err, "NoSuchDistribution"):
		return nil
	case isCode(err, "DistributionNotDisabled"):
		return later(what, "it is not disabled everywhere yet")
	}
	return failure(what, err)
}

// later says that something goes on by itself, and when to look again.
func later(what, state string) error {
	return fault.Errorf(fault.Transient, "%s: %s", what, state).WithAfter(time.Now().Add(settling))
}

func (d *Distributions) check(ctx context.Context, tenant, id, arn string) error {
	out, err := d.api.ListTagsForResource(ctx, &cloudfront.ListTagsForResourceInput{Resource: awssdk.String(arn)})
	if err != nil {
		return failure("look at distribution "+id, err)
	}
	tags := make(map[string]string)
	for _, t := range out.Tags.Items {
		tags[awssdk.ToString(t.Key)] = awssdk.ToString(t.Value)
	}
	return d.owner.check("distribution", id, tenant, tags)
}
