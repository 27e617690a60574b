package sync

import (
	"context"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// Ledger is the control plane's memory. Every write is fenced: it fails with
// fault.Conflict once another daemon holds the lease.
type Ledger interface {
	// Head returns the last accepted commit, "" before the first.
	Head(ctx context.Context) (string, error)
	// Applied returns what is recorded of the named tenants, or of all if names
	// is nil. Unknown names are absent.
	Applied(ctx context.Context, names []string) (map[string]plan.Applied, error)
	// Live counts the tenants that are not deleted.
	Live(ctx context.Context) (int, error)

	// Hold records that the commit is not carried out, and why, until it is
	// approved or another commit is accepted. Holding again updates the reason;
	// an approval stays only if reason and message do.
	Hold(ctx context.Context, c Commit, h Hold) error
	// Approved reports whether the commit was approved as it is held now.
	Approved(ctx context.Context, commit string) (bool, error)

	// ApprovalOf returns who approved, in a pull request, the plan that the
	// fingerprint names; "" if nobody did, too long ago, or if the approval let
	// another commit through.
	ApprovalOf(ctx context.Context, fingerprint string) (who string, err error)

	// Accept records, in one transaction, that a commit is now what is desired:
	// its items, the runs they queue, the runs and the held or passed commits
	// they supersede, the tenants' accepted state, and the new head.
	Accept(ctx context.Context, a Acceptance) error

	// Claim marks up to n queued runs as running, oldest first, each of a tenant
	// that has no other running, and returns them.
	Claim(ctx context.Context, n int) ([]pipeline.Run, error)
	// Running returns the runs that are marked running.
	Running(ctx context.Context) ([]pipeline.Run, error)
	// Purgeable returns the tenants whose grace period is over and that have no
	// run queued or running.
	Purgeable(ctx context.Context, now time.Time) (map[string]plan.Applied, error)
	// Enqueue queues one run that no commit asks for (purge, retry).
	Enqueue(ctx context.Context, r pipeline.Run) error

	// Unsettled returns the commits without a terminal status, oldest first.
	Unsettled(ctx context.Context) ([]Progress, error)
	// PutStatus adds a commit's status to the outbox. A second terminal status of
	// a commit, and one equal to its last, are dropped.
	PutStatus(ctx context.Context, s CommitStatus) error
	// Outbox returns statuses due for delivery, each commit's in order; Delivered
	// and Postpone say what became of one.
	Outbox(ctx context.Context, now time.Time, limit int) ([]CommitStatus, error)
	Delivered(ctx context.Context, id int64) error
	Postpone(ctx context.Context, id int64, until time.Time, why string) error
	// GiveUp notes that a status will never be delivered: it counts as over.
	GiveUp(ctx context.Context, id int64, why string) error
}

// Commit is a commit as the ledger keeps it.
type Commit struct {
	SHA     string    `json:"sha"`
	Subject string    `json:"subject"`
	Author  string    `json:"author"`
	When    time.Time `json:"when"`
}

// Hold says why a commit is not carried out.
type Hold struct {
	Reason  HoldReason `json:"reason"`
	Message string     `json:"message"` // whole sentence, with what to do
}

// HoldReason is the kind of a hold: plan's, and those of the history itself.
type HoldReason = plan.HoldReason

// The reasons to hold a commit that a plan does not know.
const (
	HoldRewritten  HoldReason = "rewritten"  // does not descend from the accepted commit
	HoldUnreadable HoldReason = "unreadable" // its tree cannot be read whole
	HoldPolicy     HoldReason = "policy"     // its policy is invalid, or for another branch
	HoldUnsigned   HoldReason = "unsigned"   // a commit is not signed by a key the policy trusts
)

// Acceptance is what accepting a commit means.
type Acceptance struct {
	Commit   Commit
	Previous string   // head so far; fault.Conflict if the ledger has another
	Passed   []Commit // commits between that touched tenants: superseded at once
	Items    []Item   // one for each tenant the commit touches, by name
	// Approval is the fingerprint of the plan if an approval given in a pull
	// request lets the commit through. It is used up by that.
	Approval string
}

// Item is what a commit means for one tenant.
type Item struct {
	Tenant    string          `json:"tenant"`
	Operation plan.Operation  `json:"operation,omitempty"` // "" if there is nothing to do, or it cannot be done
	Reason    string          `json:"reason"`              // why this operation, or why none, in a few words
	Failure   *fault.Record   `json:"failure,omitempty"`   // an invalid file or a refused deletion: failed at once
	Problems  tenant.Problems `json:"problems,omitempty"`

	// The rest is set when there is something to record: an operation, or
	// a change without consequence (labels).
	Run     string         `json:"run,omitempty"` // of the run to queue, if there is an operation
	Spec    *tenant.Tenant `json:"spec,omitempty"`
	Infra   string         `json:"infra,omitempty"`
	App     string         `json:"app,omitempty"`
	Sources []string       `json:"sources,omitempty"`
}

// Progress is how far a commit is.
type Progress struct {
	Commit       Commit         `json:"commit"`
	Hold         *Hold          `json:"hold,omitempty"`
	SupersededBy string         `json:"supersededBy,omitempty"` // passed over, or held until this one came
	Items        []ItemProgress `json:"items"`
	Status       *CommitStatus  `json:"status,omitempty"` // last one put
}

// ItemProgress is an Item and how far its run is.
type ItemProgress struct {
	Item
	Status  pipeline.Status `json:"status"`            // a failed item without a run: Failed; nothing to do: Succeeded
	State   string          `json:"state,omitempty"`   // the run is in
	Cause   *fault.Record   `json:"cause,omitempty"`   // why the run failed
	Release string          `json:"release,omitempty"` // the run deployed
}

// CommitState is a commit status's state, in the words of GitHub.
type CommitState string

// The states of a commit status. All but pending are terminal.
const (
	StatePending CommitState = "pending"
	StateSuccess CommitState = "success"
	StateFailure CommitState = "failure"
)

// CommitStatus is one status of a commit, for people who look at the forge.
type CommitStatus struct {
	ID          int64       `json:"id"`
	Commit      string      `json:"commit"`
	State       CommitState `json:"state"`
	Description string      `json:"description"` // at most 140 characters
	At          time.Time   `json:"at"`
	Delivered   time.Time   `json:"delivered,omitzero"`
	Tries       int         `json:"tries,omitempty"`
	GivenUp     bool        `json:"givenUp,omitempty"` // it will never be delivered
	Error       string      `json:"error,omitempty"`   // of the last try to deliver it
}

// MaxDescription is the longest description GitHub takes, in characters.
const MaxDescription = 140
