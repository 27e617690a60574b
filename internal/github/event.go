package github

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/review"
)

// delivery is what a payload says: of which repository, and where to look; hint
// is nil if there is nothing to look for.
type delivery struct {
	repository string
	hint       *review.Hint
}

// event is the part of the payloads that counts here.
type event struct {
	Action     string `json:"action"`
	Number     int    `json:"number"`
	Repository struct {
		FullName string `json:"full_name"`
	} `json:"repository"`
	Sender struct {
		Login string `json:"login"`
	} `json:"sender"`
	Label struct {
		Name string `json:"name"`
	} `json:"label"`
	PullRequest struct {
		Updated time.Time `json:"updated_at"`
		Head    struct {
			SHA string `json:"sha"`
		} `json:"head"`
	} `json:"pull_request"`
	Issue struct {
		Number int              `json:"number"`
		Pull   *json.RawMessage `json:"pull_request"`
	} `json:"issue"`
	Comment struct {
		Body string `json:"body"`
	} `json:"comment"`
	CheckRun   ofPulls `json:"check_run"`
	CheckSuite ofPulls `json:"check_suite"`
}

type ofPulls struct {
	Pulls []struct {
		Number int `json:"number"`
	} `json:"pull_requests"`
}

// number returns the pull request's, 0 if there is none or more than one.
func (o ofPulls) number() int {
	if len(o.Pulls) != 1 {
		return 0
	}
	return max(o.Pulls[0].Number, 0)
}

// readEvent reads the payload of an event, of which nothing is believed but where
// to look.
func readEvent(name string, payload []byte) (delivery, error) {
	var e event
	if err := json.Unmarshal(payload, &e); err != nil {
		return delivery{}, err
	}
	d := delivery{repository: e.Repository.FullName}
	switch name {
	case "push":
		d.hint = &review.Hint{Kind: review.HintPush}
	case "pull_request":
		d.hint = e.pull()
	case "issue_comment":
		// Our own comment asks for nothing.
		if e.Issue.Pull != nil && e.Issue.Number > 0 && !strings.HasPrefix(e.Comment.Body, review.Marker) && e.Action != "deleted" {
			d.hint = &review.Hint{Kind: review.HintComment, Pull: e.Issue.Number}
		}
	case "check_run":
		if e.Action == "rerequested" {
			d.hint = &review.Hint{Kind: review.HintRecheck, Pull: e.CheckRun.number()}
		}
	case "check_suite":
		if e.Action == "rerequested" {
			d.hint = &review.Hint{Kind: review.HintRecheck, Pull: e.CheckSuite.number()}
		}
	}
	return d, nil
}

// pull returns the hint of an event about a pull request.
func (e event) pull() *review.Hint {
	if e.Number <= 0 {
		return nil
	}
	hint := &review.Hint{Kind: review.HintPull, Pull: e.Number}
	switch e.Action {
	case "opened", "synchronize", "reopened", "closed", "edited", "ready_for_review", "converted_to_draft":
	case "unlabeled":
		hint.Label = e.Label.Name
	case "labeled":
		hint.Label = e.Label.Name
		hint.Labelled = &review.Labelling{By: e.Sender.Login, At: e.PullRequest.Updated, Head: e.PullRequest.Head.SHA}
	default:
		return nil
	}
	return hint
}
