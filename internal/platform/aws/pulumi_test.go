package aws_test

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"

	"github.com/gitopsd/gitopsd/infra/tenant"
	core "github.com/gitopsd/gitopsd/internal/platform"
	aws "github.com/gitopsd/gitopsd/internal/platform/aws"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest/provider"
	model "github.com/gitopsd/gitopsd/internal/tenant"
)

// realCLI returns the Pulumi CLI that scripts/pulumi builds. Where it is not, the
// test is skipped.
func realCLI(t *testing.T) auto.PulumiCommand {
	t.Helper()
	if os.Getenv("GITOPSD_TEST_AWS") == "" {
		t.Skip("make test-aws runs this test: it needs the Pulumi CLI")
	}
	cli, err := openCLI()
	if err != nil {
		t.Fatalf("the Pulumi CLI is not here, or is of another version: scripts/pulumi builds it: %v", err)
	}
	return cli
}

// openCLI returns the CLI in bin/ of the repository.
func openCLI() (auto.PulumiCommand, error) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		return nil, err
	}
	return auto.NewPulumiCommand(&auto.PulumiCommandOptions{Root: root})
}

// engine is Pulumi with its real CLI, on a provider that is played.
type engine struct {
	*aws.Pulumi
	provider *provider.Provider
	config   aws.PulumiConfig
	dir      string // of the backend, where it is one of files
}

// newEngine returns an engine with a backend of files.
func newEngine(t *testing.T, change ...func(*aws.PulumiConfig, *provider.Config)) *engine {
	t.Helper()
	e := &engine{dir: t.TempDir()}
	c := aws.PulumiConfig{
		Dir: t.TempDir(), Backend: "file://" + e.dir, Secrets: "passphrase", MemoryMiB: 4096,
		Env:    map[string]string{"PULUMI_CONFIG_PASSPHRASE": "a phrase of this test"},
		Settle: time.Millisecond, // a test waits itself, until the provider is quiet
		Dead:   aws.DeadHere(nil), Command: realCLI(t), Logger: slog.New(slog.DiscardHandler),
		Adopter: e.adopt,
	}
	p := provider.Config{Account: awstest.Account, Region: awstest.Region, AWS: awstestConfig}
	for _, f := range change {
		f(&c, &p)
	}
	c.Locks = leases(t)
	if c.Files == nil {
		var err error
		if c.Files, err = aws.OpenFiles(c.Backend, p.AWS); err != nil {
			t.Fatal(err)
		}
	}
	e.provider = provider.Start(t, p)
	maps.Copy(c.Env, e.provider.Env())
	e.config = c
	e.Pulumi = e.another(t)
	return e
}

// another returns one more Pulumi of the same stacks, as a second process has it.
func (e *engine) another(t *testing.T) *aws.Pulumi {
	t.Helper()
	p, err := aws.NewPulumi(e.config)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tenantConfig returns a tenant with everything, sharing everything.
func tenantConfig(name string, change ...func(*tenant.Config)) tenant.Config {
	c := tenant.Config{
		Tenant: core.Config{
			Tenant: name, Labels: map[string]string{"plan": "pro", "owner": "ann & bob"},
			Hosts:     []string{name + ".apps.example"},
			Compute:   model.Compute{CPU: 256, Memory: 512, Scale: model.Scale{Min: 1, Max: 4, TargetCPU: 60}},
			Isolation: model.Isolation{Compute: model.Shared, Database: model.Shared, Cache: model.Shared},
			Database:  model.Database{Enabled: true, Connections: 10}, Cache: model.Cache{Enabled: true},
		},
		Shared: shared(), Edge: tenant.EdgeTenant, UID: 10_007,
		Environment: map[string]string{"GITOPSD_TENANT": name},
		Secrets:     map[string]string{"GITOPSD_AGENT": shared().SecretPrefix + name + "/agent"},
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

const originSecret = "the-secret-between-cloudfront-and-the-load-balancer"

// shared returns what tenants use of a cell that is only named.
func shared() tenant.Shared {
	arn := func(service, rest string) string {
		return "arn:aws:" + service + ":" + awstest.Region + ":" + awstest.Account + ":" + rest
	}
	cdn := func(rest string) string { return "arn:aws:cloudfront::" + awstest.Account + ":" + rest }
	return tenant.Shared{
		Account: awstest.Account, Region: awstest.Region, Cell: "a", Domain: "apps.example", ZoneID: "Z1",
		VPC: "vpc-1", PrivateSubnets: []string{"subnet-1", "subnet-2"}, InstanceGroup: "sg-1", DataGroup: "sg-2",
		InstanceProfile: arn("iam", "instance-profile/x"), InstanceTypes: []string{"m7g.large"}, InstanceImage: "resolve:ssm:/x",
		ClusterARN: arn("ecs", "cluster/gitopsd-a"), ClusterName: "gitopsd-a", CapacityProvider: "gitopsd-a",
		ExecutionRole: arn("iam", "role/execution"), SecretPrefix: arn("secretsmanager", "secret:gitopsd/a/tenant/"),
		RuntimeImage: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/runtime@sha256:00",
		NamespaceID:  "ns-1", NamespaceName: "a.gitopsd.internal",
		FileSystemID: "fs-1", FileSystemARN: arn("elasticfilesystem", "file-system/fs-1"), PublisherUID: 9000,
		DistributionID: "EMULTI", DistributionARN: cdn("distribution/EMULTI"),
		ConnectionGroup: "cg-1", ConnectionEndpoint: "d1.cloudfront.net", WildcardARN: cdn("distribution/EWILD"),
		RequestFunction: cdn("function/request"), ResponseFunction: cdn("function/response"),
		HeadersPolicy: "hp-1", OriginAccess: "oac-1", OriginHost: "origin.apps.example", OriginSecret: originSecret,
		DomainCertificate: "arn:aws:acm:us-east-1:" + awstest.Account + ":certificate/domain",
		DatabaseVersion:   "16.6", DatabaseParameters: "gitopsd-a", CacheVersion: "7.1", CacheNodeType: "cache.t4g.micro",
		CacheDefaultUser: "gitopsd-a-default", DatabaseSubnets: "gitopsd-a", CacheSubnets: "gitopsd-a", CacheParameters: "gitopsd-a-redis7", KMSKey: arn("kms", "key/1"),
		LogRetentionDays: 30, Tags: map[string]string{"team": "platform"},
	}
}

// stackFor returns the stack of a tenant.
func stackFor(c tenant.Config) aws.Stack {
	return aws.Stack{Project: tenant.Project, Name: tenant.StackName(c.Tenant.Tenant), Program: tenant.Program(c), Settings: c.Settings()}
}

// testLogger returns a logger that writes to the test's log.
func testLogger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// adopt finds what was made in the provider, as AWS would be asked.
func (e *engine) adopt(_ context.Context, kind string, inputs map[string]any) (string, error) {
	for _, r := range e.provider.Live()[kind] {
		same := true
		for k, v := range inputs {
			same = same && reflect.DeepEqual(r.Inputs[k], v)
		}
		if same {
			return e.provider.ImportID(r), nil
		}
	}
	return "", nil
}
