package sfnrun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
)

const (
	// writeLimit is how long a worker tries to write down how a state ended.
	writeLimit = 20 * time.Second
	// losses is how often a container may end without a word.
	losses = 3
	// lost is the message of the event that says so.
	lost = "the container ended without a word; it is started again"
)

// Ledger is what a worker works on, fenced by its run.
type Ledger interface {
	pipeline.Ledger
	Outcomes
	// Settle appends an event and stores how its state ended.
	Settle(ctx context.Context, e pipeline.Event, o pipeline.Outcome) error
	// Events returns a run's history after the numbered event.
	Events(ctx context.Context, run string, after int64) ([]pipeline.Event, error)
}

// Outcomes are how the states of a run that is under way ended, in their order.
type Outcomes interface {
	Outcomes(ctx context.Context, run string) ([]pipeline.Outcome, error)
}

// Worker does the work of tasks, one call at a time or many. Nothing of it is kept
// between calls.
type Worker struct {
	Machines []pipeline.Machine
	Ledger   func(run string) Ledger
	Tasks    func(pipeline.Ledger) map[string]pipeline.Task
	Logger   *slog.Logger
}

// Call carries a state out once, or says how a container carried it out. An error
// is an *Error.
func (w *Worker) Call(ctx context.Context, c Call) (json.RawMessage, error) {
	a, err := w.begin(ctx, c)
	if err != nil {
		return nil, err
	}
	if a.settled != nil {
		return a.repeat()
	}
	if c.Outcome {
		return nil, a.lose(ctx)
	}
	out, _, err := a.try(ctx)
	return out, err
}

// Contain carries a state out as a container does: it tries again by itself, and
// the ledger has how it ended, for a later Call to tell. An error is an *Error, and
// the end was written down unless its name is no kind of fault.
func (w *Worker) Contain(ctx context.Context, c Call) (json.RawMessage, error) {
	for n := 1; ; n++ {
		a, err := w.begin(ctx, c)
		again := false
		if err == nil && a.settled != nil {
			return a.repeat()
		}
		var out json.RawMessage
		wait := pipeline.Retry{Base: 100 * time.Millisecond, Cap: 5 * time.Second}
		if err == nil {
			wait = a.state.Retry
			out, again, err = a.try(ctx)
		}
		var told *Error
		switch {
		case err == nil:
			return out, nil
		case ctx.Err() != nil:
			return nil, unavailable(ctx.Err())
		case errors.As(err, &told) && told.Name == nameUnavailable && n < 100: // some minutes
		case !again:
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, unavailable(ctx.Err())
		case <-time.After(jitter(wait, n)):
		}
	}
}

// attempt is one call as it is carried out.
type attempt struct {
	*Worker
	call    Call
	state   pipeline.State
	ledger  Ledger
	run     pipeline.Run
	cause   *fault.Record
	settled *pipeline.Outcome // how the state ended before
	tries   int               // that failed before
	lost    int               // containers
	waits   int               // times that it was left for later
	waiting bool              // it was so the last time
}

// begin reads what there is to know of the state.
func (w *Worker) begin(ctx context.Context, c Call) (*attempt, error) {
	a := &attempt{Worker: w, call: c, ledger: w.Ledger(c.Run.ID)}
	var err error
	switch a.run, err = a.ledger.Run(ctx, c.Run.ID); {
	case fault.Is(err, fault.NotFound):
		return nil, over(err)
	case err != nil:
		return nil, unavailable(err)
	case a.run.Status != pipeline.Running:
		return nil, over(fmt.Errorf("run %s is %s", a.run.ID, a.run.Status))
	}
	outcomes, err := a.ledger.Outcomes(ctx, c.Run.ID)
	if err != nil {
		return nil, unavailable(err)
	}
	if c.Doc == nil {
		a.call.Doc = pipeline.Document{}
	}
	for i, o := range outcomes {
		if o.State == c.state() {
			a.settled = &outcomes[i]
		}
		if c.Doc == nil && o.Failure == nil { // a container is not told
			a.call.Doc[path.Base(o.State)] = o.Output
		}
	}
	a.cause, _ = failure(c.Cause, outcomes)
	if a.settled == nil {
		if err := a.count(ctx); err != nil {
			return nil, err
		}
		if err := a.find(); err != nil {
			return nil, a.fail(ctx, err, 0)
		}
	}
	return a, nil
}

// count learns from the history how often the state was tried.
func (a *attempt) count(ctx context.Context) error {
	events, err := a.ledger.Events(ctx, a.run.ID, 0)
	if err != nil {
		return unavailable(err)
	}
	for _, e := range events {
		if e.State != a.call.state() {
			continue
		}
		a.waiting = e.Kind == pipeline.Waiting
		switch {
		case a.waiting:
			a.waits++
		case e.Kind != pipeline.Retrying:
		case e.Message == lost:
			a.lost++
		default:
			a.tries++
		}
	}
	return nil
}

// find looks the state up in the machine, as this program has it.
func (a *attempt) find() error {
	for _, m := range a.Machines {
		if m.Name != a.call.Machine || m.Version != a.call.Version {
			continue
		}
		for _, s := range m.States {
			if s.Name == a.call.State && s.Task == a.call.Task && s.Task != "" {
				a.state = s
				return nil
			}
		}
	}
	return fault.Errorf(fault.Stalled, "the run needs state %s of version %d of machine %q, which this program does not have",
		a.call.State, a.call.Version, a.call.Machine).
		WithHint("the state machines are of another version than their worker: run gitopsd platform up, then retry the tenant")
}

// repeat tells again how the state ended.
func (a *attempt) repeat() (json.RawMessage, error) {
	if a.settled.Failure != nil {
		return nil, failed(a.settled.Failure)
	}
	return a.settled.Output, nil
}

// lose has a container started again that left no outcome, but not for ever.
func (a *attempt) lose(ctx context.Context) error {
	if a.waiting {
		return &Error{Name: nameLater, Record: fault.Record{Kind: fault.Transient, Message: "it waits for what goes on by itself"}}
	}
	if a.lost >= losses {
		return a.fail(ctx, fault.Errorf(fault.Stalled, "the container of %s ended without a word %d times", a.call.state(), a.lost+1).
			WithHint("its log, and ECS' reasons for its stop, say more"), 0)
	}
	if err := a.write(ctx, func(ctx context.Context) error {
		return a.ledger.Append(ctx, pipeline.Event{Run: a.run.ID, State: a.call.state(), Kind: pipeline.Retrying, Try: a.lost + 1, Message: lost})
	}); err != nil {
		return err
	}
	return &Error{Name: nameRepeat, Record: fault.Record{Kind: fault.Transient, Message: lost}}
}

// try runs the task once and writes down what came of it. again is true if it is
// to be tried again.
func (a *attempt) try(ctx context.Context) (out json.RawMessage, again bool, err error) {
	event := pipeline.Event{Run: a.run.ID, State: a.call.state(), Kind: pipeline.Entered, Try: a.tries + 1}
	if err := a.write(ctx, func(ctx context.Context) error { return a.ledger.Enter(ctx, event) }); err != nil {
		return nil, false, err
	}
	began := time.Now()
	out, err = a.do(ctx)
	event.Took = time.Since(began)
	if err != nil {
		if ctx.Err() != nil {
			return nil, false, unavailable(ctx.Err()) // the task was interrupted, which says nothing about it
		}
		if _, later := a.state.WaitsUntil(err); later && a.waits < pipeline.MaxWaits {
			return nil, false, a.later(ctx, event, err)
		}
		again = fault.KindOf(err).Retryable() && event.Try < a.state.Retry.Attempts
		a.Logger.Info("state failed", "tenant", a.run.Tenant, "commit", a.run.Commit, "run", a.run.ID, "state", event.State,
			"try", event.Try, "again", again, "kind", fault.KindOf(err), "error", err)
		if !again {
			return nil, false, a.fail(ctx, err, event.Took)
		}
		told := record(err)
		event.Kind, event.Message = pipeline.Retrying, told.Message
		if err := a.write(ctx, func(ctx context.Context) error { return a.ledger.Append(ctx, event) }); err != nil {
			return nil, false, err
		}
		return nil, true, failed(told)
	}
	event.Kind = pipeline.Completed
	return out, false, a.write(ctx, func(ctx context.Context) error {
		return a.ledger.Settle(ctx, event, pipeline.Outcome{State: event.State, Output: out})
	})
}

// later writes down that the state is to be carried out again, though nothing failed.
func (a *attempt) later(ctx context.Context, event pipeline.Event, err error) error {
	told := record(err)
	event.Kind, event.Message = pipeline.Waiting, told.Message
	if err := a.write(ctx, func(ctx context.Context) error { return a.ledger.Append(ctx, event) }); err != nil {
		return err
	}
	return &Error{Name: nameLater, Record: *told}
}

// fail writes down that the state failed for good, and returns that.
func (a *attempt) fail(ctx context.Context, err error, took time.Duration) error {
	r := record(err)
	event := pipeline.Event{
		Run: a.run.ID, State: a.call.state(), Kind: pipeline.Errored, Try: a.tries + 1, Took: took, Message: r.Message,
	}
	if err := a.write(ctx, func(ctx context.Context) error {
		return a.ledger.Settle(ctx, event, pipeline.Outcome{State: event.State, Failure: r})
	}); err != nil {
		return err
	}
	return failed(r)
}

// write calls the ledger until it answers, for a while.
func (a *attempt) write(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	for n := 1; ; n++ {
		err := do(ctx)
		switch {
		case err == nil:
			return nil
		case fault.Is(err, fault.Conflict):
			return over(err)
		case ctx.Err() != nil:
			return unavailable(err)
		}
		select {
		case <-ctx.Done():
			return unavailable(err)
		case <-time.After(jitter(pipeline.Retry{Base: 50 * time.Millisecond, Cap: 2 * time.Second}, n)):
		}
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
