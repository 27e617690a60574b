package aws_test

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gitopsd/gitopsd/infra/platform"
	"github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/fault"
	aws "github.com/gitopsd/gitopsd/internal/platform/aws"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest/provider"
)

// onCell returns a played cell, and an engine whose provider makes things there and
// finds them again as it would on AWS.
func onCell(t *testing.T) (*awstest.Cell, *engine) {
	t.Helper()
	realCLI(t)
	cell := awstest.NewCell(t, awstest.WithoutProcesses())
	return cell, newEngine(t, func(c *aws.PulumiConfig, p *provider.Config) {
		c.Adopter = aws.NewAdopter(aws.AdopterConfig{AWS: cell.AWS(), Account: awstest.Account})
		c.Logger = testLogger(t)
		p.AWS = cell.AWS()
		p.Services = []string{"s3", "iam", "cloudwatch", "efs", "ecs", "appautoscaling", "servicediscovery", "route53", "cloudfront", "acm"}
	})
}

// of returns a tenant of the cell.
func of(cell *awstest.Cell, name string, change ...func(*tenant.Config)) tenant.Config {
	return tenantConfig(name, append([]func(*tenant.Config){func(c *tenant.Config) {
		c.Shared = platform.SharedOf(cell.Outputs(), awstest.OriginSecret)
		c.Secrets = nil
	}}, change...)...)
}

func certificateStack(c tenant.Config) aws.Stack {
	return aws.Stack{
		Project: tenant.CertificateProject, Name: tenant.StackName(c.Tenant.Tenant), Program: tenant.CertificateProgram(c), Settings: c.Settings(),
	}
}

// left: nothing of the tenant is left in AWS, but for its directory on the volume,
// which no stack has made.
func left(t *testing.T, cell *awstest.Cell, name string) {
	t.Helper()
	found, err := cell.Left(t.Context(), name)
	found = slices.DeleteFunc(found, func(what string) bool { return what == filepath.Join(cell.Volumes(), name) })
	if err != nil || len(found) > 0 {
		t.Errorf("left of %s: %q, %v", name, found, err)
	}
}

// TestRealOnAWS: what a stack makes is there, what somebody changes there is found and
// set right, and what is destroyed is gone.
func TestRealOnAWS(t *testing.T) {
	t.Parallel()
	cell, e := onCell(t)
	for _, edge := range []tenant.Edge{tenant.EdgeTenant, tenant.EdgeDedicated} {
		c := of(cell, "acme-"+string(edge), func(c *tenant.Config) { c.Edge = edge })
		s := stackFor(c)
		out, err := tenant.ReadOutputs(e.up(t, s))
		if err != nil {
			t.Fatal(err)
		}
		made := e.provider.Counts()
		e.up(t, s)
		if now := e.provider.Counts(); !maps.Equal(made, now) {
			t.Errorf("without a change: %v, then %v", made, now)
		}
		if changes, err := e.Drift(t.Context(), s); err != nil || len(changes) > 0 {
			t.Errorf("drift of what nobody touched: %v, %v", changes, err)
		}
		tamper(t, cell, c, out)
		if changes, err := e.Drift(t.Context(), s); err != nil || !maps.Equal(changes, map[string]int{"update": 1, "create": 1}) {
			t.Errorf("drift: %v, %v", changes, err)
		}
		if err := e.Heal(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		e.up(t, s)
		if changes, err := e.Drift(t.Context(), s); err != nil || len(changes) > 0 {
			t.Errorf("drift after healing: %v, %v", changes, err)
		}
		if edge == tenant.EdgeDedicated { // an own distribution is withdrawn first, and that takes its time
			c.Withdrawn = true
			e.up(t, stackFor(c))
		}
		e.destroy(t, stackFor(c))
		left(t, cell, c.Tenant.Tenant)
	}
	if live := e.provider.Live(); len(live) > 0 {
		t.Errorf("left in the registry: %v", live)
	}
}

// tamper changes a bucket's tags, and takes a role's permissions away.
func tamper(t *testing.T, cell *awstest.Cell, c tenant.Config, out tenant.Outputs) {
	t.Helper()
	buckets := s3.NewFromConfig(cell.AWS(), func(o *s3.Options) { o.UsePathStyle = true })
	_, err := buckets.PutBucketTagging(t.Context(), &s3.PutBucketTaggingInput{Bucket: &out.Bucket, Tagging: &s3types.Tagging{
		TagSet: []s3types.Tag{{Key: awssdk.String(tenant.TagTenant), Value: awssdk.String("somebody-else")}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	roles := iam.NewFromConfig(cell.AWS())
	policies, err := roles.ListRolePolicies(t.Context(), &iam.ListRolePoliciesInput{RoleName: awssdk.String(c.RoleName())})
	if err != nil || len(policies.PolicyNames) != 1 {
		t.Fatalf("policies %v, %v", policies, err)
	}
	_, err = roles.DeleteRolePolicy(t.Context(), &iam.DeleteRolePolicyInput{RoleName: awssdk.String(c.RoleName()), PolicyName: &policies.PolicyNames[0]})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRealAdoption: killed after AWS has made what it was asked for, and before
// anybody was told, the next run finds it again and takes it over.
func TestRealAdoption(t *testing.T) {
	t.Parallel()
	cell, e := onCell(t)
	dedicated := func(c *tenant.Config) { c.Edge = tenant.EdgeDedicated }
	for _, kill := range []struct {
		name        string
		tokens      []string // made at once
		change      func(*tenant.Config)
		certificate bool
	}{
		{name: "first", tokens: []string{
			"aws:s3/bucket:Bucket", "aws:iam/role:Role", "aws:cloudwatch/logGroup:LogGroup", "aws:efs/accessPoint:AccessPoint",
			"aws:servicediscovery/service:Service", "aws:route53/record:Record",
		}},
		{name: "second", tokens: []string{
			"aws:ecs/taskDefinition:TaskDefinition", "aws:cloudfront/distributionTenant:DistributionTenant", "aws:s3/bucketPolicy:BucketPolicy",
			"aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration", "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
		}},
		{name: "third", tokens: []string{"aws:ecs/service:Service"}},
		{name: "fourth", tokens: []string{"aws:appautoscaling/target:Target"}},
		{name: "last", tokens: []string{"aws:appautoscaling/policy:Policy"}},
		{name: "distribution", tokens: []string{"aws:cloudfront/distribution:Distribution"}, change: dedicated},
		{name: "certificate", tokens: []string{"aws:acm/certificate:Certificate"}, certificate: true},
	} {
		t.Run(kill.name, func(t *testing.T) {
			c := of(cell, "acme", func(c *tenant.Config) {
				if kill.change != nil {
					kill.change(c)
				}
			})
			s := stackFor(c)
			if kill.certificate {
				s = certificateStack(c)
			}
			e.killedAfter(t, s, kill.tokens)
			if changes, err := e.Preview(t.Context(), s); err != nil || len(changes) > 0 {
				t.Errorf("still to be done: %v, %v", changes, err)
			}
			if c.Edge == tenant.EdgeDedicated {
				c.Withdrawn = true
				s = stackFor(c)
				e.up(t, s)
			}
			e.destroy(t, s)
			left(t, cell, "acme")
		})
	}
}

// killedAfter makes a stack, with a kill when AWS has made the tokens. Nothing is made
// twice.
func (e *engine) killedAfter(t *testing.T, s aws.Stack, tokens []string) {
	t.Helper()
	before := len(e.provider.Journal())
	done := make(chan error, 1)
	var holds []*provider.Hold
	for _, token := range tokens {
		holds = append(holds, e.provider.Hold(provider.Create, token, provider.After))
	}
	go func() { _, err := e.Up(context.WithoutCancel(t.Context()), s); done <- err }()
	for i, h := range holds {
		select {
		case <-h.Reached:
		case err := <-done:
			t.Fatalf("over before %s was made: %v", tokens[i], err)
		}
	}
	e.kill(t, s)
	if err := <-done; !fault.Is(err, fault.Transient) {
		t.Errorf("killed: %s: %v", fault.KindOf(err), err)
	}
	for _, h := range holds {
		h.Release()
	}
	e.provider.Quiet()
	e.up(t, s)
	made := make(map[string]int)
	for _, event := range e.provider.Journal()[before:] {
		if event.Op == provider.Create {
			made[event.URN]++
		}
	}
	for urn, n := range made {
		if n != 1 {
			t.Errorf("%s was made %d times", urn, n)
		}
	}
}

// TestRealAdoptionOfOthers: what has the name and is somebody else's is not taken over.
func TestRealAdoptionOfOthers(t *testing.T) {
	t.Parallel()
	cell, e := onCell(t)
	c := of(cell, "acme")
	h := e.provider.Hold(provider.Create, "aws:cloudwatch/logGroup:LogGroup", provider.Before)
	done := make(chan error, 1)
	go func() { _, err := e.Up(context.WithoutCancel(t.Context()), stackFor(c)); done <- err }()
	<-h.Reached
	e.kill(t, stackFor(c))
	if err := <-done; err == nil {
		t.Error("a Pulumi that was killed came to an end")
	}
	h.Release()
	e.provider.Quiet()
	away := cell.Obstructions()["log group"](t, "acme")
	if _, err := e.Up(t.Context(), stackFor(c)); !fault.Is(err, fault.Conflict) {
		t.Errorf("took over another's log group: %s: %v", fault.KindOf(err), err)
	}
	away()
	e.up(t, stackFor(c))
	e.destroy(t, stackFor(c))
	left(t, cell, "acme")
}
