package review

import (
	"context"
	"encoding/json"
	"time"

	"github.com/gitopsd/gitopsd/internal/sync"
)

// The contexts of our commit statuses, and the names of our check runs.
const (
	ContextPlan = "gitopsd/plan" // of the heads of pull requests
	ContextSync = "gitopsd/sync" // of the commits of the tracked branch
)

// Forge is where the repository lives. Errors have a fault.Kind: Invalid and
// NotFound of a Deliver mean that trying the same again is in vain, unless
// fault.After is set. Where the forge bounds requests, errors are Transient with
// fault.After, and no request is sent before then.
type Forge interface {
	// Pulls returns the open pull requests onto a branch, by number.
	Pulls(ctx context.Context, branch string) ([]Pull, error)
	// Pull returns one, open or closed.
	Pull(ctx context.Context, number int) (Pull, error)
	// Comments returns the comments on pull requests that were made or edited
	// since, oldest first, at most a few hundred: who has them asks again from
	// the last one's Updated.
	Comments(ctx context.Context, since time.Time) ([]Comment, error)
	// MayWrite reports whether a user may push to the repository.
	MayWrite(ctx context.Context, login string) (bool, error)
	// Labelled returns who set the label on the pull request last, and when; the
	// zero Labelling if nobody did.
	Labelled(ctx context.Context, pull int, label string) (Labelling, error)
	// Deliver has the forge show a notice, and returns the forge's own number of
	// what shows it (of a comment, check run or deployment), which later notices
	// of the key come with. A try whose answer was lost is found, not repeated.
	Deliver(ctx context.Context, n Notice) (remote int64, err error)
}

// Pull is a pull request.
type Pull struct {
	Number  int       `json:"number"`
	Title   string    `json:"title"`
	Author  string    `json:"author"`
	URL     string    `json:"url"`            // for people
	Head    string    `json:"head"`           // commit
	Ref     string    `json:"ref"`            // that leads to Head in the base repository, e.g. refs/pull/7/head
	Branch  string    `json:"branch"`         // that it is onto
	Fork    bool      `json:"fork,omitempty"` // the head is in another repository
	Draft   bool      `json:"draft,omitempty"`
	Labels  []string  `json:"labels,omitempty"`
	Pushed  time.Time `json:"pushed,omitzero"`  // the head's repository was last pushed to, by the forge's clock
	Updated time.Time `json:"updated,omitzero"` // anything about it, by the forge's clock
	Seen    time.Time `json:"seen,omitzero"`    // of this answer, by the forge's clock

	Closed bool   `json:"closed,omitempty"`
	Merged string `json:"merged,omitempty"` // the commit that merged it, "" if it is not merged
}

// Comment is a comment on a pull request.
type Comment struct {
	ID      int64
	Pull    int
	Author  string
	Body    string
	Updated time.Time // by the forge's clock
	Edited  bool      // perhaps by somebody else: whoever may write can
}

// Labelling is the act of setting a label.
type Labelling struct {
	By   string
	At   time.Time // by the forge's clock
	Head string    // of the pull request at that moment, "" if that is not known
}

// Hint says where to look sooner. It is not believed in anything else.
type Hint struct {
	Kind HintKind
	Pull int // 0 for any
	// Labelled is set for a signed delivery about a label: it is the one way to
	// learn the head at the moment of the label.
	Labelled *Labelling
	Label    string
}

// HintKind is what a hint is about.
type HintKind string

// The kinds of hints.
const (
	HintPush    HintKind = "push"    // the branch may have moved
	HintPull    HintKind = "pull"    // a pull request was opened, closed, pushed to, labelled …
	HintComment HintKind = "comment" // someone commented
	HintRecheck HintKind = "recheck" // someone asked for a check to be made again
)

// Notice is something the forge is to show. Of a key, the last one put counts.
type Notice struct {
	Key     string          `json:"key"`
	Kind    NoticeKind      `json:"kind"`
	Body    json.RawMessage `json:"body"`              // Status, PullComment, Check, Deployment, Reaction or Unlabel
	Remote  int64           `json:"remote,omitempty"`  // from an earlier delivery of the key
	Version int64           `json:"version,omitempty"` // rises with each change of the key's body
	Tries   int             `json:"tries,omitempty"`   // of this version so far
}

// NoticeKind is the kind of a notice.
type NoticeKind string

// The kinds of notices.
const (
	NoticeStatus     NoticeKind = "status"
	NoticeComment    NoticeKind = "comment"
	NoticeCheck      NoticeKind = "check"
	NoticeDeployment NoticeKind = "deployment"
	NoticeReaction   NoticeKind = "reaction"
	NoticeUnlabel    NoticeKind = "unlabel"
)

// Status is a commit status.
type Status struct {
	SHA         string           `json:"sha"`
	Context     string           `json:"context"`
	State       sync.CommitState `json:"state"`
	Description string           `json:"description"`   // at most sync.MaxDescription characters
	URL         string           `json:"url,omitempty"` // of the console's page
}

// PullComment is our one comment on a pull request.
type PullComment struct {
	Pull int    `json:"pull"`
	Body string `json:"body"` // Markdown, at most MaxComment bytes
}

// MaxComment is the longest comment GitHub takes, in characters.
const MaxComment = 65536

// Check is a check run. A forge that has none, or not for us, drops it.
type Check struct {
	SHA         string           `json:"sha"`
	Name        string           `json:"name"`
	State       sync.CommitState `json:"state"`
	Title       string           `json:"title"`
	Summary     string           `json:"summary"` // Markdown
	URL         string           `json:"url,omitempty"`
	Annotations []Annotation     `json:"annotations,omitempty"`
}

// Annotation is a remark on a line of a file.
type Annotation struct {
	Path    string `json:"path"`
	Line    int    `json:"line"`             // from 1
	Column  int    `json:"column,omitempty"` // from 1
	Level   string `json:"level"`            // notice, warning or failure
	Message string `json:"message"`
}

// Deployment is a tenant's release on its way to, or at, its URL.
type Deployment struct {
	ID          string          `json:"id"` // of the run
	SHA         string          `json:"sha"`
	Environment string          `json:"environment"` // the tenant
	URL         string          `json:"url,omitempty"`
	LogURL      string          `json:"logUrl,omitempty"`
	State       DeploymentState `json:"state"`
	Description string          `json:"description,omitempty"`
	Transient   bool            `json:"transient,omitempty"` // the environment goes with its pull request
}

// DeploymentState is a deployment's state, in the words of GitHub.
type DeploymentState string

// The states of a deployment.
const (
	DeploymentInProgress DeploymentState = "in_progress"
	DeploymentSuccess    DeploymentState = "success"
	DeploymentFailure    DeploymentState = "failure"
	DeploymentInactive   DeploymentState = "inactive" // the environment is gone
)

// Reaction answers a comment with a sign.
type Reaction struct {
	Comment int64  `json:"comment"`
	Content string `json:"content"` // +1, -1, eyes, confused …
}

// Unlabel takes a label off a pull request.
type Unlabel struct {
	Pull  int    `json:"pull"`
	Label string `json:"label"`
}
