package agent_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/agent"
	"github.com/gitopsd/gitopsd/internal/release"
)

func TestFirstReleaseAndReplacement(t *testing.T) {
	t.Parallel()
	in := newInstance(t).start()
	res, err := http.Get(in.url)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 503 || res.Header.Get("Retry-After") != "1" || res.Header.Get("X-Gitopsd-Agent") != "waiting" {
		t.Fatalf("without a release: %s %v", res.Status, res.Header)
	}
	if r := in.report(); r.Phase != agent.Waiting {
		t.Fatalf("without a release: %+v", r)
	}
	for i := 1; i <= 3; i++ {
		version := fmt.Sprint("v", i)
		p, r := in.deploy(map[string]string{"VERSION": version})
		if r.Phase != agent.Serving || r.Seq != p.Seq || r.Release != p.SHA256 || r.Commit != p.Commit || r.Since.IsZero() ||
			r.Health != "runtime healthy, app serving" || runtime.GOOS == "linux" && r.Memory < 1<<20 {
			t.Fatalf("after deploy: %+v, pointer %+v", r, p)
		}
		in.mustServe(version)
	}
	eventually(t, "old copies and directories are removed", func() bool {
		bin, _ := os.ReadDir(filepath.Join(in.cfg.Local, "bin"))
		run, _ := os.ReadDir(filepath.Join(in.cfg.Local, "run"))
		return len(bin) == 1 && len(run) == 1
	})
	log, err := os.ReadFile(filepath.Join(in.cfg.Local, "app.log"))
	if err != nil || !strings.Contains(string(log), in.report().Release[:12]+" starting v3\n") {
		t.Errorf("app.log: %v\n%s", err, log)
	}
}

// Reloads under load lose no request, on kept and on new connections, though
// no client tries anything twice.
func TestReloadLosesNoRequest(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		start           func(*instance)
		reloads, wanted int
	}{
		"in this process":         {func(in *instance) { in.start() }, 30, 5_000},
		"as a process of its own": {func(in *instance) { in.process() }, 100, 100_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newInstance(t)
			tc.start(in)
			reloadUnderLoad(t, in, tc.reloads, int64(tc.wanted))
		})
	}
}

func reloadUnderLoad(t *testing.T, in *instance, reloads int, wanted int64) {
	t.Helper()
	const clients = 16
	digests := []string{
		in.stage(map[string]string{"VERSION": "a"}), in.stage(map[string]string{"VERSION": "b"}),
		in.stage(map[string]string{"VERSION": "c", "DELAY": "30ms"}),
	}
	in.await(in.publish(digests[0]).Seq)

	var requests, failures atomic.Int64
	done := make(chan struct{})
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: c%4 == 3}}
			defer client.CloseIdleConnections()
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				body := strings.Repeat(fmt.Sprintf("%d-%d ", c, n), 1+n%3*200+n%64/63*6000)
				requests.Add(1)
				if err := echo(client, in.url, body); err != nil && failures.Add(1) < 5 {
					t.Error(err)
				}
			}
		})
	}
	for i := 1; i <= reloads || (requests.Load() < wanted && i < 20*reloads); i++ {
		p := in.publish(digests[i%len(digests)])
		in.ring()
		if r := in.await(p.Seq); r.Seq < p.Seq {
			t.Errorf("reload %d: %+v", i, r)
			break
		}
	}
	close(done)
	wg.Wait()
	t.Logf("%d requests, %d failed", requests.Load(), failures.Load())
	if failures.Load() > 0 || requests.Load() < wanted {
		t.Errorf("%d of %d requests failed", failures.Load(), requests.Load())
	}
}

// echo posts a body through a reader that cannot be rewound, so that nothing
// below can send it twice.
func echo(client *http.Client, url, body string) error {
	req, err := http.NewRequest("POST", url+"/echo", io.NopCloser(strings.NewReader(body)))
	if err != nil {
		return err
	}
	req.ContentLength = int64(len(body))
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != 200 || string(b) != body {
		return fmt.Errorf("%s: %d bytes, want %d", res.Status, len(b), len(body))
	}
	return nil
}

func TestBadReleaseNeverServes(t *testing.T) {
	t.Parallel()
	corrupt := func(change func(binary string) error) func(*instance) string {
		return func(in *instance) string {
			d := in.stage(map[string]string{"VERSION": "bad"})
			if err := change(filepath.Join(in.vol.Path(d), "app")); err != nil {
				in.t.Fatal(err)
			}
			return d
		}
	}
	mode := func(env map[string]string) func(*instance) string {
		return func(in *instance) string { return in.stage(env) }
	}
	content := func(b []byte) func(*instance) string {
		return func(in *instance) string {
			path := filepath.Join(in.t.TempDir(), "binary")
			if err := os.WriteFile(path, b, 0o755); err != nil {
				in.t.Fatal(err)
			}
			return in.stageBinary(path, nil)
		}
	}
	foreign := slices.Clone(must(os.ReadFile(programs.app))(t))
	foreign[18] ^= 0x55 // e_machine
	for name, tc := range map[string]struct {
		stage  func(*instance) string
		reason string
		tail   string
		late   bool // damaged only after it was published
	}{
		"crash":         {stage: mode(map[string]string{"MODE": "exit"}), reason: "exited with status 3", tail: "no such table"},
		"hang":          {stage: mode(map[string]string{"MODE": "hang"}), reason: "did not answer 200 within"},
		"500":           {stage: mode(map[string]string{"MODE": "500"}), reason: "500 Internal Server Error"},
		"redirect":      {stage: mode(map[string]string{"MODE": "redirect"}), reason: "302 Found"},
		"never listens": {stage: mode(map[string]string{"DELAY": "1h"}), reason: "refuses connections"},
		"secret":        {stage: mode(map[string]string{"SECRETS": "STRIPE_KEY"}), reason: "secret STRIPE_KEY has no value"},
		"architecture":  {stage: content(foreign), reason: "exec format error"},
		"empty":         {stage: content(nil), reason: "exec format error"},
		"truncated":     {late: true, reason: "binary is truncated", stage: corrupt(func(p string) error { return os.Truncate(p, 4096) })},
		"other content": {late: true, reason: "does not have its digest", stage: corrupt(func(p string) error {
			f, err := os.OpenFile(p, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte("evil"), 4096)
			return err
		})},
		"gone": {late: true, reason: "no such file", stage: corrupt(os.Remove)},
		"manifest": {late: true, reason: "damaged", stage: corrupt(func(p string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(p), "manifest.json"), []byte("{}"), 0o600)
		})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newInstance(t, func(c *agent.Config) { c.StartTimeout = agent.Duration(3 * time.Second) })
			// A good one comes first; what is tested comes while it serves.
			first := in.publish(in.stage(map[string]string{"VERSION": "good"}))
			in.start().await(first.Seq)
			pid := in.appState().PID

			var p release.Pointer
			if tc.late {
				p = release.Pointer{Seq: 2, SHA256: tc.stage(in), Commit: "bad"}
				in.writePointer(p)
			} else {
				p = in.publish(tc.stage(in))
			}
			r := in.await(p.Seq)
			if r.FailedSeq != p.Seq || r.Failed != p.SHA256 || !strings.Contains(r.Failure, tc.reason) || strings.Contains(r.Failure, "\n") {
				t.Errorf("report: %+v, want failure %q", r, tc.reason)
			}
			if tc.tail != "" && !strings.Contains(strings.Join(r.FailureTail, "\n"), tc.tail) {
				t.Errorf("tail %q lacks %q", r.FailureTail, tc.tail)
			}
			if r.Phase != agent.Serving || r.Seq != first.Seq {
				t.Errorf("report: %+v, want the first still serving", r)
			}
			in.mustServe("good")
			// Going back is adopted: the process is the one that served all along.
			back := in.publish(first.SHA256)
			if r := in.await(back.Seq); r.Seq != back.Seq || r.FailedSeq != p.Seq {
				t.Errorf("after going back: %+v", r)
			}
			if now := in.appState().PID; now != pid {
				t.Errorf("going back restarted the app: pid %d, then %d", pid, now)
			}
		})
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// writePointer writes a pointer that Publish would refuse to.
func (in *instance) writePointer(p release.Pointer) {
	in.t.Helper()
	b := fmt.Sprintf(`{"seq":%d,"sha256":%q,"size":1,"commit":%q}`, p.Seq, p.SHA256, p.Commit)
	temp := filepath.Join(in.cfg.Volume, "next")
	if err := os.WriteFile(temp, []byte(b), 0o644); err != nil {
		in.t.Fatal(err)
	}
	if err := os.Rename(temp, filepath.Join(in.cfg.Volume, "current")); err != nil {
		in.t.Fatal(err)
	}
}

// A pointer that is being written, or a volume that is away, stops nothing.
func TestVolumeTrouble(t *testing.T) {
	t.Parallel()
	in := newInstance(t).start()
	_, _ = in.deploy(map[string]string{"VERSION": "v1"})
	current := filepath.Join(in.cfg.Volume, "current")
	for _, half := range []string{"", `{"seq":`, `{"seq":9,"sha256":"short"}`, strings.Repeat("x", 1<<20)} {
		if err := os.WriteFile(current, []byte(half), 0o644); err != nil {
			t.Fatal(err)
		}
		in.ring()
		in.mustServe("v1")
	}
	if err := os.Rename(in.cfg.Volume, in.cfg.Volume+".away"); err != nil {
		t.Fatal(err)
	}
	in.ring()
	in.mustServe("v1")
	// Even a crash is overcome without the volume.
	pid := in.appState().PID
	if res, err := http.Post(in.url+"/crash", "", nil); err == nil {
		res.Body.Close()
	}
	eventually(t, "restarted without the volume", func() bool { return in.report().Phase == agent.Serving && in.report().Restarts == 1 })
	in.mustServe("v1")
	if now := in.appState().PID; now == pid {
		t.Fatal("the app did not crash")
	}
	if err := os.Rename(in.cfg.Volume+".away", in.cfg.Volume); err != nil {
		t.Fatal(err)
	}
	p, r := in.deploy(map[string]string{"VERSION": "v2"}) // its number comes from the clock
	if r.Seq != p.Seq || p.Seq < 1e9 {
		t.Fatalf("after repair: %+v, pointer %+v", r, p)
	}
	in.mustServe("v2")
}

// A newer pointer does not wait for one that hangs.
func TestNewerPointerSupersedes(t *testing.T) {
	t.Parallel()
	in := newInstance(t).start()
	hung := in.publish(in.stage(map[string]string{"MODE": "hang"}))
	eventually(t, "starting", func() bool { return in.report().Phase == agent.Starting })
	start := time.Now()
	p, r := in.deploy(map[string]string{"VERSION": "v2"})
	if r.Seq != p.Seq || r.FailedSeq == hung.Seq || time.Since(start) > 10*time.Second {
		t.Fatalf("after %s: %+v", time.Since(start), r)
	}
	in.mustServe("v2")
}

// While nothing serves, the last pointer is tried again.
func TestFirstReleaseIsTriedAgain(t *testing.T) {
	t.Parallel()
	in := newInstance(t).start()
	p, r := in.deploy(map[string]string{"MODE": "once", "VERSION": "v1"})
	if r.Phase != agent.Failing || r.FailedSeq != p.Seq {
		t.Fatalf("report: %+v", r)
	}
	if code, _ := in.get("/"); code != http.StatusServiceUnavailable {
		t.Fatalf("GET / answered %d", code)
	}
	if err := os.WriteFile(filepath.Join(in.cfg.Local, "home", "ready"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "serving", func() bool { r = in.report(); return r.Phase == agent.Serving })
	if r.Seq != p.Seq || r.FailedSeq != 0 || r.Failure != "" {
		t.Errorf("report: %+v", r)
	}
}
