package aws

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// emptyHash is the SHA-256 of nothing.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// CacheLogin returns the passwords of a cache's user who logs in by IAM: by the
// cache's endpoint, what is good for 15 minutes. A connection lasts for 12 hours.
// Source: ElastiCache user guide, "Authenticating with IAM".
func CacheLogin(c awssdk.Config, user string) func(endpoint string) func(context.Context) (string, error) {
	signer := v4.NewSigner()
	return func(endpoint string) func(context.Context) (string, error) {
		asked := url.URL{Scheme: "http", Host: cacheID(endpoint), Path: "/", RawQuery: url.Values{
			"Action": {"connect"}, "User": {user}, "X-Amz-Expires": {"900"},
		}.Encode()}
		return func(ctx context.Context) (string, error) {
			credentials, err := c.Credentials.Retrieve(ctx)
			if err != nil {
				return "", fault.Errorf(fault.Transient, "log in to the cache: %w", err)
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, asked.String(), nil)
			if err != nil {
				return "", fault.Errorf(fault.Invalid, "log in to the cache %s: %w", endpoint, err)
			}
			signed, _, err := signer.PresignHTTP(ctx, credentials, req, emptyHash, "elasticache", c.Region, time.Now())
			if err != nil {
				return "", fault.Errorf(fault.Transient, "log in to the cache: %w", err)
			}
			return strings.TrimPrefix(signed, "http://"), nil
		}
	}
}

// cacheID returns the ID of the replication group that has an endpoint:
// master.<ID>.<letters>.<region>.cache.amazonaws.com, or another word in place of master.
func cacheID(endpoint string) string {
	host, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		host = endpoint
	}
	parts := strings.Split(host, ".")
	if strings.HasSuffix(host, ".amazonaws.com") && len(parts) > 6 {
		return parts[1]
	}
	return host
}
