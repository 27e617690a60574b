package aws

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/gitopsd/gitopsd/internal/platform/snapshot"
	"github.com/gitopsd/gitopsd/internal/release"
)

// assets are those in one tenant's bucket, as snapshots see them.
type assets struct {
	static *Static
	bucket string // "": there is none
	log    *slog.Logger
}

var _ snapshot.Assets = assets{}

// Served implements snapshot.Assets. An asset that is not there is left out: the
// data are worth saving without it.
func (a assets) Served(ctx context.Context, dir string, put func(ctx context.Context, name, source string) error) (string, error) {
	if a.bucket == "" {
		return "", nil
	}
	var now active
	if err := a.static.read(ctx, a.bucket, activeKey, &now); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	files, err := a.static.index(ctx, a.bucket, now.Digest)
	if err != nil {
		return "", err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for name := range files {
		group.Go(func() error {
			content, err := a.fetch(ctx, dir, now.Digest, name)
			if absent(err) {
				a.log.Warn("an asset that is to be served is not there", "bucket", a.bucket, "asset", name)
				return nil
			}
			if err != nil {
				return err
			}
			defer os.Remove(content)
			return put(ctx, name, content)
		})
	}
	return now.Digest, group.Wait()
}

// fetch returns the path of a copy of an asset.
func (a assets) fetch(ctx context.Context, dir, digest, name string) (string, error) {
	out, err := a.static.api.GetObject(ctx, &s3.GetObjectInput{
		Bucket: awssdk.String(a.bucket), Key: awssdk.String(assetKey(digest, name)),
	})
	if err != nil {
		return "", failure("read asset "+name, err)
	}
	defer out.Body.Close()
	f, err := os.CreateTemp(dir, "asset-")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, out.Body)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// Restore implements snapshot.Assets.
func (a assets) Restore(ctx context.Context, digest string, files []release.File,
	open func(context.Context, string) (*os.File, func(), error),
) error {
	if err := checkDigest(digest); err != nil || a.bucket == "" {
		return err
	}
	var there []release.File
	if err := a.static.read(ctx, a.bucket, indexKey(digest), &there); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err // there already, whole
	}
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, f := range files {
		group.Go(func() error {
			content, done, err := open(inner, f.Path)
			if err != nil {
				return err
			}
			defer done()
			return a.static.put(inner, a.bucket, digest, f, content)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return a.static.write(ctx, a.bucket, indexKey(digest), files)
}
