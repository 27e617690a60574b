package main

import (
	"regexp"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// resolveCommit returns the full name of a commit that is named in any of git's
// ways, as the repository around dir has it. Digits that the repository does not
// know are taken as they are: the daemon may know them.
func resolveCommit(dir, name string) (string, error) {
	digits := regexp.MustCompile(`^[0-9a-f]{4,64}$`).MatchString(name)
	repo, err := git.PlainOpenWithOptions(dir, &git.PlainOpenOptions{DetectDotGit: true, EnableDotGitCommonDir: true})
	if err != nil {
		if digits {
			return name, nil
		}
		return "", fault.Errorf(fault.NotFound, "there is no repository here to find %s in", name).
			WithHint("change to a clone of it, or give the commit's digits")
	}
	hash, err := repo.ResolveRevision(plumbing.Revision(name))
	switch {
	case err == nil:
		return hash.String(), nil
	case digits:
		return name, nil
	}
	return "", fault.Errorf(fault.NotFound, "this repository has no commit %s", name)
}
