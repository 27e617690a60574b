package main

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/gitopsd/gitopsd/internal/git"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// migrations finds what a plan's step would change in a tenant's database.
type migrations struct{ mirror *git.Mirror }

var _ review.Migrations = migrations{}

func (m migrations) Migrations(_ context.Context, from, to string, s plan.Step) ([]review.Migration, error) {
	before := lastApplied(s)
	if before != nil && s.Applied.Deleted {
		from = s.Applied.Commit // what came after no longer had it
	}
	was, err := m.app(from, before)
	if err != nil {
		return nil, err
	}
	found, err := compareMigrations(before, s.Desired.Tenant, was, m.mirror.FS(to))
	if err != nil {
		return nil, fmt.Errorf("compare migrations: %w", err)
	}
	shown := make([]review.Migration, len(found))
	for i, f := range found {
		shown[i] = review.Migration{Name: f.Name, SQL: f.SQL, Verdict: string(f.Verdict), Why: f.Why}
	}
	return shown, nil
}

// app returns the source of a tenant's app at a commit, nothing if it has none
// in the repository.
func (m migrations) app(commit string, t *tenant.Tenant) (fs.FS, error) {
	if t == nil || t.App.Path == "" || commit == "" {
		return nothing{}, nil
	}
	app, err := fs.Sub(m.mirror.FS(commit), t.App.Path)
	if err != nil {
		return nil, fmt.Errorf("find the app of %s: %w", t.Name, err)
	}
	return app, nil
}
