package postgres_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// model is the ledger as plain maps and loops.
type model struct {
	l    *postgres.Ledger
	conn *pgx.Conn // to look at all runs at once
	ctx  context.Context

	n       int // commits so far
	head    string
	tenants map[string]*plan.Applied
	runs    []*pipeline.Run
	status  map[string][]sync.CommitState // by commit
	pull    map[string]int                // of the tenants that are previews
	notices map[string]*noted
}

func (m *model) active(name string) bool {
	return slices.ContainsFunc(m.runs, func(r *pipeline.Run) bool { return r.Tenant == name && !r.Status.Terminal() })
}

func (m *model) running() []*pipeline.Run {
	var all []*pipeline.Run
	for _, r := range m.runs {
		if r.Status == pipeline.Running {
			all = append(all, r)
		}
	}
	return all
}

// accept makes random items the newest commit.
func (m *model) accept(t *rapid.T) {
	m.n++
	a := sync.Acceptance{Commit: commit(m.n), Previous: m.head}
	if rapid.IntRange(0, 3).Draw(t, "passes one over") == 0 {
		a.Passed = append(a.Passed, commit(100000+m.n))
		m.status[sha(100000+m.n)] = nil
	}
	names := rapid.SliceOfNDistinct(rapid.SampledFrom(modelled), 0, 3, rapid.ID[string]).Draw(t, "tenants")
	slices.Sort(names)
	for _, name := range names {
		known := m.tenants[name] != nil && !m.tenants[name].Deleted && m.pull[name] == 0
		kinds := []string{"failure", "provision"}
		if known {
			kinds = []string{"failure", "update", "deploy", "labels", "revert", "suspend", "deprovision"}
		}
		a.Items = append(a.Items, m.item(name, rapid.SampledFrom(kinds).Draw(t, "kind")))
	}
	if err := m.l.Accept(m.ctx, a); err != nil {
		t.Fatal(err)
	}
	m.head = a.Commit.SHA
	m.status[m.head] = nil
}

// item returns an item and does to the model what it means.
func (m *model) item(name, kind string) sync.Item {
	it := want(plan.Operation(kind), name, m.n)
	now := m.tenants[name]
	switch kind {
	case "failure":
		return sync.Item{Tenant: name, Reason: kind, Failure: &fault.Record{Kind: fault.Invalid, Message: "bad"}}
	case "provision":
		if now != nil && m.pull[name] != 0 {
			return it // refused: the name is a preview's
		}
	case "labels", "revert", "suspend":
		it.Operation, it.Run = "", ""
		if kind == "labels" {
			it.Infra, it.App = now.Infra, now.App
		}
		it.Spec.Suspend = kind == "suspend"
	case "deprovision":
		it.Spec, it.Infra, it.App, it.Sources = now.Tenant, now.Infra, now.App, now.Sources
	}
	for _, r := range m.runs {
		differs := r.Infra != it.Infra || r.App != it.App || r.Operation == plan.Deprovision || it.Spec.Suspend
		if r.Tenant == name && r.Status == pipeline.Queued && (it.Run != "" || differs) {
			r.Status = pipeline.Superseded
		}
	}
	if it.Run != "" {
		m.runs = append(m.runs, &pipeline.Run{
			ID: it.Run, Tenant: name, Commit: sha(m.n), Operation: it.Operation, Infra: it.Infra, App: it.App, Status: pipeline.Queued,
		})
	}
	if kind == "deprovision" {
		now.Deleted = true
		return it
	}
	if now == nil {
		now = &plan.Applied{}
		m.tenants[name] = now
		delete(m.pull, name)
	}
	now.Tenant, now.Commit, now.Infra, now.App, now.Sources = it.Spec, sha(m.n), it.Infra, it.App, it.Sources
	now.Deleted, now.PurgeAfter = false, time.Time{}
	return it
}

func (m *model) claim(t *rapid.T) {
	n := rapid.IntRange(0, 3).Draw(t, "n")
	busy := map[string]bool{}
	for _, r := range m.running() {
		busy[r.Tenant] = true
	}
	var wanted []string
	for _, r := range m.runs {
		if r.Status != pipeline.Queued || len(wanted) == n {
			continue
		}
		if !busy[r.Tenant] {
			busy[r.Tenant], r.Status = true, pipeline.Running
			m.unsure(r)
			wanted = append(wanted, r.ID)
		}
	}
	runs, err := m.l.Claim(m.ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	var claimed []string
	for _, r := range runs {
		claimed = append(claimed, r.ID)
	}
	if !slices.Equal(wanted, claimed) {
		t.Fatalf("claimed %q, want %q", claimed, wanted)
	}
}

// unsure forgets what a run that starts makes uncertain.
func (m *model) unsure(r *pipeline.Run) {
	now := m.tenants[r.Tenant]
	if now == nil || r.Operation == plan.Deploy {
		return
	}
	if now.DoneInfra = ""; r.Operation == plan.Deprovision {
		now.DoneApp = ""
	}
}

// work does something in a running run.
func (m *model) work(t *rapid.T) {
	running := m.running()
	if len(running) == 0 {
		t.Skip("nothing runs")
	}
	r := rapid.SampledFrom(running).Draw(t, "run")
	now := m.tenants[r.Tenant]
	act := rapid.SampledFrom([]string{"infrastructure", "release", "tombstone", "receipt", "succeed", "fail"}).Draw(t, "act")
	var err error
	switch act {
	case "infrastructure":
		err = m.l.RecordInfrastructure(m.ctx, *r)
		if now != nil {
			now.DoneInfra = r.Infra
		}
	case "release":
		err = m.l.RecordRelease(m.ctx, *r, "r-"+r.ID)
		if now != nil {
			now.DoneApp, now.Release = r.App, "r-"+r.ID
		}
	case "tombstone":
		until := time.Unix(1800000000, 0)
		err = m.l.RecordTombstone(m.ctx, *r, pipeline.Tombstone{Commit: r.Commit, At: time.Now(), PurgeAfter: until})
		if now != nil && now.Deleted {
			now.PurgeAfter = until
		}
	case "receipt":
		err = m.l.RecordReceipt(m.ctx, *r, pipeline.Receipt{Commit: r.Commit, At: time.Now()})
		switch {
		case now == nil:
		case now.Deleted:
			delete(m.tenants, r.Tenant)
		default:
			now.DoneInfra, now.DoneApp, now.Release = "", "", ""
		}
	case "succeed", "fail":
		var cause *fault.Record
		r.Status = pipeline.Succeeded
		if act == "fail" {
			cause, r.Status = &fault.Record{Kind: fault.Stalled, Message: "hangs"}, pipeline.Failed
		}
		if err = m.l.Finish(m.ctx, r.ID, cause); err == nil {
			err = m.l.Finish(m.ctx, r.ID, nil)
		}
		if now != nil {
			now.Failing = act == "fail"
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// settle puts a status.
func (m *model) settle(t *rapid.T) {
	if len(m.status) == 0 {
		t.Skip("no commits")
	}
	c := rapid.SampledFrom(slices.Sorted(maps.Keys(m.status))).Draw(t, "commit")
	s := rapid.SampledFrom([]sync.CommitState{sync.StatePending, sync.StateSuccess, sync.StateFailure}).Draw(t, "state")
	if err := m.l.PutStatus(m.ctx, sync.CommitStatus{Commit: c, State: s}); err != nil {
		t.Fatal(err)
	}
	if len(m.status[c]) == 0 || m.status[c][len(m.status[c])-1] == sync.StatePending && s != sync.StatePending {
		m.status[c] = append(m.status[c], s)
	}
}

// check compares the ledger with the model.
func (m *model) check(t *rapid.T) {
	wanted := map[string]plan.Applied{}
	live := 0
	for name, a := range m.tenants {
		if m.pull[name] != 0 {
			continue
		}
		c := *a
		c.InProgress = m.active(name)
		wanted[name] = c
		if !a.Deleted {
			live++
		}
	}
	have, err := m.l.Applied(m.ctx, nil)
	if diff := cmp.Diff(wanted, have); err != nil || diff != "" {
		t.Fatalf("applied, %v (-want +got):\n%s", err, diff)
	}
	if n, err := m.l.Live(m.ctx); err != nil || n != live {
		t.Fatalf("%d live tenants, %v; want %d", n, err, live)
	}
	runs := map[string]pipeline.Status{}
	rows, _ := m.conn.Query(m.ctx, `SELECT id, status FROM gitopsd.runs`) // its error is the next one's
	var id string
	var status pipeline.Status
	if _, err := pgx.ForEachRow(rows, []any{&id, &status}, func() error { runs[id] = status; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(runs) != len(m.runs) {
		t.Fatalf("%d runs, want %d", len(runs), len(m.runs))
	}
	for _, r := range m.runs {
		if runs[r.ID] != r.Status {
			t.Fatalf("run %s is %s, want %s", r.ID, runs[r.ID], r.Status)
		}
	}
	open := map[string]bool{}
	unsettled, err := m.l.Unsettled(m.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range unsettled {
		open[p.Commit.SHA] = true
	}
	for c, put := range m.status {
		if settled := len(put) > 0 && put[len(put)-1] != sync.StatePending; settled == open[c] {
			t.Fatalf("commit %s with statuses %q: unsettled is %v", c, put, open[c])
		}
	}
}

func TestLedgerIsWhatTheModelSays(t *testing.T) {
	t.Parallel()
	url := server.Database(t)
	l := open(t, url)
	must(t, l.Acquire(t.Context(), "test"))
	conn := got(pgx.Connect(t.Context(), url))(t)
	defer conn.Close(context.Background())
	rapid.Check(t, func(t *rapid.T) {
		_, err := conn.Exec(context.Background(), `TRUNCATE gitopsd.commits, gitopsd.items, gitopsd.tenants, gitopsd.runs, gitopsd.statuses,
			gitopsd.tombstones, gitopsd.receipts, gitopsd.notices; UPDATE gitopsd.repository SET head = ''`)
		if err != nil {
			t.Fatal(err)
		}
		m := &model{
			l: l, conn: conn, ctx: context.Background(), tenants: map[string]*plan.Applied{}, status: map[string][]sync.CommitState{},
			pull: map[string]int{}, notices: map[string]*noted{},
		}
		t.Repeat(map[string]func(*rapid.T){
			"accept": m.accept, "claim": m.claim, "work": m.work, "work more": m.work, "settle": m.settle,
			"put a preview": m.putPreview, "end a preview": m.endPreview, "put a notice": m.putNotice, "deliver": m.deliver,
			"": func(t *rapid.T) { m.check(t); m.checkPreviews(t); m.checkNotices(t) },
		})
	})
}

func TestTenThousandTenants(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	const n = 10000
	items := make([]sync.Item, n)
	for i := range items {
		items[i] = want(plan.Provision, fmt.Sprintf("tenant-%05d", i), 1)
	}
	measure := func(what string, limit time.Duration, do func()) {
		t.Helper()
		began := time.Now()
		do()
		took := time.Since(began)
		t.Logf("%-28s %s", what, took.Round(10*time.Microsecond))
		if took > limit {
			t.Errorf("%s took %s, more than %s", what, took, limit)
		}
	}
	measure("accept 10,000", 20*time.Second, func() { accept(t, l, 1, items...) })
	measure("accept one", time.Second, func() { accept(t, l, 2, want(plan.Update, "tenant-00007", 2)) })
	measure("applied of one", time.Second, func() { applied(t, l, "tenant-00007") })
	measure("live", time.Second, func() {
		if live := got(l.Live(ctx))(t); live != n {
			t.Errorf("%d live tenants", live)
		}
	})
	measure("claim 10", time.Second, func() {
		if runs := got(l.Claim(ctx, 10))(t); len(runs) != 10 || runs[0].ID != "tenant-00000-1" {
			t.Errorf("claimed %d", len(runs))
		}
	})
	measure("unsettled", 5*time.Second, func() {
		if p := got(l.Unsettled(ctx))(t); len(p) != 2 || len(p[0].Items) != n {
			t.Errorf("%d unsettled", len(p))
		}
	})
	measure("all tenants", 5*time.Second, func() {
		if all := got(l.Tenants(ctx, postgres.Filter{}))(t); len(all) != n {
			t.Errorf("%d tenants", len(all))
		}
	})
	measure("accept 10,000 again", 20*time.Second, func() {
		for i := range items {
			items[i] = want(plan.Update, items[i].Tenant, 3)
		}
		accept(t, l, 3, items...)
	})
}
