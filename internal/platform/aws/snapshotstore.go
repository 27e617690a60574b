package aws

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gitopsd/gitopsd/internal/platform/snapshot"
	"github.com/gitopsd/gitopsd/internal/release"
)

// usedKey is what a manifest's metadata have when its snapshot was last of use.
const usedKey = "used"

// SnapshotStore keeps snapshots in a bucket, below tenants/<tenant>/<name>/. One
// without a manifest is none. The bucket keeps former versions for a while: what
// is pruned can be had back until then, what RemoveAll removes cannot.
type SnapshotStore struct {
	bucket Bucket
	upload *transfermanager.Client
}

var _ snapshot.Store = SnapshotStore{}

// NewSnapshotStore returns the snapshots in a bucket.
func NewSnapshotStore(c awssdk.Config, bucket string) SnapshotStore {
	b := OpenBucket(c, bucket)
	return SnapshotStore{b, transfermanager.New(b.api)}
}

func snapshotKey(tenant, name, path string) string {
	return "tenants/" + tenant + "/" + name + "/" + path
}

// Where returns where a snapshot is, for people.
func (s SnapshotStore) Where(tenant, name string) string {
	return "s3://" + s.bucket.name + "/" + strings.TrimSuffix(snapshotKey(tenant, name, ""), "/")
}

// List implements snapshot.Store.
func (s SnapshotStore) List(ctx context.Context, tenant string) ([]snapshot.Kept, error) {
	names, err := s.names(ctx, tenant)
	if err != nil {
		return nil, err
	}
	var there []snapshot.Kept
	for _, name := range names {
		used, whole, err := s.used(ctx, tenant, name)
		if err != nil {
			return nil, err
		}
		if whole {
			there = append(there, snapshot.Kept{Name: name, Used: used})
		}
	}
	return there, nil
}

// names returns the names of snapshots, and of what might have become one, sorted.
func (s SnapshotStore) names(ctx context.Context, tenant string) ([]string, error) {
	prefix := "tenants/" + tenant + "/"
	var names []string
	pages := s3.NewListObjectsV2Paginator(s.bucket.api, &s3.ListObjectsV2Input{
		Bucket: awssdk.String(s.bucket.name), Prefix: awssdk.String(prefix), Delimiter: awssdk.String("/"),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failure("list snapshots of "+tenant, err)
		}
		for _, p := range page.CommonPrefixes {
			names = append(names, strings.TrimSuffix(strings.TrimPrefix(awssdk.ToString(p.Prefix), prefix), "/"))
		}
	}
	slices.Sort(names)
	return names, nil
}

// used returns when a snapshot was last of use; whole is false if it is none.
func (s SnapshotStore) used(ctx context.Context, tenant, name string) (at time.Time, whole bool, err error) {
	out, err := s.bucket.api.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: awssdk.String(s.bucket.name), Key: awssdk.String(snapshotKey(tenant, name, snapshot.ManifestFile)),
	})
	if absent(err) {
		return at, false, nil
	}
	if err != nil {
		return at, false, failure("look at snapshot "+name, err)
	}
	if at, err = time.Parse(time.RFC3339Nano, out.Metadata[usedKey]); err != nil {
		at = awssdk.ToTime(out.LastModified)
	}
	return at, true, nil
}

func nowUsed() map[string]string {
	return map[string]string{usedKey: time.Now().UTC().Format(time.RFC3339Nano)}
}

// Use implements snapshot.Store.
func (s SnapshotStore) Use(ctx context.Context, tenant, name string) error {
	key := snapshotKey(tenant, name, snapshot.ManifestFile)
	_, err := s.bucket.api.CopyObject(ctx, &s3.CopyObjectInput{
		Bucket: awssdk.String(s.bucket.name), Key: awssdk.String(key),
		CopySource: awssdk.String(s.bucket.name + "/" + (&url.URL{Path: key}).EscapedPath()),
		Metadata:   nowUsed(), MetadataDirective: types.MetadataDirectiveReplace,
	})
	return failure("mark snapshot "+name+" as used", err)
}

// Create implements snapshot.Store.
func (s SnapshotStore) Create(ctx context.Context, tenant, name string) (snapshot.Writer, error) {
	begun, err := s.names(ctx, tenant)
	if err != nil {
		return nil, err
	}
	for _, dead := range begun {
		_, whole, err := s.used(ctx, tenant, dead)
		if err == nil && !whole {
			err = s.hide(ctx, snapshotKey(tenant, dead, ""))
		}
		if err != nil {
			return nil, err
		}
	}
	return snapshotWriter{s, tenant, name}, nil
}

// Open implements snapshot.Store.
func (s SnapshotStore) Open(ctx context.Context, tenant, name string) (snapshot.Files, error) {
	prefix := snapshotKey(tenant, name, "")
	files := snapshotFiles{store: s, prefix: prefix}
	err := s.each(ctx, prefix, func(keys []string) error {
		for _, key := range keys {
			files.paths = append(files.paths, strings.TrimPrefix(key, prefix))
		}
		return nil
	})
	if err == nil && len(files.paths) == 0 {
		err = fmt.Errorf("%s: %w", s.Where(tenant, name), fs.ErrNotExist)
	}
	return files, err
}

// Remove implements snapshot.Store. The manifest goes first: what is left is no
// snapshot.
func (s SnapshotStore) Remove(ctx context.Context, tenant, name string) error {
	if err := s.hide(ctx, snapshotKey(tenant, name, snapshot.ManifestFile)); err != nil {
		return err
	}
	return s.hide(ctx, snapshotKey(tenant, name, ""))
}

// RemoveAll implements snapshot.Store.
func (s SnapshotStore) RemoveAll(ctx context.Context, tenant string) error {
	all := func(string) bool { return true }
	names, err := s.names(ctx, tenant)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.bucket.remove(ctx, snapshotKey(tenant, name, snapshot.ManifestFile), all); err != nil {
			return err
		}
	}
	return s.bucket.remove(ctx, "tenants/"+tenant+"/", all)
}

// hide removes what is below a prefix, and leaves its versions.
func (s SnapshotStore) hide(ctx context.Context, prefix string) error {
	return s.each(ctx, prefix, func(keys []string) error {
		var doomed []types.ObjectIdentifier // at most a page's 1,000, which is as many as one call removes
		for _, key := range keys {
			doomed = append(doomed, types.ObjectIdentifier{Key: awssdk.String(key)})
		}
		return s.bucket.delete(ctx, doomed)
	})
}

// each calls do with the keys below a prefix, a page at a time.
func (s SnapshotStore) each(ctx context.Context, prefix string, do func(keys []string) error) error {
	pages := s3.NewListObjectsV2Paginator(s.bucket.api, &s3.ListObjectsV2Input{
		Bucket: awssdk.String(s.bucket.name), Prefix: awssdk.String(prefix),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return failure("list "+prefix, err)
		}
		keys := make([]string, len(page.Contents))
		for i, o := range page.Contents {
			keys[i] = awssdk.ToString(o.Key)
		}
		if err := do(keys); err != nil {
			return err
		}
	}
	return nil
}

type snapshotWriter struct {
	store        SnapshotStore
	tenant, name string
}

func (w snapshotWriter) Put(ctx context.Context, f release.File, source string) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = w.store.upload.UploadObject(ctx, &transfermanager.UploadObjectInput{
		Bucket: awssdk.String(w.store.bucket.name), Key: awssdk.String(snapshotKey(w.tenant, w.name, f.Path)), Body: in,
	})
	return failure("save "+f.Path, err)
}

func (w snapshotWriter) Commit(ctx context.Context, manifest []byte) error {
	_, err := w.store.bucket.api.PutObject(ctx, &s3.PutObjectInput{
		Bucket: awssdk.String(w.store.bucket.name), Key: awssdk.String(snapshotKey(w.tenant, w.name, snapshot.ManifestFile)),
		Body: bytes.NewReader(manifest), ContentType: awssdk.String("application/json"), Metadata: nowUsed(),
	})
	return failure("save the manifest", err)
}

type snapshotFiles struct {
	store  SnapshotStore
	prefix string
	paths  []string
}

func (f snapshotFiles) Close() error { return nil }

func (f snapshotFiles) List(context.Context) ([]string, error) { return f.paths, nil }

func (f snapshotFiles) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	out, err := f.store.bucket.api.GetObject(ctx, &s3.GetObjectInput{
		Bucket: awssdk.String(f.store.bucket.name), Key: awssdk.String(f.prefix + path),
	})
	if absent(err) {
		return nil, errors.Join(fs.ErrNotExist, err)
	}
	if err != nil {
		return nil, failure("read "+path, err)
	}
	return out.Body, nil
}
