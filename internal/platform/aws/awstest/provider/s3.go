package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

var bucket = real{
	create: func(ctx context.Context, c *clients, in Properties) (string, Properties, error) {
		name := text(in, "bucket")
		// Outside of us-east-1 a bucket of one's own that is there already is an error.
		if _, err := c.s3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name}); err == nil {
			return "", nil, fmt.Errorf("BucketAlreadyOwnedByYou: %s", name)
		}
		_, err := c.s3.CreateBucket(ctx, &s3.CreateBucketInput{
			Bucket: &name, CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"},
		})
		if err != nil {
			return "", nil, err
		}
		return name, nil, tagBucket(ctx, c, name, in)
	},
	read: func(ctx context.Context, c *clients, id string, _ Properties) (Properties, error) {
		if _, err := c.s3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &id}); err != nil {
			return nil, gone(err)
		}
		out, err := c.s3.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: &id})
		if err != nil && !code(err, "NoSuchTagSet") {
			return nil, err
		}
		tags := make(map[string]any)
		if err == nil {
			for _, t := range out.TagSet {
				tags[awssdk.ToString(t.Key)] = awssdk.ToString(t.Value)
			}
		}
		return Properties{"bucket": id, "tags": tags}, nil
	},
	update: func(ctx context.Context, c *clients, id string, _, news Properties) (Properties, error) {
		return nil, tagBucket(ctx, c, id, news)
	},
	delete: func(ctx context.Context, c *clients, id string, state Properties) error {
		// Only what was stored before the destroy counts.
		if force, _ := state["forceDestroy"].(bool); force {
			if err := emptyBucket(ctx, c, id); err != nil {
				return gone(err)
			}
		}
		_, err := c.s3.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &id})
		return gone(err)
	},
}

func tagBucket(ctx context.Context, c *clients, name string, in Properties) error {
	var set []types.Tag
	for k, v := range tagsOf(in) {
		set = append(set, types.Tag{Key: awssdk.String(k), Value: awssdk.String(v)})
	}
	_, err := c.s3.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: &name, Tagging: &types.Tagging{TagSet: set}})
	return err
}

func emptyBucket(ctx context.Context, c *clients, name string) error {
	pages := s3.NewListObjectVersionsPaginator(c.s3, &s3.ListObjectVersionsInput{Bucket: &name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		var doomed []types.ObjectIdentifier
		for _, v := range page.Versions {
			doomed = append(doomed, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		for _, v := range page.DeleteMarkers {
			doomed = append(doomed, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		if len(doomed) == 0 {
			continue
		}
		if _, err := c.s3.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &name, Delete: &types.Delete{Objects: doomed}}); err != nil {
			return err
		}
	}
	return nil
}

// put is a part of a bucket that is set, and set again.
func put(set func(context.Context, *clients, string, Properties) error, read func(context.Context, *clients, string, Properties) (Properties, error), clear func(context.Context, *clients, string) error) real {
	return real{
		create: func(ctx context.Context, c *clients, in Properties) (string, Properties, error) {
			return text(in, "bucket"), nil, set(ctx, c, text(in, "bucket"), in)
		},
		read: read,
		update: func(ctx context.Context, c *clients, id string, _, news Properties) (Properties, error) {
			return nil, set(ctx, c, id, news)
		},
		delete: func(ctx context.Context, c *clients, id string, _ Properties) error { return gone(clear(ctx, c, id)) },
	}
}

type accessBlock struct {
	BlockPublicAcls       bool `json:"blockPublicAcls"`
	BlockPublicPolicy     bool `json:"blockPublicPolicy"`
	IgnorePublicAcls      bool `json:"ignorePublicAcls"`
	RestrictPublicBuckets bool `json:"restrictPublicBuckets"`
}

var publicAccess = put(
	func(ctx context.Context, c *clients, name string, in Properties) error {
		b, err := decode[accessBlock](in)
		if err != nil {
			return err
		}
		_, err = c.s3.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{Bucket: &name, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: &b.BlockPublicAcls, BlockPublicPolicy: &b.BlockPublicPolicy,
			IgnorePublicAcls: &b.IgnorePublicAcls, RestrictPublicBuckets: &b.RestrictPublicBuckets,
		}})
		return err
	},
	func(ctx context.Context, c *clients, id string, _ Properties) (Properties, error) {
		out, err := c.s3.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: &id})
		if err != nil {
			return nil, gone(err)
		}
		b := out.PublicAccessBlockConfiguration
		return properties(accessBlock{
			awssdk.ToBool(b.BlockPublicAcls), awssdk.ToBool(b.BlockPublicPolicy), awssdk.ToBool(b.IgnorePublicAcls), awssdk.ToBool(b.RestrictPublicBuckets),
		}), nil
	},
	func(ctx context.Context, c *clients, id string) error {
		_, err := c.s3.DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: &id})
		return err
	},
)

var bucketPolicy = put(
	func(ctx context.Context, c *clients, name string, in Properties) error {
		_, err := c.s3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &name, Policy: awssdk.String(judged(text(in, "policy")))})
		return err
	},
	func(ctx context.Context, c *clients, id string, in Properties) (Properties, error) {
		out, err := c.s3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &id})
		if err != nil {
			return nil, gone(err)
		}
		asked, there := text(in, "policy"), awssdk.ToString(out.Policy)
		if sent := judged(asked); sameDocument(sent, there) == sent {
			there = asked
		}
		return Properties{"policy": there}, nil
	},
	func(ctx context.Context, c *clients, id string) error {
		_, err := c.s3.DeleteBucketPolicy(ctx, &s3.DeleteBucketPolicyInput{Bucket: &id})
		return err
	},
)

// judged returns a policy without what it denies under a condition: moto does not
// look at conditions, and would deny it always.
func judged(policy string) string {
	var p map[string]any
	if json.Unmarshal([]byte(policy), &p) != nil {
		return policy
	}
	statements, _ := p["Statement"].([]any)
	p["Statement"] = slices.DeleteFunc(statements, func(v any) bool {
		s, _ := v.(map[string]any)
		return s["Effect"] == "Deny" && s["Condition"] != nil
	})
	b, err := json.Marshal(p)
	if err != nil {
		return policy
	}
	return string(b)
}

// lifecycle is the rules as the provider has them.
type lifecycle struct {
	Rules []lifecycleRule `json:"rules"`
}

type lifecycleRule struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Filter struct {
		Prefix string `json:"prefix,omitempty"`
	} `json:"filter"`
	Expiration *struct {
		Days int32 `json:"days"`
	} `json:"expiration,omitempty"`
	Noncurrent *struct {
		Days int32 `json:"noncurrentDays"`
	} `json:"noncurrentVersionExpiration,omitempty"`
	Incomplete *struct {
		Days int32 `json:"daysAfterInitiation"`
	} `json:"abortIncompleteMultipartUpload,omitempty"`
}

var bucketLifecycle = put(
	func(ctx context.Context, c *clients, name string, in Properties) error {
		l, err := decode[lifecycle](in)
		if err != nil {
			return err
		}
		var rules []types.LifecycleRule
		for _, r := range l.Rules {
			rule := types.LifecycleRule{
				ID: awssdk.String(r.ID), Status: types.ExpirationStatus(r.Status), Filter: &types.LifecycleRuleFilter{Prefix: awssdk.String(r.Filter.Prefix)},
			}
			if r.Expiration != nil {
				rule.Expiration = &types.LifecycleExpiration{Days: &r.Expiration.Days}
			}
			if r.Noncurrent != nil {
				rule.NoncurrentVersionExpiration = &types.NoncurrentVersionExpiration{NoncurrentDays: &r.Noncurrent.Days}
			}
			if r.Incomplete != nil {
				rule.AbortIncompleteMultipartUpload = &types.AbortIncompleteMultipartUpload{DaysAfterInitiation: &r.Incomplete.Days}
			}
			rules = append(rules, rule)
		}
		_, err = c.s3.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{
			Bucket: &name, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: rules},
		})
		return err
	},
	func(ctx context.Context, c *clients, id string, _ Properties) (Properties, error) {
		out, err := c.s3.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &id})
		if err != nil {
			return nil, gone(err)
		}
		var l lifecycle
		for _, r := range out.Rules {
			rule := lifecycleRule{ID: awssdk.ToString(r.ID), Status: string(r.Status)}
			if r.Filter != nil {
				rule.Filter.Prefix = awssdk.ToString(r.Filter.Prefix)
			}
			if r.Expiration != nil {
				rule.Expiration = &struct {
					Days int32 `json:"days"`
				}{awssdk.ToInt32(r.Expiration.Days)}
			}
			if r.NoncurrentVersionExpiration != nil {
				rule.Noncurrent = &struct {
					Days int32 `json:"noncurrentDays"`
				}{awssdk.ToInt32(r.NoncurrentVersionExpiration.NoncurrentDays)}
			}
			if r.AbortIncompleteMultipartUpload != nil {
				rule.Incomplete = &struct {
					Days int32 `json:"daysAfterInitiation"`
				}{awssdk.ToInt32(r.AbortIncompleteMultipartUpload.DaysAfterInitiation)}
			}
			l.Rules = append(l.Rules, rule)
		}
		return properties(l), nil
	},
	func(ctx context.Context, c *clients, id string) error {
		_, err := c.s3.DeleteBucketLifecycle(ctx, &s3.DeleteBucketLifecycleInput{Bucket: &id})
		return err
	},
)
