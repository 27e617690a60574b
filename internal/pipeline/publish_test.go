package pipeline_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/release"
)

// volumes is the part of a platform that publishing needs, on a real volume.
type volumes struct {
	platform.Platform
	volume  *release.Volume
	reports []platform.AgentReport
}

func (v *volumes) Volume(context.Context, string) (*release.Volume, error) { return v.volume, nil }
func (v *volumes) UploadStatic(context.Context, string, string) error      { return nil }

func (v *volumes) Instances(context.Context, string) ([]platform.Instance, error) {
	all := make([]platform.Instance, len(v.reports))
	for i, r := range v.reports {
		all[i].Report = r
	}
	return all, nil
}

// A first release that failed stays current. Publishing it again has the
// instances try again; after a crash of the control plane it does not.
func TestPublishAgain(t *testing.T) {
	t.Parallel()
	v := &volumes{volume: release.Open(t.TempDir()), reports: make([]platform.AgentReport, 2)}
	digest := newRelease(t, v.volume, "b")
	publish := pipeline.Tasks(pipeline.Deps{Platform: v})["Publish"]
	doc := pipeline.Document{pipeline.StateGenerate: json.RawMessage(`{"release":"` + digest + `"}`)}
	wantSeq := func(want uint64) {
		t.Helper()
		out, err := publish(t.Context(), pipeline.Input{Run: pipeline.Run{Tenant: "acme", Commit: "c"}, Doc: doc})
		if err != nil {
			t.Fatal(err)
		}
		if p := out.(pipeline.Published).Pointer; p.Seq != want || p.SHA256 != digest {
			t.Errorf("published %+v, want number %d", p, want)
		}
	}
	wantSeq(1)
	wantSeq(1) // a try that died published it
	v.reports[1].FailedSeq = 1
	wantSeq(2)
	wantSeq(2) // which nobody gave up yet
}

// A try that died has moved the pointer to a release that turns out bad, and no
// instance serves any more: the ledger says what to go back to.
func TestRestoreAfterADeadTry(t *testing.T) {
	t.Parallel()
	v := &volumes{volume: release.Open(t.TempDir()), reports: make([]platform.AgentReport, 1)}
	good, bad := newRelease(t, v.volume, "good"), newRelease(t, v.volume, "bad")
	for _, digest := range []string{good, bad} {
		if _, err := v.volume.Publish(digest, "c"); err != nil {
			t.Fatal(err)
		}
	}
	tasks := pipeline.Tasks(pipeline.Deps{Platform: v, Ledger: serving(good)})
	in := pipeline.Input{
		Run: pipeline.Run{Tenant: "acme", Commit: "c"},
		Doc: pipeline.Document{pipeline.StateGenerate: json.RawMessage(`{"release":"` + bad + `"}`)},
	}
	published, err := tasks["Publish"](t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if in.Doc[pipeline.StatePublish], err = json.Marshal(published); err != nil {
		t.Fatal(err)
	}
	if _, err := tasks["Restore"](t.Context(), in); err != nil {
		t.Fatal(err)
	}
	p, _, err := v.volume.Current()
	if err != nil || p.SHA256 != good {
		t.Errorf("the pointer is at %s, error %v; want the good release %s", p.SHA256, err, good)
	}
}

// servingLedger is a ledger that knows the release that served.
type servingLedger struct {
	pipeline.Ledger
	digest string
}

func serving(digest string) servingLedger { return servingLedger{digest: digest} }

func (s servingLedger) Serving(context.Context, string) (string, string, error) {
	return s.digest, "before", nil
}

func newRelease(t *testing.T, v *release.Volume, build string) string {
	t.Helper()
	s, err := v.Stage()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort()
	app := filepath.Join(t.TempDir(), "app")
	if err := os.WriteFile(app, []byte("app"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.AddBinary(app); err != nil {
		t.Fatal(err)
	}
	digest, err := s.Commit(release.Manifest{Tenant: "acme", Build: build, Health: "/"})
	if err != nil {
		t.Fatal(err)
	}
	return digest
}
