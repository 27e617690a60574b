package dbosrun

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
)

const (
	// executor and version are the same in every process, so that each start
	// takes up what the last one left. The version is that of the form of the
	// recorded steps; what changes in a machine is told by the machine's own.
	executor = "gitopsd"
	version  = "1"

	// workflowName is recorded with every run.
	workflowName = "gitopsd.run"

	// connections suffice for one step at a time of more runs than one machine
	// has room for, and for DBOS' own listener.
	connections = 10

	// startup bounds the wait for the database when the engine starts.
	startup = 30 * time.Second

	// settle is how long Close waits for what it interrupted.
	settle = 3 * time.Second
)

// Config says what to run, and on what.
type Config struct {
	URL      string                                       // of the Postgres database
	Login    func(context.Context, *pgx.ConnConfig) error // called before each connection, with a password that changes; nil: the URL says all
	Machines []pipeline.Machine
	Tasks    map[string]pipeline.Task // by name; each must end soon after its context does
	Ledger   pipeline.Ledger
	Finished func(run string) // called after each run's end, at least once
	Logger   *slog.Logger
	Keep     time.Duration // how long ended runs' steps are kept; 0 means a week
}

// Engine runs machines. It is safe for concurrent use.
type Engine struct {
	Config
	machines map[ref]*pipeline.Machine
	newest   map[string]int
	dbos     dbos.Context
	stop     context.CancelFunc // ends the sweeper
	swept    chan struct{}

	mu      sync.Mutex
	busy    int           // steps under way
	closing chan struct{} // closed by Close
	idle    chan struct{} // closed when closing and no step is under way
}

// ref names one version of a machine.
type ref struct {
	name    string
	version int
}

// New checks the machines and starts the engine, which takes up every run that
// an earlier engine left. The caller must hold the ledger's lease.
func New(ctx context.Context, c Config) (*Engine, error) {
	if err := pipeline.Validate(c.Machines, c.Tasks); err != nil {
		return nil, err
	}
	if c.Keep == 0 {
		c.Keep = 7 * 24 * time.Hour
	}
	e := &Engine{
		Config: c, machines: map[ref]*pipeline.Machine{}, newest: map[string]int{},
		closing: make(chan struct{}), idle: make(chan struct{}), swept: make(chan struct{}),
	}
	for i := range c.Machines {
		m := &c.Machines[i]
		e.machines[ref{m.Name, m.Version}] = m
		e.newest[m.Name] = max(e.newest[m.Name], m.Version)
	}
	if err := e.launch(ctx); err != nil {
		return nil, fault.Errorf(fault.Transient, "start the engine: %w", err)
	}
	return e, nil
}

func (e *Engine) launch(ctx context.Context) error {
	config, err := pgxpool.ParseConfig(e.URL)
	if err != nil {
		return errors.New("the database URL cannot be parsed") // the parser's message would repeat it
	}
	config.MaxConns = connections
	config.ConnConfig.RuntimeParams["application_name"] = "gitopsd-engine"
	if config.BeforeConnect = e.Login; e.Login != nil { // at its start, DBOS connects once past the pool
		if err := e.Login(ctx, config.ConnConfig); err != nil {
			return err
		}
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	// Were the workflows' context to end with the caller's, DBOS would record
	// them as cancelled: only Close ends it.
	own := context.WithoutCancel(ctx)
	e.dbos, err = dbos.NewContext(own, dbos.Config{
		AppName: "gitopsd", SystemDBPool: pool, DatabaseSchema: "dbos",
		ExecutorID: executor, ApplicationVersion: version, SystemDBStartupTimeout: startup,
		Logger: slog.New(quiet{e.Logger.Handler(), e.closing}),
	})
	if err != nil {
		pool.Close()
		return err
	}
	dbos.RegisterWorkflow(e.dbos, e.execute, dbos.WithWorkflowName(workflowName),
		dbos.WithMaxRecoveryAttempts(math.MaxInt32)) // else a run would be given up in silence
	if err := dbos.Launch(e.dbos); err != nil {
		return err // it has closed the pool
	}
	sweepCtx, stop := context.WithCancel(own)
	e.stop = stop
	go func() {
		defer close(e.swept)
		e.sweep(sweepCtx)
	}()
	return nil
}

// Start runs the run's machine, or does nothing if it is under way or over.
func (e *Engine) Start(ctx context.Context, run pipeline.Run) error {
	in := order{Run: run.ID, Machine: run.Operation.Machine(), Versions: e.newest}
	_, err := dbos.RunWorkflow(e.dbos, e.execute, in, dbos.WithWorkflowID(run.ID),
		dbos.WithWorkflowIDReusePolicy(dbos.WorkflowIDReusePolicyReject))
	switch {
	case errors.Is(err, dbos.ErrWorkflowIDInUse):
		return e.reconcile(ctx, run.ID)
	case err != nil:
		return fault.Errorf(fault.Transient, "start run %s: %w", run.ID, err)
	}
	return nil
}

// reconcile ends a run whose workflow is over without the ledger knowing: it
// was cancelled by hand, or the ledger was restored from a backup.
func (e *Engine) reconcile(ctx context.Context, id string) error {
	handle, err := dbos.RetrieveWorkflow[string](e.dbos, id)
	if err != nil {
		return fault.Errorf(fault.Transient, "look for run %s: %w", id, err)
	}
	status, err := handle.GetStatus()
	if err != nil {
		return fault.Errorf(fault.Transient, "look for run %s: %w", id, err)
	}
	switch status.Status {
	case dbos.WorkflowStatusPending, dbos.WorkflowStatusEnqueued, dbos.WorkflowStatusDelayed:
		return nil
	}
	run, err := e.Ledger.Run(ctx, id)
	if err != nil {
		return err
	}
	if run.Status.Terminal() {
		return nil
	}
	cause := fault.RecordOf(fault.Errorf(fault.Stalled, "the engine ended the run as %s, but the ledger has no end of it", status.Status))
	if err := e.Ledger.Finish(ctx, id, cause); err != nil {
		return fmt.Errorf("finish run %s: %w", id, err)
	}
	e.Finished(id)
	return nil
}

// Close stops the engine. Steps under way may end within the timeout, then
// their contexts end, too. Every run that is not over stays pending, for the
// next engine. The error says that a task did not heed its context.
func (e *Engine) Close(timeout time.Duration) error {
	e.mu.Lock()
	select {
	case <-e.closing:
		e.mu.Unlock()
		return nil
	default:
	}
	close(e.closing)
	if e.busy == 0 {
		close(e.idle)
	}
	e.mu.Unlock()
	select {
	case <-e.idle:
	case <-time.After(timeout):
	}
	e.stop()
	<-e.swept
	if err := dbos.Shutdown(e.dbos, settle); err != nil {
		return fmt.Errorf("stop the engine: %w", err)
	}
	return nil
}

// enter counts a step in, unless the engine is closing.
func (e *Engine) enter() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.closing:
		return false
	default:
		e.busy++
		return true
	}
}

func (e *Engine) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.busy--
	select {
	case <-e.closing:
		if e.busy == 0 {
			close(e.idle)
		}
	default:
	}
}

// sweep forgets the steps of runs that ended long ago. The ledger keeps their
// history; what goes is only what recovery would have needed.
func (e *Engine) sweep(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		for {
			n, err := e.forget(ctx)
			if err != nil && ctx.Err() == nil {
				e.Logger.Warn("cannot forget ended runs; trying again in an hour", "error", err)
			}
			if err != nil || n == 0 {
				break
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// forget deletes the oldest ended workflows and returns how many.
func (e *Engine) forget(ctx context.Context) (int, error) {
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	old, err := dbos.ListWorkflows(e.dbos, dbos.WithFilterName(workflowName),
		dbos.WithFilterStatus(dbos.WorkflowStatusSuccess, dbos.WorkflowStatusError, dbos.WorkflowStatusCancelled),
		dbos.WithFilterCompletedBefore(time.Now().Add(-e.Keep)), dbos.WithFilterLimit(500),
		dbos.WithFilterLoadInput(false), dbos.WithFilterLoadOutput(false))
	if err != nil || len(old) == 0 {
		return 0, err
	}
	ids := make([]string, len(old))
	for i, w := range old {
		ids[i] = w.ID
	}
	return len(ids), dbos.DeleteWorkflows(e.dbos, ids)
}

// quiet passes on what DBOS says that matters: warnings and worse, and nothing
// once it is stopped, when everything in it complains of the end.
type quiet struct {
	slog.Handler
	closing <-chan struct{}
}

func (h quiet) Enabled(ctx context.Context, l slog.Level) bool {
	select {
	case <-h.closing:
		return false
	default:
		return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
	}
}

func (h quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quiet{h.Handler.WithAttrs(attrs), h.closing}
}

func (h quiet) WithGroup(name string) slog.Handler {
	return quiet{h.Handler.WithGroup(name), h.closing}
}
