package awstest

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// Rate is a token bucket: so many calls a second, and at most so many at once.
type Rate struct{ PerSecond, Burst float64 }

// Limit is a rate that some calls share, named as Calls names them; a name that
// ends in ".*" is all other calls of a service.
type Limit struct {
	Calls string // separated by spaces
	Rate
	Source string // where it is documented, or that it is assumed
}

const assumed = "assumed: AWS documents none"

// AWSLimits are what AWS lets an account call in a region, as far as it says so.
func AWSLimits() []Limit {
	const (
		ecs     = "Amazon ECS API Reference, Request throttling"
		acm     = "ACM User Guide, Quotas, API rate quotas"
		secrets = "Secrets Manager User Guide, Quotas"
		logs    = "CloudWatch Logs User Guide, CloudWatch Logs quotas"
	)
	return []Limit{
		{"ecs.DescribeClusters ecs.DescribeCapacityProviders", Rate{20, 50}, ecs},
		{"ecs.CreateCluster ecs.DeleteCluster ecs.PutClusterCapacityProviders", Rate{1, 20}, ecs},
		{"ecs.CreateService ecs.UpdateService ecs.DeleteService", Rate{5, 50}, ecs},
		{"ecs.DescribeServices ecs.ListServices", Rate{20, 100}, ecs},
		{"ecs.RegisterTaskDefinition ecs.DeregisterTaskDefinition ecs.DeleteTaskDefinitions", Rate{1, 20}, ecs},
		{"ecs.DescribeTaskDefinition ecs.ListTaskDefinitions", Rate{20, 50}, ecs},
		{"ecs.DescribeTasks ecs.ListTasks", Rate{20, 100}, ecs},
		{"ecs.StopTask", Rate{40, 100}, ecs},
		{"ecs.TagResource ecs.UntagResource ecs.ListTagsForResource", Rate{10, 20}, ecs},
		{"acm.RequestCertificate acm.AddTagsToCertificate acm.RemoveTagsFromCertificate", Rate{5, 5}, acm},
		{"acm.DescribeCertificate acm.DeleteCertificate acm.ListTagsForCertificate", Rate{10, 10}, acm},
		{"acm.ListCertificates", Rate{8, 8}, acm},
		{"servicediscovery.DiscoverInstances", Rate{1000, 2000}, "AWS Cloud Map Developer Guide, API request throttling quota"},
		{"servicediscovery.*", Rate{10, 20}, assumed},
		{"application-autoscaling.*", Rate{10, 20}, assumed},
		{"secretsmanager.GetSecretValue secretsmanager.DescribeSecret", Rate{10_000, 10_000}, secrets},
		{"secretsmanager.CreateSecret secretsmanager.PutSecretValue secretsmanager.UpdateSecretVersionStage secretsmanager.DeleteSecret secretsmanager.TagResource", Rate{50, 50}, secrets},
		{"logs.CreateLogGroup", Rate{10, 10}, logs},
		{"logs.DeleteLogGroup", Rate{10, 10}, logs},
		{"logs.DescribeLogGroups", Rate{10, 10}, logs},
		{"logs.FilterLogEvents", Rate{5, 5}, logs},
		{"logs.*", Rate{5, 10}, logs},
		{"route53.*", Rate{5, 5}, "Route 53 Developer Guide, Quotas: five requests a second an account"},
		{"cloudfront.*", Rate{10, 20}, assumed},
		{"cloudfront-keyvaluestore.GetKey cloudfront-keyvaluestore.ListKeys cloudfront-keyvaluestore.DescribeKeyValueStore", Rate{20, 40}, assumed},
		{"cloudfront-keyvaluestore.*", Rate{5, 10}, assumed},
		{"elasticache.*", Rate{10, 20}, assumed},
		{"elasticfilesystem.*", Rate{10, 20}, assumed},
		{"iam.*", Rate{15, 30}, assumed},
		{"s3.PUT s3.DELETE s3.POST", Rate{3500, 3500}, "S3 User Guide, performance guidelines: a prefix"},
		{"s3.GET s3.HEAD", Rate{5500, 5500}, "S3 User Guide, performance guidelines: a prefix"},
	}
}

// Latency is how long calls take.
type Latency struct {
	Calls string // as in Limit
	Took  time.Duration
}

// AWSLatencies are what calls to AWS take from within the region: assumed, from
// what such calls take as a rule; AWS promises nothing.
func AWSLatencies() []Latency {
	const ms = time.Millisecond
	return []Latency{
		{"ecs.CreateService ecs.UpdateService ecs.DeleteService", 300 * ms},
		{"ecs.RegisterTaskDefinition", 150 * ms},
		{"ecs.*", 50 * ms},
		{"cloudfront.CreateDistributionWithTags cloudfront.UpdateDistribution cloudfront.CreateDistributionTenant cloudfront.UpdateDistributionTenant", 1000 * ms},
		{"cloudfront.*", 150 * ms},
		{"cloudfront-keyvaluestore.GetKey cloudfront-keyvaluestore.DescribeKeyValueStore", 50 * ms},
		{"cloudfront-keyvaluestore.*", 200 * ms},
		{"acm.*", 150 * ms},
		{"elasticache.*", 200 * ms},
		{"elasticfilesystem.*", 150 * ms},
		{"iam.*", 100 * ms},
		{"route53.*", 150 * ms},
		{"secretsmanager.*", 60 * ms},
		{"servicediscovery.*", 80 * ms},
		{"application-autoscaling.*", 80 * ms},
		{"logs.*", 50 * ms},
		{"s3.GET s3.HEAD", 20 * ms},
		{"s3.*", 40 * ms},
	}
}

// pace is what slows the calls of a server down.
type pace struct {
	mu        sync.Mutex
	buckets   map[string]*bucket // by call
	latencies map[string]time.Duration
	faster    float64 // how many times as fast as on AWS all goes
}

// bucket is a rate's tokens.
type bucket struct {
	Rate
	tokens float64
	at     time.Time
}

// Limit has calls refused that are more than the limits allow. Time goes by so
// many times as fast as it does.
func (s *Server) Limit(limits []Limit, faster float64) {
	p := &s.pace
	p.mu.Lock()
	defer p.mu.Unlock()
	p.buckets, p.faster = make(map[string]*bucket), faster
	for _, l := range limits {
		b := &bucket{Rate: l.Rate, tokens: l.Burst, at: time.Now()}
		for _, name := range strings.Fields(l.Calls) {
			p.buckets[name] = b
		}
	}
}

// Slow has calls take their time, which goes by so many times as fast as it does.
func (s *Server) Slow(latencies []Latency, faster float64) {
	p := &s.pace
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latencies = make(map[string]time.Duration)
	for _, l := range latencies {
		for _, name := range strings.Fields(l.Calls) {
			p.latencies[name] = time.Duration(float64(l.Took) / faster)
		}
	}
}

func lookUp[V any](m map[string]V, call string) (v V, ok bool) {
	if v, ok = m[call]; ok {
		return v, true
	}
	service, _, _ := strings.Cut(call, ".")
	v, ok = m[service+".*"]
	return v, ok
}

// admit reports whether a call is within its limit, and how long it takes.
func (p *pace) admit(call string) (took time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, limited := lookUp(p.buckets, call); limited {
		now := time.Now()
		b.tokens = math.Min(b.Burst, b.tokens+now.Sub(b.at).Seconds()*b.PerSecond*p.faster)
		b.at = now
		if b.tokens < 1 {
			return 0, false
		}
		b.tokens--
	}
	took, _ = lookUp(p.latencies, call)
	return took, true
}

// Bound is how long calls take at the least, by a limit.
type Bound struct {
	Limit
	Number int
	Least  time.Duration
}

// Bounds returns how long calls take on AWS, by each of its limits alone, the
// longest first.
func Bounds(uses map[string]Use) []Bound {
	limits := AWSLimits()
	of := make(map[string]int)
	for i, l := range limits {
		for _, name := range strings.Fields(l.Calls) {
			of[name] = i
		}
	}
	bounds := make([]Bound, len(limits))
	for i, l := range limits {
		bounds[i].Limit = l
	}
	for name, u := range uses {
		if i, ok := lookUp(of, name); ok {
			bounds[i].Number += u.Calls
		}
	}
	for i := range bounds {
		b := &bounds[i]
		b.Least = time.Duration(math.Max(0, float64(b.Number)-b.Burst) / b.PerSecond * float64(time.Second))
	}
	slices.SortStableFunc(bounds, func(a, b Bound) int { return cmp.Compare(b.Least, a.Least) })
	return bounds
}

// Use is how much of one call there was.
type Use struct {
	Calls     int // that were answered
	Throttled int // that were refused for being too many
	Most      int // at the same time
	now       int
}
