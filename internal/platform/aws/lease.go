package aws

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Locks keeps everyone else out, in this process and in all others, from what
// has a name: a tenant's stack, a cache's user group. Lock waits, until ctx ends.
type Locks interface {
	Lock(ctx context.Context, name string) (unlock func(), err error)
}

// Leases are Locks that hang on a connection to the cell's Postgres each: one
// that dies lets go at once, one that lives on is never taken for dead.
type Leases struct {
	master Master
	local  waiters // so that many of one process wait on one connection
}

// NewLeases returns the leases of a cell.
func NewLeases(m Master) *Leases {
	return &Leases{master: m, local: waiters{held: make(map[string]*waiter)}}
}

// Lock implements Locks.
func (l *Leases) Lock(ctx context.Context, name string) (func(), error) {
	next, err := l.local.wait(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("wait for the lease of %s: %w", name, err)
	}
	conn, err := l.master.Connect(ctx, l.master.Database)
	if err == nil {
		_, err = conn.Exec(ctx, "SELECT pg_advisory_lock(hashtextextended($1, 1))", name)
		if err != nil {
			closeConn(conn)
		}
	}
	if err != nil {
		next()
		return nil, fault.Errorf(fault.Transient, "take the lease of %s: %w", name, err)
	}
	return func() {
		closeConn(conn)
		next()
	}, nil
}

func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = conn.Close(ctx) // it is gone either way
}

// waiters hands something with a name to one at a time.
type waiters struct {
	mu   sync.Mutex
	held map[string]*waiter
}

type waiter struct {
	turn  chan struct{} // holds one: whose turn it is
	users int
}

func (w *waiters) wait(ctx context.Context, name string) (next func(), err error) {
	w.mu.Lock()
	one := w.held[name]
	if one == nil {
		one = &waiter{turn: make(chan struct{}, 1)}
		w.held[name] = one
	}
	one.users++
	w.mu.Unlock()
	leave := func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(w.held, name)
		}
	}
	select {
	case one.turn <- struct{}{}:
		return func() { <-one.turn; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
