package postgres

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
)

// ForRun returns the ledger as a process sees it that works on one run without
// being the daemon: its writes are fenced by the run instead of the lease. They
// fail with fault.Conflict unless the run is running, and the run does not end
// while one is under way. It is closed with l.
func (l *Ledger) ForRun(run string) *Ledger {
	return &Ledger{pool: l.pool, ttl: l.ttl, log: l.log, login: l.login, run: run}
}

// Settle appends an event and stores how its state ended, in one step. A state
// that is settled again is settled as it was last.
func (l *Ledger) Settle(ctx context.Context, e pipeline.Event, o pipeline.Outcome) error {
	output, err := encodeOptional(o.Output != nil, o.Output)
	if err != nil {
		return fault.Errorf(fault.Invalid, "settle %s: output: %w", o.State, err)
	}
	failure, err := encodeOptional(o.Failure != nil, o.Failure)
	if err != nil {
		return fault.Errorf(fault.Invalid, "settle %s: failure: %w", o.State, err)
	}
	return l.write(ctx, "settle "+o.State, func(b *pgx.Batch) {
		b.Queue(`INSERT INTO gitopsd.events (run, state, kind, try, took, message) VALUES ($1, $2, $3, $4, $5, $6)`,
			eventArgs(e)...)
		b.Queue(`INSERT INTO gitopsd.outcomes (run, state, output, failure) VALUES ($1, $2, $3::jsonb, $4::jsonb)
			ON CONFLICT (run, state) DO UPDATE SET output = $3::jsonb, failure = $4::jsonb, seq = nextval('gitopsd.event_seq')`,
			e.Run, clean(o.State), output, failure)
	})
}

func encodeOptional(there bool, v any) (*string, error) {
	if !there {
		return nil, nil
	}
	doc, err := encode(v)
	return &doc, err
}

// Outcomes returns how states of a run that is under way ended, in their order.
func (l *Ledger) Outcomes(ctx context.Context, run string) ([]pipeline.Outcome, error) {
	rows, err := l.pool.Query(ctx, `SELECT state, output::text, failure FROM gitopsd.outcomes WHERE run = $1 ORDER BY seq`, run)
	if err != nil {
		return nil, failure("read outcomes of "+run, err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (pipeline.Outcome, error) {
		var o pipeline.Outcome
		var output *string // JSON's null is an output, too
		err := row.Scan(&o.State, &output, &o.Failure)
		if output != nil {
			o.Output = json.RawMessage(*output)
		}
		return o, err
	})
	return all, failure("read outcomes of "+run, err)
}
