package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/postgres/postgrestest"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

var server *postgrestest.Server

func TestMain(m *testing.M) {
	postgrestest.Main(m, func(s *postgrestest.Server) { server = s })
}

// open returns a ledger on the database.
func open(tb testing.TB, url string, opts ...postgres.Option) *postgres.Ledger {
	tb.Helper()
	l, err := postgres.Open(tb.Context(), url, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(l.Close)
	return l
}

// leader returns a ledger that holds the lease of a database of its own.
func leader(tb testing.TB) *postgres.Ledger {
	tb.Helper()
	l := open(tb, server.Database(tb))
	must(tb, l.Acquire(tb.Context(), "test"))
	return l
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func got[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		must(tb, err)
		return v
	}
}

func wantKind(tb testing.TB, err error, kind fault.Kind) {
	tb.Helper()
	if !fault.Is(err, kind) {
		tb.Fatalf("error is %v (%s), want %s", err, fault.KindOf(err), kind)
	}
}

// sha returns a commit's full name; the same number, the same name.
func sha(n int) string { return fmt.Sprintf("%040x", 0xabc000+n) }

func commit(n int) sync.Commit {
	return sync.Commit{SHA: sha(n), Subject: fmt.Sprintf("commit %d", n), Author: "ann", When: time.Unix(int64(1700000000+n), 0).UTC()}
}

func spec(name string) *tenant.Tenant {
	return &tenant.Tenant{Name: name, Labels: map[string]string{"plan": "pro"}, App: tenant.App{Path: "apps/" + name, Health: "/healthz"}}
}

// want is an item that asks for an operation, with digests named after the commit.
func want(op plan.Operation, name string, n int) sync.Item {
	return sync.Item{
		Tenant: name, Operation: op, Reason: "test", Run: fmt.Sprintf("%s-%d", name, n), Spec: spec(name),
		Infra: fmt.Sprintf("i%d", n), App: fmt.Sprintf("a%d", n), Sources: []string{"apps/" + name},
	}
}

// accept makes commit n the head on top of what is the head.
func accept(tb testing.TB, l *postgres.Ledger, n int, items ...sync.Item) {
	tb.Helper()
	head := got(l.Head(tb.Context()))(tb)
	must(tb, l.Accept(tb.Context(), sync.Acceptance{Commit: commit(n), Previous: head, Items: items}))
}

// claim claims one run and returns it.
func claim(tb testing.TB, l *postgres.Ledger) pipeline.Run {
	tb.Helper()
	runs := got(l.Claim(tb.Context(), 1))(tb)
	if len(runs) != 1 {
		tb.Fatalf("claimed %d runs, want 1", len(runs))
	}
	return runs[0]
}

// applied returns what is recorded of one tenant.
func applied(tb testing.TB, l *postgres.Ledger, name string) (plan.Applied, bool) {
	tb.Helper()
	a, ok := got(l.Applied(tb.Context(), []string{name}))(tb)[name]
	return a, ok
}

// make real what a run wants, and finish it.
func succeed(tb testing.TB, l *postgres.Ledger, r pipeline.Run) {
	tb.Helper()
	must(tb, l.RecordInfrastructure(tb.Context(), r))
	must(tb, l.RecordRelease(tb.Context(), r, "release-"+r.App))
	must(tb, l.Finish(tb.Context(), r.ID, nil))
}

func background(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	tb.Cleanup(cancel)
	return ctx
}

// exec runs a statement on a connection of its own.
func exec(ctx context.Context, url, sql string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}
