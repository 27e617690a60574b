package edge

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/miekg/dns"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Route is one tenant's file: <routes>/<tenant>.json, replaced by rename.
// Keys this version does not know are left alone, so a newer control plane can
// write for an older edge.
type Route struct {
	Tenant  string   `json:"tenant"`  // the file's stem
	Hosts   []string `json:"hosts"`   // lower case, without port
	SRV     string   `json:"srv"`     // name whose SRV records are the instances
	Bucket  string   `json:"bucket"`  // directory with one static tree a release; none: no static files
	Static  string   `json:"static"`  // release whose tree is served, as the tree's path in the bucket; or ""
	EdgeKey string   `json:"edgeKey"` // what the tenant's agents demand in X-Gitopsd-Edge
	Serial  uint64   `json:"serial"`  // a new value asks for the SRV record to be read at once
	State   State    `json:"state,omitempty"`
	Limits  Limits   `json:"limits,omitzero"` // the tenant's own, in place of the edge's
}

// State says what a tenant's hosts answer. A route with a state needs no more
// than hosts.
type State string

// States of a route.
const (
	Serving State = ""
	Stopped State = "stopped" // 503: it comes back
	Gone    State = "gone"    // 410: it was deleted
)

// maxRouteFile bounds a route's file, in bytes.
const maxRouteFile = 64 << 10

// maxHosts bounds the hosts of one tenant.
const maxHosts = 100

var (
	tenantPattern = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)
	// A bucket has a tree by its release's digest; a volume has it in the release.
	treePattern = regexp.MustCompile(`^[0-9a-f]{64}(/static)?$`)
)

// parseRoute reads the route of the given tenant.
func parseRoute(tenant string, b []byte) (*Route, error) {
	if len(b) > maxRouteFile {
		return nil, fault.Errorf(fault.Invalid, "larger than %d bytes", maxRouteFile)
	}
	var r Route
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fault.Errorf(fault.Invalid, "%w", err)
	}
	if err := r.validate(tenant); err != nil {
		return nil, fault.Errorf(fault.Invalid, "%w", err)
	}
	return &r, nil
}

func (r *Route) validate(tenant string) error {
	switch {
	case r.Tenant != tenant:
		return fmt.Errorf("tenant: %q in the file of %q", r.Tenant, tenant)
	case !tenantPattern.MatchString(r.Tenant):
		return fmt.Errorf("tenant: %q is not a DNS label", r.Tenant)
	case len(r.Hosts) > maxHosts:
		return fmt.Errorf("hosts: more than %d", maxHosts)
	case r.State != Serving && r.State != Stopped && r.State != Gone:
		return fmt.Errorf("state: %q is none", r.State)
	case !isName(r.SRV) && (r.State == Serving || r.SRV != ""):
		return fmt.Errorf("srv: %q is not a domain name", r.SRV)
	case r.Static != "" && !treePattern.MatchString(r.Static):
		return fmt.Errorf("static: %q is not a digest", r.Static)
	case r.Bucket != "" && !filepath.IsAbs(r.Bucket):
		return fmt.Errorf("bucket: %q is not an absolute path", r.Bucket)
	case r.State == Serving && r.EdgeKey == "" || !printable(r.EdgeKey):
		return fmt.Errorf("edgeKey: missing or not printable")
	}
	if err := r.Limits.Validate(); err != nil {
		return err
	}
	for i, h := range r.Hosts {
		if !isName(h) || h != bareHost(h) {
			return fmt.Errorf("hosts[%d]: %q is not a lower-case host name", i, h)
		}
	}
	return nil
}

// isName reports whether s is a domain name of ordinary characters.
func isName(s string) bool {
	if _, ok := dns.IsDomainName(s); !ok || s == "" || s == "." {
		return false
	}
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// bareHost returns a Host header's host: lower case, without port and without
// the root's dot.
func bareHost(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
