package sfnrun

import (
	"context"
	"encoding/json"
	"errors"
	"runtime/debug"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
)

// do runs the task within its state's timeout, and returns its output as JSON.
func (a *attempt) do(ctx context.Context) (json.RawMessage, error) {
	limited, cancel := context.WithTimeout(ctx, a.state.Timeout)
	defer cancel()
	out, err := a.guard(limited)
	if err != nil {
		var known *fault.Error
		timedOut := limited.Err() != nil && ctx.Err() == nil
		if timedOut && !(errors.As(err, &known) && known.Kind == fault.Stalled) { // it may say more itself
			return nil, fault.Errorf(fault.Stalled, "%s did not end within %s: %w", a.call.state(), a.state.Timeout, err)
		}
		return nil, err
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return nil, fault.Errorf(fault.Stalled, "%s: output cannot be kept: %w", a.call.state(), err)
	}
	size := len(raw)
	for name, doc := range a.call.Doc {
		size += len(name) + len(doc)
	}
	if size > maxDocument {
		return nil, fault.Errorf(fault.Stalled, "%s: output has %d bytes, and the run's outputs together %d, more than %d",
			a.call.state(), len(raw), size, maxDocument)
	}
	return raw, nil
}

// guard runs the task and turns its panic into an error.
func (a *attempt) guard(ctx context.Context) (out any, err error) {
	defer func() {
		if v := recover(); v != nil {
			a.Logger.Error("task panicked", "tenant", a.run.Tenant, "commit", a.run.Commit, "run", a.run.ID,
				"state", a.call.state(), "panic", v, "stack", string(debug.Stack()))
			out, err = nil, fault.Errorf(fault.Stalled, "%s panicked: %v", a.call.state(), v).
				WithHint("this is a defect of the program; its log has more")
		}
	}()
	task, ok := a.Tasks(a.ledger)[a.state.Task]
	if !ok {
		return nil, fault.Errorf(fault.Stalled, "%s: there is no task %s", a.call.state(), a.state.Task)
	}
	return task(ctx, pipeline.Input{Run: a.run, Doc: a.call.Doc, Cause: a.cause})
}
