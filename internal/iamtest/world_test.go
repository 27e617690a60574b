package iamtest

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/infra/check"
	"github.com/gitopsd/gitopsd/infra/platform"
	"github.com/gitopsd/gitopsd/infra/tenant"
	core "github.com/gitopsd/gitopsd/internal/platform"
)

const (
	account = "123456789012"
	region  = "eu-west-1"
)

// world names what there is in a cell: what its roles may touch, or, of another
// cell, may not.
type world struct {
	platform.Config
	tenant tenant.Config
	// id makes IDs that AWS chooses this cell's own.
	id func(string) string
}

// newWorld returns what a cell's program makes with mocks, whose IDs are names; of
// any other cell the IDs are others.
func newWorld(cell string) world {
	c := platform.Default()
	c.Account, c.Region, c.Domain, c.Cell = account, region, cell+".apps.example", cell
	c.OriginSecret = strings.Repeat("s", 32)
	c.Network.Zones = []string{region + "a", region + "b"}
	c.Control, c.Daemon = "repo: https://forge.example/acme/tenants\n", true
	c.Images = platform.Images{ControlPlane: "x@sha256:1", Runtime: "x@sha256:2", Compiler: "x@sha256:3"}
	id := func(name string) string { return name }
	if cell != ourCell {
		id = func(name string) string { return cell + name }
	}
	return world{c, tenant.Config{
		Tenant: core.Config{Tenant: "acme"}, Shared: tenant.Shared{Account: account, Region: region, Cell: cell},
	}, id}
}

// ourCell is the cell whose roles are looked at. Others are named so that a pattern
// which ends too early meets them.
const ourCell = "a"

var otherCells = []string{"b", "ab"}

func (w world) arn(service, resource string) string {
	return "arn:aws:" + service + ":" + region + ":" + account + ":" + resource
}

func (w world) global(service, resource string) string {
	return "arn:aws:" + service + "::" + account + ":" + resource
}

// entity is the name of something of the tenant's.
func (w world) entity() string { return w.tenant.ServiceName() }

// clusters are the cell's and one of the tenant's own.
func (w world) clusters() []string { return []string{w.Name(64), w.entity()} }

// data is the name of a database or a cache of the tenant's own.
func (w world) data() string { return tenant.EntityPrefix(w.Cell) + "h012345678" }

func (w world) bucket() string { return "arn:aws:s3:::" + w.tenant.BucketName() }

// own is a bucket of the cell: snapshots or state.
func (w world) own(use string) string {
	return "arn:aws:s3:::" + w.Name(63, account, region, use)
}

func (w world) key() string { return w.arn("kms", "key/"+w.id("key")) }

func (w world) secret(name string) string {
	return w.arn("secretsmanager", "secret:gitopsd/"+w.Cell+"/"+name+"-AbCdEf")
}

func (w world) master() string {
	return w.arn("secretsmanager", "secret:rds!cluster-"+w.id("database")+"-AbCdEf")
}

// control is the control plane's own user of the cache.
func (w world) control() string { return w.arn("elasticache", "user:"+w.Name(40, "control")) }

func (w world) files() string { return w.arn("elasticfilesystem", "file-system/fs-"+w.id("files")) }

func (w world) publisher() string {
	return w.arn("elasticfilesystem", "access-point/fsap-"+w.id("publisher"))
}

func (w world) zone() string { return "arn:aws:route53:::hostedzone/Z" + w.id("zone") }

func (w world) store() string { return w.global("cloudfront", "key-value-store/"+w.id("hosts")) }

func (w world) logs(name string) string { return w.arn("logs", "log-group:/gitopsd/"+w.Cell+"/"+name) }

// each returns pattern once for each of its %s.
func each(list []string, form func(string) string) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = form(v)
	}
	return out
}

// at is where an action is done: on resources, in a context of conditions.
type at struct {
	on      []string
	context map[string]string
	// shared says that AWS knows no resource of the action's, or none whose name
	// tells a cell from another: other cells' are not refused.
	shared string
	// wide says why a policy may allow it on everything, though it has resources.
	wide string
	// unknown says that the simulator does not know this form of a resource.
	unknown bool
}

func on(resources ...string) at { return at{on: resources} }

// anywhere is where the action has no resource that a policy could name.
func anywhere(why string) at { return at{on: []string{"*"}, shared: why} }

// policies are the documents by which a cell's roles may something: those written
// in a role, and those attached to some, by the resource's name; and the names of those
// that each role has.
func policies(t *testing.T, c platform.Config) (documents map[string][]check.Statement, of map[string][]string) {
	t.Helper()
	r, err := check.Program(platform.Program(c), false)
	if err != nil {
		t.Fatal(err)
	}
	all, err := check.Policies(append(r.Of("aws:iam/rolePolicy:RolePolicy"), r.Of("aws:iam/policy:Policy")...))
	if err != nil {
		t.Fatal(err)
	}
	documents, of = map[string][]check.Statement{}, map[string][]string{}
	for _, s := range all {
		_, name, ok := strings.Cut(s.Of, " role-")
		if s.Effect != "Allow" || !ok {
			t.Fatalf("%+v: roles allow, and nothing else", s)
		}
		documents[name] = append(documents[name], s)
	}
	for _, p := range r.Of("aws:iam/rolePolicy:RolePolicy") {
		name := strings.TrimPrefix(p.Name, "role-")
		of[name] = append(of[name], name)
	}
	attached := map[string]bool{}
	for _, p := range r.Of("aws:iam/rolePolicyAttachment:RolePolicyAttachment") {
		role := strings.TrimPrefix(p.Inputs["role"].StringValue(), c.Name(64)+"-")
		_, name, ok := strings.Cut(p.Inputs["policyArn"].StringValue(), "role-")
		if documents[name] == nil || !ok {
			t.Fatalf("%s is attached to %s and no policy", p.Inputs["policyArn"], role)
		}
		of[role], attached[name] = append(of[role], name), true
	}
	if n := len(r.Of("aws:iam/policy:Policy")); n != len(attached) {
		t.Fatalf("%d policies, %d of them attached", n, len(attached))
	}
	return documents, of
}

// statements returns what the cell's roles may do, by role.
func statements(t *testing.T) map[string][]check.Statement {
	t.Helper()
	out := map[string][]check.Statement{}
	documents, of := policies(t, newWorld(ourCell).Config)
	for role, names := range of {
		for _, name := range names {
			out[role] = append(out[role], documents[name]...)
		}
	}
	return out
}

// granted returns the actions of statements.
func granted(list []check.Statement) map[string]bool {
	out := map[string]bool{}
	for _, s := range list {
		for _, a := range s.Actions {
			out[a] = true
		}
	}
	return out
}

// matches reports whether a pattern of a policy is, or has, the resource.
func matches(pattern, resource string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == resource
	}
	rest, ok := strings.CutPrefix(resource, parts[0])
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, p)
		if !ok || i < 0 {
			return false
		}
		rest = rest[i+len(p):]
	}
	return ok && strings.HasSuffix(rest, parts[len(parts)-1])
}

// matchesAny reports whether the pattern has one of the resources.
func matchesAny(pattern string, resources []string) bool {
	return slices.ContainsFunc(resources, func(r string) bool { return matches(pattern, r) })
}

// required reports whether the checks by others' programs must run.
func required() bool { return os.Getenv("GITOPSD_TEST_AWS") != "" }
