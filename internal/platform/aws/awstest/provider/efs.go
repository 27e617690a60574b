package provider

import (
	"context"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	"github.com/aws/aws-sdk-go-v2/service/efs/types"
)

// point is an access point as the provider has it.
type point struct {
	FileSystemID string `json:"fileSystemId"`
	PosixUser    struct {
		UID int64 `json:"uid"`
		GID int64 `json:"gid"`
	} `json:"posixUser"`
	RootDirectory struct {
		Path         string `json:"path"`
		CreationInfo struct {
			OwnerUID    int64  `json:"ownerUid"`
			OwnerGID    int64  `json:"ownerGid"`
			Permissions string `json:"permissions"`
		} `json:"creationInfo"`
	} `json:"rootDirectory"`
}

var accessPoint = real{
	// Nothing keeps AWS from making a second one just alike: the provider's token
	// of a request is another each time.
	create: func(ctx context.Context, c *clients, in Properties) (string, Properties, error) {
		a, err := decode[point](in)
		if err != nil {
			return "", nil, err
		}
		info := a.RootDirectory.CreationInfo
		out, err := c.efs.CreateAccessPoint(ctx, &efs.CreateAccessPointInput{
			FileSystemId: &a.FileSystemID, PosixUser: &types.PosixUser{Uid: &a.PosixUser.UID, Gid: &a.PosixUser.GID}, Tags: efsTags(in),
			RootDirectory: &types.RootDirectory{Path: &a.RootDirectory.Path, CreationInfo: &types.CreationInfo{
				OwnerUid: &info.OwnerUID, OwnerGid: &info.OwnerGID, Permissions: &info.Permissions,
			}},
		})
		if err != nil {
			return "", nil, err
		}
		return awssdk.ToString(out.AccessPointId), Properties{"arn": awssdk.ToString(out.AccessPointArn)}, nil
	},
	read: func(ctx context.Context, c *clients, id string, _ Properties) (Properties, error) {
		out, err := c.efs.DescribeAccessPoints(ctx, &efs.DescribeAccessPointsInput{AccessPointId: &id})
		if err != nil {
			return nil, gone(err)
		}
		if len(out.AccessPoints) == 0 {
			return nil, errGone
		}
		d := out.AccessPoints[0]
		var a point
		a.FileSystemID = awssdk.ToString(d.FileSystemId)
		if d.PosixUser != nil {
			a.PosixUser.UID, a.PosixUser.GID = awssdk.ToInt64(d.PosixUser.Uid), awssdk.ToInt64(d.PosixUser.Gid)
		}
		if d.RootDirectory != nil {
			a.RootDirectory.Path = awssdk.ToString(d.RootDirectory.Path)
			if i := d.RootDirectory.CreationInfo; i != nil {
				a.RootDirectory.CreationInfo.OwnerUID, a.RootDirectory.CreationInfo.OwnerGID = awssdk.ToInt64(i.OwnerUid), awssdk.ToInt64(i.OwnerGid)
				a.RootDirectory.CreationInfo.Permissions = awssdk.ToString(i.Permissions)
			}
		}
		now := properties(a)
		tags := make(map[string]any)
		for _, t := range d.Tags {
			tags[awssdk.ToString(t.Key)] = awssdk.ToString(t.Value)
		}
		now["tags"], now["arn"] = tags, awssdk.ToString(d.AccessPointArn)
		return now, nil
	},
	update: func(ctx context.Context, c *clients, id string, olds, news Properties) (Properties, error) {
		if keys := removed(olds, news); len(keys) > 0 {
			if _, err := c.efs.UntagResource(ctx, &efs.UntagResourceInput{ResourceId: &id, TagKeys: keys}); err != nil {
				return nil, err
			}
		}
		_, err := c.efs.TagResource(ctx, &efs.TagResourceInput{ResourceId: &id, Tags: efsTags(news)})
		return nil, err
	},
	delete: func(ctx context.Context, c *clients, id string, _ Properties) error {
		_, err := c.efs.DeleteAccessPoint(ctx, &efs.DeleteAccessPointInput{AccessPointId: &id})
		return gone(err)
	},
}

func efsTags(in Properties) []types.Tag {
	var out []types.Tag
	for k, v := range tagsOf(in) {
		out = append(out, types.Tag{Key: awssdk.String(k), Value: awssdk.String(v)})
	}
	return out
}
