package dbosrun

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
)

// order is a workflow's recorded input: references only.
type order struct {
	Run      string         `json:"run"`
	Machine  string         `json:"machine"`
	Versions map[string]int `json:"versions"` // of every machine, when the run was started
}

// outcome is a step's recorded output.
type outcome struct {
	Output  json.RawMessage `json:"output,omitempty"`
	Failure *fault.Record   `json:"failure,omitempty"`
	Over    bool            `json:"over,omitempty"` // the ledger says the run has ended
}

var (
	// errStopped ends this process' part in a run; the run goes on elsewhere.
	errStopped = errors.New("the run is left to the next engine")
	// errOver means that the ledger has the run's end already.
	errOver = errors.New("the run is over")
)

// execution is one run as this process executes it.
type execution struct {
	*Engine
	ctx   dbos.Context
	order order
	doc   pipeline.Document
}

// execute is the workflow behind every run.
func (e *Engine) execute(ctx dbos.Context, in order) (string, error) {
	x := &execution{Engine: e, ctx: ctx, order: in, doc: pipeline.Document{}}
	var cause *fault.Record
	m, err := x.machine(in.Machine)
	if err != nil {
		cause = fault.RecordOf(err)
	} else {
		cause, err = x.walk(m, "", nil)
	}
	switch {
	case err == nil || m == nil:
		err = x.finish(cause)
	case errors.Is(err, errOver):
		e.Finished(in.Run)
		return "", nil
	}
	if errors.Is(err, errStopped) {
		<-ctx.Done() // returning would end the workflow
		return "", ctx.Err()
	}
	return "", err
}

// machine returns the named machine in the version the run was started with.
func (x *execution) machine(name string) (*pipeline.Machine, error) {
	v := x.order.Versions[name]
	if m, ok := x.machines[ref{name, v}]; ok {
		return m, nil
	}
	return nil, fault.Errorf(fault.Stalled, "the run needs version %d of machine %q, which this program does not have", v, name).
		WithHint("the program was changed under a run that was under way: retry the tenant")
}

// walk goes through a machine. It returns the failure the machine ended with,
// or an error if the run cannot be ended by this process.
func (x *execution) walk(m *pipeline.Machine, prefix string, cause *fault.Record) (*fault.Record, error) {
	for name := m.Start; name != ""; {
		s := stateOf(m, name)
		var failure *fault.Record
		var err error
		switch {
		case s.Fail:
			if cause == nil {
				cause = fault.RecordOf(fault.Errorf(fault.Stalled, "the run reached %s%s", prefix, name))
			}
			return cause, nil
		case len(s.Choice) > 0:
			name = choose(s, x.doc)
			continue
		case s.Machine != "":
			var inner *pipeline.Machine
			if inner, err = x.machine(s.Machine); err != nil {
				failure, err = fault.RecordOf(err), nil
			} else {
				failure, err = x.walk(inner, prefix+name+"/", cause)
			}
		default:
			failure, err = x.step(s, prefix+name, cause)
		}
		switch {
		case err != nil:
			return nil, err
		case failure == nil:
			name = s.Next
		case s.Catch != "":
			name, cause = s.Catch, failure
		default:
			return failure, nil
		}
	}
	return nil, nil
}

func stateOf(m *pipeline.Machine, name string) pipeline.State {
	for _, s := range m.States {
		if s.Name == name {
			return s
		}
	}
	return pipeline.State{Name: name, Fail: true} // pipeline.Validate has seen to it that there is one
}

// choose returns where a choice leads. A field that is absent, as encoding/json
// leaves out what is empty, is false.
func choose(s pipeline.State, doc pipeline.Document) string {
	for _, b := range s.Choice {
		var fields map[string]json.RawMessage
		holds := json.Unmarshal(doc[b.State], &fields) == nil && string(fields[b.Field]) == "true"
		if holds == b.Equals {
			return b.Next
		}
	}
	return s.Next
}

// step runs a task state as one step, or takes its outcome from the record.
func (x *execution) step(s pipeline.State, path string, cause *fault.Record) (*fault.Record, error) {
	if !x.enter() {
		return nil, errStopped
	}
	left := false
	leave := func() {
		if !left {
			left = true
			x.leave()
		}
	}
	defer leave()
	out, err := dbos.RunAsStep(x.ctx, func(ctx context.Context) (outcome, error) {
		out, err := x.try(ctx, s, path, cause)
		switch {
		case errors.Is(err, errOver):
			return outcome{Over: true}, nil
		case err != nil:
			// Returning would record the step. Once the context has ended it is not.
			leave()
			<-x.ctx.Done()
			return outcome{}, err
		}
		return out, nil
	}, dbos.WithStepName(path))
	switch {
	case err == nil:
	case x.ctx.Err() != nil, errors.Is(err, dbos.ErrConflictingWorkflowID):
		return nil, err // another engine has it, or the next one will
	default:
		x.Logger.Error("step cannot be recorded", "run", x.order.Run, "state", path, "error", err)
		return fault.RecordOf(fault.Errorf(fault.Stalled, "%s: the engine cannot go on: %w", path, err)), nil
	}
	if out.Over {
		return nil, errOver
	}
	if out.Failure == nil {
		x.doc[s.Name] = out.Output
	}
	return out.Failure, nil
}

// try runs a task until it succeeds, fails for good or has no tries left.
func (x *execution) try(ctx context.Context, s pipeline.State, path string, cause *fault.Record) (outcome, error) {
	waits := 0
	for n := 1; ; n++ {
		run, err := x.begin(ctx, path, n)
		if err != nil {
			return outcome{}, err
		}
		began := time.Now()
		raw, err := x.call(ctx, s, path, pipeline.Input{Run: run, Doc: x.doc, Cause: cause})
		event := pipeline.Event{Run: run.ID, State: path, Kind: pipeline.Completed, Try: n, Took: time.Since(began)}
		if err == nil {
			return outcome{Output: raw}, x.tell(ctx, func() error { return x.Ledger.Append(ctx, event) })
		}
		if ctx.Err() != nil {
			return outcome{}, errStopped // the task was interrupted, which says nothing about it
		}
		failure := record(err)
		event.Kind, event.Message = pipeline.Errored, failure.Message
		if at, until := s.WaitsUntil(err); until && waits < pipeline.MaxWaits {
			event.Kind = pipeline.Waiting
			if err := x.tell(ctx, func() error { return x.Ledger.Append(ctx, event) }); err != nil {
				return outcome{}, err
			}
			if err := x.wait(ctx, time.Until(at)); err != nil {
				return outcome{}, err
			}
			waits++
			n--
			continue
		}
		again := failure.Kind.Retryable() && n < s.Retry.Attempts
		if again {
			event.Kind = pipeline.Retrying
		}
		x.Logger.Info("state failed", "tenant", run.Tenant, "commit", run.Commit, "run", run.ID, "state", path,
			"try", n, "again", again, "kind", failure.Kind, "error", failure.Message)
		if err := x.tell(ctx, func() error { return x.Ledger.Append(ctx, event) }); err != nil || !again {
			return outcome{Failure: failure}, err
		}
		if err := x.wait(ctx, jitter(s.Retry, n)); err != nil {
			return outcome{}, err
		}
	}
}

// begin reads the run afresh and notes that it enters the state.
func (x *execution) begin(ctx context.Context, path string, n int) (pipeline.Run, error) {
	var run pipeline.Run
	err := x.tell(ctx, func() (err error) {
		run, err = x.Ledger.Run(ctx, x.order.Run)
		return err
	})
	switch {
	case err != nil:
		return run, err
	case run.Status.Terminal():
		return run, errOver
	}
	return run, x.tell(ctx, func() error {
		return x.Ledger.Enter(ctx, pipeline.Event{Run: run.ID, State: path, Kind: pipeline.Entered, Try: n})
	})
}

// tell calls the ledger until it answers. The error is errStopped if the ledger
// refuses this process or the engine closes first, errOver if it has the run's
// end.
func (x *execution) tell(ctx context.Context, call func() error) error {
	for n := 1; ; n++ {
		err := call()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return errStopped
		case fault.Is(err, fault.Conflict):
			if run, err := x.Ledger.Run(ctx, x.order.Run); err == nil && run.Status.Terminal() {
				return errOver
			}
			x.Logger.Warn("run stands still: the ledger refuses it", "run", x.order.Run, "error", err)
			return errStopped
		case fault.Is(err, fault.NotFound):
			x.Logger.Error("run is unknown to the ledger", "run", x.order.Run, "error", err)
			return errOver
		}
		x.Logger.Warn("cannot reach the ledger; trying again", "run", x.order.Run, "error", err)
		if err := x.wait(ctx, jitter(pipeline.Retry{Base: 100 * time.Millisecond, Cap: 5 * time.Second}, n)); err != nil {
			return err
		}
	}
}

// finish tells the ledger the run's end.
func (x *execution) finish(cause *fault.Record) error {
	if !x.enter() {
		return errStopped
	}
	defer x.leave()
	err := x.tell(x.ctx, func() error { return x.Ledger.Finish(x.ctx, x.order.Run, cause) })
	if err != nil && !errors.Is(err, errOver) {
		return err
	}
	x.Finished(x.order.Run)
	return nil
}

// wait sleeps, unless the engine closes.
func (x *execution) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-x.closing:
		return errStopped
	case <-ctx.Done():
		return errStopped
	}
}

// jitter returns how long to wait after the n-th try: between 0 and the lesser
// of Cap and Base·2ⁿ⁻¹. Source: M. Brooker, "Exponential Backoff and Jitter".
func jitter(r pipeline.Retry, n int) time.Duration {
	most := min(r.Cap, r.Base<<min(n-1, 20))
	if most <= 0 {
		most = r.Cap
	}
	return rand.N(most + 1)
}
