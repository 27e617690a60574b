package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
)

const (
	defaultCommits = 20
	maxCommits     = 500
	maxWait        = time.Minute
	maxApproval    = 4 << 10 // bytes
	maxWho         = 200     // characters
)

func view(p sync.Progress) Commit {
	for i := range p.Items {
		p.Items[i].Spec = nil // large, and shown with the tenant
	}
	p.Items = orEmpty(p.Items)
	c := Commit{Progress: p}
	c.State, c.Description = sync.Describe(p)
	return c
}

func (s *Server) commits(w http.ResponseWriter, r *http.Request) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	found, err := s.config.Ledger.Commits(r.Context(), limit)
	if err != nil {
		return fmt.Errorf("read commits: %w", err)
	}
	return answer(w, orEmpty(found))
}

func limitOf(r *http.Request) (int, error) {
	v := r.URL.Query().Get("limit")
	if v == "" {
		return defaultCommits, nil
	}
	limit, err := strconv.Atoi(v)
	if err != nil || limit < 1 || limit > maxCommits {
		return 0, fault.Errorf(fault.Invalid, "limit=%s is not a number from 1 to %d", v, maxCommits).
			WithHint("leave it out for %d", defaultCommits)
	}
	return limit, nil
}

// commit answers with a commit. With wait it answers once the commit is
// settled, or, to a client that sends the ETag of what it has, once there is
// anything new; with what there is when the time is over.
func (s *Server) commit(w http.ResponseWriter, r *http.Request) error {
	sha := r.PathValue("sha")
	if err := checkCommit(sha); err != nil {
		return err
	}
	wait, err := waitOf(r)
	if err != nil {
		return err
	}
	seen := r.Header.Get("If-None-Match")
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	if wait > 0 {
		if err := extend(w, wait); err != nil {
			return err
		}
	}
	for {
		changed := s.changes.next() // before the look, so that nothing is missed
		c, tag, err := s.lookUp(r.Context(), sha)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		fresh := err == nil && (c.Settled() && seen == "" || seen != "" && tag != seen)
		if wait == 0 || fresh || !within(ctx, changed) {
			return giveCommit(w, c, tag, seen, err)
		}
	}
}

// within waits for a change; false means that the time is over.
func within(ctx context.Context, changed <-chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case <-changed:
		return true
	}
}

func giveCommit(w http.ResponseWriter, c Commit, tag, seen string, err error) error {
	if err != nil {
		return err
	}
	w.Header().Set("ETag", tag)
	if tag == seen {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return answer(w, c)
}

// extend lets a request that waits take longer than others.
func extend(w http.ResponseWriter, wait time.Duration) error {
	control, until := http.NewResponseController(w), time.Now().Add(wait+requestTimeout)
	if err := errors.Join(control.SetReadDeadline(until), control.SetWriteDeadline(until)); err != nil {
		return fmt.Errorf("prepare to wait: %w", err)
	}
	return nil
}

func waitOf(r *http.Request) (time.Duration, error) {
	v := r.URL.Query().Get("wait")
	if v == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(v)
	if err != nil || wait < 0 {
		return 0, fault.Errorf(fault.Invalid, "wait=%s is not a duration such as 25s", v)
	}
	return min(wait, maxWait), nil
}

// newest asks for the newest commit rather than a named one.
const newest = "HEAD"

func checkCommit(sha string) error {
	if sha == newest || regexp.MustCompile(`^[0-9a-f]{4,64}$`).MatchString(sha) {
		return nil
	}
	return fault.Errorf(fault.Invalid, "%q is not a commit", sha).
		WithHint("give at least the first 4 digits of its name, in lower case, or HEAD")
}

func (s *Server) lookUp(ctx context.Context, sha string) (Commit, string, error) {
	p, err := s.find(ctx, sha)
	if err != nil {
		return Commit{}, "", err
	}
	c := view(p)
	b, err := json.Marshal(c)
	if err != nil {
		return Commit{}, "", fmt.Errorf("encode commit: %w", err)
	}
	h := fnv.New64a()
	_, _ = h.Write(b) // never fails
	return c, fmt.Sprintf(`"%016x"`, h.Sum64()), nil
}

func (s *Server) find(ctx context.Context, sha string) (sync.Progress, error) {
	if sha == newest {
		return s.head(ctx)
	}
	p, err := s.config.Ledger.Commit(ctx, sha)
	if fault.Is(err, fault.NotFound) {
		return p, fault.Errorf(fault.NotFound, "commit %s is not known", sha).
			WithHint("only commits of the followed branch that touch tenants are; see them with: gitopsd get commits")
	}
	return p, err
}

// head returns the newest commit: the accepted one, or one after it that is held.
func (s *Server) head(ctx context.Context) (sync.Progress, error) {
	last, err := s.config.Ledger.Commits(ctx, 1)
	if err != nil {
		return sync.Progress{}, fmt.Errorf("read commits: %w", err)
	}
	if len(last) > 0 && last[0].Hold != nil && last[0].SupersededBy == "" {
		return s.config.Ledger.Commit(ctx, last[0].Commit.SHA)
	}
	sha, err := s.config.Ledger.Head(ctx)
	if err != nil {
		return sync.Progress{}, fmt.Errorf("read head: %w", err)
	}
	if sha == "" {
		return sync.Progress{}, fault.Errorf(fault.NotFound, "no commit has been accepted yet")
	}
	return s.config.Ledger.Commit(ctx, sha)
}

func (s *Server) approve(w http.ResponseWriter, r *http.Request) error {
	sha := r.PathValue("sha")
	if err := checkCommit(sha); err != nil {
		return err
	}
	var a Approval
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxApproval))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&a); err != nil {
		return fault.Errorf(fault.Invalid, "the body is not an approval: %w", err).WithHint(`send {"who": "your name"}`)
	}
	if a.Who = strings.TrimSpace(a.Who); a.Who == "" || utf8.RuneCountInString(a.Who) > maxWho {
		return fault.Errorf(fault.Invalid, "an approval says who gives it, in at most %d characters", maxWho)
	}
	p, err := s.find(r.Context(), sha)
	if err != nil {
		return err
	}
	if p.Hold == nil || p.SupersededBy != "" {
		return fault.Errorf(fault.Conflict, "commit %s is not held: there is nothing to approve", p.Commit.SHA)
	}
	if err := s.config.Ledger.Approve(r.Context(), p.Commit.SHA, a.Who); err != nil {
		return fmt.Errorf("approve %s: %w", p.Commit.SHA, err)
	}
	s.config.Log.Info("commit approved", "commit", p.Commit.SHA, "who", a.Who)
	s.config.Loop.Wake()
	if p, err = s.untilLifted(r.Context(), p); err != nil {
		return err
	}
	return answer(w, view(p))
}

// untilLifted waits, for a while, until the loop has taken note of an approval:
// who asks for the commit next does not find it held.
func (s *Server) untilLifted(ctx context.Context, p sync.Progress) (sync.Progress, error) {
	bounded, cancel := context.WithTimeout(ctx, requestTimeout/2)
	defer cancel()
	for {
		changed := s.changes.next()
		var err error
		if p, err = s.config.Ledger.Commit(ctx, p.Commit.SHA); err != nil {
			return p, fmt.Errorf("the commit is approved; read it: %w", err)
		}
		if p.Hold == nil || p.SupersededBy != "" || !within(bounded, changed) {
			return p, nil
		}
	}
}

func (s *Server) applied(w http.ResponseWriter, r *http.Request) error {
	a := Applied{Domain: s.config.Domain, Brake: s.config.Brake}
	var err error
	if a.Head, err = s.config.Ledger.Head(r.Context()); err != nil {
		return fmt.Errorf("read head: %w", err)
	}
	if a.Tenants, err = s.config.Ledger.Applied(r.Context(), nil); err != nil {
		return fmt.Errorf("read applied tenants: %w", err)
	}
	if a.Tenants == nil {
		a.Tenants = map[string]plan.Applied{}
	}
	return answer(w, a)
}
