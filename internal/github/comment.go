package github

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/google/go-github/v60/github"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/review"
)

// deliverComment edits our comment in place, or makes it.
func (c *Client) deliverComment(ctx context.Context, n review.Notice, p review.PullComment) (int64, error) {
	body := marked(p.Body)
	id := n.Remote
	if id == 0 {
		var err error
		if id, err = c.ownComment(ctx, p.Pull); err != nil {
			return 0, err
		}
	}
	if id != 0 {
		err := c.editComment(ctx, id, body)
		if !fault.Is(err, fault.NotFound) {
			return id, err
		}
		// Somebody deleted it.
	}
	need := access{name: pullsWrite, subject: fmt.Sprintf("pulls/%d", p.Pull)}
	err := c.mutate(ctx, "comment", need, func() (*github.Response, error) {
		made, resp, err := c.gh.Issues.CreateComment(ctx, c.owner, c.repo, p.Pull, &github.IssueComment{Body: &body})
		id = made.GetID()
		return resp, err
	})
	return id, err
}

func (c *Client) editComment(ctx context.Context, id int64, body string) error {
	need := access{name: pullsWrite, subject: fmt.Sprintf("issues/comments/%d", id)}
	return c.mutate(ctx, "edit our comment", need, func() (*github.Response, error) {
		_, resp, err := c.gh.Issues.EditComment(ctx, c.owner, c.repo, id, &github.IssueComment{Body: &body})
		return resp, err
	})
}

// written is a comment, with what go-github leaves out.
type written struct {
	ID   int64  `json:"id"`
	Body string `json:"body"`
	User struct {
		Login string `json:"login"`
		Type  string `json:"type"`
	} `json:"user"`
	App *struct {
		ID int64 `json:"id"`
	} `json:"performed_via_github_app"`
}

// ownComment returns the number of our comment on a pull request, 0 if there is
// none. Anybody can write the marker, so what counts is who wrote it.
func (c *Client) ownComment(ctx context.Context, pull int) (int64, error) {
	part := fmt.Sprintf("issues/%d/comments", pull)
	for next := firstPage(url.Values{}); next != ""; {
		req, err := c.gh.NewRequest(http.MethodGet, c.path(part)+"?"+next, nil)
		if err != nil {
			return 0, fmt.Errorf("look for our comment: %w", err)
		}
		var list []written
		resp, err := c.gh.Do(ctx, req, &list)
		if err != nil {
			need := access{name: pullsWrite, subject: fmt.Sprintf("pulls/%d", pull)}
			return 0, c.denied(ctx, "look for our comment", need, resp, err)
		}
		for _, comment := range list {
			if !strings.Contains(comment.Body, review.Marker) {
				continue
			}
			if ours, err := c.wrote(ctx, comment); err != nil || ours {
				return comment.ID, err
			}
		}
		next = nextPage(resp)
	}
	return 0, nil
}

// wrote reports whether a comment is ours.
func (c *Client) wrote(ctx context.Context, comment written) (bool, error) {
	if c.app != 0 {
		return comment.App != nil && comment.App.ID == c.app, nil
	}
	login, err := c.login(ctx)
	if err != nil {
		return false, err
	}
	if login == "" { // a workflow's token does not say whose it is; users are not bots
		return comment.User.Type == "Bot", nil
	}
	return strings.EqualFold(comment.User.Login, login), nil
}

// marked returns the text with the marker, not longer than GitHub takes.
func marked(body string) string {
	if !strings.Contains(body, review.Marker) {
		body = review.Marker + "\n" + body
	}
	return cut(body, review.MaxComment)
}

// cut shortens a text to a number of characters.
func cut(s string, most int) string {
	if len(s) <= most || utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

// cutBytes shortens a text to a number of bytes, between characters.
func cutBytes(s string, most int) string {
	if len(s) <= most {
		return s
	}
	const end = "…"
	return strings.ToValidUTF8(s[:most-len(end)], "") + end
}
