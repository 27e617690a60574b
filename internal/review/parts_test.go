package review_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	gosync "sync"

	"github.com/gitopsd/gitopsd/internal/build/migration"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// engine notes what it is told to start.
type engine struct {
	mu   gosync.Mutex
	runs []pipeline.Run
}

func (e *engine) Start(_ context.Context, run pipeline.Run) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.runs = append(e.runs, run)
	return nil
}

func (e *engine) started() []pipeline.Run {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.runs)
}

func (e *engine) take() []pipeline.Run {
	e.mu.Lock()
	defer e.mu.Unlock()
	runs := e.runs
	e.runs = nil
	return runs
}

// source shows the mirror to the loop of the branch.
type source struct{ *git.Mirror }

func (s source) FS(commit string) fs.FS { return s.Mirror.FS(commit) }

func (s source) Signed(_ context.Context, sha string) (sync.SignedCommit, error) {
	payload, signature, err := s.Mirror.Signed(sha)
	return sync.SignedCommit{SHA: sha, Payload: payload, Signature: signature}, err
}

func (s source) Changed(ctx context.Context, from, to string, paths []string) ([]string, error) {
	changes, err := s.Mirror.Changed(ctx, from, to, paths)
	files := make([]string, len(changes))
	for i, c := range changes {
		files[i] = c.Path
	}
	return files, err
}

func (s source) Commits(ctx context.Context, from, to string, limit int) ([]sync.Commit, error) {
	found, err := s.Mirror.Commits(ctx, from, to, limit)
	commits := make([]sync.Commit, len(found))
	for i, c := range found {
		commits[i] = sync.Commit{SHA: c.SHA, Subject: c.Subject, Author: c.Author, When: c.When}
	}
	return commits, err
}

// pulls shows the mirror to reviews.
type pulls struct{ *git.Mirror }

func (p pulls) Obtain(ctx context.Context, wanted []review.Wanted) error {
	all := make([]git.Wanted, len(wanted))
	for i, w := range wanted {
		all[i] = git.Wanted{Ref: w.Ref, SHA: w.SHA}
	}
	failed, err := p.ObtainAll(ctx, all)
	errs := []error{err}
	for sha, err := range failed {
		if !fault.Is(err, fault.NotFound) {
			errs = append(errs, fmt.Errorf("commit %s: %w", sha, err))
		}
	}
	return errors.Join(errs...)
}

func (p pulls) Has(_ context.Context, sha string) (bool, error) {
	_, err := p.Commit(sha)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}

func (p pulls) Merge(ctx context.Context, base, head string) (review.Merged, error) {
	m, err := p.Mirror.Merge(ctx, base, head)
	return review.Merged{SHA: m.SHA, Base: m.Base, Conflicts: m.Conflicts}, err
}

// designs are apps without source.
type designs struct{}

func (designs) Sources(context.Context, string, *tenant.Tenant) ([]string, string, error) {
	return nil, "", nil
}

// migrations are those of designs.
type migrations struct{}

func (migrations) Migrations(_ context.Context, _, _ string, s plan.Step) ([]review.Migration, error) {
	var before *tenant.Design
	if s.Applied != nil && !s.Applied.Deleted {
		before = s.Applied.Tenant.App.Design
	}
	found, err := migration.DiffDesign(before, s.Desired.Tenant.App.Design)
	var all []review.Migration
	for _, m := range found {
		all = append(all, review.Migration{Name: m.Name, SQL: m.SQL, Verdict: string(m.Verdict), Why: m.Why})
	}
	return all, err
}

var (
	_ review.Source     = pulls{}
	_ review.Migrations = migrations{}
	_ sync.Source       = source{}
)
