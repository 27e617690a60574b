// Package plan decides what a commit asks for: applied × desired → operations.
//
// It is pure: the same input gives the same plan, whether it is made for a
// pull request, a working tree or the tracked branch.
//
// Invariants:
//
//   - A tenant is deprovisioned only if the desired tree, read whole from a
//     verified commit that descends from the applied one, lacks its file.
//   - More deletions than the brake allows, or a tree without any tenant where
//     some were applied, hold the commit until it is approved.
//   - A tenant whose applied file says deletion.protect is not deprovisioned.
//   - A file with a problem changes nothing for its tenant, and nothing for others.
package plan

import (
	"time"

	"github.com/gitopsd/gitopsd/internal/tenant"
)

// Operation is one thing to do to one tenant.
type Operation string

// The operations.
const (
	Provision   Operation = "provision"   // make infrastructure, then deploy
	Update      Operation = "update"      // change infrastructure, then deploy what is due
	Deploy      Operation = "deploy"      // the app alone: infrastructure is not touched
	Deprovision Operation = "deprovision" // take away, restorable within the grace period
	Purge       Operation = "purge"       // the second half of a deprovision, when the grace period is over
	Restore     Operation = "restore"     // put a snapshot's data in the place of those that are there
)

// Machine returns the machine that carries the operation out.
func (o Operation) Machine() string {
	switch o {
	case Provision, Update:
		return "provision"
	case Deploy:
		return "deploy"
	case Deprovision, Purge:
		return "deprovision"
	case Restore:
		return "restore"
	}
	return ""
}

// Applied is what the ledger records of one tenant: what an accepted commit
// last asked for it, and what was made real.
type Applied struct {
	Tenant *tenant.Tenant `json:"tenant"` // as last accepted; its Deletion guards the deletion
	Commit string         `json:"commit"` // that was accepted with it

	// Digests last accepted. A run for them may be queued or running, or have failed.
	Infra string `json:"infra"`
	App   string `json:"app"`
	// Sources are the repository's paths the app is built from; none for a design.
	Sources []string `json:"sources,omitempty"`
	// Digests that were made real; "" for never. While a run changes the
	// infrastructure, and after one that failed to, DoneInfra is "".
	DoneInfra string `json:"doneInfra,omitempty"`
	DoneApp   string `json:"doneApp,omitempty"`
	Release   string `json:"release,omitempty"` // that serves

	Deleted    bool      `json:"deleted,omitempty"`    // its deprovision was accepted
	PurgeAfter time.Time `json:"purgeAfter,omitzero"`  // end of the grace period, once its data lies still
	Failing    bool      `json:"failing,omitempty"`    // its last finished run failed
	InProgress bool      `json:"inProgress,omitempty"` // a run is queued or running
}

// Desired is what a commit says of one tenant.
type Desired struct {
	Tenant   *tenant.Tenant // nil if the file has problems
	Infra    string         // digests
	App      string
	Sources  []string
	Problems tenant.Problems // of this file; not empty exactly if Tenant is nil
}
