package platform_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"github.com/gitopsd/gitopsd/infra/aws"
	"github.com/gitopsd/gitopsd/infra/check"
	"github.com/gitopsd/gitopsd/infra/platform"
	"github.com/gitopsd/gitopsd/internal/fault"
)

const originSecret = "the-secret-between-cloudfront-and-the-load-balancer"

func config(change ...func(*platform.Config)) platform.Config {
	c := platform.Default()
	c.Account, c.Region, c.Domain, c.OriginSecret = "123456789012", "eu-west-1", "apps.example", originSecret
	c.Network.Zones = []string{"eu-west-1a", "eu-west-1b", "eu-west-1c"}
	c.Images = platform.Images{ControlPlane: "x/control@sha256:1", Runtime: "x/runtime@sha256:2", Compiler: "x/compiler@sha256:3"}
	c.AlarmTopic = "arn:aws:sns:eu-west-1:123456789012:alarms"
	for _, name := range []string{"provision", "deploy", "deprovision"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "internal", "pipeline", "asl", "testdata", name+".asl.json"))
		if err != nil {
			panic(err)
		}
		c.Machines = append(c.Machines, platform.Machine{Name: name, Version: 1, Document: string(b)})
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

// variants are what changes which resources there are.
func variants() map[string]platform.Config {
	return map[string]platform.Config{
		"full":      config(),
		"first up":  config(func(c *platform.Config) { c.Images, c.Machines = platform.Images{}, nil }),
		"two zones": config(func(c *platform.Config) { c.Network.Zones, c.Network.GatewayPerZone = c.Network.Zones[:2], true }),
		"list":      config(func(c *platform.Config) { c.Network.EdgePrefixList = "pl-1" }),
		"daemon":    config(withDaemon),
		"leaving":   config(func(c *platform.Config) { c.Unprotected = true }),
	}
}

func withDaemon(c *platform.Config) {
	c.Control, c.Daemon = "repo: https://forge.example/acme/tenants\n", true
}

func run(t *testing.T, c platform.Config) check.Run {
	t.Helper()
	r, err := check.Program(platform.Program(c), false)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestTypes holds every resource against the provider's types.
func TestTypes(t *testing.T) {
	t.Parallel()
	dir, err := check.TypesDir()
	switch {
	case err != nil && check.Required():
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
	var all []check.Resource
	for _, c := range variants() {
		all = append(all, run(t, c).Resources...)
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

func TestPreview(t *testing.T) {
	t.Parallel()
	for name, c := range variants() {
		full := run(t, c)
		r, err := check.Program(platform.Program(c), true)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(r.Resources) != len(full.Resources) {
			t.Errorf("%s: a preview shows %d resources of %d", name, len(r.Resources), len(full.Resources))
		}
	}
}

// TestOutputs: what a cell tells is all that a tenant's program needs.
func TestOutputs(t *testing.T) {
	t.Parallel()
	for name, c := range variants() {
		out, err := platform.ReadOutputs(run(t, c).Outputs)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b, err := json.Marshal(platform.SharedOf(out, originSecret))
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(b, &fields); err != nil {
			t.Fatal(err)
		}
		for field, v := range fields {
			if (v == "" || v == nil || v == 0.0) && (field != "runtimeImage" || name != "first up") {
				t.Errorf("%s: shared has no %s", name, field)
			}
		}
		if full := name != "first up"; full != (len(out.Functions) == 3) || full != (len(out.Machines) == 3) || full != (out.WebhookURL != "") {
			t.Errorf("%s: functions %v, machines %v, webhook %q", name, out.Functions, out.Machines, out.WebhookURL)
		}
		if len(out.Repositories) != 3 || len(out.NameServers) == 0 || out.MasterSecret == "" || out.State == "" {
			t.Errorf("%s: %+v", name, out)
		}
	}
	if _, err := platform.ReadOutputs(map[string]any{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("no outputs: %v", err)
	}
}

// TestSecrets: the origin's secret is encrypted wherever it is.
func TestSecrets(t *testing.T) {
	t.Parallel()
	r := run(t, config())
	in := 0
	for _, res := range r.Resources {
		for k, v := range res.Inputs {
			if !strings.Contains(v.String(), originSecret) {
				continue
			}
			in++
			if !v.ContainsSecrets() || !slices.Contains(res.Secrets, string(k)) {
				t.Errorf("%s of %s %s shows the origin's secret", k, res.Token, res.Name)
			}
		}
	}
	if in != 4 { // two distributions, the load balancer's rule, our configuration
		t.Errorf("the secret is in %d inputs", in)
	}
	b, err := json.Marshal(r.Outputs)
	if err != nil || strings.Contains(string(b), originSecret) {
		t.Errorf("outputs show the origin's secret (%v)", err)
	}
}

// TestPolicies: no role may do anything by a pattern of actions.
func TestPolicies(t *testing.T) {
	t.Parallel()
	statements, err := check.Policies(run(t, config(withDaemon)).Resources)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range check.TooWide(statements) {
		t.Error(s)
	}
	if len(statements) < 80 {
		t.Errorf("only %d statements were looked at", len(statements))
	}
	bad := []check.Statement{{Of: "x", Effect: "Allow", Actions: []string{"s3:*", "s3:Get*", "*"}}, {Of: "y", Effect: "Allow"}}
	if found := check.TooWide(bad); len(found) != 4 {
		t.Errorf("of 4 planted ones only %q was found", found)
	}
	// What compiles tenants' code has no way to anybody's data: of a bucket it reads
	// the driver's records, of secrets none of a tenant.
	for _, s := range statements {
		if !strings.HasSuffix(s.Of, " role-compile") {
			continue
		}
		for _, a := range s.Actions {
			service, action, _ := strings.Cut(a, ":")
			if service == "iam" || service == "rds" || service == "ecs" || service == "s3" && action != "ListBucket" && action != "GetObject" {
				t.Errorf("the compile function may %s", a)
			}
			for _, r := range s.Resources {
				if action == "GetObject" && !strings.HasSuffix(r, "/tenants/*") || service == "secretsmanager" && strings.Contains(r, "/tenant/") {
					t.Errorf("the compile function may %s on %s", a, r)
				}
			}
		}
	}
}

// TestProtection: data stay, whatever happens to the program, until it is said
// that they may go.
func TestProtection(t *testing.T) {
	t.Parallel()
	data := []string{
		"aws:rds/cluster:Cluster", "aws:rds/clusterInstance:ClusterInstance", "aws:elasticache/replicationGroup:ReplicationGroup",
		"aws:efs/fileSystem:FileSystem", "aws:s3/bucket:Bucket", "aws:kms/key:Key", "aws:route53/zone:Zone", "aws:cloudfront/keyValueStore:KeyValueStore",
	}
	for name, c := range variants() {
		for _, res := range run(t, c).Resources {
			want := slices.Contains(data, res.Token) && !c.Unprotected
			if res.Protect != want || res.Retain != want {
				t.Errorf("%s: %s %s: protect %v, retain %v, want %v", name, res.Token, res.Name, res.Protect, res.Retain, want)
			}
			if res.Version != aws.Version {
				t.Errorf("%s %s asks for version %q of the provider", res.Token, res.Name, res.Version)
			}
		}
	}
}

// TestNames: what documents are written with is what the program makes.
func TestNames(t *testing.T) {
	t.Parallel()
	c := config(withDaemon)
	r := run(t, c)
	is := func(token, arnTail, arn string) {
		t.Helper()
		for _, res := range r.Of(token) {
			if name := res.Inputs["name"]; name.IsString() && strings.HasSuffix(arn, arnTail+name.StringValue()) {
				return
			}
		}
		t.Errorf("no %s is %s", token, arn)
	}
	for _, f := range []string{"task", "compile", "sync"} {
		is("aws:lambda/function:Function", "function:", c.FunctionARN(f))
	}
	is("aws:ecs/cluster:Cluster", "cluster/", c.ClusterARN())
	is("aws:ecs/capacityProvider:CapacityProvider", "", c.CapacityProvider())
	for _, m := range c.Machines {
		is("aws:sfn/stateMachine:StateMachine", "stateMachine:", c.MachineARN(m.Name, m.Version))
	}
	families := []string{}
	for _, res := range r.Of("aws:ecs/taskDefinition:TaskDefinition") {
		families = append(families, res.Inputs["family"].StringValue())
	}
	for _, family := range []string{c.PulumiFamily(), c.DaemonFamily()} {
		if !slices.Contains(families, family) {
			t.Errorf("families %q lack %s", families, family)
		}
	}
	// Subnets do not overlap, and are the VPC's.
	seen := map[string]bool{}
	for _, s := range r.Of("aws:ec2/subnet:Subnet") {
		cidr := s.Inputs["cidrBlock"].StringValue()
		if seen[cidr] || !strings.HasPrefix(cidr, "10.64.") {
			t.Errorf("subnet %s", cidr)
		}
		seen[cidr] = true
	}
}

// TestDaemon: there is one daemon at a time, which nobody reaches by the network, and
// none that was not asked for.
func TestDaemon(t *testing.T) {
	t.Parallel()
	parts := func(c platform.Config) (services, definitions []check.Resource) {
		r := run(t, c)
		for _, s := range r.Of("aws:ecs/service:Service") {
			if s.Name == "daemon" {
				services = append(services, s)
			}
		}
		for _, d := range r.Of("aws:ecs/taskDefinition:TaskDefinition") {
			if d.Name == "daemon" {
				definitions = append(definitions, d)
			}
		}
		return services, definitions
	}
	for name, c := range map[string]platform.Config{
		"not asked for": config(), "no image": config(withDaemon, func(c *platform.Config) { c.Images = platform.Images{} }),
	} {
		if services, definitions := parts(c); len(services)+len(definitions) > 0 {
			t.Errorf("%s: %d services, %d definitions", name, len(services), len(definitions))
		}
	}
	services, definitions := parts(config(withDaemon))
	if len(services) != 1 || len(definitions) != 1 {
		t.Fatalf("%d services, %d definitions", len(services), len(definitions))
	}
	in := services[0].Inputs
	for key, want := range map[string]float64{"desiredCount": 1, "deploymentMinimumHealthyPercent": 0, "deploymentMaximumPercent": 100} {
		if v, ok := in[resource.PropertyKey(key)]; !ok || v.NumberValue() != want {
			t.Errorf("%s is %v, want %v", key, v, want)
		}
	}
	if in.HasValue("loadBalancers") || in.HasValue("serviceRegistries") {
		t.Errorf("the daemon is reached: %v", in)
	}
	var containers []map[string]any
	if err := json.Unmarshal([]byte(definitions[0].Inputs["containerDefinitions"].StringValue()), &containers); err != nil || len(containers) != 1 {
		t.Fatalf("containers %v, %v", containers, err)
	}
	if ports, ok := containers[0]["portMappings"]; ok {
		t.Errorf("ports %v are open", ports)
	}
}

// TestEnds: the end of each run of the cell's machines, whatever it is and whatever
// version, has sync called, and the end of others' does not.
func TestEnds(t *testing.T) {
	t.Parallel()
	c := config()
	r := run(t, c)
	rules, targets := r.Of("aws:cloudwatch/eventRule:EventRule"), r.Of("aws:cloudwatch/eventTarget:EventTarget")
	if len(rules) != 1 || len(targets) != 1 {
		t.Fatalf("%d rules, %d targets", len(rules), len(targets))
	}
	var pattern struct {
		Source []string `json:"source"`
		Kind   []string `json:"detail-type"`
		Detail struct {
			Status  []string                  `json:"status"`
			Machine []struct{ Prefix string } `json:"stateMachineArn"`
		} `json:"detail"`
	}
	if err := json.Unmarshal([]byte(rules[0].Inputs["eventPattern"].StringValue()), &pattern); err != nil {
		t.Fatal(err)
	}
	slices.Sort(pattern.Detail.Status)
	if got := pattern.Detail.Status; !slices.Equal(got, []string{"ABORTED", "FAILED", "SUCCEEDED", "TIMED_OUT"}) {
		t.Errorf("statuses %q", got)
	}
	if len(pattern.Source) != 1 || len(pattern.Kind) != 1 || len(pattern.Detail.Machine) != 1 {
		t.Fatalf("pattern %+v", pattern)
	}
	prefix, other := pattern.Detail.Machine[0].Prefix, config(func(c *platform.Config) { c.Cell = "ab" })
	for _, m := range c.Machines {
		if !strings.HasPrefix(c.MachineARN(m.Name, m.Version+1), prefix) || strings.HasPrefix(other.MachineARN(m.Name, m.Version), prefix) {
			t.Errorf("machines are looked for by %s", prefix)
		}
	}
	if arn := targets[0].Inputs["arn"].StringValue(); arn != c.FunctionARN("sync") {
		t.Errorf("%s is called", arn)
	}
	for _, p := range r.Of("aws:lambda/permission:Permission") {
		if p.Inputs["principal"].StringValue() == "events.amazonaws.com" && p.Inputs["sourceArn"].IsString() {
			return
		}
	}
	t.Error("the rule may not call it")
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*platform.Config){
		"account": func(c *platform.Config) { c.Account = "1234" },
		"cell":    func(c *platform.Config) { c.Cell = "a-b" },
		"secret":  func(c *platform.Config) { c.OriginSecret = "short" },
		"network": func(c *platform.Config) { c.Network.CIDR = "10.0.0.0/8" },
		"zones":   func(c *platform.Config) { c.Network.Zones = c.Network.Zones[:1] },
		"sizes":   func(c *platform.Config) { c.Compute.Max = 0 },
		"cache":   func(c *platform.Config) { c.Cache.Replicas = 0 },
		"daemon":  func(c *platform.Config) { c.Daemon = true },
	} {
		if err := config(change).Validate(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		if r, err := check.Program(platform.Program(config(change)), false); err == nil || len(r.Resources) > 0 {
			t.Errorf("%s: %d resources, %v", name, len(r.Resources), err)
		}
	}
}
