package aws_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
	aws "github.com/gitopsd/gitopsd/internal/platform/aws"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest/direct"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest/provider"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// The fleet of TestAThousandTenants.
const (
	cached     = 98  // tenants with a cache: a user group takes no more, see Cache
	stored     = 100 // tenants with a database of Postgres': 7.5 MB each
	updated    = 100 // tenants whose size changes
	together   = 40  // tenants that are worked on at the same time
	mostTries  = 40  // of one step
	firstPause = time.Second
	mostPause  = time.Minute
)

// fleet is many tenants in one cell, on an AWS that has its rates, its latencies
// and its quotas, in a time that goes by faster.
type fleet struct {
	cell    *awstest.Cell
	driver  *aws.Driver
	faster  float64
	names   []string
	retries atomic.Int64
}

// newFleet plays the cell. Tasks are on record only: a thousand processes would
// measure this machine.
func newFleet(t *testing.T, tenants int, faster float64) *fleet {
	t.Helper()
	sooner := func(d time.Duration) time.Duration { return max(time.Duration(float64(d)/faster), time.Millisecond) }
	c := awstest.NewCell(t, awstest.WithoutProcesses())
	// Assumed, but for the quarter of an hour that CloudFront's guide tells of a distribution.
	c.ECS.Delays = awstest.ECSDelays{Visible: sooner(500 * time.Millisecond), Place: sooner(15 * time.Second), Restart: sooner(10 * time.Second), Health: sooner(10 * time.Second)}
	c.CloudMap.Delay = sooner(5 * time.Second)
	c.CloudFront.Delays = awstest.CloudFrontDelays{Deploy: sooner(15 * time.Minute), Tenant: sooner(time.Minute), Invalidate: sooner(time.Minute), Store: sooner(time.Minute)}
	c.Cache.Slow = sooner(time.Minute)
	c.AutoScaling.LookEvery(max(sooner(time.Minute), 100*time.Millisecond))
	c.Limit(awstest.AWSLimits(), faster)
	c.Slow(awstest.AWSLatencies(), faster)

	config := c.AWS()
	config.Retryer = func() awssdk.Retryer { // the SDK's own, in the time that goes by here
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.Backoff = scaled{retry.NewExponentialJitterBackoff(o.MaxBackoff), faster}
		})
	}
	p := provider.Start(t, provider.Config{AWS: config, Account: awstest.Account, Region: awstest.Region, Poll: sooner(10 * time.Second), Services: []string{
		"s3", "iam", "efs", "cloudwatch", "ecs", "appautoscaling", "servicediscovery", "route53", "acm", "cloudfront",
	}})
	d, err := aws.Open(t.Context(), aws.Config{
		Cell: c.Outputs(), OriginSecret: awstest.OriginSecret, AWS: config, Stacks: direct.New(p), Volumes: c.Volumes(),
		Master: c.Master(), Keys: c.Keys(), Logger: slog.New(slog.DiscardHandler),
		Timing: aws.Timing{Poll: sooner(5 * time.Second), Start: time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	f := &fleet{cell: c, driver: d, faster: faster}
	for n := range tenants {
		f.names = append(f.names, fmt.Sprintf("app-%04d", n))
	}
	return f
}

// scaled is a backoff in a time that goes by faster.
type scaled struct {
	retry  *retry.ExponentialJitterBackoff
	faster float64
}

func (s scaled) BackoffDelay(attempt int, err error) (time.Duration, error) {
	d, err := s.retry.BackoffDelay(attempt, err)
	return time.Duration(float64(d) / s.faster), err
}

func (f *fleet) config(n int, memory int) platform.Config {
	t := &tenant.Tenant{Name: f.names[n], Compute: tenant.Compute{CPU: 256, Memory: memory, Scale: tenant.Scale{Min: 1, Max: 2, TargetCPU: 60}}}
	t.Database = tenant.Database{Enabled: n < stored, Connections: 5}
	t.Cache = tenant.Cache{Enabled: n < cached}
	return platform.Assemble(t, awstest.Domain)
}

// step does one step until it is done, as the pipeline does: what may pass is
// tried again, later and later.
func (f *fleet) step(ctx context.Context, what string, do func(context.Context) error) error {
	pause := firstPause
	for try := 1; ; try++ {
		err := do(ctx)
		if err == nil {
			return nil
		}
		if try == mostTries || !fault.Is(err, fault.Transient) && !fault.Is(err, fault.Conflict) {
			return fmt.Errorf("%s, try %d: %w", what, try, err)
		}
		f.retries.Add(1)
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(time.Duration(float64(pause) * (0.5 + rand.Float64()/2) / f.faster)):
		}
		pause = min(2*pause, mostPause)
	}
}

// all does something to many tenants, some at a time, and returns how long it took.
func (f *fleet) all(t *testing.T, what string, tenants []int, do func(ctx context.Context, n int) error) time.Duration {
	t.Helper()
	begin := time.Now()
	next, failed := make(chan int), atomic.Int64{}
	var group sync.WaitGroup
	for range together {
		group.Go(func() {
			for n := range next {
				if err := do(t.Context(), n); err != nil {
					if failed.Add(1) <= 10 {
						t.Errorf("%s %s: %v", what, f.names[n], err)
					}
				}
			}
		})
	}
	for i, n := range tenants {
		if i > 0 && i%100 == 0 {
			t.Logf("%s: %d of %d after %s", what, i, len(tenants), time.Since(begin).Round(time.Second))
		}
		next <- n
	}
	close(next)
	group.Wait()
	if n := failed.Load(); n > 0 {
		t.Fatalf("%s: %d of %d failed", what, n, len(tenants))
	}
	return time.Since(begin)
}

func (f *fleet) provision(memory int) func(context.Context, int) error {
	return func(ctx context.Context, n int) error {
		c := f.config(n, memory)
		return errors.Join(
			f.step(ctx, "infrastructure", func(ctx context.Context) error { return f.driver.EnsureInfrastructure(ctx, c) }),
			f.step(ctx, "database", func(ctx context.Context) error { return f.driver.EnsureDatabase(ctx, c) }),
			f.step(ctx, "cache user", func(ctx context.Context) error { return f.driver.EnsureCacheUser(ctx, c) }),
		)
	}
}

func (f *fleet) deprovision(ctx context.Context, n int) error {
	for _, s := range []struct {
		what string
		do   func(context.Context, string) error
	}{
		{"remove the route", f.driver.RemoveRoute},
		{"drain", f.driver.Drain},
		{"destroy", f.driver.DestroyInfrastructure},
		{"drop the cache user", f.driver.DropCacheUser},
		{"drop the database", f.driver.DropDatabase},
		{"remove the releases", f.driver.RemoveReleases},
	} {
		if err := f.step(ctx, s.what, func(ctx context.Context) error { return s.do(ctx, f.names[n]) }); err != nil {
			return err
		}
	}
	return nil
}

// report logs what a phase took, its calls of each service, and which of AWS's
// rates bound it most: with nothing else in the way, it takes so long.
func (f *fleet) report(t *testing.T, phase string, tenants int, took time.Duration) {
	t.Helper()
	uses := f.cell.Uses()
	f.cell.Forget()
	var all awstest.Use
	services := make(map[string]awstest.Use)
	for name, u := range uses {
		service, _, _ := strings.Cut(name, ".")
		s := services[service]
		s.Calls, s.Throttled, s.Most = s.Calls+u.Calls, s.Throttled+u.Throttled, max(s.Most, u.Most)
		services[service] = s
		all.Calls, all.Throttled = all.Calls+u.Calls, all.Throttled+u.Throttled
	}
	t.Logf("%s: %d tenants in %s; %d calls (%.1f a tenant), %d of them throttled before; %d steps tried again",
		phase, tenants, took.Round(100*time.Millisecond), all.Calls, float64(all.Calls)/float64(tenants), all.Throttled, f.retries.Swap(0))
	for _, name := range slices.Sorted(maps.Keys(services)) {
		if s := services[name]; s.Calls > 0 {
			t.Logf("  %-26s %7d calls, %6d throttled, at most %3d of a kind at a time", name, s.Calls, s.Throttled, s.Most)
		}
	}
	names := slices.SortedFunc(maps.Keys(uses), func(a, b string) int { return uses[b].Throttled - uses[a].Throttled })
	for _, name := range names[:min(len(names), 5)] {
		if u := uses[name]; u.Throttled > 0 {
			t.Logf("  throttled most: %s, %d of %d", name, u.Throttled, u.Calls+u.Throttled)
		}
	}
	for _, b := range awstest.Bounds(uses)[:3] {
		t.Logf("  AWS's rate of %s (%g a second: %s): %d calls take %s", b.Calls, b.PerSecond, b.Source, b.Number, b.Least.Round(time.Second))
	}
}

// TestAThousandTenants makes, changes and removes many tenants by the driver:
// within AWS's rates and quotas, and leaving nothing behind.
func TestAThousandTenants(t *testing.T) {
	tenants, _ := strconv.Atoi(os.Getenv("GITOPSD_BENCH_TENANTS"))
	if tenants == 0 {
		if os.Getenv("GITOPSD_TEST_AWS") == "" {
			t.Skip("make bench-aws runs it with a thousand tenants")
		}
		tenants = 12 // the same way, in some seconds
	}
	faster, _ := strconv.ParseFloat(os.Getenv("GITOPSD_BENCH_FASTER"), 64)
	if faster == 0 {
		faster = 20
	}
	t.Logf("%d tenants; time goes by %g times as fast as it does", tenants, faster)
	f := newFleet(t, tenants, faster)
	every := make([]int, tenants)
	for n := range every {
		every[n] = n
	}
	f.report(t, "made", tenants, f.all(t, "make", every, f.provision(512)))
	some := every[:min(updated, tenants)]
	f.report(t, "changed", len(some), f.all(t, "change", some, f.provision(1024)))
	if rest := every[len(some):]; len(rest) > 0 {
		f.report(t, "asked again for what is there", len(rest), f.all(t, "ask again for", rest, f.provision(512)))
	}
	f.report(t, "removed", tenants, f.all(t, "remove", every, f.deprovision))
	for _, n := range []int{0, tenants / 3, tenants - 1} {
		left, err := f.cell.Left(t.Context(), f.names[n])
		if err != nil || len(left) > 0 {
			t.Errorf("left of %s: %v, %v", f.names[n], left, err)
		}
	}
}
