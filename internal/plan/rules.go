package plan

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gitopsd/gitopsd/internal/tenant"
)

// difference is a tenant before and after.
type difference struct {
	from, to *tenant.Tenant
	domain   string
	fields   []string // that differ
}

// has reports whether a field of this name, or beginning with it, differs.
func (d difference) has(prefix string) bool {
	return slices.ContainsFunc(d.fields, func(f string) bool { return strings.HasPrefix(f, prefix) })
}

// rule knows what the change of some fields brings about.
type rule struct {
	name   string
	fields []string // names, or beginnings that end in a dot
	say    func(difference) []Consequence
}

// rules has a rule for every field of a tenant that can change. A test holds it
// against the model.
func rules() []rule {
	return []rule{
		{"labels", []string{"labels."}, labels},
		{"suspend", []string{"suspend"}, resumed},
		{"source", []string{"app.design.", "app.path", "app.git."}, source},
		{"env", []string{"app.env."}, environment},
		{"secrets", []string{"app.secrets"}, secrets},
		{"health", []string{"app.health"}, health},
		{"domains", []string{"domains"}, domains},
		{"compute", []string{"compute.cpu", "compute.memory", "compute.scale.min", "compute.scale.max"}, resized},
		{"targetCPU", []string{"compute.scale.targetCPU"}, targetCPU},
		{"idleAfter", []string{"compute.idleAfter"}, idleAfter},
		{"isolation", []string{"isolation."}, isolation},
		{"database", []string{"database.enabled"}, database},
		{"connections", []string{"database.connections"}, connections},
		{"seed", []string{"database.seed"}, seed},
		{"cache", []string{"cache.enabled"}, cache},
		{"protect", []string{"deletion.protect"}, protect},
		{"grace", []string{"deletion.grace"}, grace},
	}
}

func ruleOf(field string) (rule, bool) {
	for _, r := range rules() {
		for _, f := range r.fields {
			if field == f || strings.HasSuffix(f, ".") && strings.HasPrefix(field, f) {
				return r, true
			}
		}
	}
	return rule{}, false
}

func labels(d difference) []Consequence {
	return []Consequence{{
		Field: "labels", Effect: Note,
		Text: "Labels: " + edits(d.from.Labels, d.to.Labels, true) + ". Nothing restarts.",
	}}
}

// edits says what is set, changed and removed, with values or without.
func edits(from, to map[string]string, values bool) string {
	keys := maps.Clone(from)
	if keys == nil {
		keys = map[string]string{}
	}
	maps.Copy(keys, to)
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		old, was := from[k]
		now, is := to[k]
		switch {
		case !is:
			parts = append(parts, k+" is removed")
		case !was && values:
			parts = append(parts, k+" is set to "+short(now))
		case !was:
			parts = append(parts, k+" is set")
		case old != now && values:
			parts = append(parts, k+" changes from "+short(old)+" to "+short(now))
		case old != now:
			parts = append(parts, k+" changes")
		}
	}
	return list(parts, 8)
}

func resumed(d difference) []Consequence {
	return []Consequence{{
		Field: "suspend", From: strconv.FormatBool(d.from.Suspend), To: strconv.FormatBool(d.to.Suspend), Effect: Note,
		Text: "The tenant is reconciled again: what changed while it was suspended takes effect now, too.",
	}}
}

// environment names the variables only: a value may be long, or a credential
// that somebody put into the wrong place.
func environment(d difference) []Consequence {
	return []Consequence{{
		Field: "app.env", Effect: Note, Text: "Environment: " + edits(d.from.App.Env, d.to.App.Env, false) + ".",
	}}
}

func secrets(d difference) []Consequence {
	added, removed := sets(d.from.App.Secrets, d.to.App.Secrets)
	out := newSecrets(d.to, added, "the deploy fails and the release before it keeps serving")
	if len(removed) > 0 {
		out = append(out, Consequence{
			Field: "app.secrets", From: short(list(removed, 5)), Effect: Note,
			Text: fmt.Sprintf("The app no longer asks for %s. What is in the secret store stays there.", list(removed, 5)),
		})
	}
	if len(added)+len(removed) == 0 {
		out = append(out, Consequence{Field: "app.secrets", Effect: Note, Text: "The names of the secrets are in another order."})
	}
	return out
}

// newSecrets says which secrets have to have a value, and what happens if not.
func newSecrets(t *tenant.Tenant, names []string, otherwise string) []Consequence {
	if len(names) == 0 {
		return nil
	}
	return []Consequence{{
		Field: "app.secrets", To: short(list(names, 5)), Effect: Action,
		Text: fmt.Sprintf("%s %s a value first, or %s: gitopsd secret set %s %s",
			list(names, 5), verb(len(names), "needs", "need"), otherwise, t.Name, verb(len(names), names[0], "<name>")),
	}}
}

// sets returns what is only in the second list, and what is only in the first.
func sets(from, to []string) (added, removed []string) {
	for _, s := range to {
		if !slices.Contains(from, s) {
			added = append(added, s)
		}
	}
	for _, s := range from {
		if !slices.Contains(to, s) {
			removed = append(removed, s)
		}
	}
	return added, removed
}

func health(d difference) []Consequence {
	from, to := d.from.App.Health, d.to.App.Health
	return []Consequence{{
		Field: "app.health", From: short(from), To: short(to), Effect: Note,
		Text: "A release takes traffic once GET " + to + " answers 200.",
	}}
}

func domains(d difference) []Consequence {
	added, removed := sets(d.from.Domains, d.to.Domains)
	out := newDomains(d.to, d.domain, added)
	host := d.to.Name + "." + d.domain
	for _, name := range removed {
		if name == host {
			out = append(out, Consequence{Field: "domains", From: name, Effect: Note, Text: name + " goes on answering: every tenant has that host."})
			continue
		}
		text := name + " stops answering, and its certificate goes."
		if !below(name, host) {
			text += " Remove its DNS record, too: another tenant may take the name."
		}
		out = append(out, Consequence{Field: "domains", From: name, Effect: Downtime, Text: text})
	}
	if len(added)+len(removed) == 0 {
		out = append(out, Consequence{Field: "domains", Effect: Note, Text: "The domains are in another order."})
	}
	return out
}

// newDomains says what a new domain gets, and which DNS record its owner has to add.
func newDomains(t *tenant.Tenant, domain string, names []string) []Consequence {
	host := t.Name + "." + domain
	var out []Consequence
	for _, name := range names {
		switch {
		case name == host:
			out = append(out, Consequence{Field: "domains", To: name, Effect: Note, Text: name + " need not be listed: every tenant has that host."})
			continue
		case below(name, host):
			out = append(out, Consequence{Field: "domains", To: name, Effect: NewCertificate, Text: name + " gets a certificate."})
			continue
		}
		record := fmt.Sprintf("Add the DNS record %s CNAME %s.", name, host)
		if strings.Count(name, ".") == 1 {
			record = fmt.Sprintf("Point %s to %s with an ALIAS or ANAME record: a zone's own name cannot have a CNAME.", name, host)
		}
		out = append(out,
			Consequence{Field: "domains", To: name, Effect: Action, Text: record},
			Consequence{Field: "domains", To: name, Effect: NewCertificate, Text: name + " gets a certificate once its DNS record is there."})
	}
	return out
}

func below(name, host string) bool { return strings.HasSuffix(name, "."+host) }

func targetCPU(d difference) []Consequence {
	from, to := d.from.Compute.Scale.TargetCPU, d.to.Compute.Scale
	text := fmt.Sprintf("Instances are added and removed to keep %d %% CPU use.", to.TargetCPU)
	if to.Min == to.Max {
		text = "No effect while scale.min and scale.max are equal."
	}
	return []Consequence{{
		Field: "compute.scale.targetCPU", From: strconv.Itoa(from), To: strconv.Itoa(to.TargetCPU), Effect: Note, Text: text,
	}}
}

func idleAfter(d difference) []Consequence {
	from, to := d.from.Compute.IdleAfter, d.to.Compute.IdleAfter
	text := "The app is stopped after " + tenant.FormatDuration(to) + " without a request. The request that starts it again waits for that."
	if to == 0 {
		text = "The app is no longer stopped when nobody asks for it."
	}
	return []Consequence{{Field: "compute.idleAfter", From: tenant.FormatDuration(from), To: tenant.FormatDuration(to), Effect: Note, Text: text}}
}

// part is something that is shared with other tenants or the tenant's own.
type part struct {
	field, own, shared, moves string
	of                        func(*tenant.Tenant) tenant.Sharing
}

func isolations() []part {
	return []part{
		{
			"isolation.compute", "machines", "shared machines", "",
			func(t *tenant.Tenant) tenant.Sharing { return t.Isolation.Compute },
		},
		{
			"isolation.database", "a database server", "a shared database server", "Its rows have to move there.",
			func(t *tenant.Tenant) tenant.Sharing { return t.Isolation.Database },
		},
		{
			"isolation.cache", "a cache server", "a shared cache server", "Its keys have to move there.",
			func(t *tenant.Tenant) tenant.Sharing { return t.Isolation.Cache },
		},
		{
			"isolation.edge", "a CDN distribution", "a shared distribution", "It takes about a quarter of an hour to spread.",
			func(t *tenant.Tenant) tenant.Sharing { return t.Isolation.EdgeSharing() },
		},
	}
}

func isolation(d difference) []Consequence {
	var out []Consequence
	for _, p := range isolations() {
		from, to := p.of(d.from), p.of(d.to)
		if from == to {
			continue
		}
		text := "Asks for " + p.own + " of its own, paid for alone. "
		if to == tenant.Shared {
			text = "Gives " + p.own + " of its own up for " + p.shared + ". "
		}
		out = append(out, Consequence{
			Field: p.field, From: string(from), To: string(to), Effect: Cost, Text: strings.TrimSpace(text + p.moves),
		})
	}
	return out
}

func connections(d difference) []Consequence {
	from, to := d.from.Database.Connections, d.to.Database.Connections
	text := fmt.Sprintf("Its database role may hold %s.", count(to, "connection"))
	switch {
	case !d.to.Database.Enabled:
		text = "No effect while the tenant has no database."
	case to < from:
		text += " Those above it that are open stay open."
	}
	return []Consequence{{
		Field: "database.connections", From: strconv.Itoa(from), To: strconv.Itoa(to), Effect: Note, Text: text,
	}}
}

func seed(d difference) []Consequence {
	from, to := d.from.Database.Seed, d.to.Database.Seed
	text := "A database that is empty is filled from " + short(to) + ", once."
	if to == "" {
		text = "An empty database is no longer filled."
	}
	return []Consequence{{Field: "database.seed", From: short(from), To: short(to), Effect: Note, Text: text}}
}

func database(d difference) []Consequence {
	if d.to.Database.Enabled {
		return []Consequence{{
			Field: "database.enabled", From: "false", To: "true", Effect: Infrastructure,
			Text: fmt.Sprintf("The app gets DATABASE_URL, and a role that may hold %s. The database is new, unless it was switched off before: then its rows are there again.",
				count(d.to.Database.Connections, "connection")),
		}}
	}
	return append(withoutDatabase(d.to), Consequence{
		Field: "database.enabled", From: "true", To: "false", Effect: Breaking,
		Text: "The app no longer gets DATABASE_URL. The database and its rows are kept out of use, and are there again when it is enabled again. They are destroyed with the tenant.",
	})
}

// withoutDatabase says what a tenant without a database cannot deploy.
func withoutDatabase(t *tenant.Tenant) []Consequence {
	c := Consequence{Field: "database.enabled", Effect: Action, Text: "Without a database the deploy of a design fails: set database.enabled: true."}
	if t.App.Design == nil {
		c.Effect, c.Text = Note, "Without a database the deploy fails if the app has migrations."
	}
	return []Consequence{c}
}

func cache(d difference) []Consequence {
	if d.to.Cache.Enabled {
		return []Consequence{{
			Field: "cache.enabled", From: "false", To: "true", Effect: Infrastructure,
			Text: "The app gets REDIS_URL and REDIS_PREFIX. The user is new, unless it was switched off before: then its keys are there again.",
		}}
	}
	return []Consequence{{
		Field: "cache.enabled", From: "true", To: "false", Effect: Breaking,
		Text: "The app no longer gets REDIS_URL and REDIS_PREFIX. Its keys are kept out of use, and are destroyed with the tenant.",
	}}
}

func protect(d difference) []Consequence {
	text := "Deleting the file is refused from then on."
	if !d.to.Deletion.Protect {
		text = "The protection is lifted: a later commit may delete the file."
	}
	return []Consequence{{
		Field: "deletion.protect", From: strconv.FormatBool(d.from.Deletion.Protect), To: strconv.FormatBool(d.to.Deletion.Protect),
		Effect: Note, Text: text,
	}}
}

func grace(d difference) []Consequence {
	from, to := d.from.Deletion.Grace, d.to.Deletion.Grace
	c := Consequence{Effect: Note, Text: "After a deletion the data is kept for " + tenant.FormatDuration(to) + "."}
	if to <= 0 {
		c = graceless()
	}
	c.Field, c.From, c.To = "deletion.grace", tenant.FormatDuration(from), tenant.FormatDuration(to)
	return []Consequence{c}
}

// graceless is what a tenant without a grace period has to expect.
func graceless() Consequence {
	return Consequence{
		Field: "deletion.grace", To: "0", Effect: Note, Text: "A deletion destroys the data at once: there is no grace period.",
	}
}
