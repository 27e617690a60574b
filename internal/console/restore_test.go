package console_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/console/consoletest"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/platform"
)

func saved() consoletest.State {
	one := []platform.Snapshot{{Name: "20260102T030405.000000Z", Keys: 3, Database: true}, {Name: "20260101T030405.000000Z"}}
	return consoletest.State{
		Records: []console.Record{
			{Name: "live", Applied: plan.Applied{Commit: "abc1234"}},
			{Name: "bare", Applied: plan.Applied{Commit: "abc1234"}},
			{Name: "late", Applied: plan.Applied{Deleted: true, PurgeAfter: time.Now().Add(time.Hour)}},
		},
		Snapshots: map[string][]platform.Snapshot{"live": one, "late": one, "gone": one},
	}
}

func TestRestore(t *testing.T) {
	t.Parallel()
	a := serve(t, saved())
	list := get[[]platform.Snapshot](a, "/api/v1/tenants/live/snapshots")
	if len(list) != 2 || list[0].Keys != 3 || !list[0].Database {
		t.Errorf("snapshots: %+v", list)
	}
	if list := get[[]platform.Snapshot](a, "/api/v1/tenants/bare/snapshots"); list == nil || len(list) > 0 {
		t.Errorf("no snapshots are %#v, want []", list)
	}
	for body, want := range map[string]string{
		"": list[0].Name, "{}": list[0].Name, `{"snapshot": "` + list[1].Name + `"}`: list[1].Name,
	} {
		got := decoded[console.Restore](a, a.request(http.MethodPost, "/api/v1/tenants/live/restore", body), http.StatusOK)
		if got.Tenant != "live" || got.Snapshot != want || got.Run == "" {
			t.Errorf("restore %s: %+v", body, got)
		}
		if run := a.world.State().Runs[0]; run.ID != got.Run || run.Operation != plan.Restore || run.Argument != want {
			t.Errorf("queued: %+v", run)
		}
	}
	for _, c := range []struct {
		path, body string
		code       int
		kind       fault.Kind
	}{
		{"bare/restore", "", 404, fault.NotFound},
		{"live/restore", `{"snapshot": "../late/20260102T030405.000000Z"}`, 404, fault.NotFound},
		{"live/restore", `{"snapshot": 1}`, 422, fault.Invalid},
		{"live/restore", `{`, 422, fault.Invalid},
		{"late/restore", "", 409, fault.Conflict},
		{"gone/restore", "", 404, fault.NotFound},
		{"none/restore", "", 404, fault.NotFound},
	} {
		r := decoded[fault.Record](a, a.request(http.MethodPost, "/api/v1/tenants/"+c.path, c.body), c.code)
		if r.Kind != c.kind || r.Message == "" {
			t.Errorf("%s %s: %+v", c.path, c.body, r)
		}
	}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	a := serve(t, saved())
	purge := func(name string, code int) {
		t.Helper()
		a.request(http.MethodPost, "/api/v1/tenants/"+name+"/purge", "")
		if res := a.request(http.MethodPost, "/api/v1/tenants/"+name+"/purge", ""); res.StatusCode != code {
			t.Errorf("purge of %s answers %s, want %d", name, res.Status, code)
		}
	}
	purge("live", http.StatusConflict)
	purge("none", http.StatusNotFound)
	select {
	case <-a.world.Woken():
		t.Error("the loop was woken for nothing")
	default:
	}
	purge("late", http.StatusOK)
	<-a.world.Woken()
	if late := a.world.State().Records[2]; late.PurgeAfter.After(time.Now()) {
		t.Errorf("its data are kept until %s", late.PurgeAfter)
	}
	remove := func(name string, code int) {
		t.Helper()
		if res := a.request(http.MethodDelete, "/api/v1/tenants/"+name+"/snapshots", ""); res.StatusCode != code {
			t.Errorf("removing the snapshots of %s answers %s, want %d", name, res.Status, code)
		}
	}
	remove("live", http.StatusConflict)
	remove("late", http.StatusConflict)
	remove("gone", http.StatusOK)
	if left := a.world.State().Snapshots; len(left["live"]) != 2 || len(left["late"]) != 2 || len(left["gone"]) > 0 {
		t.Errorf("left: %+v", left)
	}
}
