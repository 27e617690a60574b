package aws_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/release"
)

// TestSnapshots takes tenants' data away and has them back.
func TestSnapshots(t *testing.T) {
	w := newSnapshotWorld(t)
	for name, test := range map[string]func(*testing.T, *snapshotWorld){
		"come back": snapshotsComeBack, "are refused when damaged": snapshotsDamaged, "are pruned": snapshotsPruned,
		"of a tenant that is leaving": snapshotsOfTheLeaving, "without data": snapshotsOfNothing, "of an unfit dump": snapshotsUnfit,
	} {
		t.Run(name, func(t *testing.T) { test(t, w) })
	}
	if left, err := os.ReadDir(filepath.Join(w.at.Temp, "gitopsd-"+w.at.Cell.Shared.Cell)); err != nil || len(left) > 0 {
		t.Errorf("left on local disk: %v, %v", left, err)
	}
	w.nothingLeft(t)
}

func snapshotsComeBack(t *testing.T, w *snapshotWorld) {
	for _, name := range []string{"left", "right"} {
		w.provision(t, name)
		w.setData(t, name, "saved")
	}
	digest := w.publish(t, "left", "one", 20<<20) // more than is sent at once
	name := w.take(t, "left")
	all, err := w.d.Snapshots(t.Context(), "left")
	if err != nil || len(all) != 1 || all[0].Name != name || !all[0].Database || all[0].Keys != 1500 || all[0].Release != digest || all[0].Bytes < 20<<20 {
		t.Fatalf("snapshots: %+v, %v", all, err)
	}
	keys, _ := w.objects(t, "tenants/left/"+name+"/")
	var files []string
	for _, key := range keys {
		files = append(files, strings.TrimPrefix(key, "tenants/left/"+name+"/"))
	}
	slices.Sort(files)
	want := []string{
		"cache.jsonl", "database.dump", "manifest.json", "release/app", "release/manifest.json",
		"release/static/assets/index.txt", "static/assets/index.txt",
	}
	if !slices.Equal(files, want) {
		t.Errorf("files: %v, want %v", files, want)
	}
	for _, tenant := range []string{"left", "right"} {
		w.setData(t, tenant, "changed")
	}
	// The volume and the bucket are others than they were.
	if err := os.RemoveAll(filepath.Join(w.Volumes(), "left")); err != nil {
		t.Fatal(err)
	}
	w.provision(t, "left")
	w.remove(t, w.bucket("left"), "releases/"+digest+".json")
	w.remove(t, w.bucket("left"), "releases/"+digest+"/assets/index.txt")
	w.reopen(t)
	for range 2 {
		if err := w.d.RestoreSnapshot(t.Context(), "left", name); err != nil {
			t.Fatalf("%v: %s", err, fault.RecordOf(err).Detail)
		}
	}
	w.wantData(t, "left", "saved", "after the restore")
	w.wantData(t, "right", "changed", "after the other's restore")
	v := release.Open(filepath.Join(w.Volumes(), "left"))
	if err := v.Verify(digest); err != nil {
		t.Errorf("its release is not back: %v", err)
	}
	if _, current, err := v.Current(); err != nil || current {
		t.Errorf("a release became current by itself (%v)", err)
	}
	if got := w.get(t, w.bucket("left"), "releases/"+digest+"/assets/index.txt"); string(got) != "one" {
		t.Errorf("its asset: %q", got)
	}
	var index []release.File
	if err := json.Unmarshal(w.get(t, w.bucket("left"), "releases/"+digest+".json"), &index); err != nil || len(index) != 1 || index[0].Path != "assets/index.txt" {
		t.Errorf("its assets: %+v, %v", index, err)
	}
	for bad, kind := range map[string]fault.Kind{
		"20200101T000000.000000Z": fault.NotFound, "": fault.Invalid, "../right/" + name: fault.Invalid, name + "/": fault.Invalid, ".": fault.Invalid,
	} {
		if err := w.d.RestoreSnapshot(t.Context(), "left", bad); !fault.Is(err, kind) {
			t.Errorf("snapshot %q: %v, want %s", bad, err, kind)
		}
	}
	if err := w.d.VerifySnapshot(t.Context(), "right", name); !fault.Is(err, fault.NotFound) {
		t.Errorf("another's: %v, want NotFound", err)
	}
	if err := w.d.RestoreSnapshot(t.Context(), "nobody", name); !fault.Is(err, fault.NotFound) {
		t.Errorf("of a tenant that is not there: %v, want NotFound", err)
	}
}

// snapshotsDamaged changes each file of a snapshot, and takes each away.
func snapshotsDamaged(t *testing.T, w *snapshotWorld) {
	w.provision(t, "frail")
	w.setData(t, "frail", "saved")
	w.publish(t, "frail", "one", 1<<10)
	name := w.take(t, "frail")
	w.setData(t, "frail", "now")
	bucket, prefix := w.Outputs().Snapshots, "tenants/frail/"+name+"/"
	keys, _ := w.objects(t, prefix)
	refused := func(what string) {
		t.Helper()
		if err := w.d.VerifySnapshot(t.Context(), "frail", name); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: it is verified: %v", what, err)
		}
		err := w.d.RestoreSnapshot(t.Context(), "frail", name)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want Invalid and the snapshot's name", what, err)
		}
	}
	for _, key := range keys {
		content := w.get(t, bucket, key)
		changed := bytes.Clone(content)
		changed[len(changed)/2] ^= 1
		w.put(t, bucket, key, changed)
		if !strings.HasSuffix(key, "/manifest.json") || strings.HasSuffix(key, "/release/manifest.json") { // one byte may be of no account in ours
			refused("with a changed byte in " + key)
		}
		w.remove(t, bucket, key)
		refused("without " + key)
		w.put(t, bucket, key, content)
	}
	w.put(t, bucket, prefix+"static/more.txt", []byte("more"))
	refused("with a file that nobody listed")
	w.remove(t, bucket, prefix+"static/more.txt")
	w.wantData(t, "frail", "now", "after what was damaged was refused")
	if err := w.d.RestoreSnapshot(t.Context(), "frail", name); err != nil {
		t.Fatal(err)
	}
	w.wantData(t, "frail", "saved", "after it was put right")
}

func snapshotsPruned(t *testing.T, w *snapshotWorld) {
	w.provision(t, "often")
	w.setData(t, "often", "saved")
	// As one that was killed leaves it: no manifest.
	w.put(t, w.Outputs().Snapshots, "tenants/often/20200101T000000.000000Z/database.dump", []byte("half"))
	first := w.take(t, "often")
	if keys, _ := w.objects(t, "tenants/often/2020"); len(keys) > 0 {
		t.Errorf("what a dead one left is there: %v", keys)
	}
	for range 4 {
		w.take(t, "often")
	}
	names := func() (names []string) {
		t.Helper()
		all, err := w.d.Snapshots(t.Context(), "often")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			names = append(names, s.Name)
		}
		return names
	}
	second := names()[3]
	if err := w.d.VerifySnapshot(t.Context(), "often", first); err != nil {
		t.Fatal(err)
	}
	w.take(t, "often")
	if got := names(); len(got) != 5 || !slices.Contains(got, first) || slices.Contains(got, second) || !slices.IsSortedFunc(got, func(a, b string) int { return strings.Compare(b, a) }) {
		t.Errorf("kept: %v; want 5, the verified %s, not %s, newest first", got, first, second)
	}
	for range 2 {
		if err := w.d.RemoveSnapshots(t.Context(), "often"); err != nil {
			t.Fatal(err)
		}
	}
	if keys, versions := w.objects(t, "tenants/often/"); len(keys)+versions > 0 {
		t.Errorf("after they were removed there are %v, and %d versions", keys, versions)
	}
	if keys, _ := w.objects(t, "tenants/"); len(keys) == 0 {
		t.Error("the others' are gone")
	}
}

func snapshotsOfTheLeaving(t *testing.T, w *snapshotWorld) {
	w.provision(t, "going")
	w.setData(t, "going", "saved")
	name := w.take(t, "going")
	w.put(t, w.Outputs().State, "tenants/going.json", bytes.Replace(w.get(t, w.Outputs().State, "tenants/going.json"), []byte(`"drained"`), []byte(`"leaving"`), 1))
	if err := w.d.DropCacheUser(t.Context(), "going"); err != nil {
		t.Fatal(err)
	}
	if again := w.take(t, "going"); again != name {
		t.Errorf("half-way gone, its snapshot is %q, want the whole one: %q", again, name)
	}
}

func snapshotsOfNothing(t *testing.T, w *snapshotWorld) {
	if where, err := w.d.Snapshot(t.Context(), "nobody"); err != nil || where != "" {
		t.Errorf("of nobody: %q, %v", where, err)
	}
	if all, err := w.d.Snapshots(t.Context(), "nobody"); err != nil || len(all) > 0 {
		t.Errorf("of nobody: %v, %v", all, err)
	}
	for _, bad := range []string{"", "../left", "left/x", "A"} {
		if _, err := w.d.Snapshots(t.Context(), bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("tenant %q: %v, want Invalid", bad, err)
		}
		if err := w.d.RemoveSnapshots(t.Context(), bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("tenant %q: %v, want Invalid", bad, err)
		}
	}
}

// snapshotsUnfit restores one whose dump is as it was saved and yet of no use.
func snapshotsUnfit(t *testing.T, w *snapshotWorld) {
	w.provision(t, "unfit")
	w.setData(t, "unfit", "now")
	name := w.take(t, "unfit")
	bucket, prefix := w.Outputs().Snapshots, "tenants/unfit/"+name+"/"
	dump := []byte("PGDMP, and then nothing of the kind")
	w.put(t, bucket, prefix+"database.dump", dump)
	var manifest map[string]any
	if err := json.Unmarshal(w.get(t, bucket, prefix+"manifest.json"), &manifest); err != nil {
		t.Fatal(err)
	}
	for _, f := range manifest["files"].([]any) {
		if file := f.(map[string]any); file["path"] == "database.dump" {
			file["sha256"], file["size"] = sum(dump), len(dump)
		}
	}
	b, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	w.put(t, bucket, prefix+"manifest.json", b)
	err = w.d.RestoreSnapshot(t.Context(), "unfit", name)
	if r := fault.RecordOf(err); r == nil || r.Kind != fault.Stalled || !strings.Contains(r.Detail, "pg_restore") {
		t.Errorf("%+v, want Stalled, and what pg_restore says", r)
	}
	w.wantData(t, "unfit", "now", "after a restore that failed")
}

// TestRestoreKilledAnywhere kills the control plane while it restores. What the
// next one finds is what was there before or what was restored, never some of both.
func TestRestoreKilledAnywhere(t *testing.T) {
	w := newSnapshotWorld(t)
	w.provision(t, "driven")
	w.setData(t, "driven", "saved")
	name := w.take(t, "driven")
	begun := time.Now()
	if err := w.d.RestoreSnapshot(t.Context(), "driven", name); err != nil {
		t.Fatal(err)
	}
	lasts := time.Since(begun)
	seen := map[string]int{}
	for i := range 12 {
		w.setData(t, "driven", "changed")
		w.killRestoring(t, "driven", name, rand.N(4*lasts))
		w.reopen(t)
		var err error
		if i%2 == 0 {
			err = w.d.EnsureDatabase(t.Context(), snapshotConfig("driven"))
		} else {
			_, err = w.d.Snapshot(t.Context(), "driven")
		}
		if err != nil {
			t.Fatal(err)
		}
		row, key := w.data(t, "driven")
		if row != key {
			t.Fatalf("round %d: the rows say %q and the keys %q", i, row, key)
		}
		seen[row]++
		w.nothingLeft(t)
		if err := w.d.VerifySnapshot(t.Context(), "driven", name); err != nil { // and not pruned
			t.Fatal(err)
		}
	}
	t.Logf("a restore takes %s; found: %v", lasts, seen)
	if err := w.d.RestoreSnapshot(t.Context(), "driven", name); err != nil {
		t.Fatal(err)
	}
	w.wantData(t, "driven", "saved", "after a restore that was not killed")
}

func (w *snapshotWorld) killRestoring(t *testing.T, tenant, snapshot string, after time.Duration) {
	t.Helper()
	p := w.at
	p.Tenant, p.Snapshot = tenant, snapshot
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), restoreEnv+"="+string(text))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // "open"
		t.Fatalf("the control plane does not open: %v\n%s", err, errs.String())
	}
	time.Sleep(after) // the moment to kill it at
	_ = cmd.Process.Kill()
	if err := cmd.Wait(); err == nil || errs.Len() > 0 {
		t.Fatalf("the control plane ended by itself: %v\n%s", err, errs.String())
	}
}

// TestSnapshotsAtOnce has two control planes take and restore snapshots of one
// tenant, beside those of another: they take turns.
func TestSnapshotsAtOnce(t *testing.T) {
	w := newSnapshotWorld(t)
	for _, name := range []string{"one", "two"} {
		w.provision(t, name)
		w.setData(t, name, "saved")
	}
	name := w.take(t, "one")
	other, err := w.at.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ends := make(chan error)
	for i := range 8 {
		var d platformSnapshots = w.d
		if i%2 == 0 {
			d = other
		}
		go func() {
			var err error
			switch i % 3 {
			case 0:
				err = d.RestoreSnapshot(t.Context(), "one", name)
			case 1:
				_, err = d.Snapshot(t.Context(), "one")
			case 2:
				_, err = d.Snapshot(t.Context(), "two")
			}
			ends <- err
		}()
	}
	for range 8 {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
	w.wantData(t, "one", "saved", "after all of it")
	w.wantData(t, "two", "saved", "after all of it")
	for _, tenant := range []string{"one", "two"} {
		all, err := w.d.Snapshots(t.Context(), tenant)
		if err != nil || len(all) == 0 {
			t.Errorf("%s: %v, %v", tenant, all, err)
		}
		for _, s := range all {
			if err := w.d.VerifySnapshot(t.Context(), tenant, s.Name); err != nil {
				t.Error(err)
			}
		}
	}
	w.nothingLeft(t)
}

// platformSnapshots are what two control planes do at once.
type platformSnapshots interface {
	Snapshot(ctx context.Context, tenant string) (string, error)
	RestoreSnapshot(ctx context.Context, tenant, name string) error
}
