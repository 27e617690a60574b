package github

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/go-github/v60/github"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// endedAtMost bounds how many deployments of an environment are marked inactive
// when it goes. GitHub does that itself for older ones when a newer succeeds.
const endedAtMost = 10

// payload is how a deployment says which run of ours it is.
type payload struct {
	Run string `json:"gitopsd"`
}

// deliverDeployment creates a run's deployment, once, and says how far it is.
func (c *Client) deliverDeployment(ctx context.Context, n review.Notice, d review.Deployment) (int64, error) {
	id := n.Remote
	if id == 0 && d.SHA != "" {
		var err error
		if id, err = c.findDeployment(ctx, d); err != nil {
			return 0, err
		}
	}
	if d.State == review.DeploymentInactive {
		return id, c.endEnvironment(ctx, id, d)
	}
	if d.SHA == "" { // no commit asked for the run, and GitHub has deployments of commits only
		return 0, nil
	}
	if id == 0 {
		var err error
		if id, err = c.createDeployment(ctx, d); err != nil {
			return 0, err
		}
	}
	return id, c.sendDeployment(ctx, id, d, n.Tries > 0)
}

func (c *Client) findDeployment(ctx context.Context, d review.Deployment) (int64, error) {
	opts := &github.DeploymentsListOptions{SHA: d.SHA, Environment: d.Environment, ListOptions: github.ListOptions{PerPage: perPage}}
	for {
		list, resp, err := c.gh.Repositories.ListDeployments(ctx, c.owner, c.repo, opts)
		if err != nil {
			return 0, c.denied(ctx, "look for our deployment", access{name: deploymentsWrite}, resp, err)
		}
		for _, found := range list {
			if runOf(found.Payload) == d.ID {
				return found.GetID(), nil
			}
		}
		if opts.Page = resp.NextPage; opts.Page == 0 {
			return 0, nil
		}
	}
}

// runOf reads which run a deployment is of; GitHub gives the payload back as it
// came, or as a text.
func runOf(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		raw = json.RawMessage(text)
	}
	var p payload
	if json.Unmarshal(raw, &p) != nil {
		return "" // another system's
	}
	return p.Run
}

func (c *Client) createDeployment(ctx context.Context, d review.Deployment) (id int64, err error) {
	err = c.mutate(ctx, "create deployment", access{name: deploymentsWrite}, func() (*github.Response, error) {
		made, resp, err := c.gh.Repositories.CreateDeployment(ctx, c.owner, c.repo, &github.DeploymentRequest{
			Ref: &d.SHA, Task: new("deploy"), Environment: &d.Environment,
			Description:           new(cut(d.Description, sync.MaxDescription)),
			Payload:               payload{Run: d.ID},
			AutoMerge:             new(false),  // the commit as it is
			RequiredContexts:      &[]string{}, // it is on its way already
			TransientEnvironment:  new(d.Transient),
			ProductionEnvironment: new(!d.Transient),
		})
		id = made.GetID()
		return resp, err
	})
	return id, err
}

// sendDeployment says how far a deployment is, unless GitHub shows that already.
func (c *Client) sendDeployment(ctx context.Context, id int64, d review.Deployment, again bool) error {
	subject := fmt.Sprintf("deployment %d", id)
	description := cut(d.Description, sync.MaxDescription)
	want := fmt.Sprintf("%s\n%s\n%s\n%s", d.State, description, d.URL, d.LogURL)
	shows, known := c.saw(subject)
	if !known || again {
		last, err := c.lastDeploymentStatus(ctx, id)
		if err != nil {
			return err
		}
		shows = ""
		if last != nil {
			shows = fmt.Sprintf("%s\n%s\n%s\n%s", last.GetState(), last.GetDescription(), last.GetEnvironmentURL(), last.GetLogURL())
		}
	}
	if shows == want {
		c.see(subject, want)
		return nil
	}
	c.shown.forget(subject) // until it is answered
	need := access{name: deploymentsWrite, subject: fmt.Sprintf("deployments/%d", id)}
	err := c.mutate(ctx, "create deployment status", need, func() (*github.Response, error) {
		_, resp, err := c.gh.Repositories.CreateDeploymentStatus(ctx, c.owner, c.repo, id, &github.DeploymentStatusRequest{
			State: new(string(d.State)), Description: &description, EnvironmentURL: optional(d.URL), LogURL: optional(d.LogURL),
		})
		return resp, err
	})
	if err == nil {
		c.see(subject, want)
	}
	return err
}

func (c *Client) lastDeploymentStatus(ctx context.Context, id int64) (*github.DeploymentStatus, error) {
	list, resp, err := c.gh.Repositories.ListDeploymentStatuses(ctx, c.owner, c.repo, id, &github.ListOptions{PerPage: 1})
	if err != nil {
		need := access{name: deploymentsWrite, subject: fmt.Sprintf("deployments/%d", id)}
		return nil, c.denied(ctx, "read a deployment's statuses", need, resp, err)
	}
	if len(list) == 0 {
		return nil, nil
	}
	return list[0], nil // the newest is the first
}

// endEnvironment marks a deployment inactive, and what was deployed to the
// environment before: nothing of it is there any more.
func (c *Client) endEnvironment(ctx context.Context, id int64, d review.Deployment) error {
	if id != 0 {
		if err := c.sendDeployment(ctx, id, d, true); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	opts := &github.DeploymentsListOptions{Environment: d.Environment, ListOptions: github.ListOptions{PerPage: endedAtMost}}
	list, resp, err := c.gh.Repositories.ListDeployments(ctx, c.owner, c.repo, opts)
	if err != nil {
		return c.denied(ctx, "list an environment's deployments", access{name: deploymentsWrite}, resp, err)
	}
	for _, older := range list { // newest first
		if older.GetID() == id || runOf(older.Payload) == "" || id != 0 && older.GetID() > id {
			continue
		}
		last, err := c.lastDeploymentStatus(ctx, older.GetID())
		if err != nil {
			return err
		}
		if state := last.GetState(); state == string(review.DeploymentInactive) || state == string(review.DeploymentFailure) {
			continue
		}
		end := review.Deployment{State: review.DeploymentInactive, Description: d.Description, LogURL: d.LogURL}
		if err := c.sendDeployment(ctx, older.GetID(), end, true); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return nil
}
