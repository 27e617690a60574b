package provider

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	"github.com/aws/smithy-go"
)

// clients reach the played AWS.
type clients struct {
	poll time.Duration // between two looks at what is slow

	s3           *s3.Client
	iam          *iam.Client
	logs         *cloudwatchlogs.Client
	efs          *efs.Client
	ecs          *ecs.Client
	scaling      *applicationautoscaling.Client
	discovery    *servicediscovery.Client
	zones        *route53.Client
	cdn          *cloudfront.Client
	certificates *acm.Client
}

func newClients(c awssdk.Config, poll time.Duration) clients {
	return clients{
		poll: cmp.Or(poll, 20*time.Millisecond),
		s3:   s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = true }),
		iam:  iam.NewFromConfig(c), logs: cloudwatchlogs.NewFromConfig(c), efs: efs.NewFromConfig(c),
		ecs: ecs.NewFromConfig(c), scaling: applicationautoscaling.NewFromConfig(c), discovery: servicediscovery.NewFromConfig(c),
		zones: route53.NewFromConfig(c), cdn: cloudfront.NewFromConfig(c), certificates: acm.NewFromConfig(c),
	}
}

// decode reads properties into a struct by its json tags.
func decode[T any](in Properties) (T, error) {
	var out T
	b, err := json.Marshal(in)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		err = fmt.Errorf("%T: %w", out, err)
	}
	return out, err
}

// properties returns a value as JSON has it.
func properties[T any](v T) Properties {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // the types are this package's own
	}
	var out Properties
	if err := json.Unmarshal(b, &out); err != nil {
		panic(err)
	}
	return out
}

// gone returns errGone for an error that says that something is not there.
func gone(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) && (strings.Contains(api.ErrorCode(), "NotFound") || strings.HasPrefix(api.ErrorCode(), "NoSuch")) {
		return errGone
	}
	return err
}

// code reports whether AWS answered with an error of this code.
func code(err error, code string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == code
}

// text returns a property, "" if it is not there.
func text(in Properties, name string) string {
	s, _ := in[name].(string)
	return s
}

// tagsOf returns a resource's tags.
func tagsOf(in Properties) map[string]string {
	out := make(map[string]string)
	m, _ := in["tags"].(map[string]any)
	for k, v := range m {
		out[k], _ = v.(string)
	}
	return out
}

// tagged returns tags as a property.
func tagged(tags map[string]string) map[string]any {
	out := make(map[string]any, len(tags))
	for k, v := range tags {
		out[k] = v
	}
	return out
}

// removed returns the keys of tags that are no longer wanted.
func removed(olds, news Properties) []string {
	var keys []string
	for k := range tagsOf(olds) {
		if _, ok := tagsOf(news)[k]; !ok {
			keys = append(keys, k)
		}
	}
	return keys
}

// sameDocument returns the first of two JSON documents if they say the same, else the
// second: AWS gives them back written otherwise.
func sameDocument(asked, there string) string {
	var a, b any
	if json.Unmarshal([]byte(asked), &a) == nil && json.Unmarshal([]byte(there), &b) == nil && fmt.Sprint(a) == fmt.Sprint(b) {
		return asked
	}
	return there
}
