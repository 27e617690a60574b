package awstest_test

import (
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	kvs "github.com/aws/aws-sdk-go-v2/service/cloudfrontkeyvaluestore"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"

	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
)

// A call too many is refused in each protocol's way, by a code that the SDK takes
// for one that passes.
func TestOneCallTooManyIsRefused(t *testing.T) {
	t.Parallel()
	s := awstest.New(t, "")
	s.PlayCloudMap()
	s.PlayLogs()
	s.PlayCloudFront()
	s.PlayACM(nil)
	s.PlayElastiCache("users", nil, 0)
	var limits []awstest.Limit
	for _, service := range []string{"acm", "logs", "servicediscovery", "cloudfront", "cloudfront-keyvaluestore", "elasticache"} {
		limits = append(limits, awstest.Limit{Calls: service + ".*", Rate: awstest.Rate{PerSecond: 0.001, Burst: 1}})
	}
	s.Limit(limits, 1)
	once := s.Config()
	once.Retryer = func() awssdk.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.RateLimiter = 1, ratelimit.None })
	}
	retryable := retry.IsErrorThrottles(retry.DefaultThrottles)
	for name, call := range map[string]func() error{
		"acm": func() error {
			_, err := acm.NewFromConfig(once).ListCertificates(t.Context(), &acm.ListCertificatesInput{})
			return err
		},
		"logs": func() error {
			_, err := cloudwatchlogs.NewFromConfig(once).DescribeLogGroups(t.Context(), &cloudwatchlogs.DescribeLogGroupsInput{})
			return err
		},
		"servicediscovery": func() error {
			_, err := servicediscovery.NewFromConfig(once).ListNamespaces(t.Context(), &servicediscovery.ListNamespacesInput{})
			return err
		},
		"cloudfront": func() error {
			_, err := cloudfront.NewFromConfig(once).ListDistributions(t.Context(), &cloudfront.ListDistributionsInput{})
			return err
		},
		"cloudfront-keyvaluestore": func() error {
			_, err := kvs.NewFromConfig(once).ListKeys(t.Context(), &kvs.ListKeysInput{KvsARN: awssdk.String("arn:aws:cloudfront::123456789012:key-value-store/none")})
			return err
		},
		"elasticache": func() error {
			_, err := elasticache.NewFromConfig(once).DescribeUsers(t.Context(), &elasticache.DescribeUsersInput{})
			return err
		},
	} {
		first, second := call(), call()
		if retryable.IsErrorThrottle(first) == awssdk.TrueTernary {
			t.Errorf("%s: the first call is throttled: %v", name, first)
		}
		if retryable.IsErrorThrottle(second) != awssdk.TrueTernary {
			t.Errorf("%s: the second call: %v", name, second)
		}
	}
	if u := s.Uses()["acm.ListCertificates"]; u.Calls != 1 || u.Throttled != 1 || u.Most != 1 {
		t.Errorf("uses: %+v", u)
	}
	bounds := awstest.Bounds(map[string]awstest.Use{"ecs.RegisterTaskDefinition": {Calls: 1000}, "route53.POST": {Calls: 100}})
	if b := bounds[0]; b.Number != 1000 || b.Least != 980*time.Second {
		t.Errorf("a thousand definitions: %+v", b)
	}
}
