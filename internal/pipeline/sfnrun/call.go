package sfnrun

import (
	"encoding/json"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
)

// Call is what a task's worker is told: where in which machine it is, for which
// run, and the execution's document.
type Call struct {
	Machine string            `json:"machine"`
	Version int               `json:"version"`
	State   string            `json:"state"`
	Task    string            `json:"task"`
	Run     Reference         `json:"run"`
	Path    string            `json:"path"` // that the state's name is below, e.g. "Deploy/"
	Doc     pipeline.Document `json:"doc"`
	Cause   Cause             `json:"cause"`
	// Outcome asks how the state, which a container carried out, has ended.
	Outcome bool `json:"outcome,omitempty"`
}

// state is the state's name in the run's history.
func (c Call) state() string { return c.Path + c.State }

// Reference names a run; what it is to make real is in the ledger.
type Reference struct {
	ID        string         `json:"id"`
	Tenant    string         `json:"tenant"`
	Commit    string         `json:"commit"`
	Operation plan.Operation `json:"operation"`
}

// Cause is an error as Step Functions catches it.
type Cause struct {
	Error string `json:"Error"`
	Cause string `json:"Cause"`
}

// none is the name of no error. Step Functions wants one where nothing failed.
const none = "None"

// The names of errors that say nothing about the task, beside the kinds of package
// fault, which do.
const (
	nameUnavailable = "Unavailable" // the ledger does not answer, or the worker is being ended
	nameOver        = "Over"        // the run is not under way
	nameRepeat      = "Repeat"      // a container left no outcome: start it again
	nameLater       = "Later"       // what the task waits for goes on by itself: start the container again, but not yet
)

// Error is how a call ends that has no output.
type Error struct {
	Name   string       // by which Step Functions retries and catches
	Record fault.Record // what happened, in full
}

func (e *Error) Error() string { return e.Name + ": " + e.Record.Message }

// Message is the error as an execution keeps it: without what is long.
func (e *Error) Message() string {
	r := e.Record
	r.Detail = ""
	r.Message, r.Hint = cut(r.Message, maxTold), cut(r.Hint, maxTold)
	raw, err := json.Marshal(r)
	if err != nil {
		return r.Message
	}
	return string(raw)
}

// failed returns an error of a task by its kind.
func failed(r *fault.Record) *Error { return &Error{Name: string(r.Kind), Record: *r} }

// unavailable returns an error after which the call is repeated as it was.
func unavailable(err error) *Error {
	return &Error{Name: nameUnavailable, Record: *record(fault.Errorf(fault.Transient, "%w", err))}
}

// over returns the error of a run that nothing is to be done for any more.
func over(err error) *Error {
	return &Error{Name: nameOver, Record: *record(fault.Errorf(fault.Conflict, "%w", err))}
}

// failure returns what an error of an execution was: what the ledger has of it, if a
// worker told it, or else what Step Functions says. told is false for the latter.
func failure(c Cause, outcomes []pipeline.Outcome) (r *fault.Record, told bool) {
	switch {
	case c.Error == "" || c.Error == none:
		return nil, true
	case c.Error == "States.TaskFailed":
		var nested Cause // a nested execution's description, unless it was too long to be kept whole
		if err := json.Unmarshal([]byte(c.Cause), &nested); err == nil && nested.Error != "" {
			return failure(nested, outcomes)
		}
		if n := len(outcomes); n > 0 && outcomes[n-1].Failure != nil {
			return outcomes[n-1].Failure, true
		}
	case isKind(c.Error):
		for i := len(outcomes) - 1; i >= 0; i-- {
			if f := outcomes[i].Failure; f != nil && string(f.Kind) == c.Error {
				return f, true
			}
		}
		if r := recordIn(c); r != nil {
			return r, true
		}
	case c.Error == "States.Timeout":
		return record(fault.Errorf(fault.Stalled, "the worker of the state did not answer in its time")), false
	}
	if r := recordIn(c); r != nil {
		return r, false
	}
	return record(fault.Errorf(fault.Stalled, "Step Functions ended it with %s: %s", c.Error, cut(c.Cause, maxTold))), false
}

// recordIn returns the record that a worker's error carries, nil if there is none.
func recordIn(c Cause) *fault.Record {
	var lambda struct{ ErrorMessage string }
	var r fault.Record
	if json.Unmarshal([]byte(c.Cause), &lambda) != nil || json.Unmarshal([]byte(lambda.ErrorMessage), &r) != nil || r.Message == "" {
		return nil
	}
	return &r
}

func isKind(name string) bool {
	switch fault.Kind(name) {
	case fault.Invalid, fault.NotFound, fault.Conflict, fault.Transient, fault.Stalled:
		return true
	}
	return false
}

const (
	// maxDocument bounds an execution's data, in bytes, with room for what else is in
	// them. Source: Step Functions quotas (256 KiB).
	maxDocument = 240 << 10
	// maxMessage and maxDetail bound what the ledger keeps of an error, maxTold what
	// Step Functions is told, in bytes.
	maxMessage = 4 << 10
	maxDetail  = 64 << 10
	maxTold    = 1 << 10
)

// record returns the error in its stored form, cut to what is worth keeping.
func record(err error) *fault.Record {
	r := *fault.RecordOf(err)
	r.Message = cut(r.Message, maxMessage)
	r.Detail = cut(r.Detail, maxDetail)
	return &r
}

// cut shortens long text by its middle: compilers say what matters first, apps
// last.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most/2], "") + "\n[…]\n" + strings.ToValidUTF8(s[len(s)-most/2:], "")
}
