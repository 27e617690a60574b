package github

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// GitHub's bounds of a check run.
const (
	annotationsAtOnce = 50    // in a request; further ones are added to them
	maxSummary        = 65535 // bytes
	maxTitle          = 255
	maxMessage        = 16 << 10 // GitHub takes 64 KB
)

const (
	checkRunning   = "in_progress"
	checkCompleted = "completed"
)

// deliverCheck shows a check run. Its external ID is the digest of what it shows,
// so that a try that ended halfway is continued: GitHub adds annotations and never
// takes one back. Another word with other annotations is another run, which hides
// the one before.
func (c *Client) deliverCheck(ctx context.Context, n review.Notice, want review.Check) (int64, error) {
	if !c.Checks() {
		return 0, nil
	}
	digest, err := digestOf(want)
	if err != nil {
		return 0, err
	}
	run, err := c.findCheck(ctx, n.Remote, want)
	if err != nil {
		return 0, err
	}
	sent := 0
	switch {
	case run == nil:
	case run.GetExternalID() == digest:
		sent = run.GetOutput().GetAnnotationsCount()
		if complete := run.GetStatus() == checkCompleted || want.State == sync.StatePending; complete && sent >= len(want.Annotations) {
			return run.GetID(), nil
		}
	case run.GetStatus() == checkCompleted || run.GetOutput().GetAnnotationsCount() > 0:
		run = nil // it said something else
	}
	id := run.GetID()
	for first := true; first || sent < len(want.Annotations); first = false {
		part := want.Annotations[min(sent, len(want.Annotations)):]
		part = part[:min(annotationsAtOnce, len(part))]
		sent += len(part)
		if id, err = c.sendCheck(ctx, id, digest, want, part, sent >= len(want.Annotations)); err != nil {
			return 0, err
		}
	}
	return id, nil
}

func digestOf(want review.Check) (string, error) {
	b, err := json.Marshal(want)
	if err != nil {
		return "", fault.Errorf(fault.Invalid, "encode check: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// findCheck returns the check run that shows the name on the commit, nil if there
// is none.
func (c *Client) findCheck(ctx context.Context, remote int64, want review.Check) (*github.CheckRun, error) {
	if remote != 0 {
		run, resp, err := c.gh.Checks.GetCheckRun(ctx, c.owner, c.repo, remote)
		err = c.denied(ctx, "read our check run", access{name: checksWrite, subject: fmt.Sprintf("check-runs/%d", remote)}, resp, err)
		switch {
		case err == nil && run.GetHeadSHA() == want.SHA && run.GetName() == want.Name:
			return run, nil
		case err != nil && !fault.Is(err, fault.NotFound):
			return nil, err
		}
	}
	opts := &github.ListCheckRunsOptions{
		CheckName: &want.Name, Filter: new("latest"), AppID: &c.app, ListOptions: github.ListOptions{PerPage: perPage},
	}
	list, resp, err := c.gh.Checks.ListCheckRunsForRef(ctx, c.owner, c.repo, want.SHA, opts)
	if err != nil {
		return nil, c.denied(ctx, "look for our check run", access{name: checksWrite}, resp, err)
	}
	var newest *github.CheckRun
	for _, run := range list.CheckRuns {
		if newest.GetID() < run.GetID() {
			newest = run
		}
	}
	return newest, nil
}

// sendCheck creates the run, or updates the one with this number; last says that
// all annotations are there with these.
func (c *Client) sendCheck(ctx context.Context, id int64, digest string, want review.Check, part []review.Annotation, last bool) (int64, error) {
	status, conclusion, ended := new(checkRunning), (*string)(nil), (*github.Timestamp)(nil)
	if last && want.State != sync.StatePending {
		status, conclusion, ended = new(checkCompleted), new(string(want.State)), &github.Timestamp{Time: time.Now().UTC().Truncate(time.Second)}
	}
	output := &github.CheckRunOutput{Title: new(cut(want.Title, maxTitle)), Summary: new(cutBytes(want.Summary, maxSummary))}
	for _, a := range part {
		output.Annotations = append(output.Annotations, annotation(a))
	}
	// What is not in the description of an update is left as it was.
	need := access{name: checksWrite}
	what := "create check run"
	if id != 0 {
		need.subject, what = fmt.Sprintf("check-runs/%d", id), "update check run"
	}
	err := c.mutate(ctx, what, need, func() (*github.Response, error) {
		var run *github.CheckRun
		var resp *github.Response
		var err error
		if id == 0 {
			run, resp, err = c.gh.Checks.CreateCheckRun(ctx, c.owner, c.repo, github.CreateCheckRunOptions{
				Name: want.Name, HeadSHA: want.SHA, DetailsURL: optional(want.URL), ExternalID: &digest,
				Status: status, Conclusion: conclusion, CompletedAt: ended, Output: output,
			})
		} else {
			run, resp, err = c.gh.Checks.UpdateCheckRun(ctx, c.owner, c.repo, id, github.UpdateCheckRunOptions{
				Name: want.Name, DetailsURL: optional(want.URL), ExternalID: &digest,
				Status: status, Conclusion: conclusion, CompletedAt: ended, Output: output,
			})
		}
		id = run.GetID()
		return resp, err
	})
	return id, err
}

func annotation(a review.Annotation) *github.CheckRunAnnotation {
	line := max(a.Line, 1)
	g := &github.CheckRunAnnotation{
		Path: &a.Path, StartLine: &line, EndLine: &line,
		AnnotationLevel: &a.Level, Message: new(cut(a.Message, maxMessage)),
	}
	if a.Column > 0 {
		g.StartColumn, g.EndColumn = &a.Column, &a.Column
	}
	return g
}
