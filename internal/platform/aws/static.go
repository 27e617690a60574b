package aws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	cdn "github.com/aws/aws-sdk-go-v2/service/cloudfront/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	infra "github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/release"
)

const (
	// keptStatic is how many releases' fingerprinted assets a bucket holds: pages
	// that were loaded from the one before still ask for theirs.
	keptStatic = 3
	// maxPaths is how many paths are made invalid one by one: each costs, and all
	// of a tenant's together cost as one.
	maxPaths = 15

	immutable = "public, max-age=31536000, immutable"
	asked     = "no-cache" // kept, and asked for whether it is still the same
)

// Static keeps tenants' static assets in their buckets:
//
//	live/<path>              what is served
//	releases/<digest>.json   the assets of a release: written last, it is whole
//	releases/<digest>/<path> those whose names do not change with their content
//	active.json              whose are served
//
// An asset with a fingerprint in its name is served from its upload on, for ever;
// another one is put in its place when its release is activated.
type Static struct {
	api *s3.Client
	cdn *cloudfront.Client
}

// NewStatic returns the static assets of tenants.
func NewStatic(c awssdk.Config) *Static {
	return &Static{api: newS3(c), cdn: cloudfront.NewFromConfig(c)}
}

// Site is where a tenant's assets are served.
type Site struct {
	Bucket       string
	Distribution string // ID
	Tenant       string // ID of the distribution's tenant, or ""
}

// active says which release's assets are served. Changes counts activations: it
// tells one invalidation from the next.
type active struct {
	Digest  string   `json:"digest"`
	Changes int      `json:"changes"`
	Former  []string `json:"former,omitempty"` // releases before, the youngest first
}

const activeKey = "active.json"

func indexKey(digest string) string        { return "releases/" + digest + ".json" }
func stagedKey(digest, name string) string { return "releases/" + digest + "/" + name }
func liveKey(name string) string           { return infra.LivePrefix + "/" + name }

// Upload puts a release's assets into the bucket, beside those of others.
func (s *Static) Upload(ctx context.Context, site Site, v *release.Volume, digest string) error {
	if err := checkDigest(digest); err != nil {
		return err
	}
	var there []release.File
	if err := s.read(ctx, site.Bucket, indexKey(digest), &there); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err // there already, whole
	}
	manifest, err := v.Manifest(digest)
	if err != nil {
		return fault.Errorf(fault.NotFound, "%w", err)
	}
	root, err := os.OpenRoot(v.Path(digest))
	if err != nil {
		return err
	}
	defer root.Close()
	group, ctx2 := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for _, f := range manifest.Static {
		group.Go(func() error { return s.uploadOne(ctx2, site.Bucket, root, digest, f) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return s.write(ctx, site.Bucket, indexKey(digest), manifest.Static)
}

func (s *Static) uploadOne(ctx context.Context, bucket string, root *os.Root, digest string, f release.File) error {
	in, err := root.OpenFile(filepath.Join("static", filepath.FromSlash(f.Path)), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	if info, err := in.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() != f.Size {
		return fault.Errorf(fault.Invalid, "asset %s is not the file its manifest names", f.Path)
	}
	return s.put(ctx, bucket, digest, f, in)
}

// assetKey returns where an asset of a release is kept.
func assetKey(digest, name string) string {
	if fingerprinted(name) {
		return liveKey(name)
	}
	return stagedKey(digest, name)
}

func (s *Static) put(ctx context.Context, bucket, digest string, f release.File, content io.ReadSeeker) error {
	control := asked
	if fingerprinted(f.Path) {
		control = immutable
	}
	_, err := s.api.PutObject(ctx, &s3.PutObjectInput{
		Bucket: awssdk.String(bucket), Key: awssdk.String(assetKey(digest, f.Path)), Body: content, ContentLength: awssdk.Int64(f.Size),
		ContentType: awssdk.String(contentType(f.Path)), CacheControl: awssdk.String(control),
	})
	return failure("upload "+f.Path, err)
}

// Activate makes a release's assets the ones served; "" serves none.
func (s *Static) Activate(ctx context.Context, site Site, digest string) error {
	var now active
	if err := s.read(ctx, site.Bucket, activeKey, &now); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if now.Digest == digest {
		return nil
	}
	next, err := s.index(ctx, site.Bucket, digest)
	if err != nil {
		return err
	}
	before, err := s.index(ctx, site.Bucket, now.Digest)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	stale := changed(before, next)
	if err := s.place(ctx, site.Bucket, digest, next); err != nil {
		return err
	}
	then := active{Digest: digest, Changes: now.Changes + 1, Former: now.Former}
	if now.Digest != "" {
		then.Former = append([]string{now.Digest}, now.Former...)
	}
	then.Former = slices.DeleteFunc(then.Former, func(d string) bool { return d == digest })
	drop := then.Former[min(len(then.Former), keptStatic-1):]
	then.Former = then.Former[:len(then.Former)-len(drop)]
	if err := s.prune(ctx, site.Bucket, then, drop); err != nil {
		return err
	}
	if err := s.invalidate(ctx, site, stale, fmt.Sprintf("%.16s-%d", digest, then.Changes)); err != nil {
		return err
	}
	return s.write(ctx, site.Bucket, activeKey, then) // last: until here all of it is done again
}

// index returns a release's assets by their paths; nil for no release.
func (s *Static) index(ctx context.Context, bucket, digest string) (map[string]release.File, error) {
	if digest == "" {
		return nil, nil
	}
	if err := checkDigest(digest); err != nil {
		return nil, err
	}
	var files []release.File
	err := s.read(ctx, bucket, indexKey(digest), &files)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Errorf(fault.NotFound, "the assets of release %.12s were not uploaded", digest)
	}
	byPath := make(map[string]release.File, len(files))
	for _, f := range files {
		byPath[f.Path] = f
	}
	return byPath, err
}

// changed returns the paths under which something else is served now, sorted.
func changed(before, next map[string]release.File) []string {
	var paths []string
	for name, f := range next {
		if !fingerprinted(name) && before[name].SHA256 != f.SHA256 {
			paths = append(paths, name)
		}
	}
	for name := range before {
		if _, stays := next[name]; !stays && !fingerprinted(name) {
			paths = append(paths, name)
		}
	}
	slices.Sort(paths)
	return paths
}

// place copies what has no fingerprint to where it is served.
func (s *Static) place(ctx context.Context, bucket, digest string, files map[string]release.File) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for name := range files {
		if fingerprinted(name) {
			continue
		}
		group.Go(func() error {
			_, err := s.api.CopyObject(ctx, &s3.CopyObjectInput{
				Bucket: awssdk.String(bucket), Key: awssdk.String(liveKey(name)),
				CopySource: awssdk.String(bucket + "/" + (&url.URL{Path: stagedKey(digest, name)}).EscapedPath()),
			})
			return failure("activate "+name, err)
		})
	}
	return group.Wait()
}

// prune removes what is served and belongs to no kept release, and the
// releases that are dropped.
func (s *Static) prune(ctx context.Context, bucket string, then active, drop []string) error {
	keep := make(map[string]bool)
	for i, digest := range append([]string{then.Digest}, then.Former...) {
		files, err := s.index(ctx, bucket, digest)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		for name := range files {
			if i == 0 || fingerprinted(name) {
				keep[liveKey(name)] = true
			}
		}
	}
	if err := s.uploaded(ctx, bucket, keep); err != nil {
		return err
	}
	b := Bucket{s.api, bucket}
	if err := b.remove(ctx, infra.LivePrefix+"/", func(key string) bool { return !keep[key] }); err != nil {
		return err
	}
	for _, digest := range drop { // the index first: without it the release is not whole
		for _, prefix := range []string{indexKey(digest), "releases/" + digest + "/"} {
			if err := b.remove(ctx, prefix, func(string) bool { return true }); err != nil {
				return err
			}
		}
	}
	return nil
}

// uploaded keeps the fingerprinted assets of all releases that are whole: one
// may have been uploaded and wait for its activation.
func (s *Static) uploaded(ctx context.Context, bucket string, keep map[string]bool) error {
	pages := s3.NewListObjectsV2Paginator(s.api, &s3.ListObjectsV2Input{
		Bucket: awssdk.String(bucket), Prefix: awssdk.String("releases/"), Delimiter: awssdk.String("/"),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return failure("list releases in "+bucket, err)
		}
		for _, o := range page.Contents {
			digest := strings.TrimSuffix(path.Base(awssdk.ToString(o.Key)), ".json")
			files, err := s.index(ctx, bucket, digest)
			if err != nil {
				return err
			}
			for name := range files {
				if fingerprinted(name) {
					keep[liveKey(name)] = true
				}
			}
		}
	}
	return nil
}

// invalidate has the CDN forget paths. The same reference is the same
// invalidation, however often it is asked for.
func (s *Static) invalidate(ctx context.Context, site Site, names []string, reference string) error {
	if len(names) == 0 || site.Distribution == "" {
		return nil
	}
	var paths []string
	for _, name := range names {
		paths = append(paths, (&url.URL{Path: "/" + name}).EscapedPath())
		if path.Base(name) == "index.html" {
			paths = append(paths, (&url.URL{Path: "/" + strings.TrimSuffix(name, "index.html")}).EscapedPath())
		}
	}
	if len(paths) > maxPaths {
		paths = []string{"/*"}
	}
	batch := &cdn.InvalidationBatch{
		CallerReference: awssdk.String(reference),
		Paths:           &cdn.Paths{Quantity: awssdk.Int32(int32(len(paths))), Items: paths}, //nolint:gosec // a few
	}
	var err error
	if site.Tenant != "" {
		_, err = s.cdn.CreateInvalidationForDistributionTenant(ctx, &cloudfront.CreateInvalidationForDistributionTenantInput{
			Id: awssdk.String(site.Tenant), InvalidationBatch: batch,
		})
	} else {
		_, err = s.cdn.CreateInvalidation(ctx, &cloudfront.CreateInvalidationInput{
			DistributionId: awssdk.String(site.Distribution), InvalidationBatch: batch,
		})
	}
	return failure("invalidate what the CDN keeps", err)
}

// read reads a JSON object; fs.ErrNotExist if there is none.
func (s *Static) read(ctx context.Context, bucket, key string, into any) error {
	out, err := s.api.GetObject(ctx, &s3.GetObjectInput{Bucket: awssdk.String(bucket), Key: awssdk.String(key)})
	if absent(err) {
		return fmt.Errorf("%s in %s: %w", key, bucket, fs.ErrNotExist)
	}
	if err != nil {
		return failure("read "+key+" in "+bucket, err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		return fmt.Errorf("read %s in %s: %w", key, bucket, err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fault.Errorf(fault.Invalid, "%s in %s: %w", key, bucket, err)
	}
	return nil
}

func (s *Static) write(ctx context.Context, bucket, key string, from any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	_, err = s.api.PutObject(ctx, &s3.PutObjectInput{
		Bucket: awssdk.String(bucket), Key: awssdk.String(key), Body: bytes.NewReader(b), ContentType: awssdk.String("application/json"),
	})
	return failure("write "+key+" in "+bucket, err)
}

func contentType(name string) string {
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		return t
	}
	return "application/octet-stream"
}

// A fingerprint is a hash before the extension: at least eight hex digits, a
// letter and a decimal one among them, or eight of base64's as bundlers write
// them, with a lower-case letter, an upper-case one and a digit; so that no word
// and no date is taken for one. The local edge has the same rule.
var (
	hexPrint    = regexp.MustCompile(`[.-]([0-9a-f]{8,64})\.[A-Za-z0-9.]+$`)
	base64Print = regexp.MustCompile(`[.-]([A-Za-z0-9_-]{8})\.[A-Za-z0-9.]+$`)
)

func fingerprinted(name string) bool {
	name = path.Base(name)
	if m := hexPrint.FindStringSubmatch(name); m != nil && strings.ContainsAny(m[1], "0123456789") && strings.ContainsAny(m[1], "abcdef") {
		return true
	}
	m := base64Print.FindStringSubmatch(name)
	return m != nil && strings.ContainsAny(m[1], "0123456789") &&
		strings.ToLower(m[1]) != m[1] && strings.ToUpper(m[1]) != m[1]
}
