package postgres_test

import (
	"encoding/json"
	"fmt"
	"slices"
	gosync "sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/review"
)

// note is a notice; the same number, the same body.
func note(key string, n int) review.Notice {
	return review.Notice{Key: key, Kind: review.NoticeStatus, Body: json.RawMessage(fmt.Sprintf(`{"n": %d}`, n))}
}

// due lists what is due as key/version:body.
func due(tb testing.TB, l *postgres.Ledger, now time.Time) []string {
	tb.Helper()
	all := []string{}
	for _, n := range got(l.DueNotices(tb.Context(), now, 1000))(tb) {
		var body struct{ N int }
		must(tb, json.Unmarshal(n.Body, &body))
		all = append(all, fmt.Sprintf("%s/%d:%d", n.Key, n.Version, body.N))
	}
	return all
}

func TestANoticeIsALevel(t *testing.T) {
	t.Parallel()
	later := time.Now().Add(time.Hour)
	type step func(t *testing.T, l *postgres.Ledger)
	put := func(n int) step {
		return func(t *testing.T, l *postgres.Ledger) {
			must(t, l.PutNotices(t.Context(), []review.Notice{note("k", n)}))
		}
	}
	delivered := func(version, remote int64) step {
		return func(t *testing.T, l *postgres.Ledger) {
			must(t, l.NoticeDelivered(t.Context(), "k", version, remote))
		}
	}
	postponed := func(version int64, until time.Time) step {
		return func(t *testing.T, l *postgres.Ledger) {
			must(t, l.NoticePostponed(t.Context(), "k", version, until, "down"))
		}
	}
	for name, c := range map[string]struct {
		steps []step
		now   []string // due at once
		later []string
	}{
		"put":                           {[]step{put(1)}, []string{"k/1:1"}, []string{"k/1:1"}},
		"the same while it waits":       {[]step{put(1), put(1)}, []string{"k/1:1"}, []string{"k/1:1"}},
		"another while it waits":        {[]step{put(1), put(2)}, []string{"k/2:2"}, []string{"k/2:2"}},
		"there and back":                {[]step{put(1), put(2), put(1)}, []string{"k/3:1"}, []string{"k/3:1"}},
		"delivered":                     {[]step{put(1), delivered(1, 7)}, nil, nil},
		"the same after delivery":       {[]step{put(1), delivered(1, 7), put(1)}, nil, nil},
		"another after delivery":        {[]step{put(1), delivered(1, 7), put(2)}, []string{"k/2:2"}, []string{"k/2:2"}},
		"another during delivery":       {[]step{put(1), put(2), delivered(1, 7)}, []string{"k/2:2"}, []string{"k/2:2"}},
		"delivered out of order":        {[]step{put(1), put(2), delivered(2, 7), delivered(1, 7)}, nil, nil},
		"delivered a version not put":   {[]step{put(1), delivered(2, 7)}, []string{"k/1:1"}, []string{"k/1:1"}},
		"postponed":                     {[]step{put(1), postponed(1, later)}, nil, []string{"k/1:1"}},
		"postponed, the same again":     {[]step{put(1), postponed(1, later), put(1)}, nil, []string{"k/1:1"}},
		"postponed, then another":       {[]step{put(1), postponed(1, later), put(2)}, []string{"k/2:2"}, []string{"k/2:2"}},
		"another while it is postponed": {[]step{put(1), put(2), postponed(1, later)}, []string{"k/2:2"}, []string{"k/2:2"}},
		"given up":                      {[]step{put(1), postponed(1, time.Time{})}, nil, nil},
		"given up, the same again":      {[]step{put(1), postponed(1, time.Time{}), put(1)}, nil, nil},
		"given up, then another":        {[]step{put(1), postponed(1, time.Time{}), put(2)}, []string{"k/2:2"}, []string{"k/2:2"}},
		"another while it is given up":  {[]step{put(1), put(2), postponed(1, time.Time{})}, []string{"k/2:2"}, []string{"k/2:2"}},
		"postponed after delivery":      {[]step{put(1), delivered(1, 7), postponed(1, later)}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := leader(t)
			for _, s := range c.steps {
				s(t, l)
			}
			if diff := cmp.Diff(append([]string{}, c.now...), due(t, l, time.Now())); diff != "" {
				t.Errorf("due now (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(append([]string{}, c.later...), due(t, l, later)); diff != "" {
				t.Errorf("due later (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoticesRememberTheForgesNumberAndTries(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	one := func() review.Notice {
		t.Helper()
		all := got(l.DueNotices(ctx, time.Now().Add(time.Hour), 10))(t)
		if len(all) != 1 {
			t.Fatalf("due are %+v", all)
		}
		return all[0]
	}
	must(t, l.PutNotices(ctx, []review.Notice{note("k", 1)}))
	must(t, l.NoticePostponed(ctx, "k", 1, time.Now(), "down\x00"))
	must(t, l.NoticePostponed(ctx, "k", 1, time.Now(), "down"))
	if n := one(); n.Tries != 2 || n.Remote != 0 {
		t.Errorf("notice is %+v", n)
	}
	must(t, l.PutNotices(ctx, []review.Notice{note("k", 2)}))
	must(t, l.NoticeDelivered(ctx, "k", 1, 77)) // the first was under way meanwhile
	if n := one(); n.Tries != 0 || n.Remote != 77 || n.Version != 2 || n.Kind != review.NoticeStatus {
		t.Errorf("notice is %+v", n)
	}
	must(t, l.NoticeDelivered(ctx, "k", 2, 0)) // a forge that does not say
	must(t, l.PutNotices(ctx, []review.Notice{note("k", 3)}))
	if n := one(); n.Remote != 77 {
		t.Errorf("notice is %+v", n)
	}
}

func TestDueNoticesComeOldestFirst(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	for _, key := range []string{"c", "b", "a"} {
		must(t, l.PutNotices(ctx, []review.Notice{note(key, 1)}))
	}
	must(t, l.PutNotices(ctx, []review.Notice{note("c", 2), note("c", 3)})) // keeps its place
	if all := due(t, l, time.Now()); !slices.Equal(all, []string{"c/2:3", "b/1:1", "a/1:1"}) {
		t.Errorf("due are %q", all)
	}
	must(t, l.NoticePostponed(ctx, "c", 2, time.Now().Add(time.Minute), "down"))
	if all := due(t, l, time.Now()); !slices.Equal(all, []string{"b/1:1", "a/1:1"}) {
		t.Errorf("due are %q: one that fails keeps no other waiting", all)
	}
	if all := got(l.DueNotices(ctx, time.Now(), 1))(t); len(all) != 1 || all[0].Key != "b" {
		t.Errorf("first is %+v", all)
	}
}

func TestHostileNotices(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	body := json.RawMessage(`{"n": 12345678901234567890, "a": "nul\u0000", "b": "\ud800", "c": "` + "\xff" + `"}`)
	must(t, l.PutNotices(ctx, []review.Notice{{Key: "k\x00\xff", Kind: "kind\x00", Body: body}}))
	n := got(l.DueNotices(ctx, time.Now(), 1))(t)[0]
	var have struct {
		N       json.Number
		A, B, C string
	}
	must(t, json.Unmarshal(n.Body, &have))
	if have.N != "12345678901234567890" || have.A != "nul\ufffd" || have.B != "\ufffd" || have.C != "\ufffd" {
		t.Errorf("body is %+v", have)
	}
	must(t, l.NoticeDelivered(ctx, "k\x00\xff", 1, 1)) // by the name it was put with
	if all := due(t, l, time.Now()); len(all) != 0 {
		t.Errorf("due are %q", all)
	}
	wantKind(t, l.PutNotices(ctx, []review.Notice{note("good", 1), {Key: "k", Body: json.RawMessage(`{`)}}), fault.Invalid)
	if all := due(t, l, time.Now()); len(all) != 0 {
		t.Errorf("a batch with a bad notice left %q", all)
	}
}

func TestNoticesPutAtOnce(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), background(t)
	const keys, writers = 40, 6
	var wg gosync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for round := range 10 {
				var batch []review.Notice
				for k := range keys {
					batch = append(batch, note(fmt.Sprintf("k%02d", (k*7+w*13)%keys), round*writers+w))
				}
				if w%2 == 0 {
					slices.Reverse(batch)
				}
				if err := l.PutNotices(ctx, batch); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	bodies := map[string]bool{}
	all := got(l.DueNotices(ctx, time.Now(), 1000))(t)
	for _, n := range all {
		bodies[string(n.Body)] = true
	}
	if len(all) != keys || len(bodies) != 1 {
		t.Errorf("%d keys with %d bodies, want %d with the last batch's", len(all), len(bodies), keys)
	}
}

func TestPruneKeepsWhatIsDueAndWhatIsOpen(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	must(t, l.PutNotices(ctx, []review.Notice{note("delivered", 1), note("given up", 1), note("due", 1), note("again", 1)}))
	must(t, l.NoticeDelivered(ctx, "delivered", 1, 1))
	must(t, l.NoticePostponed(ctx, "given up", 1, time.Time{}, "refused"))
	must(t, l.NoticePostponed(ctx, "due", 1, time.Now().Add(time.Minute), "down"))
	must(t, l.NoticeDelivered(ctx, "again", 1, 9))
	must(t, l.PutNotices(ctx, []review.Notice{note("again", 2)}))
	closed := report(2, "closed")
	closed.Pull.Closed = true
	must(t, l.PutReport(ctx, report(1, "open"), nil))
	must(t, l.PutReport(ctx, closed, nil))
	long := time.Now().Add(-time.Hour)
	for _, pull := range []int{1, 2} {
		got(l.SawHead(ctx, pull, sha(1), long))(t)
	}
	got(l.PutDelivery(ctx, "old", "s1", long))(t)
	must(t, l.ApprovePlan(ctx, review.PlanApproval{Fingerprint: "old", By: "ann", At: long}))

	must(t, l.Prune(ctx, time.Now().Add(-time.Minute))) // only what is older goes
	if _, ok, err := l.PlanApproved(ctx, "old"); ok || err != nil {
		t.Errorf("an old approval: %v, %v", ok, err)
	}
	if !got(l.PutDelivery(ctx, "old", "s1", time.Now()))(t) {
		t.Error("an old delivery was kept")
	}
	if n := len(got(l.Pulls(ctx, 10))(t)); n != 2 {
		t.Errorf("%d reports, want both", n)
	}
	must(t, l.Prune(ctx, time.Now().Add(time.Minute)))
	if all := due(t, l, time.Now().Add(time.Hour)); !slices.Equal(all, []string{"again/2:2", "due/1:1"}) {
		t.Errorf("due are %q", all)
	}
	// What was pruned is news again.
	must(t, l.PutNotices(ctx, []review.Notice{note("delivered", 1), note("given up", 1)}))
	if n := len(due(t, l, time.Now())); n != 3 {
		t.Errorf("%d are due", n)
	}
	if all := got(l.Pulls(ctx, 10))(t); len(all) != 1 || all[0].Pull.Number != 1 {
		t.Errorf("reports are %+v", all)
	}
	now := time.Now()
	if first := got(l.SawHead(ctx, 1, sha(1), now))(t); !first.Equal(long.Truncate(time.Microsecond)) {
		t.Errorf("the head of an open pull request was forgotten: %s", first)
	}
	if first := got(l.SawHead(ctx, 2, sha(1), now))(t); !first.Equal(now.Truncate(time.Microsecond)) {
		t.Errorf("the head of a closed pull request was kept: %s", first)
	}
}
