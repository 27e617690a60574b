package git

import (
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitopsd/gitopsd/internal/fault"
)

const (
	branchPrefix = "refs/heads/"
	tagPrefix    = "refs/tags/"
	// maxTagDepth bounds tags of tags.
	maxTagDepth = 16
)

// wanted is what a mirror follows: a commit, or what one of some refs points to.
type wanted struct {
	name   string        // as the caller gave it
	branch bool          // it can be nothing but a branch
	refs   []string      // full names of the refs that are meant
	commit plumbing.Hash // zero for refs
}

// wants reads what cfg says to follow.
func wants(cfg Config) (wanted, error) {
	if (cfg.Branch == "") == (cfg.Ref == "") {
		return wanted{}, fault.Errorf(fault.Invalid, "a mirror follows a branch or a ref: exactly one of the two")
	}
	if cfg.Branch != "" {
		if !validBranch(cfg.Branch) {
			return wanted{}, fault.Errorf(fault.Invalid, "%q is not the name of a branch", cfg.Branch)
		}
		return wanted{name: cfg.Branch, branch: true, refs: []string{branchPrefix + cfg.Branch}}, nil
	}
	w := wanted{name: cfg.Ref}
	switch {
	case !validBranch(cfg.Ref):
		return wanted{}, fault.Errorf(fault.Invalid, "%q is not the name of a branch, tag or commit", cfg.Ref)
	case plumbing.IsHash(cfg.Ref):
		w.commit = plumbing.NewHash(cfg.Ref)
	case strings.HasPrefix(cfg.Ref, branchPrefix), strings.HasPrefix(cfg.Ref, tagPrefix):
		w.refs = []string{cfg.Ref}
	default:
		w.refs = []string{branchPrefix + cfg.Ref, tagPrefix + cfg.Ref}
	}
	return w, nil
}

// pick returns the one ref that exists, "" if none does. A name that is both a
// branch and a tag is refused: whoever may push one of them would otherwise
// decide what the other means.
func (w wanted) pick(lookup func(ref string) (plumbing.Hash, error)) (ref string, h plumbing.Hash, err error) {
	for _, name := range w.refs {
		found, err := lookup(name)
		if err != nil {
			return "", plumbing.ZeroHash, err
		}
		if found.IsZero() {
			continue
		}
		if ref != "" {
			return "", plumbing.ZeroHash, fault.Errorf(fault.Invalid, "%s is a branch and a tag", w.name).
				WithHint("write %s or %s", ref, name)
		}
		ref, h = name, found
	}
	return ref, h, nil
}

// missing is the error for what does not exist in a repository whose branches
// are given.
func (w wanted) missing(where string, branches []string) error {
	switch {
	case w.branch:
		return branchMissing(w.name, where, branches)
	case !w.commit.IsZero():
		return fault.Errorf(fault.NotFound, "commit %s does not exist in %s", w.name, where).
			WithHint("push it there, or name a branch or tag")
	}
	e := fault.Errorf(fault.NotFound, "%s is neither a branch nor a tag of %s", w.name, where)
	switch {
	case abbreviated(w.name):
		return e.WithHint("a commit is named by all 40 digits")
	case len(branches) == 0:
		return e.WithHint("push it there: the repository has no branch yet")
	}
	return e.WithHint("name a tag, a commit by all 40 digits, or one of its branches (%s)", some(branches))
}

// notServed is the error for a commit that the server has and does not give, or
// does not have: it does not say which.
func (w wanted) notServed(where string) error {
	return fault.Errorf(fault.NotFound, "%s does not serve commit %s by its name", where, w.name).
		WithHint("check that it was pushed; a server that serves only the tips of refs needs a branch or tag on it")
}

// lost is the error for a target that its source does not give.
func (t target) lost(where string) error {
	e := fault.Errorf(fault.NotFound, "%s does not have commit %s, or does not give it", where, t.hash)
	if t.ref == "" {
		return e.WithHint("check that it was pushed; a server may serve only what a ref leads to")
	}
	return e.WithHint("%s leads elsewhere by now", t.ref)
}

// abbreviated reports whether a name looks like the beginning of a commit's.
func abbreviated(name string) bool {
	return len(name) >= 7 && strings.Trim(name, "0123456789abcdefABCDEF") == ""
}

// some shows the first names of a list.
func some(names []string) string {
	if len(names) > 5 {
		names = append(names[:5:5], "…")
	}
	return strings.Join(names, ", ")
}

func branchMissing(name, where string, others []string) error {
	if len(others) == 0 {
		return fault.Errorf(fault.NotFound, "repository %s has no commits yet", where).
			WithHint("commit something to branch %s", name)
	}
	return fault.Errorf(fault.NotFound, "branch %s does not exist in %s", name, where).
		WithHint("follow one of its branches (%s), or create %s", some(others), name)
}
