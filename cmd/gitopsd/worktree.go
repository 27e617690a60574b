package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
)

// worktree is the working tree around a directory as the commit it would
// become: with what is not committed, without what is ignored.
type worktree struct {
	*git.Mirror
	commit string
	dir    string // of everything made for it
}

// openWorktree makes the commit beside the repository, whose own index, objects
// and refs are only read. It lies in a directory next to them so that objects
// can be linked, and is gone after Close; what a killed call left is swept.
func openWorktree(ctx context.Context, dir string) (_ *worktree, err error) {
	paths, err := gitOutput(ctx, dir, nil, "rev-parse", "--path-format=absolute",
		"--show-toplevel", "--git-common-dir", "--git-path", "index", "--git-path", "objects")
	if err != nil {
		return nil, fault.Errorf(fault.NotFound, "there is no working tree here: %w", err).WithHint("run this in a clone of the repository")
	}
	at := strings.Split(paths, "\n")
	if len(at) != 4 {
		return nil, fmt.Errorf("git rev-parse answered %q", paths)
	}
	root, common, index, objects := at[0], at[1], at[2], at[3]
	sweep(common)
	w := &worktree{}
	if w.dir, err = os.MkdirTemp(common, planPrefix); err != nil {
		return nil, fmt.Errorf("make room for a plan: %w", err)
	}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	if err := w.commitTree(ctx, root, index, objects); err != nil {
		return nil, err
	}
	w.Mirror, err = git.Open(ctx, git.Config{
		URL: w.dir, Branch: planBranch, Dir: filepath.Join(w.dir, "mirror"), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, fmt.Errorf("read the working tree: %w", err)
	}
	if w.commit, err = w.Fetch(ctx); err != nil {
		return nil, fmt.Errorf("read the working tree: %w", err)
	}
	return w, nil
}

const (
	planPrefix = "gitopsd-plan-"
	planBranch = "worktree"
)

// sweep removes what killed plans left; those of other processes that still run
// would have to be older than an hour to go with them.
func sweep(common string) {
	left, _ := filepath.Glob(filepath.Join(common, planPrefix+"*")) // the pattern is good
	for _, dir := range left {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > time.Hour {
			_ = os.RemoveAll(dir)
		}
	}
}

// commitTree makes w.dir a bare repository whose one branch is the working tree.
func (w *worktree) commitTree(ctx context.Context, root, index, objects string) error {
	for _, d := range []string{"objects/info", "refs/heads"} {
		if err := os.MkdirAll(filepath.Join(w.dir, d), 0o700); err != nil {
			return err
		}
	}
	// The repository's own index spares git reading files that did not change.
	ours := filepath.Join(w.dir, "index")
	if b, err := os.ReadFile(index); err == nil {
		if err := os.WriteFile(ours, b, 0o600); err != nil {
			return fmt.Errorf("copy index: %w", err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("copy index: %w", err)
	}
	env := []string{
		"GIT_INDEX_FILE=" + ours,
		"GIT_OBJECT_DIRECTORY=" + filepath.Join(w.dir, "objects"), "GIT_ALTERNATE_OBJECT_DIRECTORIES=" + objects,
		"GIT_AUTHOR_NAME=gitopsd", "GIT_AUTHOR_EMAIL=", "GIT_COMMITTER_NAME=gitopsd", "GIT_COMMITTER_EMAIL=",
	}
	if _, err := gitOutput(ctx, root, env, "-c", "core.safecrlf=false", "-c", "advice.addEmbeddedRepo=false", "add", "--all"); err != nil {
		return fmt.Errorf("read the working tree: %w", err)
	}
	tree, err := gitOutput(ctx, root, env, "write-tree")
	if err != nil {
		return fmt.Errorf("read the working tree: %w", err)
	}
	commit, err := gitOutput(ctx, root, env, "-c", "commit.gpgSign=false", "commit-tree", tree, "-m", "The working tree")
	if err != nil {
		return fmt.Errorf("read the working tree: %w", err)
	}
	for name, content := range map[string]string{
		"objects/info/alternates":  objects,
		"refs/heads/" + planBranch: commit,
		"HEAD":                     "ref: refs/heads/" + planBranch,
	} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content+"\n"), 0o600); err != nil {
			return fmt.Errorf("read the working tree: %w", err)
		}
	}
	return nil
}

// Close removes everything that was made.
func (w *worktree) Close() {
	if w.Mirror != nil {
		_ = w.Mirror.Close() // only read
	}
	_ = os.RemoveAll(w.dir)
}

// gitOutput runs git and returns what it says, without the last line end.
func gitOutput(ctx context.Context, dir string, env []string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, "git", args...)
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", fault.Errorf(fault.NotFound, "git is not installed").WithHint("a plan of the working tree needs it")
	case err != nil:
		said, _, _ := strings.Cut(strings.TrimSpace(errs.String()), "\n")
		return "", fmt.Errorf("git %s: %s (%w)", subcommand(args), strings.TrimPrefix(said, "fatal: "), err)
	}
	return strings.TrimRight(out.String(), "\n"), nil
}

// subcommand returns git's subcommand, after the settings before it.
func subcommand(args []string) string {
	for i := 0; i < len(args); i++ {
		if args[i] != "-c" {
			return args[i]
		}
		i++
	}
	return ""
}
