package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline/sfnrun"
	"github.com/gitopsd/gitopsd/internal/review"
)

// syncCmd takes turns of the loop, each when it is called, in place of a daemon that
// takes them all the time.
type syncCmd struct {
	Lambda syncLambdaCmd `cmd:"" help:"Take turns as a Lambda function does: for the forge's webhooks and on a schedule."`
}

// syncLambdaCmd is the process of a Lambda function (custom runtime).
type syncLambdaCmd struct{ workerFlags }

// Run answers invocations for as long as there are some.
func (l *syncLambdaCmd) Run(ctx context.Context) error {
	if err := inLambda("gitopsd run -c FILE follows the repository without one"); err != nil {
		return err
	}
	c, err := configure(ctx, l.Config)
	if err != nil {
		return err
	}
	if c.Platform != onAWS || c.Engine != byStepFunctions {
		return fault.Errorf(fault.Invalid, "a turn ends before the runs do that it starts, which engine %s on platform %s cannot", c.Engine, c.Platform).
			WithHint("set platform: %s and engine: %s", onAWS, byStepFunctions)
	}
	d := newDaemon(c, slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	defer d.Close()
	s := &syncer{daemon: d}
	if err := s.open(ctx); err != nil {
		return err
	}
	go func() {
		<-ctx.Done()
		d.Close()
		os.Exit(exitDone) // the runtime's loop has no other end
	}()
	lambda.Start(s.invoke)
	return nil
}

// syncer takes turns. Lambda invokes one process for one thing at a time, and has it
// stand still between; other processes may take turns meanwhile.
type syncer struct {
	*daemon
	receive func(http.ResponseWriter, *http.Request) []review.Hint // nil: there are no webhooks
	looking *sfnrun.Engine
	term    int64 // in which the loops learned what they know; 0: they know nothing
}

const (
	// leaseWait is how long a turn waits for one that is being taken: the forge hangs up
	// on webhooks after ten seconds.
	leaseWait = 5 * time.Second
	// turnRest is what a turn leaves of its invocation's time, to let go of the lease.
	turnRest = 15 * time.Second
	// turnMost bounds a turn where nothing else does.
	turnMost = 5 * time.Minute
)

// open makes what turns need: neither the platform nor the builder, which are the workers'.
func (s *syncer) open(ctx context.Context) (err error) {
	if err := s.openForge(ctx); err != nil {
		return fmt.Errorf("connect to GitHub: %w", err)
	}
	if s.database, err = s.cell.database(ctx); err != nil {
		return err
	}
	if err := s.openLedger(ctx); err != nil {
		return err
	}
	if err := s.openMirror(ctx); err != nil {
		return err
	}
	if s.forge != nil && s.webhook != "" {
		s.receive, err = s.forge.Receiver([]byte(s.webhook), s.ledger)
	}
	return err
}

// Turned is what became of a turn.
type Turned struct {
	Head    string `json:"head,omitempty"`    // accepted
	Busy    string `json:"busy,omitempty"`    // who has the lease: then no turn was taken
	Failing string `json:"failing,omitempty"` // why the repository cannot be followed
}

// invoke answers one invocation: a request to the function's URL, or else anything
// that says that it may be time for a turn.
func (s *syncer) invoke(ctx context.Context, payload json.RawMessage) (any, error) {
	var request events.LambdaFunctionURLRequest
	if err := json.Unmarshal(payload, &request); err == nil && request.RequestContext.HTTP.Method != "" {
		return s.hear(ctx, request), nil
	}
	turned, err := s.turn(ctx, nil)
	if err == nil && turned.Failing != "" { // for the alarm on the function's errors
		err = fault.Errorf(fault.Transient, "cannot follow the repository: %s", turned.Failing)
	}
	return turned, named(err)
}

// hear answers a webhook's delivery, and takes a turn if it hints at something. What
// becomes of the turn is nothing to the forge.
func (s *syncer) hear(ctx context.Context, request events.LambdaFunctionURLRequest) events.LambdaFunctionURLResponse {
	w := &lambdaAnswer{header: http.Header{}, status: http.StatusOK}
	r, err := httpRequest(ctx, request)
	switch {
	case err != nil:
		http.Error(w, "this is no request", http.StatusBadRequest)
	case s.receive == nil:
		http.Error(w, "there are no webhooks here", http.StatusNotFound)
	default:
		if hints := s.receive(w, r); len(hints) > 0 {
			turned, err := s.turn(ctx, hints)
			switch {
			case err != nil:
				s.log.Error("the turn for a webhook failed; the schedule takes another", "error", err)
			case turned.Busy != "":
				s.log.Info("another has the lease; it, or the schedule's turn, sees what the webhook hints at", "holder", turned.Busy)
			}
		}
	}
	return w.response()
}

// turn takes one turn under the lease, and lets go. If another has it, nothing is done.
func (s *syncer) turn(ctx context.Context, hints []review.Hint) (Turned, error) {
	end := time.Now().Add(turnMost)
	if deadline, ok := ctx.Deadline(); ok {
		end = deadline.Add(-turnRest)
	}
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	if busy, err := s.take(ctx); err != nil || busy != "" {
		return Turned{Busy: busy}, err
	}
	defer s.let(ctx)
	ctx, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	kept := s.ledger.Keep(ctx)
	go func() {
		if err := <-kept; err != nil {
			lost(err)
		}
	}()
	err := s.steps(ctx, hints)
	if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
		err = cause
	}
	health := s.loop.Health()
	if err != nil {
		s.term = 0 // what the loops know may not be what the ledger has
	}
	return Turned{Head: health.Head, Failing: health.Failing}, err
}

// take takes the lease, or returns who keeps it.
func (s *syncer) take(ctx context.Context) (busy string, err error) {
	if busy, err = s.ledger.Holder(ctx); err != nil || strings.HasPrefix(busy, daemonHolder) {
		return busy, err // who keeps it is not waited for
	}
	wait, cancel := context.WithTimeout(ctx, leaseWait)
	defer cancel()
	err = s.ledger.Acquire(wait, holder())
	if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return "", err
	}
	if busy, err = s.ledger.Holder(ctx); busy == "" && err == nil {
		busy = "another" // who has just let go
	}
	return busy, err
}

// let gives the lease back, whatever became of the turn.
func (s *syncer) let(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), turnRest/3)
	defer cancel()
	if err := s.ledger.Release(ctx); err != nil {
		s.term = 0
		s.log.Warn("cannot give the lease back; it ends by itself", "error", err)
	}
}

// steps fetches, plans, starts, settles and reports. A step that fails keeps no other
// from being taken, unless the lease is lost.
func (s *syncer) steps(ctx context.Context, hints []review.Hint) error {
	if err := s.learn(ctx); err != nil {
		return err
	}
	all := []func() error{
		func() error { return s.loop.Turn(ctx, true) },
		func() error { s.looking.LookAll(ctx); return nil },
		func() error { return s.loop.Turn(ctx, false) }, // what follows from runs that are over
		func() error { return s.loop.Deliver(ctx) },
	}
	if s.reviews != nil {
		all = append(all,
			func() error { return s.reviews.Turn(ctx, hints, true) },
			func() error { return s.loop.Turn(ctx, false) }, // what comments and labels asked for
			func() error { return s.reviews.Deliver(ctx) })
	}
	var failed []error
	for _, step := range all {
		err := step()
		if fault.Is(err, fault.Conflict) || ctx.Err() != nil {
			return errors.Join(append(failed, err)...)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// learn has the loops know what the ledger has. They do already if nobody else had the
// lease since they took their last turn.
func (s *syncer) learn(ctx context.Context) (err error) {
	term := s.ledger.Term()
	if known := s.term != 0 && term == s.term+2; known {
		s.term = term
		return nil
	}
	s.term, s.reviews = 0, nil
	s.openLoop()
	if s.looking, err = s.stepFunctions(ctx, -1); err != nil {
		return err
	}
	s.engine = s.looking
	if err := s.loop.Load(ctx); err != nil {
		return err
	}
	if s.forge != nil {
		s.openReviews()
		if err := s.reviews.Load(ctx); err != nil {
			return err
		}
	}
	s.term = term
	return nil
}

// httpRequest returns a request to a function's URL as a server would get it.
func httpRequest(ctx context.Context, e events.LambdaFunctionURLRequest) (*http.Request, error) {
	body := e.Body
	if e.IsBase64Encoded {
		raw, err := base64.StdEncoding.DecodeString(e.Body)
		if err != nil {
			return nil, err
		}
		body = string(raw)
	}
	r, err := http.NewRequestWithContext(ctx, e.RequestContext.HTTP.Method, "https://"+e.RequestContext.DomainName+"/", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, value := range e.Headers {
		r.Header.Set(name, value)
	}
	return r, nil
}

// lambdaAnswer is what a handler answers, to be returned.
type lambdaAnswer struct {
	header http.Header
	status int
	body   strings.Builder
}

func (a *lambdaAnswer) Header() http.Header         { return a.header }
func (a *lambdaAnswer) WriteHeader(status int)      { a.status = status }
func (a *lambdaAnswer) Write(b []byte) (int, error) { return a.body.Write(b) }

func (a *lambdaAnswer) response() events.LambdaFunctionURLResponse {
	headers := make(map[string]string, len(a.header))
	for name := range a.header {
		headers[name] = a.header.Get(name)
	}
	return events.LambdaFunctionURLResponse{StatusCode: a.status, Headers: headers, Body: a.body.String()}
}
