package aws_test

import (
	"context"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"

	infra "github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
	aws "github.com/gitopsd/gitopsd/internal/platform/aws"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// What a tenant waits for, or is looked after for: domains that their owner has to
// prove, what others change, a distribution that takes its time.
func TestDriverWaits(t *testing.T) {
	w := newWorld(t)
	t.Run("for a domain to be proven", w.domain)
	t.Run("for what others changed", w.drift)
	t.Run("for its own distribution", w.ownDistribution)
}

func (w *world) config(name string, change ...func(*tenant.Tenant)) platform.Config {
	t := &tenant.Tenant{
		Name: name, Compute: tenant.Compute{CPU: 256, Memory: 256, Scale: tenant.Scale{Min: 1, Max: 2, TargetCPU: 60}},
		Isolation: tenant.Isolation{Compute: tenant.Shared, Database: tenant.Shared, Cache: tenant.Shared},
	}
	for _, f := range change {
		f(t)
	}
	return platform.Assemble(t, awstest.Domain)
}

// supervised runs the driver's supervision until done, which must come about.
func supervised(t *testing.T, d *aws.Driver, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- d.Supervise(ctx) }()
	deadline := time.Now().Add(90 * time.Second)
	for !done() && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
	}
	if !done() {
		t.Errorf("not in time: %s", what)
	}
	cancel()
	if err := <-over; err != nil {
		t.Errorf("supervise: %v", err)
	}
}

func (w *world) domain(t *testing.T) {
	d := w.open(t)
	c := w.config("shop", func(t *tenant.Tenant) { t.Domains = []string{"shop.example"} })
	if err := d.EnsureInfrastructure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	state := func() platform.Domain {
		t.Helper()
		told, err := d.Condition(t.Context(), "shop")
		if err != nil || len(told.Domains) != 2 || told.Domains[0].State != platform.DomainServed {
			t.Fatalf("condition: %+v, %v", told, err)
		}
		return told.Domains[1]
	}
	one := state()
	if one.State != platform.DomainPending || len(one.Records) != 2 || one.Records[0].Value == "" || !strings.HasPrefix(one.Records[1].Name, "_") {
		t.Fatalf("before it is proven: %+v", one)
	}
	w.AddCNAME(one.Records[1].Name, one.Records[1].Value)
	supervised(t, d, "the domain is served", func() bool { return state().State == platform.DomainServed })
	if one := state(); len(one.Records) != 1 {
		t.Errorf("once it is served: %+v", one)
	}
	w.destroy(t, d, "shop")
}

// destroy takes a tenant away, as a run does, as often as it is told to wait.
func (w *world) destroy(t *testing.T, d *aws.Driver, name string) (waits int) {
	t.Helper()
	for {
		err := d.DestroyInfrastructure(t.Context(), name)
		if err == nil {
			break
		}
		if !fault.Is(err, fault.Transient) || !fault.After(err).After(time.Now()) || waits == 500 {
			t.Fatalf("destroy %s: %v", name, err)
		}
		waits++
		time.Sleep(20 * time.Millisecond)
	}
	if err := d.RemoveReleases(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	left, err := d.Inventory(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range left {
		if r.Present {
			t.Errorf("left: %s", r)
		}
	}
	return waits
}

func (w *world) drift(t *testing.T) {
	d := w.open(t)
	c := w.config("drifts")
	if err := d.EnsureInfrastructure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	found := func(d *aws.Driver) *platform.Drift {
		told, err := d.Condition(t.Context(), "drifts")
		if err != nil {
			t.Fatal(err)
		}
		return told.Drift
	}
	supervised(t, d, "a look finds nothing", func() bool { return found(d) != nil })
	if is := found(d); is == nil || len(is.Changes) > 0 || is.Failure != "" {
		t.Errorf("where nothing was changed: %+v", is)
	}
	more := &ecs.UpdateServiceInput{ // the autoscaler's doing
		Cluster: awssdk.String(w.Outputs().Shared.ClusterName), Service: awssdk.String(infra.Config{Shared: w.Outputs().Shared, Tenant: c}.ServiceName()),
		DesiredCount: awssdk.Int32(2),
	}
	if _, err := ecs.NewFromConfig(w.AWS()).UpdateService(t.Context(), more); err != nil {
		t.Fatal(err)
	}
	seen := found(d).At
	again := w.open(t, func(c *aws.Config) { c.Drift.Every = time.Millisecond })
	supervised(t, again, "another look", func() bool { return found(again).At.After(seen) })
	if is := found(again); len(is.Changes) > 0 || is.Failure != "" {
		t.Errorf("where there are more tasks by now: %+v", is)
	}
	logs := cloudwatchlogs.NewFromConfig(w.AWS())
	group := infra.Config{Shared: w.Outputs().Shared, Tenant: c}.LogGroupName()
	if _, err := logs.DeleteLogGroup(t.Context(), &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: &group}); err != nil {
		t.Fatal(err)
	}
	often := func(heal bool) func(*aws.Config) {
		return func(c *aws.Config) { c.Drift = aws.DriftConfig{Every: time.Millisecond, Heal: heal} }
	}
	reporting := w.open(t, often(false))
	supervised(t, reporting, "the drift is reported", func() bool { return found(reporting) != nil && len(found(reporting).Changes) > 0 })
	if is := found(reporting); is == nil || is.Healed {
		t.Errorf("what is only to be reported: %+v", is)
	}
	healing := w.open(t, often(true))
	supervised(t, healing, "the drift is healed", func() bool { return found(healing).Healed })
	out, err := logs.DescribeLogGroups(t.Context(), &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: &group})
	if err != nil || len(out.LogGroups) != 1 || awssdk.ToString(out.LogGroups[0].LogGroupName) != group {
		t.Errorf("after it was healed: %+v, %v", out, err)
	}
	w.destroy(t, d, "drifts")
}

func (w *world) ownDistribution(t *testing.T) {
	d := w.open(t)
	c := w.config("alone", func(t *tenant.Tenant) { t.Isolation.Edge = tenant.Dedicated })
	if err := d.EnsureInfrastructure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	inventory, err := d.Inventory(t.Context(), "alone")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range inventory {
		if !r.Present {
			t.Errorf("of a tenant that serves: %s", r)
		}
	}
	w.CloudFront.Delays.Deploy = time.Second
	if waits := w.destroy(t, d, "alone"); waits == 0 {
		t.Error("a distribution went at once")
	}
}
