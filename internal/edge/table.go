package edge

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// table is what requests read: which tenant a host belongs to, and each
// tenant's route and instances. Reading takes no lock. One goroutine writes
// routes; the resolver writes instances.
type table struct {
	domain string // the platform's
	limits Limits // of a tenant whose route says nothing else
	log    *slog.Logger
	index  atomic.Pointer[index]
	mu     sync.Mutex  // held by who replaces the index
	loaded atomic.Bool // the routes were read, at least once
}

// index is replaced as a whole when a tenant or a host comes or goes.
type index struct {
	tenants map[string]*entry
	hosts   map[string]*entry
	refused map[string]string // "host tenant" → why; reported once
}

// entry is one tenant. It lives as long as its file; its parts are replaced.
type entry struct {
	tenant    string
	route     atomic.Pointer[Route]
	keyHeader atomic.Pointer[[]string] // the edge key, as a header's values
	instances atomic.Pointer[instances]
	assets    atomic.Pointer[assets]
	gone      atomic.Bool
	limits    atomic.Pointer[Limits]
	bucket    *rate.Limiter
	lookup    task // the resolver's
	counts
}

func newTable(domain string, limits Limits, log *slog.Logger) *table {
	t := &table{
		domain: "." + strings.ToLower(strings.Trim(domain, ".")), log: log,
		limits: limits.or(Limits{defaultRate, defaultRate, defaultConcurrent, defaultBody}),
	}
	t.index.Store(&index{})
	return t
}

// host returns the tenant that owns a host (bare), or nil.
func (t *table) host(host string) *entry { return t.index.Load().hosts[host] }

// tenant returns the tenant of that name, or nil.
func (t *table) tenant(name string) *entry { return t.index.Load().tenants[name] }

// tenantOf is the key-value store of the viewer-request function.
func (t *table) tenantOf(host string) (string, bool) {
	if e := t.host(host); e != nil {
		return e.tenant, true
	}
	return "", false
}

// owns reports whether the tenant owns the host (bare).
func (t *table) owns(e *entry, host string) bool { return t.host(host) == e }

// change is a set of routes that came or changed (value) or went (nil).
type change map[string]*Route

// apply carries out a change, and returns the tenants whose SRV record must be
// read now.
func (t *table) apply(c change) []*entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.index.Load()
	var resolve []*entry
	tenants, rebuild := old.tenants, false
	edit := func() {
		if !rebuild {
			tenants, rebuild = maps.Clone(old.tenants), true
			if tenants == nil {
				tenants = map[string]*entry{}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c)) {
		r, e := c[name], tenants[name]
		switch {
		case r == nil && e == nil:
		case r == nil:
			edit()
			e.gone.Store(true)
			delete(tenants, name)
		case e == nil:
			edit()
			e = &entry{tenant: name}
			e.setRoute(r, t.limits)
			tenants[name] = e
			if r.SRV != "" {
				resolve = append(resolve, e)
			}
		default:
			was := e.route.Load()
			e.setRoute(r, t.limits)
			if !slices.Equal(was.Hosts, r.Hosts) || was.State != r.State {
				edit()
			}
			if (was.Serial != r.Serial || was.SRV != r.SRV) && r.SRV != "" {
				resolve = append(resolve, e)
			}
		}
	}
	if rebuild {
		t.index.Store(t.build(tenants, old))
	}
	return resolve
}

func (e *entry) setRoute(r *Route, limits Limits) {
	e.setLimits(r.Limits.or(limits))
	e.keyHeader.Store(&[]string{r.EdgeKey})
	e.assets.Store(nextAssets(e.assets.Load(), r))
	if r.SRV == "" {
		e.instances.Store(nil)
	}
	e.route.Store(r)
}

// build gives each host to its owner.
func (t *table) build(tenants map[string]*entry, old *index) *index {
	x := &index{tenants: tenants, hosts: make(map[string]*entry, len(tenants)), refused: map[string]string{}}
	names := slices.Sorted(maps.Keys(tenants))
	// Those that serve choose first: one that is gone keeps no host from another.
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Compare(tenants[a].notice(), tenants[b].notice())
	})
	for _, name := range names {
		e := tenants[name]
		for _, host := range e.route.Load().Hosts {
			owner, why := t.owner(host, e, x, old)
			if owner == e {
				x.hosts[host] = e
				continue
			}
			key := host + " " + name
			x.refused[key] = why
			if _, known := old.refused[key]; !known {
				t.log.Warn("host refused", "tenant", name, "host", host, "why", why)
			}
		}
	}
	return x
}

// owner returns the tenant that gets host, which e asks for, or nil and the
// reason why it is not e.
func (t *table) owner(host string, e *entry, x, old *index) (*entry, string) {
	if strings.HasSuffix("."+host, t.domain) && host != e.tenant+t.domain {
		return nil, "is the platform's: a tenant has its own name there"
	}
	if had := old.hosts[host]; had != nil && had != e && !had.gone.Load() && had.notice() <= e.notice() &&
		slices.Contains(had.route.Load().Hosts, host) {
		return nil, "belongs to tenant " + had.tenant
	}
	if first := x.hosts[host]; first != nil && first != e {
		return nil, "belongs to tenant " + first.tenant
	}
	return e, ""
}

// notice is 1 if the tenant's route only says that it is gone, else 0.
func (e *entry) notice() int {
	if e.route.Load().State == Gone {
		return 1
	}
	return 0
}

// size returns the number of tenants and of ready instances.
func (t *table) size() (tenants, ready int) {
	x := t.index.Load()
	for _, e := range x.tenants {
		if s := e.instances.Load(); s != nil {
			ready += len(s.all)
		}
	}
	return len(x.tenants), ready
}
