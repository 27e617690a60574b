package postgres

import (
	"context"
	gosync "sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// leaseLook is how often a waiter looks whether the lease is free.
const leaseLook = 100 * time.Millisecond

// lease is the connection the lease hangs on.
type lease struct {
	mu   gosync.Mutex
	conn *pgx.Conn
}

func (s *lease) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
}

// drop closes the connection; the caller holds the lock.
func (s *lease) drop() {
	if s.conn != nil {
		closeConn(s.conn)
		s.conn = nil
	}
}

// free is true of a lease that was released or has expired, or whose holder's
// connection is gone. Another user's sessions hide their start: its pid counts.
const free = `(expires_at <= clock_timestamp() OR NOT EXISTS (
	SELECT FROM pg_stat_activity a WHERE a.pid = session
	AND (a.backend_start IS NULL OR a.backend_start = session_start)))`

const mine = `session = pg_backend_pid(),
	session_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())`

// Acquire waits for the lease and takes it in the holder's name; every write
// from here on carries its token. A dead holder's lease is free at once, that
// of one who hangs after its time.
func (l *Ledger) Acquire(ctx context.Context, holder string) error {
	if l.token.Load() != 0 && l.Renew(ctx) == nil {
		return nil // it is ours already
	}
	for {
		got, err := l.tryAcquire(ctx, holder)
		if err != nil && ctx.Err() == nil && fault.Is(err, fault.Transient) {
			l.log.Warn("cannot ask for the lease; trying again", "error", err)
		} else if err != nil || got {
			return err
		}
		select {
		case <-ctx.Done():
			return failure("wait for the lease", ctx.Err())
		case <-time.After(leaseLook):
		}
	}
}

// Term numbers the lease that this process holds, 0 for none. Each time it is taken
// or released the number rises by one: who takes it again and finds it risen by two
// since knows that nobody had it between.
func (l *Ledger) Term() int64 { return l.token.Load() }

// Holder returns who holds the lease, or "" if it is free.
func (l *Ledger) Holder(ctx context.Context) (string, error) {
	var holder string
	err := l.pool.QueryRow(ctx,
		`SELECT CASE WHEN `+free+` THEN '' ELSE holder END FROM gitopsd.leases WHERE name = 'daemon'`).Scan(&holder)
	return holder, failure("read lease", err)
}

func (l *Ledger) tryAcquire(ctx context.Context, holder string) (bool, error) {
	l.lease.mu.Lock()
	defer l.lease.mu.Unlock()
	conn, err := l.leaseConn(ctx)
	if err != nil {
		return false, err
	}
	var isFree bool
	err = conn.QueryRow(ctx, `SELECT `+free+` FROM gitopsd.leases WHERE name = 'daemon'`).Scan(&isFree)
	if err != nil || !isFree {
		return false, failure("read lease", err)
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return false, failure("acquire lease", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after Commit: no effect
	// Waits until the writes of the last holder that are under way are over.
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(7166488211943)`); err != nil {
		return false, failure("acquire lease", err)
	}
	rows, err := tx.Query(ctx, `UPDATE gitopsd.leases SET holder = $1, token = token + 1,
		expires_at = clock_timestamp() + $2, `+mine+` WHERE name = 'daemon' AND `+free+` RETURNING token`,
		clean(holder), l.ttl)
	if err != nil {
		return false, failure("acquire lease", err)
	}
	tokens, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil || len(tokens) == 0 {
		return false, failure("acquire lease", err)
	}
	if err := tx.Commit(ctx); err != nil {
		return false, failure("acquire lease", err)
	}
	l.token.Store(tokens[0])
	return true, nil
}

// leaseConn returns the lease's own connection; the caller holds the lock.
func (l *Ledger) leaseConn(ctx context.Context) (*pgx.Conn, error) {
	if l.lease.conn != nil && !l.lease.conn.IsClosed() {
		return l.lease.conn, nil
	}
	l.lease.drop()
	conn, err := l.connect(ctx)
	l.lease.conn = conn
	return conn, err
}

// connect opens a connection outside the pool.
func (l *Ledger) connect(ctx context.Context) (*pgx.Conn, error) {
	config := l.pool.Config().ConnConfig
	if l.login != nil {
		if err := l.login(ctx, config); err != nil {
			return nil, failure("connect to the ledger", err)
		}
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, failure("connect to the ledger", err)
	}
	return conn, nil
}

// Renew puts the lease's end off by its whole time. It returns fault.Conflict
// if another daemon has it.
func (l *Ledger) Renew(ctx context.Context) error {
	return l.updateLease(ctx, "renew lease", `expires_at = clock_timestamp() + $2, `+mine, l.ttl)
}

// Release gives the lease back, so that a successor need not wait. Writes fail
// from then on.
func (l *Ledger) Release(ctx context.Context) error {
	err := l.updateLease(ctx, "release lease", `expires_at = '-infinity', token = token + 1`)
	if err == nil {
		l.token.Store(0)
	}
	return err
}

func (l *Ledger) updateLease(ctx context.Context, what, set string, args ...any) error {
	token := l.token.Load()
	if token == 0 {
		return fault.Errorf(fault.Conflict, "%s: this process does not hold the lease", what)
	}
	l.lease.mu.Lock()
	defer l.lease.mu.Unlock()
	conn, err := l.leaseConn(ctx)
	if err != nil {
		return err
	}
	tag, err := conn.Exec(ctx, `UPDATE gitopsd.leases SET `+set+` WHERE name = 'daemon' AND token = $1`, append([]any{token}, args...)...)
	if err != nil {
		return failure(what, err)
	}
	if tag.RowsAffected() == 0 {
		return fault.Errorf(fault.Conflict, "%s: another daemon took it", what)
	}
	return nil
}

// Keep renews the lease until ctx ends, then closes the channel. Once the lease
// is lost, or could not be renewed for so long that another may have it, it
// sends why: whoever acts for the daemon must stop at once.
func (l *Ledger) Keep(ctx context.Context) <-chan error {
	lost := make(chan error, 1)
	go func() {
		defer close(lost)
		if err := l.keep(ctx); err != nil {
			lost <- err
		}
	}()
	return lost
}

func (l *Ledger) keep(ctx context.Context) error {
	renewed := time.Now()
	tick := time.NewTicker(l.ttl / 5)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		began := time.Now()
		try, cancel := context.WithTimeout(ctx, l.ttl/5)
		err := l.Renew(try)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			renewed = began
		case fault.Is(err, fault.Conflict):
			return err
		case time.Since(renewed) > l.ttl*3/5: // the next try would end too late
			return fault.Errorf(fault.Conflict, "the lease could not be renewed for %s: %w", time.Since(renewed).Round(time.Millisecond), err)
		default:
			l.log.Warn("cannot renew the lease; trying again", "error", err)
		}
	}
}
