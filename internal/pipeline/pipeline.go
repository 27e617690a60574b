// Package pipeline holds the machines that carry operations out, as data, and
// the tasks behind their states.
//
// A machine is data so that two engines can run it: dbosrun on Postgres, and
// Step Functions by way of asl. Every task is idempotent and adopts what a
// crashed try left behind, since an engine may run it again after any crash.
// A run's recorded input and outputs are references, never secrets and never
// blobs. State names are persistent: a rename needs a new version of the machine.
package pipeline

import (
	"context"
	"encoding/json"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// Machine is a pipeline: named states, from Start on, each leading to the next.
type Machine struct {
	Name    string
	Version int
	Comment string
	Start   string
	States  []State
}

// State is one step of a machine. Exactly one of Task, Machine, Choice and
// Fail is set.
type State struct {
	Name    string
	Comment string

	Task    string   // the task to run; its output is kept under the state's name
	Machine string   // a machine to run to its end in this place
	Choice  []Branch // the first branch that holds leads on; else Next
	Fail    bool     // ends the run with the error that led here

	Timeout time.Duration // of one try
	Retry   Retry
	Waits   bool   // an error that says when to look again is no failed try: see WaitsUntil
	Catch   string // where an error leads that was not, or no longer, retried; "" fails the run
	Next    string // "" ends the machine
}

// Branch leads to Next if the named state's output has Field equal to Equals.
type Branch struct {
	State  string
	Field  string
	Equals bool
	Next   string
}

// Retry says how errors of a retryable fault.Kind are tried again: full jitter
// between 0 and min(Cap, Base·2^try).
type Retry struct {
	Attempts int // tries in all; 0 and 1 mean one
	Base     time.Duration
	Cap      time.Duration
}

// Run is one execution of a machine for one tenant at one commit.
type Run struct {
	ID        string         `json:"id"`
	Tenant    string         `json:"tenant"`
	Commit    string         `json:"commit"`
	Operation plan.Operation `json:"operation"`
	// Argument says on what the operation is done, where the tenant alone does
	// not: of a restore, the snapshot's name.
	Argument string `json:"argument,omitempty"`

	// Spec is what to make real; for a deprovision, what was accepted last.
	Spec  *tenant.Tenant `json:"spec"`
	Infra string         `json:"infra"` // digests of Spec
	App   string         `json:"app"`

	Status   Status        `json:"status"`
	State    string        `json:"state,omitempty"` // last entered, e.g. "Deploy/Compile"
	Failure  *fault.Record `json:"failure,omitempty"`
	Release  string        `json:"release,omitempty"` // that the run deployed
	Queued   time.Time     `json:"queued,omitzero"`
	Started  time.Time     `json:"started,omitzero"`
	Finished time.Time     `json:"finished,omitzero"`
}

// Status is where a run is.
type Status string

// The states of a run. Queued → Running → Succeeded | Failed; Queued → Superseded.
const (
	Queued     Status = "queued"
	Running    Status = "running"
	Succeeded  Status = "succeeded"
	Failed     Status = "failed"
	Superseded Status = "superseded" // a newer commit's run took its place before it started
)

// Terminal reports whether the run is over.
func (s Status) Terminal() bool { return s == Succeeded || s == Failed || s == Superseded }

// Event is one line of a run's history.
type Event struct {
	Run     string        `json:"run"`
	Seq     int64         `json:"seq"` // the ledger numbers events
	At      time.Time     `json:"at"`
	State   string        `json:"state"`
	Kind    EventKind     `json:"kind"`
	Try     int           `json:"try,omitempty"` // from 1
	Took    time.Duration `json:"took,omitempty"`
	Message string        `json:"message,omitempty"`
}

// EventKind says what happened to a state.
type EventKind string

// The kinds of events.
const (
	Entered   EventKind = "entered"
	Completed EventKind = "completed"
	Retrying  EventKind = "retrying"
	Waiting   EventKind = "waiting" // what the task is to see happen goes on by itself: see State.WaitsUntil
	Errored   EventKind = "failed"
)

// Document is what a run knows so far: each state's output, by the state's name.
type Document map[string]json.RawMessage

// Input is what a task gets.
type Input struct {
	Run   Run
	Doc   Document
	Cause *fault.Record // in a state reached by Catch: what failed
}

// MaxWaits bounds how often one state waits.
const MaxWaits = 100

// WaitsUntil returns when the task of a state that ended with the error is to be
// called again, if it did not fail but did what it could: the error is of a
// retryable kind and says when to look again (fault.After), and the state waits.
func (s State) WaitsUntil(err error) (at time.Time, waits bool) {
	at = fault.After(err)
	return at, s.Waits && err != nil && fault.KindOf(err).Retryable() && at.After(time.Now())
}

// Task is the code behind a state. Its output is JSON, small, without secrets.
type Task func(ctx context.Context, in Input) (any, error)

// Ledger is what runs record. Every write is fenced: it fails with
// fault.Conflict once another daemon holds the lease.
type Ledger interface {
	// Run returns the whole record of a run.
	Run(ctx context.Context, id string) (Run, error)
	// Serving returns the release last recorded as real for the tenant, "" if
	// there is none, and the commit that was accepted with it.
	Serving(ctx context.Context, tenant string) (digest, commit string, err error)
	// Enter notes which state a run is in and appends the event.
	Enter(ctx context.Context, e Event) error
	// Append appends an event.
	Append(ctx context.Context, e Event) error
	// RecordInfrastructure notes that the run's infra digest is real.
	RecordInfrastructure(ctx context.Context, run Run) error
	// RecordRelease notes that the run's app digest is real, as the named release.
	RecordRelease(ctx context.Context, run Run, digest string) error
	// RecordTombstone notes that the tenant is stopped and its data kept.
	RecordTombstone(ctx context.Context, run Run, t Tombstone) error
	// RecordReceipt stores the receipt and forgets the tenant.
	RecordReceipt(ctx context.Context, run Run, r Receipt) error
	// Finish ends the run; cause is nil for success. Finishing again is no error.
	Finish(ctx context.Context, id string, cause *fault.Record) error
}

// Tombstone is a deprovisioned tenant whose data is kept for a while.
type Tombstone struct {
	Tenant     string    `json:"tenant"`
	Commit     string    `json:"commit"` // that deleted it
	At         time.Time `json:"at"`
	PurgeAfter time.Time `json:"purgeAfter"`
	Snapshot   string    `json:"snapshot,omitempty"`
}

// Receipt is what a deprovision proves.
type Receipt struct {
	Tenant    string              `json:"tenant"`
	Commit    string              `json:"commit"`
	Run       string              `json:"run"`
	At        time.Time           `json:"at"`
	Snapshot  string              `json:"snapshot,omitempty"`
	Resources []platform.Resource `json:"resources"` // each verified absent
}

// Builder turns a tenant's app into a release, and migrates its database.
// Every method may be called again after a crash, also on another machine that
// has none of the earlier calls' files.
type Builder interface {
	// Generate makes the app's source ready to compile: writes what a design
	// describes, or takes a path's files at the commit. Its output names the
	// build and, when the volume has it already, the release.
	Generate(ctx context.Context, b Build) (Generated, error)
	// Compile builds the executable. Compiler errors are fault.Invalid, with
	// the compiler's output (paths relative to the app's source) as detail.
	Compile(ctx context.Context, b Build) (Compiled, error)
	// Bundle puts binary, static assets and migrations together as a release on
	// the tenant's volume and returns its digest.
	Bundle(ctx context.Context, b Build) (Bundled, error)
	// Migrate brings the database to what the release needs, as the tenant's
	// own role. A migration that fails leaves the database as it was and is
	// fault.Invalid.
	Migrate(ctx context.Context, b Build, release, databaseURL string) (Migrated, error)
}

// Build says what to build: one tenant's app at one commit.
type Build struct {
	Run    string // for temporary names
	Tenant *tenant.Tenant
	Commit string
	Volume string // the tenant's volume directory
}

// Generated is the output of Generate.
type Generated struct {
	Key     string `json:"key"`               // of the build
	Release string `json:"release,omitempty"` // already built: Compile and Bundle have nothing to do
}

// Compiled is the output of Compile.
type Compiled struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// Bundled is the output of Bundle.
type Bundled struct {
	Release string `json:"release"`
}

// Migrated is the output of Migrate.
type Migrated struct {
	Applied []string `json:"applied,omitempty"` // names of migrations, or statements
}
