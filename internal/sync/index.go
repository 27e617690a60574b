package sync

import (
	"maps"
	"path"
	"slices"

	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// Index knows of all tenants what a plan of a few needs: which are built from
// a path, and who has which host. The ledger is the truth; this is kept beside
// it so that a plan costs what changed, not what there is.
type Index struct {
	tenants map[string]entry
	builtBy map[string][]string // path → tenants built from it
	hosts   *tenant.Hosts
	live    int
}

type entry struct {
	sources []string
	live    bool
}

// NewIndex returns the index of what is applied.
func NewIndex(domain string, applied map[string]plan.Applied) *Index {
	x := &Index{tenants: map[string]entry{}, builtBy: map[string][]string{}, hosts: tenant.NewHosts(domain)}
	for _, name := range slices.Sorted(maps.Keys(applied)) {
		a := applied[name]
		x.put(name, a.Tenant, a.Sources, !a.Deleted)
	}
	return x
}

// put records what a tenant is now; a tenant that is not live keeps its name
// only, so that it is seen when its file comes back.
func (x *Index) put(name string, t *tenant.Tenant, sources []string, live bool) {
	x.drop(name)
	e := entry{live: live}
	if live {
		x.live++
		e.sources = sources
		if t != nil {
			x.hosts.Set(t)
		}
	}
	x.tenants[name] = e
	for _, s := range e.sources {
		x.builtBy[s] = append(x.builtBy[s], name)
	}
}

func (x *Index) drop(name string) {
	e := x.tenants[name]
	if e.live {
		x.live--
	}
	for _, s := range e.sources {
		x.builtBy[s] = slices.DeleteFunc(x.builtBy[s], func(n string) bool { return n == name })
		if len(x.builtBy[s]) == 0 {
			delete(x.builtBy, s)
		}
	}
	x.hosts.Remove(name)
	delete(x.tenants, name)
}

// accept follows what was accepted.
func (x *Index) accept(items []Item) {
	for _, item := range items { // first, so that a host name can go from one to another
		if item.Operation == plan.Deprovision || item.Spec != nil {
			x.hosts.Remove(item.Tenant)
		}
	}
	for _, item := range items {
		switch {
		case item.Operation == plan.Deprovision:
			x.put(item.Tenant, nil, nil, false)
		case item.Spec != nil:
			x.put(item.Tenant, item.Spec, item.Sources, true)
		}
	}
}

// without returns who has which host name once the tenants that are gone have
// given theirs up: a tenant may be renamed in one commit.
func (x *Index) without(gone []string, known map[string]plan.Applied) *tenant.Hosts {
	if len(gone) == 0 {
		return x.hosts
	}
	hosts := x.hosts.Clone()
	for _, name := range gone {
		if a := known[name]; a.Tenant == nil || !a.Tenant.Deletion.Protect {
			hosts.Remove(name)
		}
	}
	return hosts
}

// Live counts the tenants that are not deleted.
func (x *Index) Live() int { return x.live }

// Names returns all tenants, deleted ones too.
func (x *Index) Names() []string { return slices.Collect(maps.Keys(x.tenants)) }

// Sources returns every path that some app is built from.
func (x *Index) Sources() []string { return slices.Collect(maps.Keys(x.builtBy)) }

// BuiltFrom returns the tenants whose app is built from the file or a directory
// above it.
func (x *Index) BuiltFrom(file string) []string {
	var names []string
	for p := file; ; p = path.Dir(p) {
		names = append(names, x.builtBy[p]...)
		if p == "." || p == "/" {
			return names
		}
	}
}
