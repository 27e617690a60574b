package sync

import (
	"context"
	"time"

	"github.com/gitopsd/gitopsd/internal/plan"
)

// Policies reads what a repository says of itself: gitopsd.yaml at its root.
type Policies interface {
	// At returns the policy of a commit; where it has no such file, one that
	// allows everything. A file with problems is fault.Invalid: all of them, each
	// with file:line:column, as detail.
	At(ctx context.Context, commit string) (Policy, error)
}

// Policy is what a repository's gitopsd.yaml says.
type Policy interface {
	// Settings returns what the loop goes by.
	Settings() Settings
	// Judge returns why a step may not be carried out, a sentence each; nothing
	// if it may. A rule that cannot be evaluated refuses, and says so.
	Judge(ctx context.Context, s plan.Step) []string
	// Trust returns fault.Invalid, with the commit's name, unless the commit is
	// signed by one of the listed keys. Call it only if Settings.Signed.
	Trust(c SignedCommit) error
}

// Settings is the part of a policy that is data.
type Settings struct {
	Digest    string       `json:"digest,omitempty"`    // of the file's content, "" where there is none
	Branch    string       `json:"branch,omitempty"`    // that it is meant for, "" for any
	Tenants   string       `json:"tenants"`             // directory of the tenant files, "tenants" by default
	Brake     plan.Brake   `json:"brake"`               // plan.DefaultBrake by default
	Approvers []string     `json:"approvers,omitempty"` // the forge's logins; empty means whoever may write
	Signed    bool         `json:"signed,omitempty"`    // commits must be signed by listed keys
	Preview   PreviewRules `json:"preview"`
}

// PreviewRules bound the preview tenants of pull requests.
type PreviewRules struct {
	Label  string        `json:"label"`          // that asks for one, "preview" by default
	Max    int           `json:"max"`            // at a time; 0 for none
	MaxAge time.Duration `json:"maxAge"`         // since it was asked for
	Seed   string        `json:"seed,omitempty"` // SQL file below the app's source to run once on the empty database
}

// SignedCommit is a commit as its signature covers it.
type SignedCommit struct {
	SHA       string
	Payload   []byte // the commit without its signature
	Signature string // armored; "" if unsigned
}

// ApprovalAge is how long an approval given in a pull request waits for the
// commit that it lets through.
const ApprovalAge = 7 * 24 * time.Hour
