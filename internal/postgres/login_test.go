package postgres_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/postgres"
)

// TestLogin: what logs in may change while the ledger is open, for connections of
// every kind.
func TestLogin(t *testing.T) {
	t.Parallel()
	url := strings.Replace(server.Database(t), "user=postgres", "user=nobody_yet", 1)
	if _, err := postgres.Open(t.Context(), url); err == nil {
		t.Fatal("the ledger opens as a user that is not there")
	}
	var calls atomic.Int64
	l := open(t, url, postgres.WithLogin(func(_ context.Context, c *pgx.ConnConfig) error {
		calls.Add(1)
		c.User = "postgres"
		return nil
	}))
	pool := calls.Load()
	must(t, l.Acquire(t.Context(), "test"))
	lease := calls.Load()
	if pool == 0 || lease == pool {
		t.Errorf("asked %d times for the pool, then %d for the lease", pool, lease-pool)
	}
	changes := l.Changes(t.Context())
	accept(t, l, 1, want(plan.Deploy, "acme", 1))
	<-changes
	if calls.Load() == lease {
		t.Error("not asked for what listens")
	}
	if other, err := postgres.Open(t.Context(), url, postgres.WithLogin(func(context.Context, *pgx.ConnConfig) error {
		return errors.New("no password")
	})); err == nil {
		other.Close()
		t.Error("the ledger opens without a password")
	}
}
