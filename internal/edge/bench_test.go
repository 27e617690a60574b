package edge_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// runCaddy runs Caddy with a configuration and nothing of ours: the reference.
func runCaddy(path string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	raw, err := os.ReadFile(path)
	if err == nil {
		err = caddy.Load(raw, true)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "caddy:", err)
		return 1
	}
	<-ctx.Done()
	return 0
}

// startCaddy starts the reference: Caddy as it comes, with one static upstream
// and no access log.
func startCaddy(b *testing.B, upstream string) (addr string, pid int) {
	b.Helper()
	addr = freeAddr(b)
	path := filepath.Join(b.TempDir(), "caddy.json")
	write(b, path, fmt.Sprintf(`{"admin": {"disabled": true, "config": {"persist": false}},
		"apps": {"http": {"servers": {"s": {"listen": [%q], "protocols": ["h1"], "automatic_https": {"disable": true},
		"routes": [{"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": %q}]}]}]}}}}}`, addr, upstream))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+filepath.Dir(path), "CADDY_TEST_CONFIG="+path)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			return addr, cmd.Process.Pid
		}
	}
	b.Fatal("caddy did not start")
	return "", 0
}

// cpuTime returns the processor time a process has used. It tells what a
// request costs also on a machine that others keep busy. 0 where there is no
// /proc.
func cpuTime(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // Linux counts hundredths
}

// residentMB returns a process's resident memory; 0 where there is no /proc.
func residentMB(pid int) float64 {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	pages, _ := strconv.Atoi(strings.Fields(string(statm))[1])
	return float64(pages*os.Getpagesize()) / (1 << 20)
}

// BenchmarkEdge measures the edge with many tenants beside Caddy with a static
// upstream and beside no proxy at all, in turns, so that all meet the same
// machine. Run with -benchtime=1x; the figures are its metrics.
func BenchmarkEdge(b *testing.B) {
	const tenants = 10_000
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	defer app.Close()
	upstream := app.Listener.Addr().String()
	f := newFixture(b)
	for i := range tenants {
		name := fmt.Sprintf("t%05d", i)
		f.dns.set(name+zone, upstream)
		f.route(f.routeOf(name, 1))
	}
	began := time.Now()
	f.start()
	b.Logf("%d tenants: serving after %v", tenants, time.Since(began).Round(time.Millisecond))
	time.Sleep(time.Second)
	idle := cpuTime(f.cmd.Process.Pid)
	time.Sleep(10 * time.Second)
	idleCPU, idleMB := float64(cpuTime(f.cmd.Process.Pid)-idle)/float64(10*time.Second)*100, residentMB(f.cmd.Process.Pid)
	caddyAddr, caddyPID := startCaddy(b, upstream)
	ways := []struct {
		name, addr string
		pid        int
		host       func(n uint64) string
	}{
		{"direct", upstream, 0, func(uint64) string { return "x.localhost" }},
		{"caddy", caddyAddr, caddyPID, func(uint64) string { return "x.localhost" }},
		{"edge", f.cfg.Addr, f.cmd.Process.Pid, func(n uint64) string { return fmt.Sprintf("t%05d.localhost", n*7919%tenants) }},
		{"edge-one-tenant", f.cfg.Addr, f.cmd.Process.Pid, func(uint64) string { return "t00000.localhost" }},
	}
	defer func() { _ = f.stop() }()
	for b.Loop() {
		b.ReportMetric(idleCPU, "edge-idle-%-of-a-core")
		b.ReportMetric(idleMB, "edge-idle-MB")
		for _, c := range []int{1, 32} {
			rates, cpu := map[string][]float64{}, map[string][]float64{}
			for range 8 {
				for _, w := range ways {
					used := cpuTime(w.pid)
					rate, p50, p99 := load(b, w.addr, c, w.host, time.Second)
					rates[w.name] = append(rates[w.name], rate)
					cpu[w.name] = append(cpu[w.name], float64(cpuTime(w.pid)-used)/1e3/rate)
					b.Logf("c=%-3d %-7s %7.0f req/s  p50 %v  p99 %v", c, w.name, rate, p50, p99)
				}
			}
			for _, w := range ways {
				b.ReportMetric(median(rates[w.name]), fmt.Sprintf("%s-c%d-req/s", w.name, c))
			}
			for _, w := range ways[1:] {
				b.ReportMetric(median(cpu[w.name]), fmt.Sprintf("%s-c%d-cpu-µs/req", w.name, c))
			}
			b.ReportMetric(residentMB(f.cmd.Process.Pid), fmt.Sprintf("edge-c%d-MB", c))
			b.ReportMetric(residentMB(caddyPID), fmt.Sprintf("caddy-c%d-MB", c))
			b.ReportMetric(100*median(rates["edge"])/median(rates["caddy"]), fmt.Sprintf("edge/caddy-c%d-%%", c))
		}
	}
}

func median(v []float64) float64 { sort.Float64s(v); return v[len(v)/2] }

// load sends requests for a while over c connections.
func load(b *testing.B, addr string, c int, host func(uint64) string, d time.Duration) (rate float64, p50, p99 time.Duration) {
	b.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: c, DisableCompression: true}}
	defer client.CloseIdleConnections()
	var n atomic.Uint64
	var mu sync.Mutex
	var times []time.Duration
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for range c {
		wg.Go(func() {
			var own []time.Duration
			for time.Now().Before(end) {
				r, err := http.NewRequest("GET", "http://"+addr+"/some/path?x=1", nil)
				if err != nil {
					b.Error(err)
					return
				}
				r.Host = host(n.Add(1))
				r.Header = http.Header{
					"User-Agent": {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}, "Accept": {"text/html,application/xhtml+xml"},
					"Accept-Language": {"en-GB,en;q=0.5"}, "Accept-Encoding": {"gzip, deflate, br"},
					"Cookie": {"session=0123456789abcdef"}, "Sec-Fetch-Mode": {"navigate"},
				}
				at := time.Now()
				res, err := client.Do(r)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				if res.StatusCode != http.StatusOK {
					b.Errorf("status %d", res.StatusCode)
					return
				}
				own = append(own, time.Since(at))
			}
			mu.Lock()
			times = append(times, own...)
			mu.Unlock()
		})
	}
	wg.Wait()
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	if len(times) == 0 {
		b.Fatal("no request")
	}
	return float64(len(times)) / d.Seconds(), times[len(times)/2], times[len(times)*99/100]
}
