package postgres_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
)

func TestAWorkerWritesWhileItsRunIsRunning(t *testing.T) {
	t.Parallel()
	l := leader(t)
	ctx := t.Context()
	accept(t, l, 1, want(plan.Deploy, "acme", 1), want(plan.Deploy, "beta", 1))
	w := l.ForRun("acme-1")
	enter := pipeline.Event{Run: "acme-1", State: "Compile", Kind: pipeline.Entered, Try: 1}
	settle := pipeline.Event{Run: "acme-1", State: "Compile", Kind: pipeline.Completed, Try: 1}
	wantKind(t, w.Append(ctx, enter), fault.Conflict) // it is queued
	runs := got(l.Claim(ctx, 2))(t)
	if len(runs) != 2 {
		t.Fatalf("claimed %d runs", len(runs))
	}

	// The daemon that claimed it may be gone, or be another by now.
	must(t, l.Release(ctx))
	must(t, w.Enter(ctx, enter))
	must(t, w.Settle(ctx, settle, pipeline.Outcome{State: "Generate", Output: json.RawMessage(`null`)}))
	must(t, w.Settle(ctx, settle, pipeline.Outcome{State: "Compile", Output: json.RawMessage(`{"a": 1}`)}))
	broken := &fault.Record{Kind: fault.Invalid, Message: "line 3\x00", Hint: "mend it"}
	must(t, w.Settle(ctx, settle, pipeline.Outcome{State: "Generate", Failure: broken}))
	wanted := []pipeline.Outcome{
		{State: "Compile", Output: json.RawMessage(`{"a": 1}`)},
		{State: "Generate", Failure: &fault.Record{Kind: fault.Invalid, Message: "line 3\ufffd", Hint: "mend it"}},
	}
	if diff := cmp.Diff(wanted, got(l.Outcomes(ctx, "acme-1"))(t)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	must(t, w.Settle(ctx, settle, pipeline.Outcome{State: "Generate", Output: json.RawMessage(`null`)}))
	if last := got(l.Outcomes(ctx, "acme-1"))(t)[1]; string(last.Output) != "null" || last.Failure != nil {
		t.Errorf("settled again, it is %+v", last)
	}

	must(t, l.Acquire(ctx, "another"))
	must(t, l.Finish(ctx, "acme-1", nil))
	wantKind(t, w.Append(ctx, enter), fault.Conflict)
	wantKind(t, w.RecordRelease(ctx, runs[0], "digest"), fault.Conflict)
	wantKind(t, w.Settle(ctx, settle, pipeline.Outcome{State: "Late", Output: json.RawMessage(`1`)}), fault.Conflict)
	if left := got(l.Outcomes(ctx, "acme-1"))(t); len(left) != 0 {
		t.Errorf("outcomes left: %v", left)
	}
	must(t, l.ForRun("beta-1").Append(ctx, pipeline.Event{Run: "beta-1", State: "Compile", Kind: pipeline.Entered, Try: 1}))
}
