package provider

import (
	"context"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
)

var logGroup = real{
	create: func(ctx context.Context, c *clients, in Properties) (string, Properties, error) {
		name := text(in, "name")
		create := &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &name, Tags: tagsOf(in)}
		if key := text(in, "kmsKeyId"); key != "" {
			create.KmsKeyId = &key
		}
		if _, err := c.logs.CreateLogGroup(ctx, create); err != nil {
			return "", nil, err
		}
		return name, nil, retain(ctx, c, name, in)
	},
	read: func(ctx context.Context, c *clients, id string, _ Properties) (Properties, error) {
		out, err := c.logs.DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: &id})
		if err != nil {
			return nil, err
		}
		for _, g := range out.LogGroups {
			if awssdk.ToString(g.LogGroupName) != id {
				continue
			}
			tags, err := c.logs.ListTagsForResource(ctx, &cloudwatchlogs.ListTagsForResourceInput{ResourceArn: awssdk.String(logGroupARN(awssdk.ToString(g.Arn)))})
			if err != nil {
				return nil, gone(err)
			}
			return Properties{"name": id, "retentionInDays": float64(awssdk.ToInt32(g.RetentionInDays)), "tags": tagged(tags.Tags)}, nil
		}
		return nil, errGone
	},
	update: func(ctx context.Context, c *clients, id string, olds, news Properties) (Properties, error) {
		arn := awssdk.String(text(olds, "arn"))
		if keys := removed(olds, news); len(keys) > 0 {
			if _, err := c.logs.UntagResource(ctx, &cloudwatchlogs.UntagResourceInput{ResourceArn: arn, TagKeys: keys}); err != nil {
				return nil, err
			}
		}
		if _, err := c.logs.TagResource(ctx, &cloudwatchlogs.TagResourceInput{ResourceArn: arn, Tags: tagsOf(news)}); err != nil {
			return nil, err
		}
		return nil, retain(ctx, c, id, news)
	},
	delete: func(ctx context.Context, c *clients, id string, _ Properties) error {
		_, err := c.logs.DeleteLogGroup(ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: &id})
		return gone(err)
	},
}

// logGroupARN returns an ARN without what descriptions put behind it.
func logGroupARN(arn string) string {
	const all = ":*"
	if n := len(arn) - len(all); n > 0 && arn[n:] == all {
		return arn[:n]
	}
	return arn
}

func retain(ctx context.Context, c *clients, name string, in Properties) error {
	days, _ := in["retentionInDays"].(float64)
	if days == 0 {
		return nil
	}
	_, err := c.logs.PutRetentionPolicy(ctx, &cloudwatchlogs.PutRetentionPolicyInput{LogGroupName: &name, RetentionInDays: awssdk.Int32(int32(days))})
	return err
}
