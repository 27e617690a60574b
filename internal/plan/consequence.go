package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/tenant"
)

// Consequence is one thing that carrying a step out would bring about.
type Consequence struct {
	Field  string `json:"field,omitempty"` // dotted as in Changes, or above such fields; "" for the tenant as a whole
	From   string `json:"from,omitempty"`  // values, for people, at most maxValue characters
	To     string `json:"to,omitempty"`
	Effect Effect `json:"effect"`
	Text   string `json:"text"` // plain sentences; names and values in them come from tenant files
}

// Effect is the kind of a consequence.
type Effect string

// The effects, the most severe first.
const (
	DataLoss       Effect = "data-loss"      // data is destroyed
	Downtime       Effect = "downtime"       // something that answers stops answering
	Breaking       Effect = "breaking"       // something that people or programs may rely on changes or goes
	Action         Effect = "action"         // somebody has to do something, or it does not work
	NewCertificate Effect = "certificate"    // a host name gets a certificate
	Cost           Effect = "cost"           // more, or less, to pay for
	Infrastructure Effect = "infrastructure" // something is made or resized
	Restart        Effect = "restart"        // the app restarts, without dropping a request
	Note           Effect = "note"           // worth knowing
)

// Effects returns every effect, the most severe first.
func Effects() []Effect {
	return []Effect{DataLoss, Downtime, Breaking, Action, NewCertificate, Cost, Infrastructure, Restart, Note}
}

// Severity returns 0 for the most severe effect, and more for lesser ones.
func (e Effect) Severity() int {
	if i := slices.Index(Effects(), e); i >= 0 {
		return i
	}
	return len(Effects())
}

// Consequences says what carrying the step out would bring about, the most
// severe first, then by field. domain is the platform's, under which every
// tenant has a host. A step that does nothing, or that is refused, has none,
// but for a suspended tenant: its changes wait.
func Consequences(s Step, domain string) []Consequence {
	all := consequences(s, strings.Trim(domain, "."))
	slices.SortStableFunc(all, func(a, b Consequence) int {
		return cmp.Or(cmp.Compare(a.Effect.Severity(), b.Effect.Severity()), cmp.Compare(a.Field, b.Field))
	})
	return all
}

func consequences(s Step, domain string) []Consequence {
	var to *tenant.Tenant
	if s.Desired != nil {
		to = s.Desired.Tenant
	}
	switch {
	case s.Failure != nil:
		return nil
	case s.Operation == Deprovision:
		return departure(s, domain)
	case s.Operation == Purge:
		return []Consequence{{Effect: DataLoss, To: "destroyed", Text: "The grace period is over: " + belongings + " are destroyed. The snapshot stays."}}
	case s.Operation == Restore:
		return []Consequence{
			{Effect: DataLoss, To: "replaced", Text: "Its rows and keys are replaced by the snapshot's. A snapshot of what is there is taken first."},
			{Effect: Downtime, Text: s.Tenant + "." + domain + " does not answer until they are."},
		}
	case to == nil:
		return nil
	case to.Suspend:
		return suspension(s, to)
	case s.Operation == "":
		return nil
	case s.Restores:
		if s.Applied.PurgeAfter.IsZero() && graceOf(s) <= 0 {
			return append(arrival(to, domain), Consequence{
				From: "deleted", To: "empty", Effect: DataLoss, Text: "The tenant was deleted without a grace period: it starts empty.",
			})
		}
		return append(comeback(s), changed(s, domain)...)
	case s.Operation == Provision:
		return arrival(to, domain)
	}
	return changed(s, domain)
}

// belongings are what a tenant has that is not in the repository.
const belongings = "its database with every row, its cache keys, its releases and the values of its secrets"

// graceOf is how long the data of a deleted tenant is kept.
func graceOf(s Step) time.Duration {
	if s.Applied == nil || s.Applied.Tenant == nil {
		return 0
	}
	return s.Applied.Tenant.Deletion.Grace
}

// departure says what a deletion takes, and until when it can be undone.
func departure(s Step, domain string) []Consequence {
	hosts := []string{s.Tenant + "." + domain}
	if s.Applied != nil && s.Applied.Tenant != nil {
		for _, d := range s.Applied.Tenant.Domains {
			if d != hosts[0] {
				hosts = append(hosts, d)
			}
		}
	}
	out := []Consequence{{Effect: Downtime, Text: list(hosts, 5) + verb(len(hosts), " stops", " stop") + " answering."}}
	grace := graceOf(s)
	if grace <= 0 {
		return append(out, Consequence{
			Effect: DataLoss, To: "destroyed",
			Text: "There is no grace period: " + belongings + " are destroyed at once. A snapshot of rows and keys is taken first.",
		})
	}
	return append(out,
		Consequence{
			Effect: DataLoss, To: "destroyed after " + tenant.FormatDuration(grace),
			Text: tenant.FormatDuration(grace) + " after the app has stopped, " + belongings + " are destroyed. A snapshot of rows and keys is taken first.",
		},
		Consequence{Effect: Note, Text: "Until then, putting the file back restores the tenant with all of it."},
	)
}

// comeback says until when the data of a deleted tenant is there.
func comeback(s Step) []Consequence {
	c := Consequence{From: "deleted", To: "restored", Effect: Infrastructure}
	if at := s.Applied.PurgeAfter; at.IsZero() {
		c.Text = "The deletion has not come to its end: the tenant comes back with its rows, keys and releases."
	} else {
		c.Text = "The tenant comes back with its rows, keys and releases if this is merged before " + at.UTC().Format("2006-01-02 15:04 UTC") + ". Later it starts empty."
	}
	return []Consequence{c}
}

// suspension says that nothing happens, and what would.
func suspension(s Step, to *tenant.Tenant) []Consequence {
	var out []Consequence
	var waiting []string
	for _, f := range s.Changes {
		if f != "suspend" {
			waiting = append(waiting, f)
		}
	}
	switch {
	case s.Applied == nil || s.Applied.Tenant == nil:
		out = append(out, Consequence{Field: "suspend", To: "true", Effect: Note, Text: "Nothing is made until suspend is false."})
	case !s.Applied.Tenant.Suspend:
		out = append(out, Consequence{
			Field: "suspend", From: "false", To: "true", Effect: Note,
			Text: "Nothing of it is reconciled until suspend is false. What runs keeps running.",
		})
	}
	if n := len(waiting); n > 0 {
		out = append(out, Consequence{
			Effect: Note, Text: fmt.Sprintf("%s until suspend is false: %s.", verb(n, "This change waits", "These changes wait"), list(waiting, 8)),
		})
	}
	return out
}

// arrival says what is made for a new tenant, and what it needs.
func arrival(t *tenant.Tenant, domain string) []Consequence {
	host := t.Name + "." + domain
	out := []Consequence{
		{To: host, Effect: Infrastructure, Text: "The app gets the host " + host + "."},
		sizes(t),
	}
	out = append(out, newDomains(t, domain, t.Domains)...)
	out = append(out, newSecrets(t, t.App.Secrets, "the app does not start")...)
	if t.Database.Enabled {
		out = append(out, Consequence{
			Field: "database.enabled", To: "true", Effect: Infrastructure,
			Text: fmt.Sprintf("A database is made, with a role that may hold %s.", count(t.Database.Connections, "connection")),
		})
		if t.Database.Seed != "" {
			out = append(out, Consequence{
				Field: "database.seed", To: short(t.Database.Seed), Effect: Note, Text: "It is filled from " + short(t.Database.Seed) + ", once.",
			})
		}
	} else {
		out = append(out, withoutDatabase(t)...)
	}
	if t.Cache.Enabled {
		out = append(out, Consequence{
			Field: "cache.enabled", To: "true", Effect: Infrastructure,
			Text: "A cache user is made, for keys that begin with " + t.Name + ":.",
		})
	}
	for _, part := range isolations() {
		if part.of(t) == tenant.Dedicated {
			out = append(out, Consequence{
				Field: part.field, To: string(tenant.Dedicated), Effect: Cost,
				Text: "Asks for " + part.own + " of its own, paid for alone.",
			})
		}
	}
	if t.App.Git != nil {
		out = append(out, unseen(t))
	}
	if t.Deletion.Grace <= 0 && !t.Deletion.Protect {
		out = append(out, graceless())
	}
	return out
}

// changed says what a change of an applied tenant brings about.
func changed(s Step, domain string) []Consequence {
	d := difference{to: s.Desired.Tenant, domain: domain, fields: s.Changes}
	if s.Applied != nil {
		d.from = s.Applied.Tenant
	}
	if d.from == nil {
		return nil // what it was before is not known
	}
	var out []Consequence
	said := map[string]bool{}
	for _, field := range s.Changes {
		r, known := ruleOf(field)
		if !known {
			out = append(out, Consequence{Field: field, Effect: Note, Text: field + " changes."})
			continue
		}
		if said[r.name] {
			continue // one rule may speak for several fields
		}
		said[r.name] = true
		out = append(out, r.say(d)...)
	}
	if c, ok := restart(s, d); ok {
		out = append(out, c)
	}
	return out
}

// restart says whether and why the app restarts.
func restart(s Step, d difference) (Consequence, bool) {
	c := Consequence{Field: "app", Effect: Restart}
	const how = "the app restarts by hot swap, and no request is dropped."
	switch {
	case s.Restores, s.Applied.DoneApp == "":
		return c, false // nothing runs
	case d.has("app."):
		c.Text = "T" + how[1:]
	case s.Operation == Deploy && s.Applied.Failing:
		c.Text = "The last run failed and is tried again: " + how
	case s.Desired.App != s.Applied.DoneApp:
		c.Text = "The code changed: " + how
	case d.has("database.enabled"), d.has("cache.enabled"):
		c.Text = "Its environment changes: " + how
	default:
		return c, false
	}
	return c, true
}
