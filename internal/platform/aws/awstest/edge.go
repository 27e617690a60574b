package awstest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// startEdge starts the cell's edge: the real program, as its container runs it,
// behind a played CloudFront, whose address it returns. The load balancer
// between the two, which passes on what has the secret, is left out: the edge
// refuses what has it not.
func (c *Cell) startEdge(tb testing.TB) (addr string) {
	tb.Helper()
	program := must[string](tb)(build(filepath.Join(c.dir, "gitopsd"), "github.com/gitopsd/gitopsd/cmd/gitopsd"))
	routes := filepath.Join(c.Volumes(), ".edge", "routes")
	makeDir(tb, routes)
	listen, admin := must[int](tb)(freePort()), must[int](tb)(freePort())
	origin := local(listen)
	config, _ := json.Marshal(map[string]any{ // texts only
		"addr": origin, "admin": local(admin), "dns": c.DNS, "routes": routes, "accessLog": "-", "domain": Domain,
		"secret": OriginSecret, "origin": true, "remote": true,
	})
	dir := tb.TempDir()
	path := filepath.Join(dir, "edge.json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		tb.Fatal(err)
	}
	log := must[*os.File](tb)(os.Create(filepath.Join(dir, "edge.log")))
	cmd := exec.Command(program, "edge", "--config", path)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, append(cmd.Environ(), "HOME="+dir)
	if err := cmd.Start(); err != nil {
		tb.Fatalf("start the edge: %v", err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(15*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
		log.Close()
		if tb.Failed() {
			b, _ := os.ReadFile(log.Name())
			tb.Logf("the edge's log, its end:\n%s", b[max(0, len(b)-4000):])
		}
	})
	awaitTCP(tb, origin)
	f := &front{
		cdn: c.CloudFront, store: c.outputs.KeyValueStore, origins: map[string]string{c.outputs.Shared.OriginHost: origin},
		bucket: c.asset, kept: make(map[string]*keptAnswer),
	}
	return f.serve(tb)
}

// asset reads a file as CloudFront does: with a right that the bucket's policy
// gives to the distribution. Since it may not list, what is not there is denied.
func (c *Cell) asset(ctx context.Context, bucket, key, distribution string) (*http.Response, error) {
	api := c.buckets()
	denied := &http.Response{StatusCode: http.StatusForbidden, Header: http.Header{}, Body: http.NoBody}
	policy, err := api.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &bucket})
	var no smithy.APIError
	switch {
	case errors.As(err, &no) && no.ErrorCode() == "NoSuchBucket":
		return &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Body: http.NoBody}, nil
	case errors.As(err, &no):
		return denied, nil
	case err != nil:
		return nil, err
	case !allows(*policy.Policy, distribution, "arn:aws:s3:::"+bucket+"/"+key):
		return denied, nil
	}
	out, err := api.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	var missing *s3types.NoSuchKey
	if errors.As(err, &missing) {
		return denied, nil
	}
	if err != nil {
		return nil, err
	}
	h := http.Header{}
	for name, value := range map[string]*string{"Content-Type": out.ContentType, "Cache-Control": out.CacheControl, "Etag": out.ETag, "Content-Encoding": out.ContentEncoding} {
		if value != nil {
			h.Set(name, *value)
		}
	}
	return &http.Response{StatusCode: http.StatusOK, Header: h, Body: out.Body}, nil
}

// allows reports whether a bucket's policy lets the distribution read the object.
func allows(policy, distribution, object string) bool {
	var p struct {
		Statement []struct {
			Effect    string
			Principal any
			Action    any
			Resource  any
			Condition map[string]map[string]any
		}
	}
	if json.Unmarshal([]byte(policy), &p) != nil {
		return false
	}
	for _, s := range p.Statement {
		principal, _ := s.Principal.(map[string]any)
		if s.Effect == "Allow" && slices.Contains(texts(principal["Service"]), "cloudfront.amazonaws.com") && slices.Contains(texts(s.Action), "s3:GetObject") &&
			slices.Contains(texts(s.Condition["StringEquals"]["aws:SourceArn"]), distribution) &&
			slices.ContainsFunc(texts(s.Resource), func(r string) bool { return matched(r, object) }) {
			return true
		}
	}
	return false
}

// texts returns what a policy has as one text or a list of them.
func texts(v any) (list []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, one := range v {
			if s, ok := one.(string); ok {
				list = append(list, s)
			}
		}
	}
	return list
}
