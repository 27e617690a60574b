package githubtest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// pull is a pull request.
type pull struct {
	id            int64
	number        int
	title, author string
	branch, base  string // branch may be login:name
	head, baseSHA string
	labels        []string
	draft         bool
	open          bool
	merged        string
	mergedBy      string
	created       time.Time
	updated       time.Time
	closed        time.Time
}

// label is the owner of the head's repository and its branch.
func (p *pull) label(owner string) (login, branch string) {
	if login, name, ok := strings.Cut(p.branch, ":"); ok {
		return login, name
	}
	return owner, p.branch
}

// Pull is a pull request to open.
type Pull struct {
	Branch string // of its head; "login:name" is of a fork
	Base   string // "" means the default branch
	Title  string // "" means what GitHub would call it
	Author string // "" means octocat
	Draft  bool
	Labels []string
}

// OpenPull opens a pull request and returns its number.
func (s *Server) OpenPull(p Pull) (int, error) {
	head := s.Head(p.Branch)
	if head == "" {
		return 0, fmt.Errorf("there is no branch %s", p.Branch)
	}
	if p.Base == "" {
		p.Base = s.options.Branch
	}
	if p.Author == "" {
		p.Author = "octocat"
	}
	if p.Title == "" {
		p.Title = "Change " + p.Branch
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issues++
	n, now := s.issues, second()
	made := &pull{
		id: s.nextID(), number: n, title: p.Title, author: p.Author, branch: p.Branch, base: p.Base, head: head,
		baseSHA: s.refs["refs/heads/"+p.Base], labels: p.Labels, draft: p.Draft, open: true, created: now, updated: now,
	}
	if err := s.pointAt(made); err != nil {
		return 0, err
	}
	s.pulls[n] = made
	s.hooks.pull(made, "opened", p.Author, nil)
	return n, nil
}

func (s *Server) pointAt(p *pull) error {
	_, err := s.git.run(context.Background(), nil, "update-ref", fmt.Sprintf("refs/pull/%d/head", p.number), p.head)
	return err
}

// Refresh takes notice of what was pushed to the repository past this server, by
// its path: heads of pull requests move with their branches, and both are told by
// webhooks. A push over HTTP, and what this server does itself, needs none.
func (s *Server) Refresh() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.git.refs(context.Background())
	if err != nil {
		return err
	}
	before := s.refs
	s.refs = now
	all := maps.Clone(before)
	maps.Copy(all, now)
	for _, ref := range slices.Sorted(maps.Keys(all)) {
		if before[ref] == now[ref] {
			continue
		}
		login := s.owner
		if rest, ok := strings.CutPrefix(ref, forkRefs); ok {
			login, _, _ = strings.Cut(rest, "/")
		} else {
			s.hooks.push(ref, before[ref], now[ref])
		}
		s.pushedAt[login] = second()
		if err := s.moved(ref, now[ref]); err != nil {
			return err
		}
	}
	return nil
}

// moved moves the pull requests of a branch.
func (s *Server) moved(ref, sha string) error {
	for _, n := range slices.Sorted(maps.Keys(s.pulls)) {
		p := s.pulls[n]
		if !p.open || branchRef(p.branch) != ref || sha == "" || p.head == sha {
			continue
		}
		before := p.head
		p.head, p.updated = sha, second()
		if err := s.pointAt(p); err != nil {
			return err
		}
		s.hooks.pull(p, "synchronize", p.author, object{"before": before, "after": sha})
	}
	return nil
}

// Merge merges a pull request with real git and returns the commit that did.
func (s *Server) Merge(number int, method Method) (string, error) {
	s.mu.Lock()
	p := s.pulls[number]
	if p == nil || !p.open {
		s.mu.Unlock()
		return "", fmt.Errorf("pull request %d is not open", number)
	}
	ctx := context.Background()
	base := "refs/heads/" + p.base
	tip, err := s.git.run(ctx, nil, "rev-parse", base)
	var sha string
	if err == nil {
		message := fmt.Sprintf("Merge pull request #%d\n\n%s", number, p.title)
		if method == Squash {
			message = fmt.Sprintf("%s (#%d)", p.title, number)
		}
		sha, err = s.git.merge(ctx, method, tip, p.head, message)
	}
	if err == nil {
		_, err = s.git.run(ctx, nil, "update-ref", base, sha, tip)
	}
	if err != nil {
		s.mu.Unlock()
		return "", err
	}
	p.merged, p.mergedBy = sha, s.owner
	s.shut(p, s.owner)
	s.mu.Unlock()
	return sha, s.Refresh()
}

func (s *Server) shut(p *pull, by string) {
	p.open, p.closed, p.updated = false, second(), second()
	s.hooks.pull(p, "closed", by, nil)
}

// ClosePull closes a pull request without merging it.
func (s *Server) ClosePull(number int) error {
	return s.change(number, func(p *pull) { s.shut(p, p.author) })
}

// Reopen opens a closed pull request again.
func (s *Server) Reopen(number int) error {
	return s.change(number, func(p *pull) {
		p.open, p.closed = true, time.Time{}
		s.hooks.pull(p, "reopened", p.author, nil)
	})
}

// SetDraft makes a pull request a draft, or ready for review.
func (s *Server) SetDraft(number int, draft bool) error {
	return s.change(number, func(p *pull) {
		p.draft = draft
		action := "ready_for_review"
		if draft {
			action = "converted_to_draft"
		}
		s.hooks.pull(p, action, p.author, nil)
	})
}

// SetBase changes the branch that a pull request is onto.
func (s *Server) SetBase(number int, base string) error {
	return s.change(number, func(p *pull) {
		from := object{"ref": object{"from": p.base}, "sha": object{"from": p.baseSHA}}
		p.base, p.baseSHA = base, s.refs["refs/heads/"+base]
		s.hooks.pull(p, "edited", p.author, object{"changes": object{"base": from}})
	})
}

// SetLabel sets a label in somebody's name.
func (s *Server) SetLabel(number int, label, by string) error {
	return s.change(number, func(p *pull) {
		if slices.Contains(p.labels, label) {
			return
		}
		p.labels = append(p.labels, label)
		s.note(p, "labeled", label, by)
	})
}

// TakeLabel takes a label off in somebody's name.
func (s *Server) TakeLabel(number int, label, by string) error {
	return s.change(number, func(p *pull) { s.take(p, label, by) })
}

// take reports whether the label was there.
func (s *Server) take(p *pull, label, by string) bool {
	i := slices.IndexFunc(p.labels, func(l string) bool { return strings.EqualFold(l, label) })
	if i < 0 {
		return false
	}
	label = p.labels[i]
	p.labels = slices.Delete(slices.Clone(p.labels), i, i+1)
	s.note(p, "unlabeled", label, by)
	return true
}

// change changes a pull request, at the present second.
func (s *Server) change(number int, f func(*pull)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pulls[number]
	if p == nil {
		return fmt.Errorf("there is no pull request %d", number)
	}
	p.updated = second()
	f(p)
	return nil
}

func (s *Server) listPulls(c *call) answer {
	query := c.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []object{}
	for _, n := range slices.Sorted(maps.Keys(s.pulls)) { // as they were created
		p := s.pulls[n]
		state := query.Get("state")
		if state == "" {
			state = "open"
		}
		if (state != "all" && (state == "open") != p.open) || (query.Get("base") != "" && query.Get("base") != p.base) {
			continue
		}
		list = append(list, s.pullObject(p))
	}
	if query.Get("direction") != "asc" {
		slices.Reverse(list)
	}
	return listOf(list)
}

func (s *Server) getPull(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pulls[int(c.number("number"))]
	if p == nil {
		return notFound()
	}
	return ok(s.wholePull(p))
}

func (s *Server) permissionOf(c *call) answer {
	login := c.PathValue("login")
	s.mu.Lock()
	defer s.mu.Unlock()
	permission, known := s.members[strings.ToLower(login)]
	if !known {
		return problem(404, login+" is not a user")
	}
	role := permission
	switch permission { // the roles between come as what they are based on
	case "maintain":
		permission = "write"
	case "triage":
		permission = "read"
	}
	user := s.user(login)
	user["permissions"] = object{
		"pull": permission != "none", "triage": role == "triage", "push": permission == "write" || permission == "admin",
		"maintain": role == "maintain", "admin": permission == "admin",
	}
	user["role_name"] = role
	return ok(object{"permission": permission, "role_name": role, "user": user})
}
