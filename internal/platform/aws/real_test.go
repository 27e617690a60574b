package aws_test

import (
	"bytes"
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"github.com/gitopsd/gitopsd/infra/check"
	"github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/fault"
	aws "github.com/gitopsd/gitopsd/internal/platform/aws"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest/provider"
	model "github.com/gitopsd/gitopsd/internal/tenant"
)

// timed returns how long something took, in whole milliseconds, for the log.
func timed(do func()) time.Duration {
	began := time.Now()
	do()
	return time.Since(began).Round(time.Millisecond)
}

// TestRealLife takes a tenant's stack through its life: it is made, and made again
// without a call to AWS, changed where the program changed, healed where AWS did, and
// gone without a trace.
func TestRealLife(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) *engine{
		"file": func(t *testing.T) *engine { return newEngine(t) }, "s3": onBucket,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			c := tenantConfig("acme")
			s := stackFor(c)
			var out map[string]any
			t.Logf("up: %s", timed(func() { out = e.up(t, s) }))
			if _, err := tenant.ReadOutputs(out); err != nil {
				t.Error(err)
			}
			made := e.provider.Counts()
			var again map[string]any
			t.Logf("nothing changed: %s", timed(func() { again = e.up(t, s) }))
			if now := e.provider.Counts(); !maps.Equal(made, now) || !maps.EqualFunc(out, again, func(a, b any) bool { return a == b }) {
				t.Errorf("without a change: %v, then %v; outputs %v, then %v", made, now, out, again)
			}
			c.Tenant.Compute.Scale.Max = 9
			c.Tenant.Compute.Memory = 1024
			s = stackFor(c)
			t.Logf("preview: %s", timed(func() {
				changes, err := e.Preview(t.Context(), s)
				if want := map[string]int{"update": 2, "replace": 1}; err != nil || !maps.Equal(changes, want) {
					t.Errorf("preview %v, %v, want %v", changes, err, want)
				}
			}))
			if now := e.provider.Counts(); !maps.Equal(made, now) {
				t.Errorf("a preview changed something: %v, then %v", made, now)
			}
			before := len(e.provider.Journal())
			t.Logf("update: %s", timed(func() { e.up(t, s) }))
			if did := e.did(before); !slices.Equal(did, []string{
				"create aws:ecs/taskDefinition:TaskDefinition", "delete aws:ecs/taskDefinition:TaskDefinition",
				"update aws:appautoscaling/target:Target", "update aws:ecs/service:Service",
			}) {
				t.Errorf("the update did %q", did)
			}
			e.heals(t, s)
			t.Logf("destroy: %s", timed(func() { e.destroy(t, s) }))
			e.leaves(t, s)
			e.destroy(t, s) // twice is no error
		})
	}
}

func (e *engine) up(t *testing.T, s aws.Stack) map[string]any {
	t.Helper()
	out, err := e.Up(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (e *engine) destroy(t *testing.T, s aws.Stack) {
	t.Helper()
	if err := e.Destroy(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

// did returns what was changed since the journal had so many entries, in order of name.
func (e *engine) did(since int) []string {
	var out []string
	for _, event := range e.provider.Journal()[since:] {
		if event.Op != provider.Read && event.Op != provider.Vanished {
			out = append(out, string(event.Op)+" "+event.Token)
		}
	}
	slices.Sort(out)
	return out
}

// heals: what somebody changed, and what somebody deleted, is found and set right.
func (e *engine) heals(t *testing.T, s aws.Stack) {
	t.Helper()
	const target, policy = "aws:appautoscaling/target:Target", "aws:s3/bucketPolicy:BucketPolicy"
	live := e.provider.Live()
	if err := e.provider.Alter(target, live[target][0].ID, func(p provider.Properties) { p["maxCapacity"] = 99.0 }); err != nil {
		t.Fatal(err)
	}
	if err := e.provider.Vanish(policy, live[policy][0].ID); err != nil {
		t.Fatal(err)
	}
	t.Logf("drift: %s", timed(func() {
		changes, err := e.Drift(t.Context(), s)
		if want := map[string]int{"update": 1, "create": 1}; err != nil || !maps.Equal(changes, want) {
			t.Errorf("drift %v, %v, want %v", changes, err, want)
		}
	}))
	before := len(e.provider.Journal())
	if err := e.Heal(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	e.up(t, s)
	if did := e.did(before); !slices.Equal(did, []string{"create " + policy, "update " + target}) {
		t.Errorf("healing did %q", did)
	}
	if changes, err := e.Drift(t.Context(), s); err != nil || len(changes) > 0 {
		t.Errorf("drift after healing: %v, %v", changes, err)
	}
}

// leaves: of a stack that was destroyed nothing is left, here or there.
func (e *engine) leaves(t *testing.T, s aws.Stack) {
	t.Helper()
	if live := e.provider.Live(); len(live) > 0 {
		t.Errorf("left in AWS: %v", live)
	}
	for _, dir := range []string{"stacks", "locks"} {
		names, err := e.config.Files.List(context.Background(), ".pulumi/"+dir+"/"+s.Project)
		for _, name := range names {
			if err != nil || strings.HasSuffix(name, s.Name+".json") {
				t.Errorf("left in the backend: %q, %v", name, err)
			}
		}
	}
	if twice := e.provider.Duplicates(); len(twice) > 0 {
		t.Errorf("made twice: %q", twice)
	}
}

// onBucket returns an engine whose state is in a bucket, as in a cell.
func onBucket(t *testing.T) *engine {
	t.Helper()
	moto := awstest.StartMoto(t)
	server := awstest.New(t, moto)
	api := s3.NewFromConfig(server.Config(), func(o *s3.Options) { o.UsePathStyle = true })
	_, err := api.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: awssdk.String("state"), CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: awstest.Region},
	})
	if err != nil {
		t.Fatal(err)
	}
	return newEngine(t, func(c *aws.PulumiConfig, p *provider.Config) {
		c.Backend = "s3://state/pulumi?region=" + awstest.Region + "&s3ForcePathStyle=true&endpoint=" + moto
		c.Env["AWS_ACCESS_KEY_ID"], c.Env["AWS_SECRET_ACCESS_KEY"] = "AKIDTEST", "test"
		p.AWS = server.Config()
	})
}

// TestRealProtection: a tenant's data are not destroyed until it was withdrawn.
func TestRealProtection(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	c := tenantConfig("acme", func(c *tenant.Config) {
		c.Edge = tenant.EdgeDedicated
		c.Tenant.Isolation = model.Isolation{Compute: model.Dedicated, Database: model.Dedicated, Cache: model.Dedicated}
	})
	out, err := tenant.ReadOutputs(e.up(t, stackFor(c)))
	if err != nil || out.DatabaseSecret == "" || out.CacheEndpoint == "" || out.DatabaseEndpoint == "" {
		t.Fatalf("%+v, %v", out, err)
	}
	made := e.provider.Counts()
	if err := e.Destroy(t.Context(), stackFor(c)); err == nil || !strings.Contains(err.Error(), "protect") {
		t.Errorf("destroyed what is protected: %v", err)
	}
	if now := e.provider.Counts(); !maps.Equal(made, now) {
		t.Errorf("a destroy that is refused did something: %v", now)
	}
	e.secret(t, originSecret)
	c.Withdrawn = true
	e.up(t, stackFor(c))
	e.destroy(t, stackFor(c))
	e.leaves(t, stackFor(c))
}

// secret: a value is nowhere in the backend in the clear.
func (e *engine) secret(t *testing.T, value string) {
	t.Helper()
	looked := 0
	err := filepath.WalkDir(e.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		looked++
		if bytes.Contains(b, []byte(value)) {
			t.Errorf("%s shows a secret", path)
		}
		return err
	})
	if err != nil || looked == 0 {
		t.Errorf("looked at %d files: %v", looked, err)
	}
}

// TestRealFailure: what fails in the middle is said, and the next run goes on from
// there.
func TestRealFailure(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	s := stackFor(tenantConfig("acme"))
	e.provider.Fail(provider.Fault{
		Op: provider.Create, Token: "aws:ecs/service:Service", Moment: provider.Before, Times: 1,
		Message: "operation error ECS: CreateService, https response error StatusCode: 400, ServiceQuotaExceededException: too many services",
	})
	_, err := e.Up(t.Context(), s)
	if !fault.Is(err, fault.Stalled) || !strings.Contains(err.Error(), "too many services") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %v", fault.KindOf(err), err)
	}
	e.up(t, s)
	e.destroy(t, s)
	e.leaves(t, s)
}

// TestRealTypes holds what the engine asks the provider for, all values known,
// against the provider's own types.
func TestRealTypes(t *testing.T) {
	t.Parallel()
	dir, err := check.TypesDir()
	switch {
	case err != nil && check.Required():
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
	e := newEngine(t)
	cell := cellConfig()
	e.up(t, cellStack(cell))
	e.up(t, stackFor(tenantConfig("acme", func(c *tenant.Config) {
		c.Edge = tenant.EdgeDedicated
		c.Tenant.Isolation = model.Isolation{Compute: model.Dedicated, Database: model.Dedicated, Cache: model.Dedicated}
	})))
	e.up(t, stackFor(tenantConfig("shared")))
	var all []check.Resource
	for token, list := range e.provider.Live() {
		for _, r := range list {
			all = append(all, check.Resource{Token: token, Name: r.ID, Inputs: resource.NewPropertyMapFromMap(r.Inputs)})
		}
	}
	found, err := check.Types(t.Context(), dir, all)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range found {
		t.Error(line)
	}
	t.Logf("%d resources type-checked", len(all))
}
