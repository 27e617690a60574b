package aws_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	cdn "github.com/aws/aws-sdk-go-v2/service/cloudfront/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gitopsd/gitopsd/internal/fault"
	aws "github.com/gitopsd/gitopsd/internal/platform/aws"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
	"github.com/gitopsd/gitopsd/internal/release"
)

type siteWorld struct {
	c    awssdk.Config
	s3   *s3.Client
	cdn  *cloudfront.Client
	site aws.Site
	st   *aws.Static
	v    *release.Volume
}

func newSite(t *testing.T) *siteWorld {
	t.Helper()
	c := awstest.New(t, awstest.StartMoto(t)).Config()
	w := &siteWorld{c: c, st: aws.NewStatic(c), cdn: cloudfront.NewFromConfig(c), s3: s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = true })}
	w.site.Bucket = w.bucket(t, "acme-assets", true)
	out, err := w.cdn.CreateDistribution(t.Context(), &cloudfront.CreateDistributionInput{DistributionConfig: &cdn.DistributionConfig{
		CallerReference: awssdk.String("x"), Comment: awssdk.String(""), Enabled: awssdk.Bool(true),
		DefaultCacheBehavior: &cdn.DefaultCacheBehavior{TargetOriginId: awssdk.String("o"), ViewerProtocolPolicy: cdn.ViewerProtocolPolicyAllowAll},
		Origins: &cdn.Origins{Quantity: awssdk.Int32(1), Items: []cdn.Origin{{
			Id: awssdk.String("o"), DomainName: awssdk.String("acme-assets.s3.eu-west-1.amazonaws.com"), S3OriginConfig: &cdn.S3OriginConfig{OriginAccessIdentity: awssdk.String("")},
		}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.site.Distribution = awssdk.ToString(out.Distribution.Id)
	w.v = release.Open(t.TempDir())
	return w
}

func (w *siteWorld) bucket(t *testing.T, name string, tagged bool) string {
	t.Helper()
	if _, err := w.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: awssdk.String(name), CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: awstest.Region},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.s3.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: awssdk.String(name), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	}); err != nil {
		t.Fatal(err)
	}
	if !tagged {
		return name
	}
	if _, err := w.s3.PutBucketTagging(t.Context(), &s3.PutBucketTaggingInput{Bucket: awssdk.String(name), Tagging: &types.Tagging{TagSet: []types.Tag{
		{Key: awssdk.String("managed-by"), Value: awssdk.String("gitopsd")},
		{Key: awssdk.String("gitopsd:platform"), Value: awssdk.String("cell1")},
		{Key: awssdk.String("gitopsd:tenant"), Value: awssdk.String("acme")},
	}}}); err != nil {
		t.Fatal(err)
	}
	return name
}

// stage makes a release with these assets and uploads it.
func (w *siteWorld) stage(t *testing.T, assets map[string]string) string {
	t.Helper()
	st, err := w.v.Stage()
	if err != nil {
		t.Fatal(err)
	}
	defer st.Abort()
	app := filepath.Join(t.TempDir(), "app")
	if err := os.WriteFile(app, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := st.AddBinary(app); err != nil {
		t.Fatal(err)
	}
	for name, text := range assets {
		if err := st.Add(release.Static, name, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	digest, err := st.Commit(release.Manifest{Tenant: "acme", Build: fmt.Sprint(len(assets)), Health: "/"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.st.Upload(t.Context(), w.site, w.v, digest); err != nil {
			t.Fatal(err)
		}
	}
	return digest
}

// served returns what is served at a path, and how long it may be kept.
func (w *siteWorld) served(t *testing.T, name string) (text, control, kind string) {
	t.Helper()
	out, err := w.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: awssdk.String(w.site.Bucket), Key: awssdk.String("live/" + name)})
	if err != nil {
		return "", "", ""
	}
	defer out.Body.Close()
	b, _ := io.ReadAll(out.Body)
	return string(b), awssdk.ToString(out.CacheControl), awssdk.ToString(out.ContentType)
}

// invalidated returns all paths that were made invalid so far, sorted.
func (w *siteWorld) invalidated(t *testing.T) []string {
	t.Helper()
	list, err := w.cdn.ListInvalidations(t.Context(), &cloudfront.ListInvalidationsInput{DistributionId: awssdk.String(w.site.Distribution)})
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, i := range list.InvalidationList.Items {
		got, err := w.cdn.GetInvalidation(t.Context(), &cloudfront.GetInvalidationInput{DistributionId: awssdk.String(w.site.Distribution), Id: i.Id})
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, got.Invalidation.InvalidationBatch.Paths.Items...)
	}
	slices.Sort(paths)
	return paths
}

func TestStaticAssets(t *testing.T) {
	w := newSite(t)
	one := w.stage(t, map[string]string{"index.html": "one", "app.3f9a1c2b.js": "js one", "same.txt": "same", "gone a.txt": "x"})
	if text, _, _ := w.served(t, "index.html"); text != "" {
		t.Errorf("before it is activated it is served: %q", text)
	}
	if text, control, _ := w.served(t, "app.3f9a1c2b.js"); text != "js one" || control != "public, max-age=31536000, immutable" {
		t.Errorf("with a fingerprint: %q, %q", text, control)
	}
	activate := func(digest string) {
		t.Helper()
		for range 2 {
			if err := w.st.Activate(t.Context(), w.site, digest); err != nil {
				t.Fatal(err)
			}
		}
	}
	activate(one)
	if text, control, kind := w.served(t, "index.html"); text != "one" || control != "no-cache" || !strings.HasPrefix(kind, "text/html") {
		t.Errorf("without one: %q, %q, %q", text, control, kind)
	}
	before := w.invalidated(t)
	two := w.stage(t, map[string]string{"index.html": "two", "app.4e8b2d3c.js": "js two", "same.txt": "same"})
	activate(two)
	if text, _, _ := w.served(t, "gone a.txt"); text != "" {
		t.Errorf("an asset that the release has not: %q", text)
	}
	if text, _, _ := w.served(t, "app.3f9a1c2b.js"); text != "js one" {
		t.Error("a page from before asks in vain for its script")
	}
	var added []string
	for _, p := range w.invalidated(t) {
		if i := slices.Index(before, p); i >= 0 {
			before = slices.Delete(before, i, i+1)
			continue
		}
		added = append(added, p)
	}
	if want := []string{"/", "/gone%20a.txt", "/index.html"}; !slices.Equal(added, want) {
		t.Errorf("made invalid: %v, want %v", added, want)
	}
	count := len(w.invalidated(t))
	activate(one) // back: invalid once more
	if text, _, _ := w.served(t, "index.html"); text != "one" || len(w.invalidated(t)) == count {
		t.Errorf("after going back: %q, %d paths made invalid", text, len(w.invalidated(t)))
	}
	for i := range 4 {
		activate(w.stage(t, map[string]string{"index.html": fmt.Sprint(i), fmt.Sprintf("app.5f%06d.js", i): "x"}))
	}
	if text, _, _ := w.served(t, "app.4e8b2d3c.js"); text != "" {
		t.Error("assets of long ago are kept")
	}
	activate("")
	if text, _, _ := w.served(t, "index.html"); text != "" {
		t.Errorf("without a release is served: %q", text)
	}
	if err := w.st.Activate(t.Context(), w.site, strings.Repeat("a", 64)); !fault.Is(err, fault.NotFound) {
		t.Errorf("a release that was not uploaded: %v, want NotFound", err)
	}
	if err := w.st.Upload(t.Context(), w.site, w.v, "../x"); !fault.Is(err, fault.Invalid) {
		t.Errorf("no digest: %v, want Invalid", err)
	}
	emptied(t, w)
}

// emptied empties a bucket of versions, and none that is not the tenant's.
func emptied(t *testing.T, w *siteWorld) {
	remove := func() error {
		_, err := w.s3.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: awssdk.String(w.site.Bucket)})
		return err
	}
	if _, err := w.s3.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: awssdk.String(w.site.Bucket), Key: awssdk.String("half")}); err != nil {
		t.Fatal(err)
	}
	if remove() == nil {
		t.Fatal("the bucket had nothing in it")
	}
	b := aws.OpenBucket(w.c, w.site.Bucket)
	if err := b.Empty(t.Context(), owner, "other"); !fault.Is(err, fault.Conflict) {
		t.Errorf("another tenant's bucket: %v, want Conflict", err)
	}
	for range 2 {
		if err := b.Empty(t.Context(), owner, "acme"); err != nil {
			t.Fatal(err)
		}
	}
	if err := remove(); err != nil {
		t.Errorf("after it was emptied: %v", err)
	}
	if err := b.Empty(t.Context(), owner, "acme"); err != nil {
		t.Errorf("one that is not there: %v", err)
	}
	foreign := aws.OpenBucket(w.c, w.bucket(t, "untagged", false))
	if err := foreign.Empty(t.Context(), owner, "acme"); !fault.Is(err, fault.Conflict) {
		t.Errorf("a bucket without tags: %v, want Conflict", err)
	}
}
