package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// SQL states of the schema's own exceptions.
const (
	codeLeaseLost = "GD001"
	codeHeadMoved = "GD002"
	// The approval that lets a commit through was used, or is too old. It is
	// Transient: the same acceptance fails again, and a new plan says why.
	codeNotApproved = "GD003"
)

// Ledger is the ledger. It is safe for concurrent use.
type Ledger struct {
	pool  *pgxpool.Pool
	ttl   time.Duration
	log   *slog.Logger
	login func(context.Context, *pgx.ConnConfig) error // nil: the URL says all

	token atomic.Int64 // of the lease; 0 for never acquired
	run   string       // that writes are fenced by instead; see ForRun
	lease lease
}

var (
	_ sync.Ledger     = (*Ledger)(nil)
	_ pipeline.Ledger = (*Ledger)(nil)
)

// Option changes how a Ledger is opened.
type Option func(*Ledger)

// WithLogger sets where the ledger reports what it recovers from by itself.
func WithLogger(log *slog.Logger) Option { return func(l *Ledger) { l.log = log } }

// WithLeaseTTL sets how long a lease outlives its last renewal while the
// holder's connection stands. The default is 15 s.
func WithLeaseTTL(ttl time.Duration) Option { return func(l *Ledger) { l.ttl = ttl } }

// WithLogin sets what completes the settings of each connection just before it is
// made: with a password that changes, for one. nil changes nothing.
func WithLogin(login func(context.Context, *pgx.ConnConfig) error) Option {
	return func(l *Ledger) { l.login = login }
}

// Open connects to the database and brings its schema up to date. The error is
// fault.Transient if the database cannot be reached.
func Open(ctx context.Context, url string, opts ...Option) (*Ledger, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		// The parser's message repeats the URL, and with it a password it failed to see.
		return nil, fault.Errorf(fault.Invalid, "the ledger's database URL cannot be parsed")
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = 10 * time.Second
	}
	config.MaxConns = max(config.MaxConns, 8)
	config.ConnConfig.RuntimeParams["application_name"] = "gitopsd"
	l := &Ledger{ttl: 15 * time.Second, log: slog.New(slog.DiscardHandler)}
	for _, opt := range opts {
		opt(l)
	}
	config.BeforeConnect = l.login
	l.pool, err = pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, failure("open ledger", err)
	}
	if err := migrate(ctx, l.pool); err != nil {
		l.pool.Close()
		return nil, failure("open ledger: bring schema up to date", err)
	}
	return l, nil
}

// Close closes the ledger's connections. A lease that is still held ends with
// its connection.
func (l *Ledger) Close() {
	l.lease.close()
	l.pool.Close()
}

// write runs a batch as one fenced transaction.
func (l *Ledger) write(ctx context.Context, what string, fill func(*pgx.Batch)) error {
	b := &pgx.Batch{}
	switch token := l.token.Load(); {
	case l.run != "":
		b.Queue(`SELECT gitopsd.fence_run($1)`, l.run)
	case token == 0:
		return fault.Errorf(fault.Conflict, "%s: this process does not hold the lease", what)
	default:
		b.Queue(`SELECT gitopsd.fence($1)`, token)
	}
	fill(b)
	return failure(what, l.pool.SendBatch(ctx, b).Close())
}

// changed queues the wake-up of everyone who waits for a change.
func changed(b *pgx.Batch) { b.Queue(`SELECT pg_notify('` + channel + `', '')`) }

// lazy lets the transaction commit without waiting for the disk. It suits what
// only tells a story: the next commit that does wait carries it to disk, too.
func lazy(b *pgx.Batch) { b.Queue(`SELECT set_config('synchronous_commit', 'off', true)`) }

// failure gives a database error its kind, or returns nil for nil.
func failure(what string, err error) error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", what, err)
	}
	kind := fault.Transient
	var pg *pgconn.PgError
	var netErr net.Error
	switch {
	case errors.As(err, &pg):
		kind = kindOf(pg.Code)
	case errors.Is(err, pgx.ErrNoRows):
		kind = fault.NotFound
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &netErr):
		kind = fault.Transient
	}
	return fault.Errorf(kind, "%s: %w", what, err)
}

// kindOf sorts SQL states. Source: PostgreSQL documentation, appendix A.
func kindOf(code string) fault.Kind {
	switch {
	case code == codeLeaseLost, code == codeHeadMoved:
		return fault.Conflict
	case code == codeNotApproved:
		return fault.Transient
	case code == "23505": // unique_violation
		return fault.Conflict
	case len(code) == 5 && (code[:2] == "22" || code[:2] == "23" || code[:2] == "42"):
		return fault.Invalid // data exception, constraint, syntax or access
	default:
		return fault.Transient
	}
}
