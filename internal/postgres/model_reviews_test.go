package postgres_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/review"
)

// modelled are the tenants; the last ones may be previews, too.
var modelled = []string{"a", "b", "c", "d", "acme-pr-1", "beta-pr-2"}

// noted is a notice's key in the model.
type noted struct {
	body, tries              int
	version, settled, remote int64
	later                    bool
}

func (m *model) putPreview(t *rapid.T) {
	p := preview(rapid.IntRange(1, 2).Draw(t, "pull"))
	p.App = rapid.SampledFrom([]string{"a1", "a2"}).Draw(t, "app")
	name := p.Tenant.Name
	m.n++
	var run pipeline.Run
	if rapid.Bool().Draw(t, "with a run") {
		run = pipeline.Run{ID: fmt.Sprintf("%s-%d", name, m.n), Operation: plan.Provision}
	}
	err := m.l.PutPreview(m.ctx, p, run)
	now := m.tenants[name]
	if now != nil && m.pull[name] == 0 {
		if !fault.Is(err, fault.Invalid) {
			t.Fatalf("a preview took the name of a tenant: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range m.runs {
		differs := r.Infra != p.Infra || r.App != p.App || r.Operation == plan.Deprovision
		if r.Tenant == name && r.Status == pipeline.Queued && (run.ID != "" || differs) {
			r.Status = pipeline.Superseded
		}
	}
	if run.ID != "" {
		run.Tenant, run.Commit, run.Infra, run.App, run.Status = name, p.Head, p.Infra, p.App, pipeline.Queued
		m.runs = append(m.runs, &run)
	}
	if now == nil {
		now = &plan.Applied{}
		m.tenants[name], m.pull[name] = now, p.Pull
	}
	now.Tenant, now.Commit, now.Infra, now.App, now.Sources = p.Tenant, p.Head, p.Infra, p.App, p.Sources
	now.Deleted, now.PurgeAfter = false, time.Time{}
}

func (m *model) endPreview(t *rapid.T) {
	name := preview(rapid.IntRange(1, 2).Draw(t, "pull")).Tenant.Name
	m.n++
	id := fmt.Sprintf("%s-%d", name, m.n)
	if err := m.l.EndPreview(m.ctx, name, pipeline.Run{ID: id}); err != nil {
		t.Fatal(err)
	}
	now := m.tenants[name]
	if now == nil || m.pull[name] == 0 || now.Deleted && (!now.Failing || m.active(name)) {
		return
	}
	for _, r := range m.runs {
		if r.Tenant == name && r.Status == pipeline.Queued {
			r.Status = pipeline.Superseded
		}
	}
	m.runs = append(m.runs, &pipeline.Run{
		ID: id, Tenant: name, Commit: now.Commit, Operation: plan.Deprovision, Infra: now.Infra, App: now.App, Status: pipeline.Queued,
	})
	now.Deleted, now.PurgeAfter = true, time.Time{}
}

func (m *model) checkPreviews(t *rapid.T) {
	wanted := []review.Preview{}
	for _, name := range slices.Sorted(maps.Keys(m.tenants)) {
		if now := m.tenants[name]; m.pull[name] != 0 {
			p := preview(m.pull[name])
			p.App, p.Ended, p.Release, p.Failing = now.App, now.Deleted, now.Release, now.Failing
			wanted = append(wanted, p)
		}
	}
	have, err := m.l.Previews(m.ctx)
	if diff := cmp.Diff(wanted, append([]review.Preview{}, have...)); err != nil || diff != "" {
		t.Fatalf("previews, %v (-want +got):\n%s", err, diff)
	}
}

func (m *model) putNotice(t *rapid.T) {
	var batch []review.Notice
	for range rapid.IntRange(1, 3).Draw(t, "notices") {
		key := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "key")
		batch = append(batch, note(key, rapid.IntRange(1, 2).Draw(t, "body")))
	}
	if err := m.l.PutNotices(m.ctx, batch); err != nil {
		t.Fatal(err)
	}
	last := map[string]int{}
	for _, n := range batch {
		var body struct{ N int }
		if err := json.Unmarshal(n.Body, &body); err != nil {
			t.Fatal(err)
		}
		last[n.Key] = body.N
	}
	for key, body := range last {
		n := m.notices[key]
		if n == nil {
			n = &noted{}
			m.notices[key] = n
		}
		if n.body != body {
			n.body, n.version, n.tries, n.later = body, n.version+1, 0, false
		}
	}
}

// deliver does something with a version that was put some time.
func (m *model) deliver(t *rapid.T) {
	if len(m.notices) == 0 {
		t.Skip("no notices")
	}
	key := rapid.SampledFrom(slices.Sorted(maps.Keys(m.notices))).Draw(t, "key")
	n := m.notices[key]
	version := rapid.Int64Range(1, n.version).Draw(t, "version")
	current := version == n.version && n.settled < version
	var err error
	switch rapid.SampledFrom([]string{"delivered", "postponed", "given up"}).Draw(t, "outcome") {
	case "delivered":
		remote := rapid.Int64Range(0, 2).Draw(t, "remote")
		err = m.l.NoticeDelivered(m.ctx, key, version, remote)
		if n.settled < version {
			if n.settled = version; remote != 0 {
				n.remote = remote
			}
		}
	case "postponed":
		err = m.l.NoticePostponed(m.ctx, key, version, time.Now().Add(time.Hour), "down")
		if current {
			n.tries, n.later = n.tries+1, true
		}
	case "given up":
		err = m.l.NoticePostponed(m.ctx, key, version, time.Time{}, "refused")
		if current {
			n.settled = version
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (m *model) checkNotices(t *rapid.T) {
	for _, later := range []bool{false, true} {
		now := time.Now()
		if later {
			now = now.Add(2 * time.Hour)
		}
		wanted, have := map[string]string{}, map[string]string{}
		for key, n := range m.notices {
			if n.settled < n.version && (later || !n.later) {
				wanted[key] = fmt.Sprintf(`{"n": %d} version %d, try %d, at %d`, n.body, n.version, n.tries, n.remote)
			}
		}
		due, err := m.l.DueNotices(m.ctx, now, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range due {
			have[n.Key] = fmt.Sprintf(`%s version %d, try %d, at %d`, n.Body, n.Version, n.Tries, n.Remote)
		}
		if diff := cmp.Diff(wanted, have); diff != "" {
			t.Fatalf("due notices, later is %v (-want +got):\n%s", later, diff)
		}
	}
}
