package postgres

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
)

// appliedColumns are what scanApplied reads, of a table named t.
const appliedColumns = `t.name, t.spec, t.commit, t.infra, t.app, t.sources, t.done_infra, t.done_app, t.release,
	t.deleted, t.purge_after, t.failing`

func appliedTargets(name *string, a *plan.Applied, purge **time.Time) []any {
	return []any{
		name, &a.Tenant, &a.Commit, &a.Infra, &a.App, &a.Sources, &a.DoneInfra, &a.DoneApp, &a.Release,
		&a.Deleted, purge, &a.Failing,
	}
}

// Applied returns what is recorded of the named tenants, or of all if names is
// nil. Unknown names are absent, and so are previews', which no commit knows.
func (l *Ledger) Applied(ctx context.Context, names []string) (map[string]plan.Applied, error) {
	if names == nil {
		return l.applied(ctx, `WHERE t.pull IS NULL`)
	}
	return l.applied(ctx, `WHERE t.name = ANY($1) AND t.pull IS NULL`, names)
}

func (l *Ledger) applied(ctx context.Context, where string, args ...any) (map[string]plan.Applied, error) {
	rows, err := l.pool.Query(ctx, `SELECT EXISTS (SELECT FROM gitopsd.runs r WHERE r.tenant = t.name
		AND r.status IN ('queued', 'running')), `+appliedColumns+` FROM gitopsd.tenants t `+where, args...)
	if err != nil {
		return nil, failure("read applied tenants", err)
	}
	defer rows.Close()
	all := map[string]plan.Applied{}
	for rows.Next() {
		var name string
		var a plan.Applied
		var purge *time.Time
		if err := rows.Scan(append([]any{&a.InProgress}, appliedTargets(&name, &a, &purge)...)...); err != nil {
			return nil, failure("read applied tenants", err)
		}
		a.PurgeAfter = orZero(purge)
		all[name] = a
	}
	return all, failure("read applied tenants", rows.Err())
}

// Live counts the tenants that are not deleted, without previews.
func (l *Ledger) Live(ctx context.Context) (int, error) {
	var n int
	err := l.pool.QueryRow(ctx, `SELECT count(*) FROM gitopsd.tenants WHERE NOT deleted AND pull IS NULL`).Scan(&n)
	return n, failure("count tenants", err)
}

// Phase is where a tenant is, in one word.
type Phase string

// The phases of a tenant.
const (
	Pending        Phase = "Pending"        // accepted; its run waits
	Provisioning   Phase = "Provisioning"   // infrastructure is being made
	Deploying      Phase = "Deploying"      // the app is being built or swapped
	Ready          Phase = "Ready"          // what was accepted last is real
	Failed         Phase = "Failed"         // its last run failed; what was real before still is
	Suspended      Phase = "Suspended"      // nothing is reconciled
	Draining       Phase = "Draining"       // on the way out, its data kept
	Stopped        Phase = "Stopped"        // out; its data is kept until the grace period is over
	Deprovisioning Phase = "Deprovisioning" // its data is being taken away
)

// TenantRecord is a tenant as the ledger knows it.
type TenantRecord struct {
	Name        string    `json:"name"`
	Phase       Phase     `json:"phase"`
	Accepted    time.Time `json:"accepted"`             // its file changed last
	Provisioned time.Time `json:"provisioned,omitzero"` // its infrastructure was last made real
	Deployed    time.Time `json:"deployed,omitzero"`    // its app was
	Pull        int       `json:"pull,omitempty"`       // of a preview
	plan.Applied
	Run *pipeline.Run `json:"run,omitempty"` // that is running, else queued, else ended last; without its spec
}

// Filter selects tenants. The zero Filter selects all.
type Filter struct {
	Names  []string          // any of them
	Labels map[string]string // all of them
	Phase  Phase
}

// Tenants returns the tenants that the filter selects, by name.
func (l *Ledger) Tenants(ctx context.Context, f Filter) ([]TenantRecord, error) {
	var labels *string
	if len(f.Labels) > 0 {
		doc, err := encode(f.Labels)
		if err != nil {
			return nil, fault.Errorf(fault.Invalid, "list tenants: %w", err)
		}
		labels = &doc
	}
	rows, err := l.pool.Query(ctx, `SELECT `+appliedColumns+`, t.accepted, t.provisioned, t.deployed, coalesce(t.pull, 0),
			r.id, r.commit, r.operation, r.status, r.state, r.failure, r.release, r.queued, r.started, r.finished
		FROM gitopsd.tenants t LEFT JOIN LATERAL (
			(SELECT 0 AS rank, * FROM gitopsd.runs a WHERE a.tenant = t.name AND a.status = 'running')
			UNION ALL
			(SELECT 1, * FROM gitopsd.runs a WHERE a.tenant = t.name AND a.status = 'queued'
				AND a.status IN ('queued', 'running') ORDER BY seq LIMIT 1)
			UNION ALL
			(SELECT 2, * FROM gitopsd.runs a WHERE a.tenant = t.name AND a.status IN ('succeeded', 'failed') ORDER BY seq DESC LIMIT 1)
			ORDER BY rank LIMIT 1) r ON true
		WHERE ($1::text[] IS NULL OR t.name = ANY($1)) AND ($2::jsonb IS NULL OR t.spec->'labels' @> $2::jsonb)
		ORDER BY t.name`, f.Names, labels)
	if err != nil {
		return nil, failure("list tenants", err)
	}
	defer rows.Close()
	var all []TenantRecord
	for rows.Next() {
		r, err := scanTenant(rows)
		if err != nil {
			return nil, failure("list tenants", err)
		}
		if f.Phase == "" || r.Phase == f.Phase {
			all = append(all, r)
		}
	}
	return all, failure("list tenants", rows.Err())
}

// Tenant returns the named tenant; fault.NotFound if there is none.
func (l *Ledger) Tenant(ctx context.Context, name string) (TenantRecord, error) {
	found, err := l.Tenants(ctx, Filter{Names: []string{clean(name)}})
	if err != nil {
		return TenantRecord{}, err
	}
	if len(found) == 0 {
		return TenantRecord{}, fault.Errorf(fault.NotFound, "there is no tenant %s", name)
	}
	return found[0], nil
}

func scanTenant(rows pgx.Rows) (TenantRecord, error) {
	var t TenantRecord
	var purge, provisioned, deployed, queued, started, finished *time.Time
	var id, commit, operation, status, state, release *string
	var run pipeline.Run
	err := rows.Scan(append(appliedTargets(&t.Name, &t.Applied, &purge), &t.Accepted, &provisioned, &deployed, &t.Pull,
		&id, &commit, &operation, &status, &state, &run.Failure, &release, &queued, &started, &finished)...)
	if err != nil {
		return t, err
	}
	t.PurgeAfter, t.Provisioned, t.Deployed = orZero(purge), orZero(provisioned), orZero(deployed)
	if id != nil {
		run.ID, run.Tenant, run.Commit, run.Release = *id, t.Name, *commit, *release
		run.Operation, run.Status, run.State = plan.Operation(*operation), pipeline.Status(*status), *state
		run.Queued, run.Started, run.Finished = orZero(queued), orZero(started), orZero(finished)
		t.Run, t.InProgress = &run, !run.Status.Terminal()
	}
	t.Phase = phase(t)
	return t, nil
}

// phase derives in one word where a tenant is.
func phase(t TenantRecord) Phase {
	running := t.Run != nil && t.Run.Status == pipeline.Running
	switch {
	case running && t.Run.Operation == plan.Purge:
		return Deprovisioning
	case running && t.Run.Operation == plan.Deprovision:
		return Draining
	case running && (t.Run.Operation == plan.Deploy || strings.HasPrefix(t.Run.State, "Deploy/")):
		return Deploying
	case running:
		return Provisioning
	case t.InProgress && t.Run.Operation == plan.Purge:
		return Stopped
	case t.InProgress && t.Run.Operation == plan.Deprovision:
		return Draining
	case t.InProgress:
		return Pending
	case t.Failing:
		return Failed
	case t.Deleted && t.PurgeAfter.IsZero():
		return Draining
	case t.Deleted:
		return Stopped
	case t.Applied.Tenant != nil && t.Applied.Tenant.Suspend:
		return Suspended
	case t.DoneInfra == t.Infra && t.DoneApp == t.App:
		return Ready
	default:
		return Pending
	}
}
