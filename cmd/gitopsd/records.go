package main

import (
	"context"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/postgres"
)

// records shows the ledger to the console in the console's own words.
type records struct{ *postgres.Ledger }

var _ console.Ledger = records{}

// Tenants returns every tenant, by name.
func (r records) Tenants(ctx context.Context) ([]console.Record, error) {
	found, err := r.Ledger.Tenants(ctx, postgres.Filter{})
	if err != nil {
		return nil, err
	}
	all := make([]console.Record, len(found))
	for i, t := range found {
		all[i] = record(t)
	}
	return all, nil
}

// Tenant returns one tenant; fault.NotFound if there is none.
func (r records) Tenant(ctx context.Context, name string) (console.Record, error) {
	t, err := r.Ledger.Tenant(ctx, name)
	return record(t), err
}

func record(t postgres.TenantRecord) console.Record {
	return console.Record{
		Applied: t.Applied, Name: t.Name, Phase: console.Phase(t.Phase),
		Accepted: t.Accepted, Deployed: t.Deployed, Run: t.Run, Pull: t.Pull,
	}
}

// Refusals returns what was refused since what is accepted, by tenant.
func (r records) Refusals(ctx context.Context, names []string) (map[string]console.Refusal, error) {
	found, err := r.Ledger.Refusals(ctx, names)
	if err != nil {
		return nil, err
	}
	all := make(map[string]console.Refusal, len(found))
	for name, f := range found {
		all[name] = console.Refusal{Commit: f.Commit, Failure: f.Item.Failure, Problems: f.Item.Problems}
	}
	return all, nil
}

// Commits returns the last commits, newest first.
func (r records) Commits(ctx context.Context, limit int) ([]console.Listed, error) {
	found, err := r.Ledger.Commits(ctx, limit)
	if err != nil {
		return nil, err
	}
	list := make([]console.Listed, len(found))
	for i, c := range found {
		list[i] = console.Listed{Commit: c.Commit, Hold: c.Hold, SupersededBy: c.SupersededBy, Items: c.Items, Status: c.Status}
	}
	return list, nil
}
