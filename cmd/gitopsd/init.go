package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// placeholderOwner is in CODEOWNERS until somebody says who it is.
const placeholderOwner = "@your-org/platform"

// initCmd writes a repository of tenants.
type initCmd struct {
	Dir    string `arg:"" help:"Directory to write to; made if it is not there." placeholder:"DIR"`
	Name   string `help:"Name of the first tenant." default:"hello"`
	Domain string `help:"The platform's domain: tenants are at <name>.<domain>." default:"localhost"`
	Owner  string `help:"Who owns the policy: a team or a user of GitHub." placeholder:"@ORG/TEAM"`
	Force  bool   `help:"Write over files that differ, and name them."`
	Git    bool   `help:"Make a Git repository with a first commit, unless the directory is in one." default:"true" negatable:""`
}

// Run writes the files that are missing. After a kill at any point, running it
// again completes what was begun.
func (i *initCmd) Run(ctx context.Context, t *terminal) error {
	info, _ := debug.ReadBuildInfo()
	ref, note, pinned := actionRef(info)
	s := starter{Name: i.Name, Domain: i.Domain, Owner: cmp.Or(i.Owner, placeholderOwner), Ref: ref, RefNote: note}
	if err := s.check(); err != nil {
		return err
	}
	files, err := s.files()
	if err != nil {
		return fmt.Errorf("make the files: %w", err)
	}
	if err := os.MkdirAll(i.Dir, 0o755); err != nil {
		return fault.Errorf(fault.Invalid, "make directory: %w", err)
	}
	if err := i.write(t, files); err != nil {
		return err
	}
	if i.Git {
		if err := i.commit(ctx, t, files); err != nil {
			return err
		}
	}
	if i.Owner == "" {
		fmt.Fprintf(t.err, "note: CODEOWNERS names %s: put your team there\n", placeholderOwner)
	}
	if !pinned {
		fmt.Fprintln(t.err, "note: .github/workflows/gitopsd.yml uses the branch main of gitopsd: put a commit there")
	}
	i.next(t)
	return nil
}

// write puts the files in place, and names those that it changes or makes.
func (i *initCmd) write(t *terminal, files []starterFile) error {
	root, err := os.OpenRoot(i.Dir)
	if err != nil {
		return fault.Errorf(fault.Invalid, "open %s: %w", i.Dir, err)
	}
	defer root.Close()
	todo, err := compare(root, files)
	if err != nil {
		return err
	}
	if err := todo.conflict(i.Dir, i.Force); err != nil {
		return err
	}
	if err := sweepInit(root); err != nil {
		return err
	}
	for _, f := range todo.missing {
		if err := place(root, f); err != nil {
			return err
		}
		fmt.Fprintf(t.out, "wrote     %s\n", filepath.Join(i.Dir, filepath.FromSlash(f.path)))
	}
	for _, f := range todo.different {
		if err := place(root, f); err != nil {
			return err
		}
		fmt.Fprintf(t.out, "replaced  %s\n", filepath.Join(i.Dir, filepath.FromSlash(f.path)))
	}
	if len(todo.missing)+len(todo.different) == 0 {
		fmt.Fprintf(t.out, "every file of %s is as it would be written\n", i.Dir)
	}
	return nil
}

// commit makes the directory a repository with one commit. Where that cannot be
// done, it says so: the files are of use without it.
func (i *initCmd) commit(ctx context.Context, t *terminal, files []starterFile) error {
	paths := make([]string, len(files))
	for n, f := range files {
		paths[n] = f.path
	}
	if at := repositoryRoot(i.Dir); at != "" {
		left, err := gitOutput(ctx, i.Dir, nil, append([]string{"status", "--porcelain", "--"}, paths...)...)
		if err != nil || left != "" {
			fmt.Fprintf(t.err, "note: %s is a repository already: commit the files there\n", at)
		}
		return nil
	}
	if _, err := exec.LookPath("git"); err != nil {
		fmt.Fprintln(t.err, "note: git is not installed, so there is no repository yet: gitopsd follows commits")
		return nil
	}
	if err := firstCommit(ctx, i.Dir, paths); err != nil {
		return fmt.Errorf("make a repository: %w", err)
	}
	fmt.Fprintf(t.out, "committed %s, branch main\n", i.Dir)
	return nil
}

// next says what to do now.
func (i *initCmd) next(t *terminal) {
	org := "your-org"
	if name, _, team := strings.Cut(strings.TrimPrefix(i.Owner, "@"), "/"); team {
		org = name
	}
	fmt.Fprintf(t.out, "\nnext:\n  cd %s\n  gitopsd up\n  git push -u git@github.com:%s/tenants.git main\n", shellWord(i.Dir), org)
}

// plainWord is a word that means the same to a shell without quotes.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./][A-Za-z0-9_./-]*$`)

// shellWord quotes a word for a shell, if it needs that.
func shellWord(word string) string {
	switch {
	case plainWord.MatchString(word):
		return word
	case strings.HasPrefix(word, "-"):
		word = "./" + word
	}
	return "'" + strings.ReplaceAll(clean(word), "'", `'\''`) + "'"
}
