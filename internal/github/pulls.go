package github

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/gitopsd/gitopsd/internal/review"
)

const (
	perPage = 100 // as many as GitHub gives
	// listings is how often all pages are read, at most, for a list that does not
	// change while it is read.
	listings = 3
)

// The permissions that reading needs.
const (
	pullsRead  = "Pull requests: read"
	issuesRead = "Issues: read"
	metadata   = "Metadata: read"
)

// page is one page of a list, as it was answered last.
type page struct {
	tag   string // ETag
	next  string // query of the page after, "" if there is none
	items any    // what was made of it
}

// Pulls implements review.Forge. Pages that did not change cost nothing of the
// rate limit: GitHub is asked only whether they did.
func (c *Client) Pulls(ctx context.Context, branch string) ([]review.Pull, error) {
	for try := 1; ; try++ {
		pulls, pages, changed, err := c.listPulls(ctx, branch)
		if err != nil {
			return nil, err
		}
		// A pull request that is closed between two pages moves those after it to the
		// page before, past the reader. A list that did not change has no such hole.
		if pages == 1 || !changed || try == listings {
			slices.SortFunc(pulls, func(a, b review.Pull) int { return a.Number - b.Number })
			return slices.CompactFunc(pulls, func(a, b review.Pull) bool { return a.Number == b.Number }), nil
		}
	}
}

func (c *Client) listPulls(ctx context.Context, branch string) (pulls []review.Pull, pages int, changed bool, err error) {
	query := firstPage(url.Values{"state": {"open"}, "base": {branch}, "sort": {"created"}, "direction": {"asc"}})
	for ; query != ""; pages++ {
		got, fresh, seen, err := readPage(ctx, c, "pulls", query, c.pullsOf)
		if err != nil {
			return nil, 0, false, c.denied(ctx, "list pull requests", access{name: pullsRead}, got.resp, err)
		}
		for _, p := range got.items {
			p.Seen, p.Labels = seen, slices.Clone(p.Labels) // what is remembered is not lent
			pulls = append(pulls, p)
		}
		changed = changed || fresh
		query = got.next
	}
	return pulls, pages, changed, nil
}

// answer is a page that was read.
type answer[T any] struct {
	items []T
	next  string
	resp  *github.Response
}

// firstPage returns the query of a list's first page.
func firstPage(query url.Values) string {
	query.Set("per_page", strconv.Itoa(perPage))
	return query.Encode()
}

// nextPage returns the query of the page after, "" if there is none. Some lists
// count their pages and some have cursors, so it is taken as GitHub gives it.
func nextPage(resp *github.Response) string {
	for link := range strings.SplitSeq(resp.Header.Get("Link"), ",") {
		address, rest, ok := strings.Cut(link, ">")
		if !ok || !strings.Contains(rest, `rel="next"`) {
			continue
		}
		u, err := url.Parse(strings.TrimLeft(address, " <"))
		if err != nil {
			return ""
		}
		return u.RawQuery
	}
	return ""
}

// readPage reads one page, or has GitHub confirm the one that is remembered; fresh
// says that it changed, seen when it was answered, by GitHub's clock.
func readPage[In, Out any](
	ctx context.Context, c *Client, part, query string, convert func([]In) []Out,
) (got answer[Out], fresh bool, seen time.Time, err error) {
	address := c.path(part) + "?" + query
	req, err := c.gh.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return got, false, seen, fmt.Errorf("%s: %w", part, err)
	}
	last, known := c.pages.get(address)
	if known {
		req.Header.Set("If-None-Match", last.tag)
	}
	var raw []In
	resp, err := c.gh.Do(ctx, req, &raw)
	got.resp = resp
	if known && resp != nil && resp.StatusCode == http.StatusNotModified {
		got.items, got.next = last.items.([]Out), last.next
		return got, false, dateOf(resp), nil
	}
	if err != nil {
		return got, false, seen, err
	}
	got.items, got.next = convert(raw), nextPage(resp)
	if tag := resp.Header.Get("ETag"); tag != "" {
		c.pages.put(address, page{tag: tag, next: got.next, items: got.items})
	}
	return got, true, dateOf(resp), nil
}

// dateOf returns when GitHub answered, by its clock.
func dateOf(resp *github.Response) time.Time {
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return date
}

// Pull implements review.Forge.
func (c *Client) Pull(ctx context.Context, number int) (review.Pull, error) {
	p, resp, err := c.gh.PullRequests.Get(ctx, c.owner, c.repo, number)
	if err != nil {
		need := access{name: pullsRead, subject: fmt.Sprintf("pulls/%d", number)}
		return review.Pull{}, c.denied(ctx, fmt.Sprintf("read pull request %d", number), need, resp, err)
	}
	pull := c.pullOf(p)
	pull.Seen = dateOf(resp)
	return pull, nil
}

func (c *Client) pullsOf(list []*github.PullRequest) []review.Pull {
	pulls := make([]review.Pull, 0, len(list))
	for _, p := range list {
		pulls = append(pulls, c.pullOf(p))
	}
	return pulls
}

func (c *Client) pullOf(p *github.PullRequest) review.Pull {
	pull := review.Pull{
		Number: p.GetNumber(),
		Title:  p.GetTitle(),
		Author: p.GetUser().GetLogin(),
		URL:    p.GetHTMLURL(),
		Head:   p.GetHead().GetSHA(),
		Ref:    fmt.Sprintf("refs/pull/%d/head", p.GetNumber()),
		Branch: p.GetBase().GetRef(),
		// A head without a repository was in a fork that is deleted.
		Fork:    p.GetHead().Repo == nil || p.GetHead().GetRepo().GetID() != p.GetBase().GetRepo().GetID(),
		Draft:   p.GetDraft(),
		Pushed:  p.GetHead().GetRepo().GetPushedAt().Time,
		Updated: p.GetUpdatedAt().Time,
		Closed:  p.GetState() == "closed",
	}
	for _, l := range p.Labels {
		pull.Labels = append(pull.Labels, l.GetName())
	}
	if p.GetMerged() || p.MergedAt != nil { // an open one's is a trial of GitHub's
		pull.Merged = p.GetMergeCommitSHA()
	}
	return pull
}
