package pipeline_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/release"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// site is a platform, a ledger and a builder that write down what is asked of
// them, and fail where they are told to.
type site struct {
	platform.Platform
	pipeline.Ledger
	pipeline.Builder
	volume *release.Volume
	calls  []string
	fails  string // the call that fails
}

func (s *site) call(words ...string) error {
	call := strings.Join(words, " ")
	s.calls = append(s.calls, call)
	if call == s.fails {
		return fault.Errorf(fault.Stalled, "%s failed", call)
	}
	return nil
}

func (s *site) VerifySnapshot(_ context.Context, _, name string) error { return s.call("verify", name) }

func (s *site) RestoreSnapshot(_ context.Context, _, name string) error {
	return s.call("restore", name)
}

func (s *site) Snapshot(context.Context, string) (string, error) {
	return "/snapshots/acme/before", s.call("snapshot")
}
func (s *site) RemoveRoute(context.Context, string) error { return s.call("unroute") }
func (s *site) Drain(context.Context, string) error       { return s.call("drain") }
func (s *site) EnsureInfrastructure(context.Context, platform.Config) error {
	return s.call("infrastructure")
}
func (s *site) EnsureDatabase(context.Context, platform.Config) error  { return s.call("database") }
func (s *site) EnsureCacheUser(context.Context, platform.Config) error { return s.call("cache") }
func (s *site) Database(context.Context, string) (string, error)       { return "url", nil }
func (s *site) Volume(context.Context, string) (*release.Volume, error) {
	return s.volume, nil
}

func (s *site) AwaitRelease(_ context.Context, _ string, p release.Pointer) error {
	return s.call("await", p.Commit)
}

func (s *site) RecordInfrastructure(context.Context, pipeline.Run) error { return s.call("record") }

func (s *site) Migrate(_ context.Context, _ pipeline.Build, digest, url string) (pipeline.Migrated, error) {
	if p, _, _ := s.volume.Current(); digest != p.SHA256 {
		return pipeline.Migrated{}, fault.Errorf(fault.Invalid, "migrated to %s", digest)
	}
	return pipeline.Migrated{}, s.call("migrate", url)
}

// TestRestoreMachine goes through the machine as an engine does.
func TestRestoreMachine(t *testing.T) {
	t.Parallel()
	volume := release.Open(t.TempDir())
	if _, err := volume.Publish(newRelease(t, volume, "r"), "serving"); err != nil {
		t.Fatal(err)
	}
	unpublished := release.Open(t.TempDir())
	down := "verify wanted, snapshot, unroute, drain, restore wanted"
	up := "database, cache, infrastructure"
	back := "drain, restore before, database, cache, infrastructure, record"
	for name, tt := range map[string]struct {
		fails  string
		volume *release.Volume
		want   string
	}{
		"restored":          {"", volume, down + ", migrate url, " + up + ", await serving, record"},
		"never deployed":    {"", unpublished, down + ", " + up + ", record"},
		"not that snapshot": {"verify wanted", volume, "verify wanted, " + up + ", record"},
		"no way back":       {"snapshot", volume, "verify wanted, snapshot, " + up + ", record"},
		"does not stop":     {"drain", volume, "verify wanted, snapshot, unroute, drain, " + up + ", record"},
		"data stay":         {"restore wanted", volume, down + ", " + up + ", record"},
		"cannot migrate":    {"migrate url", volume, down + ", migrate url, " + back},
		"does not serve":    {"await serving", volume, down + ", migrate url, " + up + ", await serving, " + back},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &site{volume: tt.volume, fails: tt.fails}
			failed := walk(t, "restore", pipeline.Tasks(pipeline.Deps{Platform: s, Ledger: s, Builder: s, Domain: "localhost"}))
			if got := strings.Join(s.calls, ", "); got != tt.want {
				t.Errorf("calls:\n%s\nwant:\n%s", got, tt.want)
			}
			if want := tt.fails != ""; (failed != nil) != want || want && failed.Message != tt.fails+" failed" {
				t.Errorf("it ended with %+v", failed)
			}
		})
	}
}

// walk runs a machine without choices and retries, and returns what it failed with.
func walk(t *testing.T, name string, tasks map[string]pipeline.Task) *fault.Record {
	t.Helper()
	all := pipeline.Machines()
	m := all[slices.IndexFunc(all, func(m pipeline.Machine) bool { return m.Name == name })]
	in := pipeline.Input{
		Run: pipeline.Run{ID: "r1", Tenant: "acme", Operation: plan.Restore, Argument: "wanted", Spec: &tenant.Tenant{Name: "acme"}},
		Doc: pipeline.Document{},
	}
	for at := m.Start; at != ""; {
		s := m.States[slices.IndexFunc(m.States, func(s pipeline.State) bool { return s.Name == at })]
		if s.Fail {
			return in.Cause
		}
		out, err := tasks[s.Task](t.Context(), in)
		switch {
		case err == nil:
			raw, err := json.Marshal(out)
			if err != nil {
				t.Fatal(err)
			}
			in.Doc[s.Name], at = raw, s.Next
		case s.Catch != "":
			in.Cause, at = fault.RecordOf(err), s.Catch
		default:
			return fault.RecordOf(err)
		}
	}
	return nil
}
