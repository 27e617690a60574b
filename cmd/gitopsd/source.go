package main

import (
	"context"
	"io/fs"

	"github.com/gitopsd/gitopsd/internal/build"
	"github.com/gitopsd/gitopsd/internal/git"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// repository shows a git mirror to the loop in the loop's own words.
type repository struct{ *git.Mirror }

var (
	_ sync.Source     = repository{}
	_ sync.Signatures = repository{}
)

func (r repository) FS(commit string) fs.FS { return r.Mirror.FS(commit) }

// Signed returns a commit as its signature covers it.
func (r repository) Signed(_ context.Context, sha string) (sync.SignedCommit, error) {
	payload, signature, err := r.Mirror.Signed(sha)
	return sync.SignedCommit{SHA: sha, Payload: payload, Signature: signature}, err
}

func (r repository) Changed(ctx context.Context, from, to string, paths []string) ([]string, error) {
	changes, err := r.Mirror.Changed(ctx, from, to, paths)
	if err != nil {
		return nil, err
	}
	files := make([]string, len(changes))
	for i, c := range changes {
		files[i] = c.Path
	}
	return files, nil
}

func (r repository) Commits(ctx context.Context, from, to string, limit int) ([]sync.Commit, error) {
	found, err := r.Mirror.Commits(ctx, from, to, limit)
	if err != nil {
		return nil, err
	}
	commits := make([]sync.Commit, len(found))
	for i, c := range found {
		commits[i] = sync.Commit{SHA: c.SHA, Subject: c.Subject, Author: c.Author, When: c.When}
	}
	return commits, nil
}

// apps finds what apps are built from, for the planner.
type apps struct{ source build.Source }

var _ sync.Apps = apps{}

func (a apps) Sources(_ context.Context, commit string, t *tenant.Tenant) ([]string, string, error) {
	if t.App.Path == "" {
		return nil, "", nil
	}
	paths, err := build.Sources(a.source.FS(commit), t.App.Path)
	if err != nil {
		return nil, "", err
	}
	digest, err := build.SourceDigest(a.source, commit, paths)
	return paths, digest, err
}
