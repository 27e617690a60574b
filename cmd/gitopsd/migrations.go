package main

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/gitopsd/gitopsd/internal/build/migration"
	"github.com/gitopsd/gitopsd/internal/git"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// migrations finds what a plan's step would change in a tenant's database.
type migrations struct{ mirror *git.Mirror }

var _ review.Migrations = migrations{}

func (m migrations) Migrations(_ context.Context, from, to string, s plan.Step) ([]review.Migration, error) {
	after := s.Desired.Tenant
	var before *tenant.Tenant
	if s.Applied != nil && !s.Applied.Deleted {
		before = s.Applied.Tenant
	}
	var found []migration.Migration
	var err error
	switch {
	case after.App.Design != nil:
		var design *tenant.Design
		if before != nil {
			design = before.App.Design
		}
		found, err = migration.DiffDesign(design, after.App.Design)
	case after.App.Path != "":
		found, err = migration.Diff(m.app(from, before), m.app(to, after))
	}
	if err != nil {
		return nil, fmt.Errorf("compare migrations: %w", err)
	}
	shown := make([]review.Migration, len(found))
	for i, f := range found {
		shown[i] = review.Migration{Name: f.Name, SQL: f.SQL, Verdict: string(f.Verdict), Why: f.Why}
	}
	return shown, nil
}

// app returns the source of a tenant's app at a commit, nil if it has none here.
func (m migrations) app(commit string, t *tenant.Tenant) fs.FS {
	if t == nil || t.App.Path == "" || commit == "" {
		return nil
	}
	sub, err := fs.Sub(m.mirror.FS(commit), t.App.Path)
	if err != nil {
		return nil // a path that no file system takes was refused before
	}
	return sub
}
