package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// The migrations of the working tree are compared with those of the commit that
// is applied, wherever that is in the repository's history.
func TestOutlookComparesMigrations(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	write := func(name, content string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git := func(args ...string) string {
		t.Helper()
		out, err := gitOutput(ctx, dir, nil, append([]string{"-c", "user.name=Ann", "-c", "user.email=ann@example.com"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	git("init", "-q")
	write("apps/code/migrations/001_users.sql", "-- +goose Up\nCREATE TABLE users (id bigint);\n\n")
	write("apps/code/migrations/notes.txt", "none of them")
	if err := os.Symlink("001_users.sql", filepath.Join(dir, "apps/code/migrations/000_link.sql")); err != nil {
		t.Fatal(err)
	}
	git("add", ".")
	git("commit", "-q", "-m", "First")
	first := git("rev-parse", "HEAD")
	git("rm", "-q", "apps/code/migrations/000_link.sql")
	write("apps/code/migrations/002_drop.sql", "-- +goose Up\nDROP TABLE users;\n")

	w, err := openWorktree(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	path := func(p string) *tenant.Tenant { return &tenant.Tenant{Name: "code", App: tenant.App{Path: p}} }
	design := &tenant.Tenant{Name: "code", App: tenant.App{Design: &tenant.Design{}}}
	for name, c := range map[string]struct {
		applied *plan.Applied
		want    string
	}{
		"new":                  {nil, "001_users.sql safe, 002_drop.sql safe"},
		"applied":              {&plan.Applied{Tenant: path("apps/code"), Commit: first}, "002_drop.sql destructive"},
		"applied elsewhere":    {&plan.Applied{Tenant: path("apps/other"), Commit: first}, "001_users.sql safe, 002_drop.sql safe"},
		"was a design":         {&plan.Applied{Tenant: design, Commit: first}, "001_users.sql safe, 002_drop.sql safe"},
		"deleted, data is":     {&plan.Applied{Tenant: path("apps/code"), Commit: first, Deleted: true, PurgeAfter: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}, "002_drop.sql destructive"},
		"deleted without data": {&plan.Applied{Tenant: path("apps/code"), Commit: first, Deleted: true}, "001_users.sql safe, 002_drop.sql safe"},
		"commit not here":      {&plan.Applied{Tenant: path("apps/code"), Commit: goodSHA}, "not known"},
		"no commit":            {&plan.Applied{Tenant: path("apps/code"), Commit: "--help"}, "not known"},
	} {
		t.Run(name, func(t *testing.T) {
			s := plan.Step{Tenant: "code", Operation: plan.Deploy, Applied: c.applied, Desired: &plan.Desired{Tenant: path("apps/code")}}
			if c.applied == nil {
				s.Operation = plan.Provision
			}
			got, err := w.outlook(ctx, s, "localhost")
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, m := range got.Migrations {
				all = append(all, fmt.Sprintf("%s %s", m.Name, m.Verdict))
			}
			if got.Unknown != "" {
				all = append(all, got.Unknown)
			}
			if text := strings.Join(all, ", "); !strings.HasPrefix(text, c.want) {
				t.Errorf("got %s, want %s", text, c.want)
			}
		})
	}
	if _, err := w.migrationsAt(ctx, first, "apps/none"); err != nil {
		t.Errorf("an app that is not there: %v", err)
	}
	if _, err := (nothing{}).Open("."); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
