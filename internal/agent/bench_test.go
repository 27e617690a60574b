package agent_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/agent"
)

// percentile of sorted durations, in microseconds.
func percentile(d []time.Duration, p float64) float64 {
	return float64(d[min(len(d)-1, int(float64(len(d))*p))].Nanoseconds()) / 1e3
}

// BenchmarkHop measures what the agent adds to a request, asking the app
// directly and through the agent in turn.
func BenchmarkHop(b *testing.B) {
	in := newInstance(b, func(c *agent.Config) { c.EdgeKey, c.Poll = "key", agent.Duration(time.Second) })
	in.publish(in.stage(map[string]string{"VERSION": "v1"}))
	in.process()
	in.await(1)
	res, err := in.getWithKey("/env")
	if err != nil {
		b.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	_, rest, _ := strings.Cut(string(body), `"PORT=`)
	port, _, _ := strings.Cut(rest, `"`)
	for _, method := range []string{"GET", "POST"} {
		b.Run(method, func(b *testing.B) {
			direct, hop := &http.Client{Transport: &http.Transport{}}, &http.Client{Transport: &http.Transport{}}
			var direct50, hop50 []time.Duration
			ask := func(c *http.Client, url string) time.Duration {
				path, payload := "/", io.Reader(nil)
				if method == "POST" {
					path, payload = "/echo", strings.NewReader(strings.Repeat("x", 512))
				}
				req, err := http.NewRequest(method, url+path, payload)
				if err != nil {
					b.Fatal(err)
				}
				req.Header.Set("X-Gitopsd-Edge", "key")
				start := time.Now()
				res, err := c.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode != 200 {
					b.Fatal(res.Status)
				}
				return time.Since(start)
			}
			for b.Loop() {
				direct50 = append(direct50, ask(direct, "http://127.0.0.1:"+port))
				hop50 = append(hop50, ask(hop, in.url))
			}
			slices.Sort(direct50)
			slices.Sort(hop50)
			b.ReportMetric(percentile(direct50, .5), "direct-p50-µs")
			b.ReportMetric(percentile(hop50, .5), "agent-p50-µs")
			b.ReportMetric(percentile(hop50, .5)-percentile(direct50, .5), "added-p50-µs")
			b.ReportMetric(percentile(hop50, .99)-percentile(direct50, .99), "added-p99-µs")
		})
	}
}

func (in *instance) getWithKey(path string) (*http.Response, error) {
	req, err := http.NewRequest("GET", in.url+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Gitopsd-Edge", in.cfg.EdgeKey)
	return http.DefaultClient.Do(req)
}

// BenchmarkSwap measures publish → new release answers, with an app of 10 MB.
func BenchmarkSwap(b *testing.B) {
	for name, poll := range map[string]time.Duration{"doorbell": time.Hour, "poll-1s": time.Second} {
		b.Run(name, func(b *testing.B) {
			in := newInstance(b, func(c *agent.Config) { c.Poll = agent.Duration(poll) })
			in.process()
			// Zeros after the end of an executable do no harm.
			content, err := os.ReadFile(programs.app)
			if err != nil {
				b.Fatal(err)
			}
			big := filepath.Join(b.TempDir(), "app")
			if err := os.WriteFile(big, append(content, make([]byte, max(0, 10<<20-len(content)))...), 0o755); err != nil {
				b.Fatal(err)
			}
			var took []time.Duration
			n := 0
			for b.Loop() {
				n++
				digest := in.stageBinary(big, map[string]string{"VERSION": strconv.Itoa(n)})
				start := time.Now()
				p := in.publish(digest)
				if poll > time.Minute {
					in.ring()
				}
				if r := in.await(p.Seq); r.Seq != p.Seq {
					b.Fatalf("%+v", r)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(percentile(took, .5)/1e3, "p50-ms")
			b.ReportMetric(percentile(took, .99)/1e3, "p99-ms")
		})
	}
}

// BenchmarkIdle measures an idle agent: memory, and processor time of one
// second at a poll a second.
func BenchmarkIdle(b *testing.B) {
	in := newInstance(b, func(c *agent.Config) { c.Poll = agent.Duration(time.Second) })
	in.publish(in.stage(nil))
	cmd := in.process()
	in.await(1)
	for b.Loop() {
		before := cpuTime(b, cmd)
		<-time.After(5 * time.Second)
		b.ReportMetric(float64((cpuTime(b, cmd)-before).Microseconds())/5, "cpu-µs/s")
		b.ReportMetric(float64(rss(b, cmd))/1024, "RSS-MB")
	}
}

func cpuTime(b *testing.B, cmd *exec.Cmd) time.Duration {
	b.Helper()
	var sum int64
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", cmd.Process.Pid))
	if err != nil || len(threads) == 0 {
		b.Skip("needs Linux's /proc")
	}
	for _, path := range threads {
		line, _ := os.ReadFile(path)
		if f := bytes.Fields(line); len(f) > 0 {
			n, _ := strconv.ParseInt(string(f[0]), 10, 64)
			sum += n
		}
	}
	return time.Duration(sum)
}

func rss(b *testing.B, cmd *exec.Cmd) int {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		b.Fatal(err)
	}
	return kb
}

// BenchmarkThroughput is many clients at once, through the agent.
func BenchmarkThroughput(b *testing.B) {
	in := newInstance(b)
	in.publish(in.stage(map[string]string{"VERSION": "v1"}))
	in.process()
	in.await(1)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("tcp", in.cfg.Listen)
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		buf := make([]byte, 4096)
		for pb.Next() {
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
				b.Error(err)
				return
			}
			if n, err := conn.Read(buf); err != nil || !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200")) {
				b.Errorf("%q, %v", buf[:n], err)
				return
			}
		}
	})
}
