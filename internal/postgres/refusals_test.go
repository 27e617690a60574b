package postgres_test

import (
	"testing"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

func TestRefusals(t *testing.T) {
	t.Parallel()
	l := leader(t)
	refused := func(name string) sync.Item {
		return sync.Item{
			Tenant: name, Reason: "invalid file", Failure: &fault.Record{Kind: fault.Invalid, Message: "no"},
			Problems: tenant.Problems{{File: "tenants/" + name + ".yaml", Line: 1, Column: 2, Message: "no"}},
		}
	}
	refusals := func(names ...string) map[string]string {
		t.Helper()
		short := map[string]string{}
		for name, r := range got(l.Refusals(t.Context(), names))(t) {
			if r.Item.Failure == nil || len(r.Item.Problems) != 1 {
				t.Errorf("refusal of %s is %+v", name, r)
			}
			short[name] = r.Commit.Subject
		}
		return short
	}
	expect := func(what string, have, want map[string]string) {
		t.Helper()
		if len(have) != len(want) {
			t.Fatalf("%s: refusals are %v, want %v", what, have, want)
		}
		for name, commit := range want {
			if have[name] != commit {
				t.Fatalf("%s: refusals are %v, want %v", what, have, want)
			}
		}
	}
	accept(t, l, 1, want(plan.Provision, "one", 1), want(plan.Provision, "two", 1), refused("new"))
	expect("a new file", refusals(), map[string]string{"new": "commit 1"})
	accept(t, l, 2, refused("one"), refused("two"))
	accept(t, l, 3, refused("one"))
	expect("broken files", refusals(), map[string]string{"new": "commit 1", "one": "commit 3", "two": "commit 2"})
	expect("one of them", refusals("two", "none"), map[string]string{"two": "commit 2"})

	mended := want("", "one", 1) // as it was: nothing to do
	mended.Run, mended.Reason = "", "no change"
	accept(t, l, 4, mended, want(plan.Deprovision, "two", 4), want(plan.Provision, "new", 4))
	expect("mended, deleted, accepted", refusals(), nil)
}
