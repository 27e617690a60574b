package agent_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/agent"
	"github.com/gitopsd/gitopsd/internal/release"
)

// spoken runs the agent as a process whose log can be waited for.
func (in *instance) spoken() *lineTimes {
	in.t.Helper()
	l := &lineTimes{lines: make(chan timedLine, 1024)}
	in.process(func(c *exec.Cmd) { c.Stderr = l })
	return l
}

// detection: publish → detected → serving, with an app of 10 MB.
func detection(t *testing.T) []row {
	big := grown(t, 10<<20)
	run := func(reloads int, ring bool) (detected, serving []time.Duration) {
		in := newInstance(t, func(c *agent.Config) { c.Poll = agent.Duration(time.Second) })
		log := in.spoken()
		in.await(in.publish(in.stageBinary(big, nil)).Seq)
		log.await(t, "msg=serving")
		for n := range reloads {
			digest := in.stageBinary(big, map[string]string{"VERSION": strconv.Itoa(n)})
			in.publish(digest)
			published := time.Now()
			if ring {
				in.ring()
			}
			seen := log.await(t, "new pointer")
			detected = append(detected, max(0, seen.Sub(published)))
			serving = append(serving, log.await(t, "msg=serving").Sub(seen))
			_, _ = in.vol.GC()
		}
		return detected, serving
	}
	bell, serving := run(some(300), true)
	polled, _ := run(some(60), false)
	return []row{
		{"publish → detected, doorbell", times(bell), "–", "–", "p50 ≤ 10 ms, p99 ≤ 50 ms", percent(bell, .5) <= 10 && percent(bell, .99) <= 50},
		{"publish → detected, poll of 1 s alone", times(polled), "the interval: 1000 ms", fmt.Sprintf("p99 / interval %.2f", percent(polled, .99)/1000), "p99 ≤ 1050 ms", percent(polled, .99) <= 1050},
		{"detected → serving, app of 10 MB", times(serving), startUp(t, big), "–", "p50 ≤ 60 ms, p99 ≤ 150 ms", percent(serving, .5) <= 60 && percent(serving, .99) <= 150},
	}
}

// startUp is what no reloader can do without: copying the app, and its start to
// the first answer.
func startUp(t *testing.T, app string) string {
	var took []time.Duration
	for range some(60) {
		begin := time.Now()
		path := filepath.Join(t.TempDir(), "app")
		if out, err := exec.Command("cp", app, path).CombinedOutput(); err != nil {
			t.Fatal(err, string(out))
		}
		addr := freeAddr(t)
		cmd := exec.Command(path)
		cmd.Env = []string{"PORT=" + addr[strings.LastIndexByte(addr, ':')+1:]}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for get("http://"+addr+"/healthz") != http.StatusOK {
			time.Sleep(time.Millisecond)
		}
		took = append(took, time.Since(begin))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.Remove(path)
	}
	return "cp and start by hand: " + times(took)
}

// load is clients that post without a second try.
type load struct {
	requests, failed atomic.Int64
	stop             func()
}

func newLoad(url string, clients int) *load {
	l := &load{}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: c%4 == 3}, Timeout: 30 * time.Second}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-done:
					return
				default:
				}
				l.requests.Add(1)
				if echo(client, url, "x") != nil {
					l.failed.Add(1)
				}
			}
		})
	}
	l.stop = sync.OnceFunc(func() { close(done); wg.Wait() })
	return l
}

// dropped: 1,000 reloads under load, with apps that take 0, 100 and 1000 ms.
func dropped(t *testing.T) []row {
	in := newInstance(t)
	in.process()
	in.await(in.publish(in.stage(nil)).Seq)
	l := newLoad(in.url, 16)
	defer l.stop()
	reloads := 0
	for _, kind := range []struct {
		delay   string
		reloads int
	}{{"0s", some(700)}, {"100ms", some(250)}, {"1s", some(50)}} {
		digests := []string{in.stage(map[string]string{"DELAY": kind.delay, "N": "1"}), in.stage(map[string]string{"DELAY": kind.delay, "N": "2"})}
		for n := range kind.reloads {
			p := in.publish(digests[n%2])
			in.ring()
			if r := in.await(p.Seq); r.Seq != p.Seq {
				t.Fatalf("reload: %+v", r)
			}
			reloads++
		}
	}
	for wanted := int64(some(1_000_000)); l.requests.Load() < wanted; {
		p := in.publish(in.stage(map[string]string{"N": strconv.Itoa(reloads)}))
		in.ring()
		in.await(p.Seq)
		_, _ = in.vol.GC()
		reloads++
	}
	l.stop()
	return []row{{
		fmt.Sprintf("requests failed (POST, no retry, 12 clients with kept and 4 with new connections), start-up 0, 100, 1000 ms, %d reloads", reloads),
		fmt.Sprintf("%d of %d", l.failed.Load(), l.requests.Load()), "the peers above", "–", fmt.Sprintf("0 of ≥ %d in ≥ %d reloads", some(1_000_000), some(1000)),
		l.failed.Load() == 0 && l.requests.Load() >= int64(some(1_000_000)) && reloads >= some(1000),
	}}
}

// badReleases: each kind of release that cannot serve, under load.
func badReleases(t *testing.T) []row {
	in := newInstance(t, func(c *agent.Config) { c.StartTimeout = agent.Duration(2 * time.Second) })
	in.process()
	in.await(in.publish(in.stage(nil)).Seq)
	foreign := slices.Clone(must(os.ReadFile(programs.app))(t))
	foreign[18] ^= 0x55 // e_machine
	other := filepath.Join(t.TempDir(), "app")
	if err := os.WriteFile(other, foreign, 0o755); err != nil {
		t.Fatal(err)
	}
	truncated := in.stage(map[string]string{"VERSION": "truncated"})
	if err := os.Truncate(filepath.Join(in.vol.Path(truncated), "app"), 4096); err != nil {
		t.Fatal(err)
	}
	l := newLoad(in.url, 8)
	defer l.stop()
	var rows []row
	for _, kind := range []struct{ name, digest string }{
		{"crash", in.stage(map[string]string{"MODE": "exit"})},
		{"hang", in.stage(map[string]string{"MODE": "hang"})},
		{"500s", in.stage(map[string]string{"MODE": "500"})},
		{"truncated", truncated},
		{"wrong architecture", in.stageBinary(other, nil)},
	} {
		requests, failed := l.requests.Load(), l.failed.Load()
		seq := in.report().FailedSeq
		seq = max(seq, in.report().Seq) + 1
		in.writePointer(release.Pointer{Seq: seq, SHA256: kind.digest, Commit: "bad"})
		in.ring()
		r := in.await(seq)
		failed, requests = l.failed.Load()-failed, l.requests.Load()-requests
		rows = append(rows, row{
			"requests failed during a bad release: " + kind.name, fmt.Sprintf("%d of %d", failed, requests),
			"–", "–", "0", failed == 0 && requests > 0 && r.FailedSeq == seq && r.Phase == agent.Serving,
		})
	}
	return rows
}

// hop: what the agent adds to a request.
func hop(t *testing.T) []row {
	in := newInstance(t, func(c *agent.Config) { c.EdgeKey, c.Poll = "key", agent.Duration(time.Second) })
	in.process()
	in.await(in.publish(in.stage(map[string]string{"VERSION": "v1"})).Seq)
	res, err := in.getWithKey("/env")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	_, rest, _ := strings.Cut(string(body), `"PORT=`)
	port, _, _ := strings.Cut(rest, `"`)
	ask := func(c *http.Client, url string) time.Duration {
		req, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Gitopsd-Edge", "key")
		begin := time.Now()
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return time.Since(begin)
	}
	var direct, through []time.Duration
	one, two := &http.Client{Transport: &http.Transport{}}, &http.Client{Transport: &http.Transport{}}
	for range some(20_000) {
		direct = append(direct, ask(one, "http://127.0.0.1:"+port))
		through = append(through, ask(two, in.url))
	}
	added := (percent(through, .5) - percent(direct, .5)) * 1000
	return []row{{
		"agent hop, added at p50", fmt.Sprintf("%.0f µs", added), fmt.Sprintf("direct: p50 %.0f µs, p99 %.0f µs", percent(direct, .5)*1000, percent(direct, .99)*1000),
		fmt.Sprintf("%.2f", percent(through, .5)/percent(direct, .5)), "≤ 100 µs", added <= 100,
	}}
}
