package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-github/v60/github"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// classify says what can be done about a request that failed; what names it.
func (c *Client) classify(ctx context.Context, what string, resp *github.Response, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil { // whoever asked does not want it any more
		return fault.Errorf(fault.Transient, "%s: %w", what, context.Cause(ctx))
	}
	var kind *fault.Error
	if errors.As(err, &kind) {
		return fmt.Errorf("%s: %w", what, kind)
	}
	if until := c.gate.after(); !until.IsZero() {
		return fault.Errorf(fault.Transient, "%s: GitHub bounds our requests", what).WithAfter(until)
	}
	if refused := (*tokenError)(nil); errors.As(err, &refused) {
		return c.noToken(what, refused)
	}
	status, message := statusOf(resp, err)
	failed := func(kind fault.Kind) *fault.Error {
		return fault.Errorf(kind, "%s: GitHub answers %d %s", what, status, message)
	}
	switch {
	case status == 0: // no answer: a connection, a time-out, a broken body
		return fault.Errorf(fault.Transient, "%s: %w", what, unwrapURL(err))
	case status == http.StatusUnauthorized:
		return failed(fault.Transient).WithHint("the credentials in %s are refused: they are wrong, expired or revoked; put valid ones there", c.source)
	case status == http.StatusNotFound:
		return failed(fault.NotFound)
	case status == http.StatusGone, status == http.StatusUnprocessableEntity, status == http.StatusBadRequest:
		return failed(fault.Invalid)
	case status == http.StatusConflict:
		return failed(fault.Conflict)
	default:
		return failed(fault.Transient)
	}
}

// noToken explains why the App was given no token.
func (c *Client) noToken(what string, e *tokenError) error {
	f := fault.Errorf(fault.Transient, "%s: %w", what, e)
	switch e.status {
	case http.StatusUnauthorized:
		return f.WithHint("GitHub does not know the App by the ID and key in %s, or this machine's clock is off by minutes", c.source)
	case http.StatusNotFound, http.StatusUnprocessableEntity:
		return f.WithHint("install the App on %s/%s, or correct the installation in %s", c.owner, c.repo, c.source)
	case http.StatusForbidden:
		return f.WithHint("the App's installation on %s/%s is suspended: resume it in its settings", c.owner, c.repo)
	default:
		return f
	}
}

// statusOf returns the HTTP status of an answer, 0 if there was none, and what
// GitHub says about it.
func statusOf(resp *github.Response, err error) (int, string) {
	var said *github.ErrorResponse
	var abuse *github.AbuseRateLimitError
	switch {
	case errors.As(err, &said) && said.Response != nil:
		return said.Response.StatusCode, describe(said)
	case errors.As(err, &abuse) && abuse.Response != nil:
		return abuse.Response.StatusCode, abuse.Message
	case resp != nil && resp.Response != nil && resp.StatusCode >= http.StatusMultipleChoices:
		return resp.StatusCode, resp.Status
	default:
		return 0, ""
	}
}

func describe(e *github.ErrorResponse) string {
	parts := []string{e.Message}
	for _, detail := range e.Errors {
		words := detail.Message
		if words == "" {
			words = strings.TrimSpace(strings.Join([]string{detail.Resource, detail.Field, detail.Code}, " "))
		}
		parts = append(parts, words)
	}
	return strings.Join(parts, ": ")
}

// unwrapURL takes the request's URL off an error: it is long and says nothing
// that the description does not.
func unwrapURL(err error) error {
	var u *url.Error
	switch {
	case !errors.As(err, &u):
		return err
	case u.Timeout():
		return fmt.Errorf("no answer within %s", requestTimeout)
	default:
		return u.Err
	}
}

// access is a permission that an operation needs.
type access struct {
	name string // of the App's or fine-grained token's permission
	// subject is what the operation is about: if GitHub does not show it either,
	// then it is gone, and no permission is missing. "" if it cannot go.
	subject string
}

// denied is classify for what needs a permission. GitHub answers 403 and 404 for a
// missing permission as well as for something missing: if it is the permission,
// the error can be repaired, says how, and is logged once.
func (c *Client) denied(ctx context.Context, what string, need access, resp *github.Response, err error) error {
	classified := c.classify(ctx, what, resp, err)
	status, message := statusOf(resp, err)
	if (status != http.StatusForbidden && status != http.StatusNotFound) || !fault.After(classified).IsZero() {
		return classified
	}
	if need.subject != "" && status == http.StatusNotFound {
		gone, err := c.gone(ctx, need.subject)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if gone {
			return classified // NotFound
		}
	}
	hint := fmt.Sprintf("grant the permission %q on %s/%s to the credentials in %s", need.name, c.owner, c.repo, c.source)
	if _, known := c.told.LoadOrStore(need.name, true); !known {
		c.log.Error("GitHub denies what is needed", "what", what, "status", status, "hint", hint)
	}
	return fault.Errorf(fault.Transient, "%s: GitHub answers %d %s", what, status, message).WithHint("%s", hint)
}

// gone reports whether GitHub shows the repository, but not this part of it.
func (c *Client) gone(ctx context.Context, subject string) (bool, error) {
	for _, path := range []string{"", subject} {
		req, err := c.gh.NewRequest(http.MethodGet, c.path(path), nil)
		if err != nil {
			return false, err
		}
		resp, err := c.gh.Do(ctx, req, nil)
		if err == nil {
			continue
		}
		if status, _ := statusOf(resp, err); status == http.StatusNotFound || status == http.StatusGone {
			return path != "", nil
		}
		return false, c.classify(ctx, "look for it", resp, err)
	}
	return false, nil
}

// path returns the API's path of a part of the repository.
func (c *Client) path(part string) string {
	p := "repos/" + c.owner + "/" + c.repo
	if part == "" {
		return p
	}
	return p + "/" + part
}
