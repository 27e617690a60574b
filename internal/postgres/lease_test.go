package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// writes are all the fenced writes, each called in a way that would succeed.
func writes(ctx context.Context, l *postgres.Ledger, head string) map[string]func() error {
	run := pipeline.Run{ID: "acme-1", Tenant: "acme", Commit: sha(1), Operation: plan.Deploy}
	event := pipeline.Event{Run: "acme-1", State: "Compile", Kind: pipeline.Entered}
	return map[string]func() error{
		"Renew":   func() error { return l.Renew(ctx) },
		"Release": func() error { return l.Release(ctx) },
		"Hold":    func() error { return l.Hold(ctx, commit(9), sync.Hold{Reason: plan.HoldBrake}) },
		"Accept": func() error {
			return l.Accept(ctx, sync.Acceptance{Commit: commit(8), Previous: head, Items: []sync.Item{want(plan.Deploy, "acme", 8)}})
		},
		"Claim":                func() error { _, err := l.Claim(ctx, 1); return err },
		"Enqueue":              func() error { return l.Enqueue(ctx, run) },
		"PutStatus":            func() error { return l.PutStatus(ctx, sync.CommitStatus{Commit: sha(1), State: sync.StateSuccess}) },
		"Delivered":            func() error { return l.Delivered(ctx, 1) },
		"Postpone":             func() error { return l.Postpone(ctx, 1, time.Now(), "down") },
		"Enter":                func() error { return l.Enter(ctx, event) },
		"Append":               func() error { return l.Append(ctx, event) },
		"RecordInfrastructure": func() error { return l.RecordInfrastructure(ctx, run) },
		"RecordRelease":        func() error { return l.RecordRelease(ctx, run, "r") },
		"RecordTombstone": func() error {
			return l.RecordTombstone(ctx, run, pipeline.Tombstone{At: time.Now(), PurgeAfter: time.Now()})
		},
		"RecordReceipt": func() error { return l.RecordReceipt(ctx, run, pipeline.Receipt{At: time.Now()}) },
		"Finish":        func() error { return l.Finish(ctx, "acme-1", nil) },
		"GiveUp":        func() error { return l.GiveUp(ctx, 1, "refused") },

		"PutReport":       func() error { return l.PutReport(ctx, report(9, "new"), []review.Notice{note("b", 1)}) },
		"PutNotices":      func() error { return l.PutNotices(ctx, []review.Notice{note("c", 1)}) },
		"NoticeDelivered": func() error { return l.NoticeDelivered(ctx, "a", 1, 7) },
		"NoticePostponed": func() error { return l.NoticePostponed(ctx, "a", 1, time.Now(), "down") },
		"Prune":           func() error { return l.Prune(ctx, time.Now().Add(time.Hour)) },
		"SawHead":         func() error { _, err := l.SawHead(ctx, 7, sha(1), time.Now()); return err },
		"PutCommand": func() error {
			_, err := l.PutCommand(ctx, review.Command{Comment: 5, At: time.Now()}, []review.Notice{note("d", 1)})
			return err
		},
		"ApprovePlan": func() error { return l.ApprovePlan(ctx, review.PlanApproval{Fingerprint: "f", By: "ann"}) },
		"PutPreview": func() error {
			return l.PutPreview(ctx, preview(1), pipeline.Run{ID: "preview", Operation: plan.Provision})
		},
		"EndPreview": func() error { return l.EndPreview(ctx, "beta-pr-2", pipeline.Run{ID: "end"}) },
		"Announced": func() error {
			return l.Announced(ctx, "acme-1", pipeline.Running, []review.Notice{note("e", 1)})
		},
	}
}

// everything is a picture of all tables.
func everything(t *testing.T, url string) string {
	t.Helper()
	conn := got(pgx.Connect(t.Context(), url))(t)
	defer conn.Close(t.Context())
	var all string
	must(t, conn.QueryRow(t.Context(), `SELECT string_agg(query_to_xml('SELECT * FROM gitopsd.' || tablename, true, true, '')::text, '' ORDER BY tablename)
		FROM pg_tables WHERE schemaname = 'gitopsd' AND tablename <> 'migrations'`).Scan(&all))
	return all
}

func TestOnlyTheHolderWrites(t *testing.T) {
	t.Parallel()
	url := server.Database(t)
	old, next := open(t, url), open(t, url)
	ctx := t.Context()
	must(t, old.Acquire(ctx, "old"))
	accept(t, old, 1, want(plan.Provision, "acme", 1))
	claim(t, old)
	must(t, old.PutStatus(ctx, sync.CommitStatus{Commit: sha(1), State: sync.StatePending}))
	must(t, old.PutNotices(ctx, []review.Notice{note("a", 1)}))
	must(t, old.PutPreview(ctx, preview(2), pipeline.Run{}))
	_, err := old.PutDelivery(ctx, "seen", "s", time.Now())
	must(t, err)

	// The old one hangs: its connection stands, its time runs out.
	conn := got(pgx.Connect(ctx, url))(t)
	defer conn.Close(ctx)
	got(conn.Exec(ctx, `UPDATE gitopsd.leases SET expires_at = clock_timestamp()`))(t)
	must(t, next.Acquire(ctx, "next"))

	never := open(t, url)
	before := everything(t, url)
	for _, l := range []*postgres.Ledger{old, never} {
		for name, write := range writes(ctx, l, sha(1)) {
			if err := write(); !fault.Is(err, fault.Conflict) {
				t.Errorf("%s without the lease: %v, want a conflict", name, err)
			}
		}
	}
	if after := everything(t, url); after != before {
		t.Errorf("a write without the lease left traces:\n%s\nbefore:\n%s", after, before)
	}
	if holder := got(never.Holder(ctx))(t); holder != "next" {
		t.Errorf("holder is %q, want next", holder)
	}
	for name, write := range writes(ctx, next, sha(1)) {
		if name == "Release" {
			continue
		}
		if err := write(); fault.Is(err, fault.Conflict) && name != "Enter" { // Finish may have come first
			t.Errorf("%s with the lease: %v", name, err)
		}
	}
}

func TestASuccessorWaitsForWritesUnderWay(t *testing.T) {
	t.Parallel()
	url := server.Database(t)
	next := open(t, url)
	ctx := t.Context()
	// A write of the last holder that has passed its fence and not committed.
	conn := got(pgx.Connect(ctx, url))(t)
	defer conn.Close(ctx)
	tx := got(conn.Begin(ctx))(t)
	got(tx.Exec(ctx, `SELECT gitopsd.fence(0)`))(t)
	acquired := make(chan error, 1)
	go func() { acquired <- next.Acquire(ctx, "next") }()
	select {
	case err := <-acquired:
		t.Fatalf("acquired (%v) while a write was under way", err)
	case <-time.After(300 * time.Millisecond): // long enough to have tried
	}
	must(t, tx.Commit(ctx))
	must(t, <-acquired)
}

func TestADeadHoldersLeaseIsFreeAtOnce(t *testing.T) {
	t.Parallel()
	url := server.Database(t)
	dead := open(t, url, postgres.WithLeaseTTL(time.Hour))
	must(t, dead.Acquire(t.Context(), "dead"))
	dead.Close() // as the kernel does for a killed process
	next := open(t, url)
	began := time.Now()
	must(t, next.Acquire(t.Context(), "next"))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestKeepTellsWhenTheLeaseIsLost(t *testing.T) {
	t.Parallel()
	url := server.Database(t)
	ctx, cancel := context.WithCancel(t.Context())
	l := open(t, url, postgres.WithLeaseTTL(500*time.Millisecond))
	must(t, l.Acquire(ctx, "one"))
	must(t, l.Acquire(ctx, "one")) // twice is once
	lost := l.Keep(ctx)
	other := open(t, url)
	short, stop := context.WithTimeout(ctx, time.Second) // twice its time
	defer stop()
	if err := other.Acquire(short, "two"); err == nil {
		t.Fatal("a lease that is kept was taken")
	}
	conn := got(pgx.Connect(ctx, url))(t)
	defer conn.Close(ctx)
	got(conn.Exec(ctx, `UPDATE gitopsd.leases SET token = token + 1`))(t)
	select {
	case err := <-lost:
		wantKind(t, err, fault.Conflict)
	case <-time.After(5 * time.Second):
		t.Fatal("nobody was told")
	}

	must(t, other.Acquire(ctx, "two"))
	lost = other.Keep(ctx)
	cancel()
	if err, ok := <-lost; ok {
		t.Errorf("an ended context is no loss: %v", err)
	}
}

func TestReleaseFreesTheLease(t *testing.T) {
	t.Parallel()
	l := leader(t)
	must(t, l.Release(t.Context()))
	wantKind(t, l.Append(t.Context(), pipeline.Event{Run: "r"}), fault.Conflict)
	if holder := got(l.Holder(t.Context()))(t); holder != "" {
		t.Errorf("holder is %q", holder)
	}
	must(t, l.Acquire(t.Context(), "again"))
	must(t, l.Append(t.Context(), pipeline.Event{Run: "r"}))
}

func TestTheLeaseOutlivesARestartOfItsConnection(t *testing.T) {
	t.Parallel()
	url := server.Database(t)
	l := open(t, url)
	must(t, l.Acquire(t.Context(), "one"))
	conn := got(pgx.Connect(t.Context(), url))(t)
	defer conn.Close(t.Context())
	got(conn.Exec(t.Context(), `SELECT pg_terminate_backend(session) FROM gitopsd.leases`))(t)
	deadline := time.Now().Add(5 * time.Second)
	for l.Renew(t.Context()) != nil {
		if time.Now().After(deadline) {
			t.Fatal("the lease was not renewed")
		}
	}
	if holder := got(l.Holder(t.Context()))(t); holder != "one" {
		t.Errorf("holder is %q", holder)
	}
}
