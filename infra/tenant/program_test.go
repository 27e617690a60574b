package tenant_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"github.com/gitopsd/gitopsd/infra/aws"
	"github.com/gitopsd/gitopsd/infra/check"
	"github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/fault"
)

// TestResources says which kinds of resources a variant has beside those that
// every tenant has.
func TestResources(t *testing.T) {
	t.Parallel()
	always := []string{
		"aws:cloudwatch/logGroup:LogGroup", "aws:ecs/service:Service", "aws:ecs/taskDefinition:TaskDefinition", "aws:efs/accessPoint:AccessPoint",
		"aws:iam/role:Role", "aws:iam/rolePolicy:RolePolicy", "aws:s3/bucket:Bucket", "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
		"aws:s3/bucketPolicy:BucketPolicy", "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", "aws:servicediscovery/service:Service",
	}
	scaling := []string{"aws:appautoscaling/policy:Policy", "aws:appautoscaling/target:Target"}
	record, own, ten := "aws:route53/record:Record", "aws:cloudfront/distribution:Distribution", "aws:cloudfront/distributionTenant:DistributionTenant"
	isolated := []string{
		"aws:autoscaling/group:Group", "aws:ec2/launchTemplate:LaunchTemplate", "aws:ecs/capacityProvider:CapacityProvider", "aws:ecs/cluster:Cluster",
		"aws:ecs/clusterCapacityProviders:ClusterCapacityProviders", "aws:elasticache/replicationGroup:ReplicationGroup",
		"aws:elasticache/userGroup:UserGroup", "aws:rds/cluster:Cluster", "aws:rds/clusterInstance:ClusterInstance",
	}
	want := map[string][]string{
		"edge tenant":              append(slices.Clone(scaling), record, ten),
		"edge dedicated":           append(slices.Clone(scaling), record, own),
		"edge wildcard":            scaling,
		"certified tenant":         append(slices.Clone(scaling), record, ten),
		"certified dedicated":      append(slices.Clone(scaling), record, own),
		"all dedicated":            append(slices.Concat(scaling, isolated), record, ten),
		"withdrawn":                append(slices.Clone(isolated), ten),
		"withdrawn dedicated edge": {own},
	}
	for name, c := range variants() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var kinds []string
			for _, r := range run(t, c).Resources {
				kinds = append(kinds, r.Token)
				if r.Version != aws.Version {
					t.Errorf("%s %s asks for version %q of the provider", r.Token, r.Name, r.Version)
				}
			}
			slices.Sort(kinds)
			expected := slices.Sorted(slices.Values(slices.Concat(always, want[name])))
			if got := slices.Compact(kinds); !slices.Equal(got, expected) {
				t.Errorf("got  %q\nwant %q", got, expected)
			}
		})
	}
}

// TestPreview runs each variant as a preview, which knows nothing of AWS's answers.
func TestPreview(t *testing.T) {
	t.Parallel()
	for name, c := range variants() {
		full := run(t, c)
		r, err := check.Program(tenant.Program(c), true)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(r.Resources) != len(full.Resources) {
			t.Errorf("%s: a preview shows %d resources of %d", name, len(r.Resources), len(full.Resources))
		}
	}
}

func TestOutputs(t *testing.T) {
	t.Parallel()
	for name, c := range variants() {
		r := run(t, c)
		out, err := tenant.ReadOutputs(r.Outputs)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if out.SRV != "acme.a.gitopsd.internal" || out.Bucket != "bucket-id" || out.ServiceName == "" {
			t.Errorf("%s: %+v", name, out)
		}
		if (out.DistributionTen != "") != (c.Edge == tenant.EdgeTenant) {
			t.Errorf("%s: distribution tenant %q", name, out.DistributionTen)
		}
		if d := name == "all dedicated" || name == "withdrawn"; d != (out.DatabaseSecret != "") || d != (out.CacheUserGroup != "") {
			t.Errorf("%s: dedicated parts %+v", name, out)
		}
	}
	missing := run(t, config()).Outputs
	delete(missing, tenant.OutAccessPointID)
	if _, err := tenant.ReadOutputs(missing); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "accessPointId is missing") {
		t.Errorf("a missing output: %v", err)
	}
}

// TestSecrets asserts that the origin's secret is nowhere in plain text: not in
// an input, and not in what the provider gives back.
func TestSecrets(t *testing.T) {
	t.Parallel()
	for name, c := range variants() {
		r := run(t, c)
		for _, res := range r.Resources {
			for k, v := range res.Inputs {
				if strings.Contains(v.String(), originSecret) && !v.ContainsSecrets() {
					t.Errorf("%s: %s of %s shows the origin's secret", name, k, res.Name)
				}
				if v.ContainsSecrets() && !slices.Contains(res.Secrets, string(k)) {
					t.Errorf("%s: the provider may give back %s of %s in plain text", name, k, res.Name)
				}
			}
		}
		b, err := json.Marshal(r.Outputs)
		if err != nil || strings.Contains(string(b), originSecret) {
			t.Errorf("%s: outputs show the origin's secret (%v)", name, err)
		}
	}
	d := one(t, run(t, variants()["edge dedicated"]), "aws:cloudfront/distribution:Distribution")
	if !d.Inputs["origins"].ContainsSecrets() {
		t.Error("the dedicated distribution's origins are no secret")
	}
}

// TestProtection: what holds data is protected until a withdrawal, and nothing
// else ever stops a destroy.
func TestProtection(t *testing.T) {
	t.Parallel()
	data := []string{"aws:rds/cluster:Cluster", "aws:elasticache/replicationGroup:ReplicationGroup"}
	for name, c := range variants() {
		for _, res := range run(t, c).Resources {
			if want := slices.Contains(data, res.Token) && !c.Withdrawn; res.Protect != want {
				t.Errorf("%s: %s %s: protect %v, want %v", name, res.Token, res.Name, res.Protect, want)
			}
		}
	}
	b := one(t, run(t, config()), "aws:s3/bucket:Bucket")
	if !b.Inputs["forceDestroy"].BoolValue() {
		t.Error("the bucket could not be destroyed once it has files")
	}
}

func TestService(t *testing.T) {
	t.Parallel()
	r := run(t, config())
	s := one(t, r, "aws:ecs/service:Service")
	if !slices.Contains(s.Ignored, "desiredCount") {
		t.Error("an up would fight the autoscaler")
	}
	if !slices.Contains(s.Depends, "role-volume") {
		t.Errorf("the service does not wait for its role's policy: %q", s.Depends)
	}
	if s.Inputs.HasValue("launchType") || s.Inputs.HasValue("networkConfiguration") {
		t.Error("launch type or network of a task on shared instances")
	}
	reg := s.Inputs["serviceRegistries"].ObjectValue()
	if reg["containerName"].StringValue() != tenant.Container || reg["containerPort"].NumberValue() != tenant.TrafficPort {
		t.Errorf("registered as %v", reg)
	}
	task := one(t, r, "aws:ecs/taskDefinition:TaskDefinition")
	var containers []struct {
		Name         string
		User         string
		Secrets      []struct{ Name, ValueFrom string }
		PortMappings []struct{ ContainerPort, HostPort int }
		MountPoints  []struct{ ReadOnly bool }
	}
	if err := json.Unmarshal([]byte(task.Inputs["containerDefinitions"].StringValue()), &containers); err != nil {
		t.Fatal(err)
	}
	c := containers[0]
	if c.Name != tenant.Container || c.User != "10007:10007" || len(c.Secrets) != 3 || !c.MountPoints[0].ReadOnly {
		t.Errorf("container %+v", c)
	}
	for _, p := range c.PortMappings {
		if p.HostPort != 0 {
			t.Errorf("port %d is fixed on the host", p.ContainerPort)
		}
	}
	withdrawn := one(t, run(t, variants()["withdrawn"]), "aws:ecs/service:Service")
	if withdrawn.Inputs["desiredCount"].NumberValue() != 0 || len(withdrawn.Ignored) != 0 {
		t.Error("a withdrawn tenant goes on running")
	}
}

// TestDedicatedCompute: the service runs in the tenant's own cluster, and only there.
func TestDedicatedCompute(t *testing.T) {
	t.Parallel()
	r := run(t, variants()["all dedicated"])
	s := one(t, r, "aws:ecs/service:Service")
	if c := s.Inputs["cluster"].StringValue(); !strings.HasSuffix(c, ":cluster/gitopsd-a-t-acme") {
		t.Errorf("runs in %s", c)
	}
	if !slices.Contains(s.Depends, "capacity-of-cluster") {
		t.Errorf("does not wait for the cluster's capacity: %q", s.Depends)
	}
	template := one(t, r, "aws:ec2/launchTemplate:LaunchTemplate").Inputs["metadataOptions"].ObjectValue()
	if template["httpTokens"].StringValue() != "required" || template["httpPutResponseHopLimit"].NumberValue() != 1 {
		t.Errorf("containers could take the instance's credentials: %v", template)
	}
}

// TestHosts: a domain is served once there is a certificate for it, never before.
func TestHosts(t *testing.T) {
	t.Parallel()
	domains := func(c tenant.Config) (out []string) {
		for _, d := range one(t, run(t, c), "aws:cloudfront/distributionTenant:DistributionTenant").Inputs["domains"].ArrayValue() {
			out = append(out, d.ObjectValue()["domain"].StringValue())
		}
		return out
	}
	if got := domains(config()); !slices.Equal(got, []string{"acme.apps.example"}) {
		t.Errorf("without a certificate: %q", got)
	}
	if got := domains(config(certified)); !slices.Equal(got, config().Tenant.Hosts) {
		t.Errorf("with one: %q", got)
	}
	partly := config(certified, func(c *tenant.Config) { c.Certificate.Hosts = c.Certificate.Hosts[:2] })
	if got := domains(partly); !slices.Equal(got, config().Tenant.Hosts[:2]) {
		t.Errorf("with one for some: %q", got)
	}
	d := one(t, run(t, variants()["certified dedicated"]), "aws:cloudfront/distribution:Distribution")
	if got := d.Inputs["viewerCertificate"].ObjectValue()["acmCertificateArn"].StringValue(); !strings.HasSuffix(got, "certificate/acme") {
		t.Errorf("shows %s", got)
	}
}

func TestCertificate(t *testing.T) {
	t.Parallel()
	phase := func(c tenant.Config) (check.Run, tenant.CertificateOutputs) {
		r, err := check.Program(tenant.CertificateProgram(c), false)
		if err != nil {
			t.Fatal(err)
		}
		out, err := tenant.ReadCertificateOutputs(r.Outputs)
		if err != nil {
			t.Fatal(err)
		}
		return r, out
	}
	r, out := phase(config())
	cert := one(t, r, "aws:acm/certificate:Certificate")
	if cert.Inputs["region"].StringValue() != "us-east-1" {
		t.Errorf("a certificate in %v", cert.Inputs["region"])
	}
	if len(r.Of("aws:acm/certificateValidation:CertificateValidation")) > 0 {
		t.Error("the phase waits for the customer")
	}
	var theirs []string
	for _, v := range out.Validation {
		if v.Name != "_x."+v.Host+"." || v.Type != "CNAME" || v.Value == "" {
			t.Errorf("record %+v", v)
		}
		if !v.Ours {
			theirs = append(theirs, v.Host)
		}
	}
	if !slices.Equal(theirs, []string{"acme.example", "www.acme.example"}) {
		t.Errorf("the customer is shown %q", theirs)
	}
	if rec := one(t, r, "aws:route53/record:Record"); rec.Inputs["name"].StringValue() != "_x.acme.apps.example." {
		t.Errorf("set in our zone: %v", rec.Inputs["name"])
	}

	// Another domain: a second certificate, while the one in use stays as it is.
	more := config(certified, func(c *tenant.Config) { c.Tenant.Hosts = append(c.Tenant.Hosts, "new.example") })
	r, _ = phase(more)
	certs := r.Of("aws:acm/certificate:Certificate")
	if len(certs) != 2 || !slices.ContainsFunc(certs, func(c check.Resource) bool { return c.Name == cert.Name }) {
		t.Errorf("certificates %v, which lack the one in use (%s)", certs, cert.Name)
	}
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*tenant.Config){
		"edge":            func(c *tenant.Config) { c.Edge = "cdn" },
		"wildcard domain": func(c *tenant.Config) { c.Edge = tenant.EdgeWildcard },
		"uid":             func(c *tenant.Config) { c.UID = 0 },
		"foreign secret": func(c *tenant.Config) {
			c.Secrets = map[string]string{"X": "arn:aws:secretsmanager:eu-west-1:1:secret:other"}
		},
		"no hosts": func(c *tenant.Config) { c.Tenant.Hosts = nil },
	} {
		r, err := check.Program(tenant.Program(config(change)), false)
		if err == nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(r.Resources) > 0 {
			t.Errorf("%s: made %d resources", name, len(r.Resources))
		}
		if err := config(change).Validate(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTags: everything that takes tags is marked as this tenant's.
func TestTags(t *testing.T) {
	t.Parallel()
	tagged := 0
	for _, res := range run(t, variants()["all dedicated"]).Resources {
		tags, ok := res.Inputs["tags"]
		if !ok || !tags.IsObject() {
			continue
		}
		tagged++
		m := tags.ObjectValue()
		for key, want := range map[resource.PropertyKey]string{
			tenant.TagTenant: "acme", tenant.TagPlatform: "a", tenant.TagManagedBy: tenant.ManagedBy,
			"team": "platform", "gitopsd:label/owner": "ann _ bob",
		} {
			if m[key].V != want {
				t.Errorf("%s %s: tag %s is %v", res.Token, res.Name, key, m[key].V)
			}
		}
	}
	if tagged < 15 {
		t.Errorf("only %d resources have tags", tagged)
	}
}
