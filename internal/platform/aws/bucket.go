package aws

import (
	"context"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Bucket is one tenant's bucket.
type Bucket struct {
	api  *s3.Client
	name string
}

// OpenBucket returns a bucket, which need not be there.
func OpenBucket(c awssdk.Config, name string) Bucket { return Bucket{newS3(c), name} }

// Present reports whether the bucket is there and may be looked at.
func (b Bucket) Present(ctx context.Context) (bool, error) {
	_, err := b.api.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: awssdk.String(b.name)})
	if absent(err) {
		return false, nil
	}
	if isCode(err, "Forbidden") { // a bucket's name is unique in all the world
		return true, fault.Errorf(fault.Conflict, "bucket %s exists and is somebody else's: %w", b.name, err)
	}
	return err == nil, failure("look at bucket "+b.name, err)
}

// Owned fails with fault.Conflict unless the bucket is the tenant's.
func (b Bucket) Owned(ctx context.Context, owner Owner, tenant string) error {
	out, err := b.api.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: awssdk.String(b.name)})
	tags := make(map[string]string)
	switch {
	case err != nil && !isCode(err, "NoSuchTagSet"):
		return failure("look at bucket "+b.name, err)
	case err == nil:
		for _, t := range out.TagSet {
			tags[awssdk.ToString(t.Key)] = awssdk.ToString(t.Value)
		}
	}
	return owner.check("bucket", b.name, tenant, tags)
}

// Empty removes everything in the tenant's bucket, versions and uploads that were
// not ended too: only then can it be deleted. One that is not there is no error.
func (b Bucket) Empty(ctx context.Context, owner Owner, tenant string) error {
	if there, err := b.Present(ctx); err != nil || !there {
		return err
	}
	if err := b.Owned(ctx, owner, tenant); err != nil {
		return err
	}
	if err := b.abort(ctx); err != nil {
		return err
	}
	return b.remove(ctx, "", func(string) bool { return true })
}

// abort ends uploads in parts, which no list of objects shows.
func (b Bucket) abort(ctx context.Context) error {
	pages := s3.NewListMultipartUploadsPaginator(b.api, &s3.ListMultipartUploadsInput{Bucket: awssdk.String(b.name)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return failure("list uploads to "+b.name, err)
		}
		for _, u := range page.Uploads {
			_, err := b.api.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
				Bucket: awssdk.String(b.name), Key: u.Key, UploadId: u.UploadId,
			})
			if err != nil && !absent(err) && !isCode(err, "NoSuchUpload") {
				return failure("end an upload to "+b.name, err)
			}
		}
	}
	return nil
}

// remove removes every version of the keys below prefix that are chosen.
func (b Bucket) remove(ctx context.Context, prefix string, chosen func(key string) bool) error {
	pages := s3.NewListObjectVersionsPaginator(b.api, &s3.ListObjectVersionsInput{
		Bucket: awssdk.String(b.name), Prefix: awssdk.String(prefix),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return failure("list bucket "+b.name, err)
		}
		var doomed []types.ObjectIdentifier // at most a page's 1,000, which is as many as one call removes
		add := func(key, version *string) {
			if chosen(awssdk.ToString(key)) {
				doomed = append(doomed, types.ObjectIdentifier{Key: key, VersionId: version})
			}
		}
		for _, v := range page.Versions {
			add(v.Key, v.VersionId)
		}
		for _, v := range page.DeleteMarkers {
			add(v.Key, v.VersionId)
		}
		if err := b.delete(ctx, doomed); err != nil {
			return err
		}
	}
	return nil
}

func (b Bucket) delete(ctx context.Context, doomed []types.ObjectIdentifier) error {
	if len(doomed) == 0 {
		return nil
	}
	out, err := b.api.DeleteObjects(ctx, &s3.DeleteObjectsInput{
		Bucket: awssdk.String(b.name), Delete: &types.Delete{Objects: doomed, Quiet: awssdk.Bool(true)},
	})
	if err != nil {
		return failure("empty bucket "+b.name, err)
	}
	if len(out.Errors) > 0 { // the call as a whole succeeds all the same
		e := out.Errors[0]
		return fault.Errorf(kindOf(awssdk.ToString(e.Code)), "empty bucket %s: %s: %s, and %d more", b.name,
			awssdk.ToString(e.Key), awssdk.ToString(e.Message), len(out.Errors)-1)
	}
	return nil
}
