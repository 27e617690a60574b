package policy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	stdsync "sync"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// maxCached is how many policies are kept: those of the tracked branch and of
// the pull requests that change it.
const maxCached = 32

// Policies reads the policies of commits. One that did not change is read once.
// It is safe for concurrent use.
type Policies struct {
	tree  func(commit string) fs.FS
	id    func(commit, path string) (string, error)
	brake plan.Brake

	mu     stdsync.Mutex
	cached map[string]*reading // by the id of gitopsd.yaml
}

var _ sync.Policies = (*Policies)(nil)

// reading is what came of reading a policy: one of policy and problems.
type reading struct {
	policy   *Policy
	problems tenant.Problems
	ids      map[string]string // of the key files it names
}

// New returns the policies of a repository. tree returns the files of a commit;
// id the content's id of a file of a commit, "" if there is none; brake holds
// where a policy does not state one.
func New(tree func(commit string) fs.FS, id func(commit, path string) (string, error), brake plan.Brake) *Policies {
	return &Policies{tree: tree, id: id, brake: brake, cached: map[string]*reading{}}
}

// At returns the policy of a commit: one that allows everything where the commit
// has no gitopsd.yaml. A file with problems is fault.Invalid, with all of them as
// detail; one that cannot be read for another reason is an error of its own kind.
func (p *Policies) At(ctx context.Context, commit string) (sync.Policy, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", File, err)
	}
	r, err := p.read(commit)
	if err != nil {
		return nil, fmt.Errorf("read %s at %.7s: %w", File, commit, err)
	}
	if len(r.problems) > 0 {
		return nil, invalid(r.problems)
	}
	return r.policy, nil
}

func invalid(problems tenant.Problems) error {
	e := fault.Errorf(fault.Invalid, "%s", problems[0])
	if len(problems) > 1 {
		e = fault.Errorf(fault.Invalid, "%s, and %d more", problems[0], len(problems)-1)
	}
	return e.WithDetail(problems.Error())
}

// read returns the commit's reading, from the cache where neither the file nor
// the key files it names changed.
func (p *Policies) read(commit string) (*reading, error) {
	id, err := p.id(commit, File)
	if err != nil {
		return nil, err
	}
	files := p.tree(commit)
	if id != "" && p.isFile(files) {
		p.mu.Lock()
		known := p.cached[id]
		p.mu.Unlock()
		if known != nil {
			same, err := p.unchanged(commit, files, known)
			if err != nil || same {
				return known, err
			}
		}
	}
	r, err := load(files, p.brake)
	if err != nil || id == "" {
		return r, err
	}
	for path := range r.ids {
		if r.ids[path], err = p.id(commit, path); err != nil {
			return nil, err
		}
	}
	if p.isFile(files) {
		p.keep(id, r)
	}
	return r, nil
}

// isFile tells a file from a link with the same content: an id does not.
func (p *Policies) isFile(files fs.FS) bool {
	info, err := fs.Lstat(files, File)
	return err == nil && info.Mode().IsRegular()
}

// unchanged reports whether the key files are those that were read.
func (p *Policies) unchanged(commit string, files fs.FS, r *reading) (bool, error) {
	for path, before := range r.ids {
		now, err := p.id(commit, path)
		if err != nil || now != before {
			return false, err
		}
		info, err := fs.Lstat(files, path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if now != "" && (err != nil || !info.Mode().IsRegular()) {
			return false, nil
		}
	}
	return true, nil
}

// keep caches a reading; when there is no room, any other one goes.
func (p *Policies) keep(id string, r *reading) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for other := range p.cached {
		if len(p.cached) < maxCached || p.cached[id] != nil {
			break
		}
		delete(p.cached, other)
	}
	p.cached[id] = r
}
