package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gitopsd/gitopsd/internal/tenant"
)

// allowSpec is what tenants may ask for; nil stands for anything.
type allowSpec struct {
	Sources   []string
	Domains   []string
	Compute   struct{ CPU, Memory, Instances *int }
	Isolation []string
	Database  struct{ Connections *int }
	Secrets   []string
}

// limit is one thing that every tenant is held to.
type limit struct {
	place string                        // in the policy
	check func(t *tenant.Tenant) string // what is wrong and what is allowed, or ""
}

func (l *loader) limits(labels []string, a *allowSpec) []limit {
	var all []limit
	add := func(check func(*tenant.Tenant) string, path ...string) {
		all = append(all, limit{l.place(append([]string{"spec"}, path...)...), check})
	}
	if len(labels) > 0 {
		add(lackingLabels(labels), "require", "labels")
	}
	if a.Sources != nil {
		add(otherSource(a.Sources), "allow", "sources")
	}
	if a.Domains != nil {
		add(notIn("spec.domains lists", a.Domains, newPatterns(".", a.Domains...),
			func(t *tenant.Tenant) []string { return t.Domains }), "allow", "domains")
	}
	if a.Secrets != nil {
		add(notIn("spec.app.secrets lists", a.Secrets, newPatterns("", a.Secrets...),
			func(t *tenant.Tenant) []string { return t.App.Secrets }), "allow", "secrets")
	}
	if a.Isolation != nil {
		for _, part := range []struct {
			name string
			of   func(t *tenant.Tenant) tenant.Sharing
		}{
			{"compute", func(t *tenant.Tenant) tenant.Sharing { return t.Isolation.Compute }},
			{"database", func(t *tenant.Tenant) tenant.Sharing { return t.Isolation.Database }},
			{"cache", func(t *tenant.Tenant) tenant.Sharing { return t.Isolation.Cache }},
			{"edge", func(t *tenant.Tenant) tenant.Sharing { return t.Isolation.EdgeSharing() }},
		} {
			add(otherIsolation("spec.isolation."+part.name, a.Isolation, part.of), "allow", "isolation")
		}
	}
	return append(all, l.sizes(a)...)
}

// sizes are the limits of what is counted.
func (l *loader) sizes(a *allowSpec) []limit {
	var all []limit
	for _, m := range []struct {
		most  *int
		field string // of the tenant
		of    func(t *tenant.Tenant) int
		path  []string // in the policy
	}{
		{a.Compute.CPU, "spec.compute.cpu", func(t *tenant.Tenant) int { return t.Compute.CPU }, []string{"compute", "cpu"}},
		{a.Compute.Memory, "spec.compute.memory", func(t *tenant.Tenant) int { return t.Compute.Memory }, []string{"compute", "memory"}},
		{a.Compute.Instances, "spec.compute.scale.max", func(t *tenant.Tenant) int { return t.Compute.Scale.Max }, []string{"compute", "instances"}},
		{a.Database.Connections, "spec.database.connections", connections, []string{"database", "connections"}},
	} {
		if m.most != nil {
			place := l.place(append([]string{"spec", "allow"}, m.path...)...)
			all = append(all, limit{place, above(m.field, *m.most, m.of)})
		}
	}
	return all
}

// connections returns how many a tenant may hold: none without a database.
func connections(t *tenant.Tenant) int {
	if !t.Database.Enabled {
		return 0
	}
	return t.Database.Connections
}

func above(field string, most int, of func(*tenant.Tenant) int) func(*tenant.Tenant) string {
	return func(t *tenant.Tenant) string {
		if n := of(t); n > most {
			return fmt.Sprintf("%s is %d, at most %d is allowed", field, n, most)
		}
		return ""
	}
}

func lackingLabels(labels []string) func(*tenant.Tenant) string {
	return func(t *tenant.Tenant) string {
		var lacking []string
		for _, label := range labels {
			if t.Labels[label] == "" {
				lacking = append(lacking, label)
			}
		}
		if len(lacking) == 0 {
			return ""
		}
		return fmt.Sprintf("metadata.labels lacks %s, which every tenant must have", listed(lacking))
	}
}

func otherIsolation(field string, allowed []string, of func(*tenant.Tenant) tenant.Sharing) func(*tenant.Tenant) string {
	return func(t *tenant.Tenant) string {
		if has := string(of(t)); !slices.Contains(allowed, has) {
			return fmt.Sprintf("%s is %s, allowed is %s", field, has, listed(allowed))
		}
		return ""
	}
}

// notIn refuses the names that no pattern matches.
func notIn(lists string, allowed []string, patterns patterns, of func(*tenant.Tenant) []string) func(*tenant.Tenant) string {
	return func(t *tenant.Tenant) string {
		var others []string
		for _, name := range of(t) {
			if !patterns.match(name) {
				others = append(others, name)
			}
		}
		if len(others) == 0 {
			return ""
		}
		return fmt.Sprintf("%s %s, %s", lists, listed(others), allowedAre(allowed))
	}
}

func allowedAre(allowed []string) string {
	switch len(allowed) {
	case 0:
		return "none is allowed"
	case 1:
		return "allowed is " + allowed[0]
	}
	return "allowed are " + listed(allowed)
}

// otherSource refuses an app that is built from something else.
func otherSource(allowed []string) func(*tenant.Tenant) string {
	var directories, addresses []string
	for _, source := range allowed {
		if directory, ok := strings.CutPrefix(source, "path:"); ok {
			directories = append(directories, directory)
		} else if address, ok := strings.CutPrefix(source, "git:"); ok {
			addresses = append(addresses, lowerHost(address))
		}
	}
	paths, gits := newPatterns("/", directories...), newPatterns("/", addresses...)
	return func(t *tenant.Tenant) string {
		var says string
		switch app := t.App; {
		case app.Git != nil && (!plainAddress(app.Git.URL) || !gits.match(lowerHost(app.Git.URL))):
			says = "spec.app.git.url is " + app.Git.URL
		case app.Path != "" && !paths.match(app.Path):
			says = "spec.app.path is " + app.Path
		case app.Design != nil && !slices.Contains(allowed, "design"):
			says = "spec.app is a design"
		default:
			return ""
		}
		return says + ", " + allowedAre(allowed)
	}
}
