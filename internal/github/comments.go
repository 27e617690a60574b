package github

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/gitopsd/gitopsd/internal/review"
)

const (
	commentsWanted   = 200 // comments are read page by page until there are that many
	permissionMaxAge = time.Minute
)

// Comments implements review.Forge.
func (c *Client) Comments(ctx context.Context, since time.Time) ([]review.Comment, error) {
	query := url.Values{"sort": {"updated"}, "direction": {"asc"}}
	if !since.IsZero() {
		query.Set("since", since.UTC().Format(time.RFC3339))
	}
	var comments []review.Comment
	for next := firstPage(query); next != ""; {
		got, _, _, err := readPage(ctx, c, "issues/comments", next, commentsOf)
		if err != nil {
			return nil, c.denied(ctx, "list comments", access{name: issuesRead}, got.resp, err)
		}
		comments = append(comments, got.items...)
		// Who asks again from the last one's time must get further: the last one must
		// be later than since.
		if n := len(comments); n >= commentsWanted && comments[n-1].Updated.After(since) {
			break
		}
		next = got.next
	}
	return comments, nil
}

func commentsOf(list []*github.IssueComment) []review.Comment {
	comments := make([]review.Comment, 0, len(list))
	for _, c := range list {
		if pull := pullOfComment(c.GetHTMLURL()); pull != 0 {
			comments = append(comments, review.Comment{
				ID: c.GetID(), Pull: pull, Author: c.GetUser().GetLogin(), Body: c.GetBody(),
				Updated: c.GetUpdatedAt().Time, Edited: !c.GetUpdatedAt().Equal(c.GetCreatedAt()),
			})
		}
	}
	return comments
}

// pullOfComment returns the number of the pull request that a comment is on, from
// its address for people (https://github.com/acme/tenants/pull/7#issuecomment-1);
// 0 for a comment on an issue.
func pullOfComment(address string) int {
	u, err := url.Parse(address)
	if err != nil {
		return 0
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if len(parts) < 2 || parts[len(parts)-2] != "pull" {
		return 0
	}
	n, err := strconv.Atoi(parts[len(parts)-1])
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// permission is whether a user may write, and when that was asked.
type permission struct {
	write bool
	asked time.Time
}

// loginName is what GitHub lets users be called; Apps have "[bot]" behind.
var loginName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*(\[bot\])?$`)

// MayWrite implements review.Forge. An answer is remembered for a minute.
func (c *Client) MayWrite(ctx context.Context, login string) (bool, error) {
	if !loginName.MatchString(login) {
		return false, nil
	}
	key := strings.ToLower(login)
	if p, ok := c.writers.get(key); ok && time.Since(p.asked) < permissionMaxAge {
		return p.write, nil
	}
	asked := time.Now()
	level, resp, err := c.gh.Repositories.GetPermissionLevel(ctx, c.owner, c.repo, login)
	if err != nil {
		need := access{name: metadata, subject: "collaborators/" + url.PathEscape(login) + "/permission"}
		if status, _ := statusOf(resp, err); status == http.StatusNotFound { // a user who is gone, or the repository is not ours to see
			if gone, err := c.gone(ctx, need.subject); err == nil && gone {
				c.writers.put(key, permission{asked: asked})
				return false, nil
			}
		}
		return false, c.denied(ctx, "ask what "+login+" may do", need, resp, err)
	}
	// The roles maintain and triage come as write and read here, and so do an
	// organization's own roles, by what they are based on.
	write := level.GetPermission() == "admin" || level.GetPermission() == "write"
	c.writers.put(key, permission{write: write, asked: asked})
	return write, nil
}

// Labelled implements review.Forge. The head at that moment is not to be learned
// from the API.
func (c *Client) Labelled(ctx context.Context, pull int, label string) (review.Labelling, error) {
	part := fmt.Sprintf("issues/%d/events", pull)
	last := 1
	for number := 1; number > 0; {
		list, resp, err := c.gh.Issues.ListIssueEvents(ctx, c.owner, c.repo, pull, &github.ListOptions{Page: number, PerPage: perPage})
		if err != nil {
			need := access{name: issuesRead, subject: part}
			return review.Labelling{}, c.denied(ctx, fmt.Sprintf("list the events of pull request %d", pull), need, resp, err)
		}
		if number == 1 && resp.LastPage > 1 && last == 1 { // oldest first: begin at the end
			last = resp.LastPage
			number = last
			continue
		}
		if l, ok := lastLabelling(list, label); ok {
			return l, nil
		}
		number--
	}
	return review.Labelling{}, nil
}

// lastLabelling returns the last word on the label in a page of events: who set
// it, or the zero Labelling if it was taken off again.
func lastLabelling(events []*github.IssueEvent, label string) (review.Labelling, bool) {
	for i := len(events) - 1; i >= 0; i-- {
		e := events[i]
		if !strings.EqualFold(e.GetLabel().GetName(), label) {
			continue
		}
		switch e.GetEvent() {
		case "labeled":
			return review.Labelling{By: e.GetActor().GetLogin(), At: e.GetCreatedAt().Time}, true
		case "unlabeled":
			return review.Labelling{}, true
		}
	}
	return review.Labelling{}, false
}
