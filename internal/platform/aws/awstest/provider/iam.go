package provider

import (
	"context"
	"net/url"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

var role = real{
	create: func(ctx context.Context, c *clients, in Properties) (string, Properties, error) {
		create := &iam.CreateRoleInput{
			RoleName: awssdk.String(text(in, "name")), AssumeRolePolicyDocument: awssdk.String(text(in, "assumeRolePolicy")), Tags: iamTags(in),
		}
		if d := text(in, "description"); d != "" {
			create.Description = &d
		}
		if p := text(in, "path"); p != "" {
			create.Path = &p
		}
		out, err := c.iam.CreateRole(ctx, create)
		if err != nil {
			return "", nil, err
		}
		return text(in, "name"), Properties{"arn": awssdk.ToString(out.Role.Arn)}, nil
	},
	read: func(ctx context.Context, c *clients, id string, in Properties) (Properties, error) {
		out, err := c.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &id})
		if err != nil {
			return nil, gone(err)
		}
		tags := make(map[string]any)
		for _, t := range out.Role.Tags {
			tags[awssdk.ToString(t.Key)] = awssdk.ToString(t.Value)
		}
		trust, _ := url.QueryUnescape(awssdk.ToString(out.Role.AssumeRolePolicyDocument))
		return Properties{
			"name": id, "arn": awssdk.ToString(out.Role.Arn), "tags": tags,
			"assumeRolePolicy": sameDocument(text(in, "assumeRolePolicy"), trust),
		}, nil
	},
	update: func(ctx context.Context, c *clients, id string, olds, news Properties) (Properties, error) {
		if keys := removed(olds, news); len(keys) > 0 {
			if _, err := c.iam.UntagRole(ctx, &iam.UntagRoleInput{RoleName: &id, TagKeys: keys}); err != nil {
				return nil, err
			}
		}
		if _, err := c.iam.TagRole(ctx, &iam.TagRoleInput{RoleName: &id, Tags: iamTags(news)}); err != nil {
			return nil, err
		}
		_, err := c.iam.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: &id, PolicyDocument: awssdk.String(text(news, "assumeRolePolicy"))})
		return nil, err
	},
	// Policies of its own that nobody told of keep a role from being deleted.
	delete: func(ctx context.Context, c *clients, id string, _ Properties) error {
		_, err := c.iam.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &id})
		return gone(err)
	},
}

func iamTags(in Properties) []types.Tag {
	var out []types.Tag
	for k, v := range tagsOf(in) {
		out = append(out, types.Tag{Key: awssdk.String(k), Value: awssdk.String(v)})
	}
	return out
}

var rolePolicy = real{
	create: func(ctx context.Context, c *clients, in Properties) (string, Properties, error) {
		return text(in, "role") + ":" + text(in, "name"), nil, putRolePolicy(ctx, c, in)
	},
	read: func(ctx context.Context, c *clients, id string, in Properties) (Properties, error) {
		role, name, _ := strings.Cut(id, ":")
		out, err := c.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &role, PolicyName: &name})
		if err != nil {
			return nil, gone(err)
		}
		doc, _ := url.QueryUnescape(awssdk.ToString(out.PolicyDocument))
		return Properties{"role": role, "name": name, "policy": sameDocument(text(in, "policy"), doc)}, nil
	},
	update: func(ctx context.Context, c *clients, _ string, _, news Properties) (Properties, error) {
		return nil, putRolePolicy(ctx, c, news)
	},
	delete: func(ctx context.Context, c *clients, id string, _ Properties) error {
		role, name, _ := strings.Cut(id, ":")
		_, err := c.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &role, PolicyName: &name})
		return gone(err)
	},
}

func putRolePolicy(ctx context.Context, c *clients, in Properties) error {
	_, err := c.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{
		RoleName: awssdk.String(text(in, "role")), PolicyName: awssdk.String(text(in, "name")), PolicyDocument: awssdk.String(text(in, "policy")),
	})
	return err
}
