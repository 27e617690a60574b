package edge_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// runCaddy runs Caddy with a configuration and nothing of ours: a reference.
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

// runApp serves what every proxy of the benchmark leads to.
func runApp(addr string) int {
	fmt.Fprintln(os.Stderr, http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	})))
	return 1
}

// way is one way to the app: a proxy, or none.
type way struct {
	name string
	addr string
	pids func() []int // of the proxy

	latency []time.Duration // one request at a time, of all rounds
	rates   []float64       // requests a second of each round with many
	cpu     []float64       // µs of processor time a request, likewise
}

// launchWay starts a program that is to listen.
func launchWay(b *testing.B, name, addr string, env []string, program string, args ...string) *way {
	b.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // nginx ends its workers
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			pid := cmd.Process.Pid
			return &way{name: name, addr: addr, pids: func() []int { return append(childrenOf(pid), pid) }}
		}
	}
	b.Fatalf("%s did not start", name)
	return nil
}

// caddyWay is Caddy as it comes, with one static upstream and no access log.
func caddyWay(b *testing.B, upstream string) *way {
	b.Helper()
	addr, path := freeAddr(b), filepath.Join(b.TempDir(), "caddy.json")
	write(b, path, fmt.Sprintf(`{"admin": {"disabled": true, "config": {"persist": false}},
		"apps": {"http": {"servers": {"s": {"listen": [%q], "protocols": ["h1"], "automatic_https": {"disable": true},
		"routes": [{"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": %q}]}]}]}}}}}`, addr, upstream))
	return launchWay(b, "Caddy, static upstream", addr, []string{"XDG_DATA_HOME=" + filepath.Dir(path), "CADDY_TEST_CONFIG=" + path}, os.Args[0])
}

// nginxWay is nginx with one upstream, connections to it kept, and no access log;
// nil if there is no nginx.
func nginxWay(b *testing.B, upstream string) *way {
	b.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		return nil
	}
	addr, dir := freeAddr(b), b.TempDir()
	path := filepath.Join(dir, "nginx.conf")
	write(b, path, fmt.Sprintf(`daemon off; worker_processes auto; pid %[1]s/pid; error_log stderr crit;
		events { worker_connections 1024; }
		http {
			access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f;
			uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s; keepalive_requests 1000000;
			upstream app { server %[2]s; keepalive 256; keepalive_requests 1000000; }
			server {
				listen %[3]s;
				location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; }
			}
		}`, dir, upstream, addr))
	return launchWay(b, "nginx", addr, nil, program, "-c", path, "-e", "stderr")
}

// BenchmarkEdge measures the edge with few, many and very many tenants beside
// nginx and Caddy with a static upstream and beside no proxy at all, in turns, so
// that all meet the same machine; then how soon an instance that moved is routed
// to. It prints a table. Run with -benchtime=1x, or by scripts/bench-edge.
func BenchmarkEdge(b *testing.B) {
	appAddr := freeAddr(b)
	launchWay(b, "app", appAddr, []string{"APP_TEST_ADDR=" + appAddr}, os.Args[0])
	references := []*way{{name: "no proxy", addr: appAddr, pids: func() []int { return nil }}}
	if nginx := nginxWay(b, appAddr); nginx != nil {
		references = append(references, nginx)
	}
	caddy := caddyWay(b, appAddr)
	references = append(references, caddy)
	for b.Loop() {
		table := &strings.Builder{}
		fmt.Fprint(table, "\n| way | tenants | p50, one at a time | p99 | requests/s, 64 at a time | of Caddy | processor time a request | of Caddy |\n"+
			"|---|---|---|---|---|---|---|---|\n")
		if len(references) == 2 {
			fmt.Fprintln(table, "| nginx | – | not installed | | | | | |")
		}
		verdict := ""
		for _, tenants := range []int{50, 1000, 10_000} {
			f, edge := edgeWay(b, tenants, appAddr)
			ways := append(slices.Clone(references), edge)
			measure(b, ways, tenants)
			row(table, edge, caddy, tenants)
			if tenants == 10_000 {
				for _, w := range references {
					row(table, w, caddy, 0)
				}
				verdict = moves(b, f, tenants) + goal("edge at 10,000 tenants, requests/s of Caddy with a static upstream",
					100*median(edge.rates)/median(caddy.rates), "%", 95, true)
				b.ReportMetric(100*median(edge.rates)/median(caddy.rates), "%-of-caddy")
			}
			if err := f.stop(); err != nil {
				b.Error(err)
			}
			for _, w := range references {
				w.latency, w.rates, w.cpu = nil, nil, nil
			}
		}
		fmt.Print(table.String(), "\n", verdict)
	}
}

func row(table io.Writer, w, caddy *way, tenants int) {
	slices.Sort(w.latency)
	of := "–"
	if tenants > 0 {
		of = strconv.Itoa(tenants)
	}
	n := len(w.latency)
	fmt.Fprintf(table, "| %s | %s | %d µs | %d µs | %.0f | %.0f %% | %.0f µs | %.0f %% |\n", w.name, of,
		w.latency[n/2].Microseconds(), w.latency[n*99/100].Microseconds(), median(w.rates),
		100*median(w.rates)/median(caddy.rates), median(w.cpu), 100*median(w.cpu)/median(caddy.cpu))
}

// goal says whether a figure is at least, or at most, what it is to be.
func goal(what string, figure float64, unit string, bound float64, least bool) string {
	met, sign := figure <= bound, "≤"
	if least {
		met, sign = figure >= bound, "≥"
	}
	verdict := "missed"
	if met {
		verdict = "met"
	}
	return fmt.Sprintf("%s: %.1f %s, goal %s %.0f %s: %s\n", what, figure, unit, sign, bound, unit, verdict)
}

// edgeWay is the edge with that many tenants, all of which lead to the app.
func edgeWay(b *testing.B, tenants int, upstream string) (*fixture, *way) {
	b.Helper()
	f := newFixture(b)
	for i := range tenants {
		name := tenantName(i)
		f.dns.set(name+zone, upstream)
		f.route(f.routeOf(name, 1))
	}
	began := time.Now()
	f.start()
	b.Logf("%d tenants: serving after %v", tenants, time.Since(began).Round(time.Millisecond))
	idle := cpuTime([]int{f.cmd.Process.Pid})
	time.Sleep(3 * time.Second)
	b.Logf("%d tenants, idle: %.2f %% of a core, %.0f MB", tenants,
		float64(cpuTime([]int{f.cmd.Process.Pid})-idle)/float64(3*time.Second)*100, residentMB(f.cmd.Process.Pid))
	return f, &way{name: "edge", addr: f.cfg.Addr, pids: func() []int { return []int{f.cmd.Process.Pid} }}
}

func tenantName(i int) string { return fmt.Sprintf("t%05d", i) }

// measure sends requests by all ways in turns.
func measure(b *testing.B, ways []*way, tenants int) {
	const rounds = 6
	requests := make([][]byte, tenants) // as a browser sends them
	for i := range requests {
		requests[i] = []byte("GET /some/path?x=1 HTTP/1.1\r\nHost: " + tenantName(i*7919%tenants) + ".localhost\r\n" +
			"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
			"Accept: text/html,application/xhtml+xml\r\nAccept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n" +
			"Cookie: session=0123456789abcdef\r\nSec-Fetch-Mode: navigate\r\n\r\n")
	}
	for _, w := range ways {
		load(b, w.addr, 64, requests, time.Second) // warm up
	}
	for range rounds {
		for _, w := range ways {
			w.latency = append(w.latency, load(b, w.addr, 1, requests, 500*time.Millisecond)...)
		}
	}
	for range rounds {
		for _, w := range ways {
			used := cpuTime(w.pids())
			n := len(load(b, w.addr, 64, requests, time.Second))
			w.rates = append(w.rates, float64(n))
			w.cpu = append(w.cpu, float64((cpuTime(w.pids())-used).Microseconds())/float64(n))
		}
	}
}

// load sends requests for a while over c connections, and returns how long each
// took. It spends as little as it can: it shares the machine with what it measures.
func load(b *testing.B, addr string, c int, requests [][]byte, d time.Duration) []time.Duration {
	b.Helper()
	var next atomic.Uint64
	took := make([][]time.Duration, c)
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for i := range c {
		wg.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			br := bufio.NewReader(conn)
			for at := time.Now(); at.Before(end); {
				if _, err := conn.Write(requests[next.Add(1)%uint64(len(requests))]); err != nil {
					b.Error(err)
					return
				}
				if err := readAnswer(br); err != nil {
					b.Error(err)
					return
				}
				now := time.Now()
				took[i] = append(took[i], now.Sub(at))
				at = now
			}
		})
	}
	wg.Wait()
	all := slices.Concat(took...)
	if len(all) == 0 {
		b.Fatal("no request")
	}
	return all
}

// readAnswer reads one answer of 200 with a length.
func readAnswer(br *bufio.Reader) error {
	line, err := br.ReadSlice('\n')
	if err != nil {
		return err
	}
	if len(line) < 12 || string(line[9:12]) != "200" {
		return fmt.Errorf("answered %q", line)
	}
	length := -1
	for {
		if line, err = br.ReadSlice('\n'); err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if name, value, _ := strings.Cut(string(line), ":"); strings.EqualFold(name, "Content-Length") {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return errors.New("an answer without a length")
	}
	_, err = br.Discard(length)
	return err
}

// moves has an instance move again and again under requests, and returns how long
// it was until they reached it.
func moves(b *testing.B, f *fixture, tenants int) string {
	b.Helper()
	name := tenantName(tenants / 2)
	var times []time.Duration
	for i := range 50 {
		want := fmt.Sprint(i)
		f.dns.set(name+zone, newServer(b, echo(want)))
		began := time.Now()
		f.route(f.routeOf(name, uint64(i+2)))
		for f.get(name+".localhost", "/").body == "hello" || f.get(name+".localhost", "/").seen(b).Instance != want {
			if time.Since(began) > 10*time.Second {
				b.Fatal("a move is not followed")
			}
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return goal(fmt.Sprintf("instance moved → routed at %d tenants, p50 %.1f ms, max of 50", tenants, ms(times[25])),
		ms(times[49]), "ms", 1000, false)
}

func median(v []float64) float64 { v = slices.Sorted(slices.Values(v)); return v[len(v)/2] }

// cpuTime returns the processor time that processes have used. It tells what a
// request costs also on a machine that others keep busy. 0 where there is no
// /proc.
func cpuTime(pids []int) time.Duration {
	var all time.Duration
	for _, pid := range pids {
		if fields := stat(pid); fields != nil {
			user, _ := strconv.Atoi(fields[11])
			system, _ := strconv.Atoi(fields[12])
			all += time.Duration(user+system) * 10 * time.Millisecond // Linux counts hundredths
		}
	}
	return all
}

// stat returns the fields of /proc/<pid>/stat behind the name, or nil.
func stat(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
}

// childrenOf returns a process's children.
func childrenOf(parent int) []int {
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if fields := stat(pid); fields != nil && fields[1] == strconv.Itoa(parent) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
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
