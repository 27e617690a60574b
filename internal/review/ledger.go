package review

import (
	"context"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// Ledger is what reviews remember. Every write but PutDelivery is fenced: it
// fails with fault.Conflict once another daemon holds the lease.
type Ledger interface {
	// State names what is accepted and applied: while it is the same, a plan
	// made before is still right.
	State(ctx context.Context) (string, error)
	// Head returns the accepted commit, "" before the first.
	Head(ctx context.Context) (string, error)
	// Commit returns how far a commit is, by its whole name; fault.NotFound if
	// it is not known.
	Commit(ctx context.Context, sha string) (sync.Progress, error)

	// PutReport keeps a pull request's report, in place of the one before, and
	// in the same transaction puts the notices that show it.
	PutReport(ctx context.Context, r Report, notices []Notice) error
	// Reports returns the reports of the pull requests that are not closed.
	Reports(ctx context.Context) ([]Report, error)

	// Report returns the report of one pull request, open or closed;
	// fault.NotFound if there is none.
	Report(ctx context.Context, number int) (Report, error)

	// PutNotices puts notices into the outbox. One whose key has the same body
	// already is dropped; another takes the place of the key's.
	PutNotices(ctx context.Context, notices []Notice) error
	// DueNotices returns notices to deliver, oldest first.
	DueNotices(ctx context.Context, now time.Time, limit int) ([]Notice, error)
	// NoticeDelivered notes that the forge shows this version of a key, and by
	// which number.
	NoticeDelivered(ctx context.Context, key string, version, remote int64) error
	// NoticePostponed notes that a delivery failed, and when to try again; the zero
	// time means never.
	NoticePostponed(ctx context.Context, key string, version int64, until time.Time, why string) error

	// SawHead notes when a pull request was first seen with a head, by the
	// forge's clock, and returns the earliest time ever noted for the pair.
	SawHead(ctx context.Context, pull int, head string, at time.Time) (time.Time, error)

	// Cursor returns up to when comments were worked off, the zero time at first.
	Cursor(ctx context.Context) (time.Time, error)
	// Commanded reports whether a comment was worked off.
	Commanded(ctx context.Context, comment int64) (bool, error)
	// PutCommand notes that a comment was worked off, moves the cursor to its
	// time, and puts the notices that answer it; false if the comment was worked
	// off before, and then nothing is done.
	PutCommand(ctx context.Context, c Command, notices []Notice) (bool, error)

	// Approve lets a held commit be carried out, in a user's name.
	Approve(ctx context.Context, commit, who string) error
	// ApprovePlan lets a commit be carried out that is held for what the
	// fingerprint stands for, in a user's name.
	ApprovePlan(ctx context.Context, a PlanApproval) error
	// PlanApproved returns the approval of a fingerprint, if there is one that is
	// not older than sync.ApprovalAge and was not used yet.
	PlanApproved(ctx context.Context, fingerprint string) (PlanApproval, bool, error)

	// Previews returns the preview tenants that are not gone, by name.
	Previews(ctx context.Context) ([]Preview, error)
	// PutPreview records that a preview is desired and queues its run, in place
	// of one that waits.
	PutPreview(ctx context.Context, p Preview, run pipeline.Run) error
	// EndPreview records that a preview is not desired any more and queues the
	// run that takes it away. Ending it again changes nothing.
	EndPreview(ctx context.Context, tenant string, run pipeline.Run) error

	// Unannounced returns runs that started or ended since they were last
	// announced, oldest first.
	Unannounced(ctx context.Context, limit int) ([]Announcement, error)
	// Prune forgets what was delivered before a time, and is of no use any more.
	Prune(ctx context.Context, before time.Time) error
	// Announced notes that a run was announced with the status it had, and puts
	// the notices that do.
	Announced(ctx context.Context, run string, status pipeline.Status, notices []Notice) error
}

// Announcement is a run that the forge has not been told of.
type Announcement struct {
	pipeline.Run
	Preview bool // of a preview tenant
}

// Report is the plan of a pull request, as it was made last.
type Report struct {
	Pull   Pull   `json:"pull"`
	Base   string `json:"base"`             // commit of the branch it was made for
	Merged string `json:"merged,omitempty"` // what merging would give, "" on conflict
	Live   string `json:"live"`             // Ledger.State it was made for

	State       sync.CommitState `json:"state"`
	Description string           `json:"description"`

	Conflicts   []string       `json:"conflicts,omitempty"`   // paths
	Notes       []string       `json:"notes,omitempty"`       // what a reviewer should know
	Policy      bool           `json:"policy,omitempty"`      // gitopsd.yaml changes
	Hold        string         `json:"hold,omitempty"`        // why merging it would wait for an approval
	Approved    string         `json:"approved,omitempty"`    // by whom that is given already
	Held        time.Time      `json:"held,omitzero"`         // since then it waits for this very approval, by the forge's clock
	Fingerprint string         `json:"fingerprint,omitempty"` // of what it is held for
	Steps       []StepShown    `json:"steps,omitempty"`
	Failure     *fault.Record  `json:"failure,omitempty"` // why there is no plan, or why all of it is refused
	Previews    []PreviewShown `json:"previews,omitempty"`
	Commented   bool           `json:"commented,omitempty"` // the pull request has our comment
	At          time.Time      `json:"at"`
}

// StepShown is a plan's step with what it means.
type StepShown struct {
	plan.Step
	Problems     tenant.Problems    `json:"problems,omitempty"`
	Consequences []plan.Consequence `json:"consequences,omitempty"`
	Migrations   []Migration        `json:"migrations,omitempty"`
}

// PreviewShown is what became of a wish for a preview.
type PreviewShown struct {
	Tenant  string    `json:"tenant"`
	URL     string    `json:"url,omitempty"`
	Head    string    `json:"head,omitempty"` // that it shows
	Expires time.Time `json:"expires,omitzero"`
	Refused string    `json:"refused,omitempty"` // why there is none, or none of the newest head
}

// Migration is a change of a tenant's database.
type Migration struct {
	Name    string   `json:"name"`
	SQL     string   `json:"sql"`
	Verdict string   `json:"verdict"` // safe, caution or destructive
	Why     []string `json:"why,omitempty"`
}

// Command is what someone asked for in a comment.
type Command struct {
	Comment int64         `json:"comment"`
	Pull    int           `json:"pull"`
	By      string        `json:"by"`
	Name    string        `json:"name"` // plan, approve; "" for a comment that asks nothing
	At      time.Time     `json:"at"`   // by the forge's clock
	Failure *fault.Record `json:"failure,omitempty"`
}

// PlanApproval lets through a commit that is held for a reason known before.
type PlanApproval struct {
	Fingerprint string    `json:"fingerprint"` // plan.Plan's
	Pull        int       `json:"pull"`
	Head        string    `json:"head"`
	By          string    `json:"by"`
	At          time.Time `json:"at"`
}

// Preview is a tenant made of a pull request.
type Preview struct {
	Tenant  *tenant.Tenant `json:"tenant"`
	Pull    int            `json:"pull"`
	Of      string         `json:"of"`   // the tenant it is a preview of
	Head    string         `json:"head"` // commit
	By      string         `json:"by"`   // who asked for it
	Infra   string         `json:"infra"`
	App     string         `json:"app"`
	Sources []string       `json:"sources,omitempty"`
	Expires time.Time      `json:"expires"`
	Ended   bool           `json:"ended,omitempty"` // not desired any more; it goes
	Release string         `json:"release,omitempty"`
	Failing bool           `json:"failing,omitempty"`
}
