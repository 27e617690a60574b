package github

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/google/go-github/v60/github"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/review"
)

// The permissions that notices need.
const (
	statusesWrite    = "Commit statuses: read and write"
	pullsWrite       = "Pull requests: read and write"
	checksWrite      = "Checks: read and write"
	deploymentsWrite = "Deployments: read and write"
)

// Deliver implements review.Forge.
func (c *Client) Deliver(ctx context.Context, n review.Notice) (int64, error) {
	remote, err := c.deliver(ctx, n)
	if err != nil {
		return 0, fmt.Errorf("show %s: %w", n.Key, err)
	}
	return remote, nil
}

func (c *Client) deliver(ctx context.Context, n review.Notice) (int64, error) {
	switch n.Kind {
	case review.NoticeStatus:
		return of(ctx, n, c.deliverStatus)
	case review.NoticeComment:
		return of(ctx, n, c.deliverComment)
	case review.NoticeCheck:
		return of(ctx, n, c.deliverCheck)
	case review.NoticeDeployment:
		return of(ctx, n, c.deliverDeployment)
	case review.NoticeReaction:
		return of(ctx, n, c.deliverReaction)
	case review.NoticeUnlabel:
		return of(ctx, n, c.deliverUnlabel)
	default:
		return 0, fault.Errorf(fault.Invalid, "a notice of the kind %q is not known", n.Kind)
	}
}

// of reads a notice's body as what its kind says.
func of[T any](ctx context.Context, n review.Notice, deliver func(context.Context, review.Notice, T) (int64, error)) (int64, error) {
	var body T
	dec := json.NewDecoder(bytes.NewReader(n.Body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&body); err != nil {
		return 0, fault.Errorf(fault.Invalid, "its body is not that of a %s: %w", n.Kind, err)
	}
	return deliver(ctx, n, body)
}

// mutate sends a request that changes something, in its turn.
func (c *Client) mutate(ctx context.Context, what string, need access, request func() (*github.Response, error)) error {
	done, err := c.pace.wait(ctx)
	if err != nil {
		return c.classify(ctx, what, nil, err)
	}
	resp, err := request()
	done()
	if err != nil {
		return c.denied(ctx, what, need, resp, err)
	}
	return nil
}

// deliverStatus creates a commit status. GitHub has no way to change one, and at
// most 1,000 of a commit and context, so what is shown already is not repeated.
func (c *Client) deliverStatus(ctx context.Context, n review.Notice, s review.Status) (int64, error) {
	subject := "status " + s.SHA + " " + s.Context
	want := fmt.Sprintf("%s\n%s\n%s", s.State, s.Description, s.URL)
	shows, known := c.saw(subject)
	if !known || n.Tries > 0 {
		var err error
		if shows, err = c.lastStatus(ctx, s.SHA, s.Context); err != nil {
			return 0, err
		}
	}
	if shows == want {
		c.see(subject, want)
		return 0, nil
	}
	c.shown.forget(subject) // until it is answered
	err := c.mutate(ctx, "create status", access{name: statusesWrite}, func() (*github.Response, error) {
		status := &github.RepoStatus{State: new(string(s.State)), Context: &s.Context, Description: &s.Description, TargetURL: optional(s.URL)}
		_, resp, err := c.gh.Repositories.CreateStatus(ctx, c.owner, c.repo, s.SHA, status)
		return resp, err
	})
	if err != nil {
		return 0, err
	}
	c.see(subject, want)
	return 0, nil
}

// lastStatus returns what GitHub shows of a commit and context, "" if nothing.
func (c *Client) lastStatus(ctx context.Context, sha, name string) (string, error) {
	opts := &github.ListOptions{PerPage: perPage}
	for {
		list, resp, err := c.gh.Repositories.ListStatuses(ctx, c.owner, c.repo, sha, opts)
		switch status, _ := statusOf(resp, err); {
		case status == http.StatusNotFound || status == http.StatusUnprocessableEntity:
			return "", nil // such a commit is not there: creating the status says so
		case err != nil:
			return "", c.denied(ctx, "list statuses", access{name: statusesWrite}, resp, err)
		}
		for _, s := range list { // the newest is the first
			if s.GetContext() == name {
				return fmt.Sprintf("%s\n%s\n%s", s.GetState(), s.GetDescription(), s.GetTargetURL()), nil
			}
		}
		if opts.Page = resp.NextPage; opts.Page == 0 {
			return "", nil
		}
	}
}

// deliverReaction answers a comment with a sign. GitHub has one of a kind and user.
func (c *Client) deliverReaction(ctx context.Context, _ review.Notice, r review.Reaction) (int64, error) {
	need := access{name: pullsWrite, subject: fmt.Sprintf("issues/comments/%d", r.Comment)}
	return 0, c.mutate(ctx, "react to a comment", need, func() (*github.Response, error) {
		_, resp, err := c.gh.Reactions.CreateIssueCommentReaction(ctx, c.owner, c.repo, r.Comment, r.Content)
		return resp, err
	})
}

// deliverUnlabel takes a label off. One that is not there is off.
func (c *Client) deliverUnlabel(ctx context.Context, _ review.Notice, u review.Unlabel) (int64, error) {
	part := fmt.Sprintf("issues/%d/labels/%s", u.Pull, url.PathEscape(u.Label))
	return 0, c.mutate(ctx, "take a label off", access{name: pullsWrite}, func() (*github.Response, error) {
		req, err := c.gh.NewRequest(http.MethodDelete, c.path(part), nil)
		if err != nil {
			return nil, err
		}
		resp, err := c.gh.Do(ctx, req, nil)
		if status, _ := statusOf(resp, err); status == http.StatusNotFound {
			return resp, nil
		}
		return resp, err
	})
}

// optional returns nil for "", which GitHub would take for an URL.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
