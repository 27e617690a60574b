package tenant

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Hosts says which tenant has which host name. Two rules keep tenants apart:
//
//   - A host name has one tenant: the one that had it first.
//   - A host name at or below the platform's domain belongs to the tenant that
//     is named there (<name>.<domain> and all below), whether there is such a
//     tenant yet or not. So nobody can sit on a future tenant's name.
type Hosts struct {
	domain string
	owner  map[string]string   // host name → tenant
	of     map[string][]string // tenant → its host names
}

// NewHosts returns an empty table for a platform's domain, such as "localhost".
func NewHosts(domain string) *Hosts {
	return &Hosts{
		domain: strings.ToLower(strings.Trim(domain, ".")),
		owner:  map[string]string{}, of: map[string][]string{},
	}
}

// Owner returns the tenant that a host name belongs to.
func (h *Hosts) Owner(host string) (tenant string, ok bool) {
	if name, below := h.named(host); below {
		return name, name != ""
	}
	tenant, ok = h.owner[host]
	return tenant, ok
}

// Set notes the domains of an accepted tenant, in place of those it had.
// A host name that another tenant has stays the other's.
func (h *Hosts) Set(t *Tenant) {
	h.Remove(t.Name)
	for _, host := range t.Domains {
		if _, taken := h.owner[host]; !taken {
			h.owner[host] = t.Name
			h.of[t.Name] = append(h.of[t.Name], host)
		}
	}
}

// Remove frees the host names of a tenant.
func (h *Hosts) Remove(tenant string) {
	for _, host := range h.of[tenant] {
		delete(h.owner, host)
	}
	delete(h.of, tenant)
}

// Clone returns a table of its own, for a plan that may not come true.
func (h *Hosts) Clone() *Hosts {
	of := make(map[string][]string, len(h.of))
	for name, hosts := range h.of {
		of[name] = slices.Clone(hosts)
	}
	return &Hosts{domain: h.domain, owner: maps.Clone(h.owner), of: of}
}

// Check returns the problems of the files' domains, by tenant. The table holds
// what was accepted before; the files are what changed since, so the cost does
// not depend on the number of tenants. The table is not changed: Set each
// tenant that is accepted afterwards.
//
// A tenant whose file is invalid, here or before, keeps what it had. Of two
// files that claim a host name at once, the earlier name gets it.
func (h *Hosts) Check(files []File) map[string]Problems {
	claims := make(map[string]*File, len(files))
	for i := range files {
		if files[i].Tenant != nil {
			claims[files[i].Name] = &files[i]
		}
	}
	rejected := make(map[string]Problems)
	for {
		// A rejected tenant keeps the host names it wanted to give up, which
		// may reject one that was to get them: repeat until nothing changes.
		found := h.round(claims)
		if len(found) == 0 {
			return rejected
		}
		for name, ps := range found {
			rejected[name] = ps
			delete(claims, name)
		}
	}
}

// round checks all claims against each other and the table.
func (h *Hosts) round(claims map[string]*File) map[string]Problems {
	names := slices.Sorted(maps.Keys(claims))
	got := make(map[string]string)
	for _, name := range names { // whoever has it already keeps it
		for _, host := range claims[name].Tenant.Domains {
			if h.owner[host] == name {
				got[host] = name
			}
		}
	}
	found := make(map[string]Problems)
	for _, name := range names {
		f := claims[name]
		for i, host := range f.Tenant.Domains {
			other := h.conflict(name, host, got, claims)
			if other == "" {
				got[host] = name
				continue
			}
			found[name] = append(found[name], f.domainProblem(i, other, h.domain))
		}
	}
	return found
}

// conflict returns what a host name belongs to if that is not the named tenant.
func (h *Hosts) conflict(name, host string, got map[string]string, claims map[string]*File) string {
	if owner, below := h.named(host); below {
		switch owner {
		case name:
			return ""
		case "":
			return "the platform"
		}
		return "the tenant " + owner
	}
	owner, taken := got[host]
	if !taken {
		if owner = h.owner[host]; claims[owner] != nil {
			owner = "" // it gives the name up in the same change
		}
	}
	if owner == "" || owner == name {
		return ""
	}
	return "the tenant " + owner
}

// named returns the tenant that a host at or below the platform's domain is
// named for; "" for the domain itself.
func (h *Hosts) named(host string) (tenant string, below bool) {
	if host == h.domain {
		return "", true
	}
	rest, below := strings.CutSuffix(host, "."+h.domain)
	return rest[strings.LastIndexByte(rest, '.')+1:], below
}

func (f *File) domainProblem(i int, owner, domain string) Problem {
	p := Problem{
		File:    f.Path,
		Message: fmt.Sprintf("spec.domains[%d] is %s, which belongs to %s", i, quote(f.Tenant.Domains[i]), owner),
		Hint:    fmt.Sprintf("host names below %s go by the tenants' names; any other belongs to the tenant that had it first", domain),
	}
	if i < len(f.domains) {
		p.Line, p.Column = f.domains[i].line, f.domains[i].column
	}
	return p
}
