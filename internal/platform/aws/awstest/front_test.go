package awstest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	cftypes "github.com/aws/aws-sdk-go-v2/service/cloudfront/types"
	kvs "github.com/aws/aws-sdk-go-v2/service/cloudfrontkeyvaluestore"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
)

// viewer asks the played CloudFront.
func viewer(t *testing.T, edge, host, path string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+edge+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	req.Header.Set("X-Tenant", "another")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

func TestTheCellServes(t *testing.T) {
	t.Parallel()
	c := awstest.NewCell(t)
	env := c.Env(t, func(context.Context, string, string, string) error { return nil })
	ctx, o, host := t.Context(), c.Outputs(), "acme."+awstest.Domain
	if status, _, _ := viewer(t, env.Edge, "acme.elsewhere.example", "/"); status != http.StatusForbidden {
		t.Errorf("a host that is nobody's: %d", status)
	}
	if status, _, _ := viewer(t, env.Edge, host, "/"); status != http.StatusNotFound {
		t.Errorf("a host of no tenant: %d", status)
	}
	keys := kvs.NewFromConfig(c.AWS())
	is, err := keys.DescribeKeyValueStore(ctx, &kvs.DescribeKeyValueStoreInput{KvsARN: &o.KeyValueStore})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.PutKey(ctx, &kvs.PutKeyInput{KvsARN: &o.KeyValueStore, Key: &host, Value: awssdk.String("acme"), IfMatch: is.ETag}); err != nil {
		t.Fatal(err)
	}
	route, _ := json.Marshal(map[string]any{"tenant": "acme", "hosts": []string{host}, "srv": "acme." + o.Shared.NamespaceName, "edgeKey": "edge", "serial": 1})
	if err := os.WriteFile(filepath.Join(c.Volumes(), ".edge", "routes", "acme.json"), route, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if status, h, body := viewer(t, env.Edge, host, "/"); status != http.StatusServiceUnavailable || h.Get("Via") == "" {
			return fmt.Errorf("a tenant without instances: %d %s", status, body)
		}
		return nil
	})

	bucket := "gitopsd-t-x-acme"
	files := s3.NewFromConfig(c.AWS(), func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := files.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: awstest.Region}}); err != nil {
		t.Fatal(err)
	}
	put := func(text string) {
		t.Helper()
		if _, err := files.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: awssdk.String("live/assets/a.txt"), Body: strings.NewReader(text)}); err != nil {
			t.Fatal(err)
		}
	}
	put("one")
	cdn := cloudfront.NewFromConfig(c.AWS())
	tenant, err := cdn.CreateDistributionTenant(ctx, &cloudfront.CreateDistributionTenantInput{
		DistributionId: &o.Shared.DistributionID, Name: awssdk.String("acme"), Domains: []cftypes.DomainItem{{Domain: &host}},
		Parameters: []cftypes.Parameter{{Name: awssdk.String("bucket"), Value: &bucket}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cdn.CreateDistributionTenant(ctx, &cloudfront.CreateDistributionTenantInput{
		DistributionId: &o.Shared.DistributionID, Name: awssdk.String("other"), Domains: []cftypes.DomainItem{{Domain: &host}},
		Parameters: []cftypes.Parameter{{Name: awssdk.String("bucket"), Value: &bucket}},
	}); codeOf(err) != "CNAMEAlreadyExists" {
		t.Errorf("a second tenant of the host: %v", err)
	}
	if status, _, _ := viewer(t, env.Edge, host, "/assets/b.txt"); status != http.StatusForbidden {
		t.Errorf("an asset that nobody may read: %d", status)
	}
	policy := `{"Statement":[{"Effect":"Allow","Principal":{"Service":"cloudfront.amazonaws.com"},"Action":"s3:GetObject",
		"Resource":"arn:aws:s3:::` + bucket + `/live/*","Condition":{"StringEquals":{"aws:SourceArn":"` + o.Shared.DistributionARN + `"}}}]}`
	if _, err := files.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	asset := func(want, cache string) {
		t.Helper()
		if status, h, body := viewer(t, env.Edge, host, "/assets/a.txt"); status != http.StatusOK || body != want || !strings.HasPrefix(h.Get("X-Cache"), cache) || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("asset: %d %q, %v, want %q and a %s", status, body, h, want, cache)
		}
	}
	asset("one", "Miss")
	put("two")
	asset("one", "Hit")
	if _, err := cdn.CreateInvalidationForDistributionTenant(ctx, &cloudfront.CreateInvalidationForDistributionTenantInput{
		Id: tenant.DistributionTenant.Id, InvalidationBatch: &cftypes.InvalidationBatch{
			CallerReference: awssdk.String("1"), Paths: &cftypes.Paths{Quantity: awssdk.Int32(1), Items: []string{"/assets/*"}},
		},
	}); err != nil {
		t.Fatal(err)
	}
	asset("two", "Miss")
	left, err := c.Left(ctx, "acme")
	if err != nil || len(left) != 2 {
		t.Errorf("left: %v, %v", left, err)
	}
}
