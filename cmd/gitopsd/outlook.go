package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/gitopsd/gitopsd/internal/build/migration"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// outlook is a plan with what it means.
type outlook struct {
	plan.Plan
	Summary string        `json:"summary"`
	Steps   []stepOutlook `json:"steps"` // in place of the plan's
}

// stepOutlook is a step with what it means.
type stepOutlook struct {
	plan.Step
	Consequences []plan.Consequence    `json:"consequences,omitempty"`
	Migrations   []migration.Migration `json:"migrations,omitempty"`
	// Unknown, when not empty, says why the migrations are not known.
	Unknown string `json:"migrationsUnknown,omitempty"`
}

// outlook says what a step of the working tree's plan means.
func (w *worktree) outlook(ctx context.Context, s plan.Step, domain string) (stepOutlook, error) {
	out := stepOutlook{Step: s, Consequences: plan.Consequences(s, domain)}
	if s.Failure != nil || s.Operation == "" || s.Desired == nil {
		return out, nil
	}
	before := lastApplied(s)
	var files fs.FS = nothing{}
	if s.Desired.Tenant.App.Path != "" && before != nil && before.App.Path != "" {
		var err error
		files, err = w.migrationsAt(ctx, s.Applied.Commit, before.App.Path)
		if errors.Is(err, fs.ErrNotExist) {
			out.Unknown = fmt.Sprintf("not known: what is applied is commit %s, which this clone does not have; git fetch may bring it", short(s.Applied.Commit))
			return out, nil
		}
		if err != nil {
			return out, fmt.Errorf("migrations of %s: %w", s.Tenant, err)
		}
	}
	var err error
	out.Migrations, err = compareMigrations(before, s.Desired.Tenant, files, w.FS(w.commit))
	if err != nil {
		return out, fmt.Errorf("migrations of %s: %w", s.Tenant, err)
	}
	return out, nil
}

// lastApplied returns what a tenant's database was made by, nil if it has none yet,
// or has lost it.
func lastApplied(s plan.Step) *tenant.Tenant {
	a := s.Applied
	if a == nil || a.Tenant == nil || a.Deleted && a.PurgeAfter.IsZero() && a.Tenant.Deletion.Grace <= 0 {
		return nil
	}
	return a.Tenant
}

// compareMigrations returns how a tenant's database would change. was is the
// directory of the app before, if that has a path; files are of the commit.
func compareMigrations(before, after *tenant.Tenant, was, files fs.FS) ([]migration.Migration, error) {
	switch {
	case after.App.Design != nil:
		var old *tenant.Design
		if before != nil {
			old = before.App.Design
		}
		return migration.DiffDesign(old, after.App.Design)
	case after.App.Path != "":
		app, err := fs.Sub(files, after.App.Path)
		if err != nil {
			return nil, err
		}
		if before == nil {
			return migration.Diff(nil, app)
		}
		return migration.Diff(was, app)
	}
	return nil, nil // another repository
}

// nothing is a file system without files.
type nothing struct{}

// Open implements fs.FS.
func (nothing) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// mostMigrations bounds how many files are read: one more than can be compared.
const mostMigrations = 2001

var fullCommit = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// migrationsAt returns the migrations of an app as they are at a commit of the
// repository; fs.ErrNotExist if it has no such commit.
func (w *worktree) migrationsAt(ctx context.Context, commit, app string) (fs.FS, error) {
	if !fullCommit.MatchString(commit) {
		return nil, fmt.Errorf("%q names no commit: %w", commit, fs.ErrNotExist)
	}
	env := []string{"GIT_DIR=" + w.dir} // it has the repository's objects
	if _, err := gitOutput(ctx, w.dir, env, "cat-file", "-e", commit+"^{commit}"); err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit, errors.Join(err, fs.ErrNotExist))
	}
	listed, err := gitOutput(ctx, w.dir, env, "ls-tree", "-z", commit, "--", path.Join(app, "migrations")+"/")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(w.dir, "before-")
	if err != nil {
		return nil, err
	}
	into := filepath.Join(dir, "migrations")
	if err := os.Mkdir(into, 0o700); err != nil {
		return nil, err
	}
	read := 0
	for e := range strings.SplitSeq(strings.TrimSuffix(listed, "\x00"), "\x00") {
		about, file, _ := strings.Cut(e, "\t")
		fields := strings.Fields(about) // mode, type, object
		if len(fields) != 3 || fields[1] != "blob" || fields[0] == "120000" || path.Ext(file) != ".sql" || read == mostMigrations {
			continue
		}
		content, err := gitOutput(ctx, w.dir, env, "cat-file", "blob", fields[2])
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(into, path.Base(file)), []byte(content), 0o600); err != nil {
			return nil, err
		}
		read++
	}
	return os.DirFS(dir), nil
}
