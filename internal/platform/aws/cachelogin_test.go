package aws_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/platform/aws"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
)

func TestCacheLogin(t *testing.T) {
	t.Parallel()
	login := aws.CacheLogin(awstest.New(t, "").Config(), "gitopsd-a-control")
	for endpoint, host := range map[string]string{
		"master.gitopsd-a.abc123.euw1.cache.amazonaws.com:6379":         "gitopsd-a",
		"master.gitopsd-a-acme-data.abc123.euw1.cache.amazonaws.com:26": "gitopsd-a-acme-data",
		"127.0.0.1:6379": "127.0.0.1",
	} {
		token, err := login(endpoint)(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse("http://" + token)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if u.Host != host || q.Get("Action") != "connect" || q.Get("User") != "gitopsd-a-control" || q.Get("X-Amz-Expires") != "900" ||
			!strings.HasSuffix(q.Get("X-Amz-Credential"), "/eu-west-1/elasticache/aws4_request") || len(q.Get("X-Amz-Signature")) != 64 {
			t.Errorf("%s: %s", endpoint, strings.ReplaceAll(token, q.Get("X-Amz-Signature"), "…"))
		}
	}
}
