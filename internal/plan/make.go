package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// Input is what a plan is made from.
type Input struct {
	// Touched names the tenants to look at: those whose file or source the
	// commit changes. A tenant not named stays as it is.
	Touched []string
	Applied map[string]Applied // of the touched tenants that are known
	Desired map[string]Desired // of the touched tenants that have a file
	Live    int                // tenants applied and not deleted, touched or not
	Files   int                // tenant files in the whole desired tree
	Brake   Brake
}

// Brake bounds the deletions one commit may carry out unasked: it holds when a
// commit would delete more than Tenants and more than Percent of the live ones.
type Brake struct {
	Tenants int `json:"tenants"`
	Percent int `json:"percent"`
}

// DefaultBrake holds more than 3 deletions that are more than 10 %.
var DefaultBrake = Brake{Tenants: 3, Percent: 10}

// Plan is what a commit asks for.
type Plan struct {
	Steps []Step `json:"steps"` // one a touched tenant, by name
	// Hold, when not empty, says why nothing of it may be carried out unasked.
	Hold   string     `json:"hold,omitempty"`
	Reason HoldReason `json:"holdReason,omitempty"`
}

// HoldReason is the kind of a hold.
type HoldReason string

// The reasons a plan is held.
const (
	HoldBrake HoldReason = "brake" // more deletions than the brake allows
	HoldEmpty HoldReason = "empty" // no tenant file at all, where tenants live
)

// Step is what the commit means for one tenant.
type Step struct {
	Tenant    string        `json:"tenant"`
	Operation Operation     `json:"operation,omitempty"` // "" for none
	Reason    string        `json:"reason"`
	Changes   []string      `json:"changes,omitempty"` // fields that differ, dotted
	Failure   *fault.Record `json:"failure,omitempty"`
	Desired   *Desired      `json:"-"`
	Applied   *Applied      `json:"-"`
	Restores  bool          `json:"restores,omitempty"` // brings a deleted tenant back with its data
}

// Deletions returns the tenants that the plan would deprovision.
func (p Plan) Deletions() []string {
	var names []string
	for _, s := range p.Steps {
		if s.Operation == Deprovision {
			names = append(names, s.Tenant)
		}
	}
	return names
}

// Make decides what to do. It does not look at anything but its input.
func Make(in Input) Plan {
	var p Plan
	names := slices.Compact(slices.Sorted(slices.Values(in.Touched)))
	for _, name := range names {
		applied, known := in.Applied[name]
		desired, wanted := in.Desired[name]
		switch {
		case wanted && known:
			p.Steps = append(p.Steps, change(name, applied, desired))
		case wanted:
			p.Steps = append(p.Steps, add(name, desired))
		case known && !applied.Deleted:
			p.Steps = append(p.Steps, remove(name, applied))
		}
	}
	p.Reason, p.Hold = hold(in, p.Deletions())
	return p
}

// hold applies the rules that protect many tenants at once.
func hold(in Input, deletions []string) (HoldReason, string) {
	n := len(deletions)
	switch {
	case n == 0:
		return "", ""
	case in.Files == 0:
		return HoldEmpty, fmt.Sprintf("the commit has no tenant file at all and would delete all %d tenants", n)
	case n > in.Brake.Tenants && n*100 > in.Brake.Percent*in.Live:
		return HoldBrake, fmt.Sprintf("the commit would delete %d of %d tenants, more than the brake allows (%d, or %d %%): %s",
			n, in.Live, in.Brake.Tenants, in.Brake.Percent, list(deletions, 5))
	}
	return "", ""
}

func add(name string, d Desired) Step {
	s := Step{Tenant: name, Desired: &d}
	switch {
	case d.Tenant == nil:
		return s.invalid(d.Problems)
	case d.Tenant.Suspend:
		s.Reason = "suspended: nothing is reconciled"
	default:
		s.Operation, s.Reason = Provision, "new tenant"
	}
	return s
}

func change(name string, a Applied, d Desired) Step {
	s := Step{Tenant: name, Desired: &d, Applied: &a}
	if d.Tenant == nil {
		return s.invalid(d.Problems)
	}
	if a.Tenant != nil {
		s.Changes = Changes(a.Tenant, d.Tenant)
	}
	// Where a run is under way or the last one failed, what was accepted counts
	// as half made: only a run that ends well makes it known again.
	unsettled := a.InProgress || a.Failing
	infra := d.Infra != a.DoneInfra || unsettled && d.Infra != a.Infra
	app := d.App != a.DoneApp || unsettled && d.App != a.App
	switch {
	case d.Tenant.Suspend:
		s.Reason = "suspended: nothing is reconciled"
	case a.Deleted:
		s.Operation, s.Reason, s.Restores = Provision, "brought back: its data is restored if the grace period is not over", true
	case a.DoneInfra == "" && a.DoneApp == "":
		s.Operation, s.Reason = Provision, "not provisioned yet"
	case a.DoneInfra == "" && d.Infra == a.Infra:
		s.Operation, s.Reason = Update, "infrastructure is not finished yet"
	case infra:
		s.Operation, s.Reason = Update, "infrastructure changed"
	case app:
		s.Operation, s.Reason = Deploy, "app changed"
	case a.Failing:
		s.Operation, s.Reason = RetryOf(a), "the last run failed"
	default:
		s.Reason = "no change"
	}
	return s
}

// RetryOf returns the operation that repeats what failed last.
func RetryOf(a Applied) Operation {
	switch {
	case a.Deleted && !a.PurgeAfter.IsZero():
		return Purge
	case a.Deleted:
		return Deprovision
	case a.DoneInfra == "" && a.DoneApp == "":
		return Provision
	}
	if a.Infra != a.DoneInfra {
		return Update
	}
	return Deploy
}

func remove(name string, a Applied) Step {
	s := Step{Tenant: name, Applied: &a}
	if a.Tenant != nil && a.Tenant.Deletion.Protect {
		s.Reason = "deletion is protected"
		s.Failure = fault.RecordOf(fault.Errorf(fault.Invalid, "%s is protected from deletion", name).
			WithHint("restore its file with spec.deletion.protect: false, and delete it in a later commit"))
		return s
	}
	s.Operation = Deprovision
	s.Reason = "file deleted"
	if a.Tenant != nil && a.Tenant.Deletion.Grace > 0 {
		s.Reason += "; data is kept for " + tenant.FormatDuration(a.Tenant.Deletion.Grace)
	}
	return s
}

func (s Step) invalid(problems tenant.Problems) Step {
	s.Reason = "invalid file"
	first := "the file is invalid"
	if len(problems) > 0 {
		first = problems[0].String()
	}
	e := fault.Errorf(fault.Invalid, "%s", first)
	if len(problems) > 1 {
		e = e.WithDetail(problems.Error())
	}
	s.Failure = fault.RecordOf(e)
	return s
}

// Touched returns the names of all tenants that are applied or desired, for a
// plan of everything.
func Touched(applied map[string]Applied, desired map[string]Desired) []string {
	names := slices.Collect(maps.Keys(applied))
	return slices.AppendSeq(names, maps.Keys(desired))
}

func list(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
