package sfnrun

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
)

const (
	// atOnce is how many executions are looked at each time: with the interval below,
	// two thirds of what Step Functions lets an account describe. Source: its quotas.
	atOnce = 20
	// interval is the time between two looks.
	interval = 2 * time.Second
	// patience bounds one look.
	patience = 30 * time.Second
	// nameMost is how long the name of a run's execution may be: a nested one adds its
	// state's to it, and Step Functions takes 80 characters.
	nameMost = 47
)

// Client is what the engine calls of Step Functions.
type Client interface {
	StartExecution(context.Context, *sfn.StartExecutionInput, ...func(*sfn.Options)) (*sfn.StartExecutionOutput, error)
	DescribeExecution(context.Context, *sfn.DescribeExecutionInput, ...func(*sfn.Options)) (*sfn.DescribeExecutionOutput, error)
	GetExecutionHistory(context.Context, *sfn.GetExecutionHistoryInput, ...func(*sfn.Options)) (*sfn.GetExecutionHistoryOutput, error)
	StopExecution(context.Context, *sfn.StopExecutionInput, ...func(*sfn.Options)) (*sfn.StopExecutionOutput, error)
}

var _ Client = (*sfn.Client)(nil)

// DaemonLedger is what the engine records in: the ledger of a daemon, which holds
// the lease.
type DaemonLedger interface {
	pipeline.Ledger
	Outcomes
}

// Config says what to run, and on what.
type Config struct {
	Client Client
	// StateMachines are the ARNs of each machine's state machines, by its name, that
	// of its newest version first. Those of older ones may have runs under way.
	StateMachines map[string][]string
	Ledger        DaemonLedger
	Finished      func(run string) // called after each run's end, at least once
	Logger        *slog.Logger
	Interval      time.Duration // between two looks; 0 means 2 s, less that it looks only when told to
}

// Engine starts executions and ends runs. It is safe for concurrent use.
type Engine struct {
	Config
	stop context.CancelFunc
	done chan struct{}

	mu    sync.Mutex
	watch map[string]string // ARNs of executions under way, by run
	next  []string          // runs, in the order in which they are looked at
}

// New starts the engine. Runs that were under way go on without it; it ends those
// that are started again. The caller must hold the ledger's lease.
func New(ctx context.Context, c Config) (*Engine, error) {
	for _, m := range []string{"provision", "deploy", "deprovision", "restore"} {
		if len(c.StateMachines[m]) == 0 {
			return nil, fault.Errorf(fault.Invalid, "no state machine is known for machine %s", m).WithHint("run: gitopsd platform up")
		}
	}
	if c.Interval == 0 {
		c.Interval = interval
	}
	e := &Engine{Config: c, done: make(chan struct{}), watch: map[string]string{}}
	if c.Interval < 0 {
		close(e.done)
		return e, nil
	}
	looking, stop := context.WithCancel(context.WithoutCancel(ctx))
	e.stop = stop
	go func() {
		defer close(e.done)
		e.follow(looking)
	}()
	return e, nil
}

// Start runs the run's machine, or goes on with it. The execution of a run that is
// over already is looked at again, and the run ended.
func (e *Engine) Start(ctx context.Context, run pipeline.Run) error {
	execution, err := e.find(ctx, run)
	if err == nil && execution == "" {
		execution, err = e.start(ctx, run)
	}
	if err != nil {
		return fmt.Errorf("start run %s: %w", run.ID, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, known := e.watch[run.ID]; !known {
		e.watch[run.ID] = execution
		e.next = append(e.next, run.ID)
	}
	return nil
}

// find returns the run's execution by an older version of its machine, if there is
// one.
func (e *Engine) find(ctx context.Context, run pipeline.Run) (string, error) {
	machines := e.StateMachines[run.Operation.Machine()]
	if len(machines) == 0 {
		return "", fault.Errorf(fault.Stalled, "there is no state machine for operation %s", run.Operation)
	}
	for _, older := range machines[1:] {
		arn := executionARN(older, run.ID)
		_, err := e.Client.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &arn})
		var absent *types.ExecutionDoesNotExist
		switch {
		case err == nil:
			return arn, nil
		case !errors.As(err, &absent):
			return "", classified(err)
		}
	}
	return "", nil
}

// start starts the run's execution by the newest version. Its name lets it start
// once: while it is under way the same start is no error, and later one that says so.
func (e *Engine) start(ctx context.Context, run pipeline.Run) (string, error) {
	machine := e.StateMachines[run.Operation.Machine()][0]
	input, err := json.Marshal(struct {
		Run   Reference         `json:"run"`
		Path  string            `json:"path"`
		Doc   pipeline.Document `json:"doc"`
		Cause Cause             `json:"cause"`
	}{Reference{run.ID, run.Tenant, run.Commit, run.Operation}, "", pipeline.Document{}, Cause{Error: none}})
	if err != nil {
		return "", err
	}
	_, err = e.Client.StartExecution(ctx, &sfn.StartExecutionInput{
		StateMachineArn: &machine, Name: aws.String(executionName(run.ID)), Input: aws.String(string(input)),
	})
	var there *types.ExecutionAlreadyExists
	if err != nil && !errors.As(err, &there) {
		return "", classified(err)
	}
	return executionARN(machine, run.ID), nil
}

// Stop ends the run's execution, and with its next look the run. What a worker is
// about to do it may still do; it can write of it no more once the run has ended.
func (e *Engine) Stop(ctx context.Context, run pipeline.Run) error {
	e.mu.Lock()
	execution, ok := e.watch[run.ID]
	e.mu.Unlock()
	if !ok {
		return fault.Errorf(fault.NotFound, "run %s is not under way", run.ID)
	}
	_, err := e.Client.StopExecution(ctx, &sfn.StopExecutionInput{
		ExecutionArn: &execution, Error: aws.String("Stopped"), Cause: aws.String("by gitopsd"),
	})
	if err != nil {
		return fmt.Errorf("stop run %s: %w", run.ID, classified(err))
	}
	return nil
}

// Close stops looking; executions go on, for the next engine to end their runs. The
// error says that a look did not end within the timeout.
func (e *Engine) Close(timeout time.Duration) error {
	select {
	case <-e.done:
		return nil
	default:
	}
	e.stop()
	select {
	case <-e.done:
		return nil
	case <-time.After(max(timeout, time.Second)):
		return errors.New("stop the engine: a call of Step Functions or of the ledger does not end")
	}
}

// follow looks at executions until ctx ends.
func (e *Engine) follow(ctx context.Context) {
	tick := time.NewTicker(e.Interval)
	defer tick.Stop()
	for {
		e.Look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// LookAll looks once at every execution that is under way.
func (e *Engine) LookAll(ctx context.Context) {
	e.mu.Lock()
	n := len(e.next)
	e.mu.Unlock()
	for ; n > 0 && ctx.Err() == nil; n -= atOnce {
		e.Look(ctx)
	}
}

// Look looks at some of the executions that are under way and ends the runs of those
// that are over, as it is done again and again until Close.
func (e *Engine) Look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	e.mu.Lock()
	n := min(atOnce, len(e.next))
	runs := append([]string(nil), e.next[:n]...)
	e.next = append(e.next[n:], runs...)
	e.mu.Unlock()
	for _, run := range runs {
		e.mu.Lock()
		execution, ok := e.watch[run]
		e.mu.Unlock()
		if !ok {
			continue
		}
		over, err := e.look(ctx, run, execution)
		switch {
		case ctx.Err() != nil:
			return
		case fault.Is(err, fault.Conflict):
			e.Logger.Warn("run stands still: the ledger refuses its end", "run", run, "error", err)
		case err != nil:
			e.Logger.Warn("cannot look at a run; trying again", "run", run, "error", err)
		}
		if over {
			e.forget(run)
			e.Finished(run)
		}
	}
}

func (e *Engine) forget(run string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.watch, run)
	for i, r := range e.next {
		if r == run {
			e.next = append(e.next[:i], e.next[i+1:]...)
			return
		}
	}
}

// unfit is what may not be in an execution's name.
var unfit = regexp.MustCompile(`[^A-Za-z0-9_-]`)

// executionName returns the name of a run's execution: the run's ID, where that may
// be one, or else what is left of it with its digest.
func executionName(run string) string {
	name := unfit.ReplaceAllString(run, "_")
	if name == run && len(name) <= nameMost {
		return name
	}
	sum := sha256.Sum256([]byte(run))
	return name[:min(len(name), nameMost-13)] + "-" + hex.EncodeToString(sum[:6])
}

// executionARN returns the ARN of a run's execution by a state machine.
func executionARN(machine, run string) string {
	return strings.Replace(machine, ":stateMachine:", ":execution:", 1) + ":" + executionName(run)
}
