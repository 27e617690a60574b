package console

import (
	"context"
	"io"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// Ledger is what is recorded, and the few things that a user adds to it.
type Ledger interface {
	// Tenants returns every tenant, deleted ones too until they are purged, by name.
	Tenants(ctx context.Context) ([]Record, error)
	// Tenant returns one; fault.NotFound if there is none of the name.
	Tenant(ctx context.Context, name string) (Record, error)
	// Refusals returns, by tenant, what was refused last since what is accepted:
	// of the named tenants, or of all if names is nil.
	Refusals(ctx context.Context, names []string) (map[string]Refusal, error)
	// Runs returns a tenant's runs, newest first.
	Runs(ctx context.Context, tenant string, limit int) ([]pipeline.Run, error)
	// Events returns a run's events after the one numbered after, in order.
	Events(ctx context.Context, run string, after int64) ([]pipeline.Event, error)
	// Receipts returns a tenant's receipts, or with "" all, newest first.
	Receipts(ctx context.Context, tenant string) ([]pipeline.Receipt, error)
	// Tombstones returns the tenants that are stopped and whose data is kept.
	Tombstones(ctx context.Context) ([]pipeline.Tombstone, error)
	// Commit returns the commit whose name starts with prefix; fault.NotFound
	// if there is none, fault.Invalid if there are several.
	Commit(ctx context.Context, prefix string) (sync.Progress, error)
	// Commits returns what is known of the last commits, newest first.
	Commits(ctx context.Context, limit int) ([]Listed, error)
	// Approve lets a held commit be carried out.
	Approve(ctx context.Context, commit, who string) error
	// EndGrace ends a deleted tenant's grace period; fault.Conflict if it is not
	// one whose data is kept.
	EndGrace(ctx context.Context, tenant string) error
	// Applied returns what is recorded of the named tenants, or of all if nil.
	Applied(ctx context.Context, names []string) (map[string]plan.Applied, error)
	// Head returns the accepted commit, "" before the first.
	Head(ctx context.Context) (string, error)
	// Changes delivers after something was written, until ctx ends.
	Changes(ctx context.Context) <-chan struct{}
}

// Platform is what is asked of the place where tenants live.
type Platform interface {
	Instances(ctx context.Context, tenant string) ([]platform.Instance, error)
	Condition(ctx context.Context, tenant string) (platform.Condition, error)
	Logs(ctx context.Context, tenant string, w io.Writer, follow bool) error
	// Snapshots returns a tenant's, newest first, also of one that is gone.
	Snapshots(ctx context.Context, tenant string) ([]platform.Snapshot, error)
	RemoveSnapshots(ctx context.Context, tenant string) error
}

// Loop is the loop that follows the branch.
type Loop interface {
	Retry(ctx context.Context, name string) error
	// Restore queues a run that puts a snapshot's data in the place of a live
	// tenant's, and returns the run's name.
	Restore(ctx context.Context, name, snapshot string) (run string, err error)
	Wake()
	Health() sync.Health
}

// Secrets takes the values of tenants' secrets.
type Secrets interface {
	SetSecret(ctx context.Context, tenant, name, value string) error
}

// Reviews are the plans of pull requests.
type Reviews interface {
	// Report returns the plan of a pull request; fault.NotFound if there is none.
	Report(ctx context.Context, number int) (review.Report, error)
	// Pulls returns the plans of the open pull requests, newest first.
	Pulls(ctx context.Context, limit int) ([]review.Report, error)
}

// Record is what the ledger knows of one tenant.
type Record struct {
	plan.Applied
	Name     string
	Phase    Phase
	Accepted time.Time     // its file changed last
	Deployed time.Time     // Release took traffic
	Run      *pipeline.Run // that is running, else queued, else ended last
	Pull     int           // that it is a preview of, 0 for a tenant of the branch
}

// Refusal is what a commit asked for and was refused: an invalid file, or a
// deletion that is protected. The tenant stays as it was.
type Refusal struct {
	Commit   sync.Commit     `json:"commit"`
	Failure  *fault.Record   `json:"failure"`
	Problems tenant.Problems `json:"problems,omitempty"`
}

// Phase is how a tenant is, in a word: the ledger's, or PhaseGone.
type Phase string

// The phases of tenants that the ledger has not, or no longer.
const (
	PhaseGone    Phase = "Gone"    // taken away, with a receipt
	PhaseRefused Phase = "Refused" // its file was never valid
)

// Summary is one tenant in a list.
type Summary struct {
	Name     string    `json:"name"`
	Phase    Phase     `json:"phase"`
	Message  string    `json:"message,omitempty"` // one line: why, or what is under way
	URL      string    `json:"url,omitempty"`
	Release  string    `json:"release,omitempty"` // that serves
	Commit   string    `json:"commit"`            // accepted last
	Accepted time.Time `json:"accepted,omitzero"` // its file changed last
	Deployed time.Time `json:"deployed,omitzero"` // the release took traffic
	Pull     int       `json:"pull,omitempty"`    // that it is a preview of
}

// Detail is everything about one tenant.
type Detail struct {
	Summary
	URLs      []string            `json:"urls,omitempty"`
	Applied   *plan.Applied       `json:"applied,omitempty"`
	Refused   *Refusal            `json:"refused,omitempty"` // since what is applied
	Instances []platform.Instance `json:"instances,omitempty"`
	// InstancesError says why the instances could not be asked.
	InstancesError string              `json:"instancesError,omitempty"`
	Condition      *platform.Condition `json:"condition,omitempty"`
	Runs           []Run               `json:"runs,omitempty"` // the last few, newest first
	Tombstone      *pipeline.Tombstone `json:"tombstone,omitempty"`
	Receipts       []pipeline.Receipt  `json:"receipts,omitempty"` // newest first
}

// Run is a run and its history.
type Run struct {
	pipeline.Run
	Events []pipeline.Event `json:"events"`
}

// Listed is a commit in a list.
type Listed struct {
	Commit       sync.Commit             `json:"commit"`
	Hold         *sync.Hold              `json:"hold,omitempty"`
	SupersededBy string                  `json:"supersededBy,omitempty"`
	Items        map[pipeline.Status]int `json:"items,omitempty"`  // how many are where
	Status       *sync.CommitStatus      `json:"status,omitempty"` // last one put
}

// Commit is a commit and how far it is.
type Commit struct {
	sync.Progress
	State       sync.CommitState `json:"state"`
	Description string           `json:"description"`
}

// Settled reports whether nothing more happens to the commit by itself: it is
// done, failed or superseded, or it is held.
func (c Commit) Settled() bool { return c.State != sync.StatePending || c.Hold != nil }

// Approval says who lets a held commit be carried out.
type Approval struct {
	Who string `json:"who"`
}

// Applied is what a plan of any tree is made against.
type Applied struct {
	Head    string                  `json:"head"`
	Domain  string                  `json:"domain"`
	Brake   plan.Brake              `json:"brake"`
	Tenants map[string]plan.Applied `json:"tenants"`
}

// Restore asks for a restore, and says which run carries it out.
type Restore struct {
	Tenant   string `json:"tenant,omitempty"`
	Snapshot string `json:"snapshot"` // "": the newest
	Run      string `json:"run,omitempty"`
}

// Purged says whose grace period was ended, or whose snapshots were removed.
type Purged struct {
	Tenant string `json:"tenant"`
}

// Stored says what became of a secret.
type Stored struct {
	Tenant string `json:"tenant"`
	Name   string `json:"name"`
	// Known reports whether the tenant exists; a value may be set before.
	Known bool `json:"known"`
	// Wanted reports whether the tenant's accepted file names the secret.
	Wanted bool `json:"wanted"`
}
