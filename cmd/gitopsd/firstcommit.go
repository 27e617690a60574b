package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// initPrefix is what the names of everything begin with that gitopsd init makes
// for a moment.
const initPrefix = ".gitopsd-init-"

// sweepInit removes what a killed init left. One that works at this moment is
// disturbed, and says so; this one goes on.
func sweepInit(root *os.Root) error {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return fmt.Errorf("list %s: %w", root.Name(), err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), initPrefix) {
			if err := root.RemoveAll(e.Name()); err != nil {
				return fmt.Errorf("remove what is left of an earlier try: %w", err)
			}
		}
	}
	return nil
}

// firstCommit makes dir a repository whose branch main has one commit, of the
// files. The repository is made beside its place and moved there as a whole, so
// that dir never has one without the commit.
func firstCommit(ctx context.Context, dir string, files []string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	// A name of its own: a git that outlived a killed init works on in another.
	work, err := os.MkdirTemp(dir, initPrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	made := filepath.Join(work, ".git")
	env := []string{"GIT_DIR=" + made}
	if _, err := gitOutput(ctx, dir, env, "init", "--quiet", "--initial-branch=main"); err != nil {
		return err
	}
	env = append(env, "GIT_WORK_TREE="+dir, "GIT_INDEX_FILE="+filepath.Join(made, "index"))
	// The user's own rules of what to ignore do not go for these.
	if _, err := gitOutput(ctx, dir, env, append([]string{"add", "--force", "--"}, files...)...); err != nil {
		return err
	}
	if _, err := gitOutput(ctx, dir, env, "commit", "--quiet", "-m", "Begin a repository of tenants"); err != nil {
		return fault.Errorf(fault.Invalid, "%w", err).
			WithHint("the files are written; once git commit works (git config --global user.name and user.email), run the same again")
	}
	if err := os.Rename(made, filepath.Join(dir, ".git")); err != nil {
		return fmt.Errorf("move the repository into place: %w", err)
	}
	return nil
}
