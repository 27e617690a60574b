package edge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gitopsd/gitopsd/internal/edge"
)

// TestMain lets the test's binary be an edge process: one process runs one
// edge, and only a process can be sent a signal.
func TestMain(m *testing.M) {
	if path := os.Getenv("EDGE_TEST_CONFIG"); path != "" {
		os.Exit(runEdge(path))
	}
	if path := os.Getenv("CADDY_TEST_CONFIG"); path != "" {
		os.Exit(runCaddy(path))
	}
	if addr := os.Getenv("APP_TEST_ADDR"); addr != "" {
		os.Exit(runApp(addr))
	}
	os.Exit(m.Run())
}

func runEdge(path string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg, err := edge.LoadConfig(path)
	if err == nil {
		err = edge.Run(ctx, cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "edge:", err)
		return 1
	}
	return 0
}

const (
	secret = "0123456789abcdef0123456789abcdef"
	zone   = ".tenants.gitopsd.internal"
)

// fixture is an edge process with a DNS server and a directory of routes.
type fixture struct {
	t      testing.TB
	dir    string
	cfg    edge.Config
	dns    *nameserver
	cmd    *exec.Cmd
	stderr *lockedBuffer
	client *http.Client
	exited chan error
}

// newFixture prepares all but the process.
func newFixture(t testing.TB) *fixture {
	t.Helper()
	dir := t.TempDir()
	f := &fixture{t: t, dir: dir, dns: newNameserver(t), stderr: &lockedBuffer{}}
	f.cfg = edge.Config{
		Addr: freeAddr(t), Admin: freeAddr(t), DNS: f.dns.addr,
		Routes: filepath.Join(dir, "routes"), KeyFile: filepath.Join(dir, "edge.key"),
		AccessLog: filepath.Join(dir, "logs", "access.log"), Domain: "localhost",
	}
	write(t, f.cfg.KeyFile, secret+"\n")
	f.writeConfig()
	if err := os.MkdirAll(f.cfg.Routes, 0o700); err != nil {
		t.Fatal(err)
	}
	f.client = &http.Client{
		Timeout:       20 * time.Second,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(f.client.CloseIdleConnections)
	return f
}

func (f *fixture) writeConfig() {
	f.t.Helper()
	b, err := json.Marshal(f.cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	write(f.t, filepath.Join(f.dir, "edge.json"), string(b))
}

// startEdge starts a process and waits until it serves.
func startEdge(t testing.TB) *fixture {
	t.Helper()
	f := newFixture(t)
	f.start()
	return f
}

// launch starts the process, which may end at once.
func (f *fixture) launch() error {
	f.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+f.dir, "EDGE_TEST_CONFIG="+filepath.Join(f.dir, "edge.json"))
	cmd.Stdout, cmd.Stderr = f.stderr, f.stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	f.cmd, f.exited = cmd, make(chan error, 1)
	go func() { f.exited <- cmd.Wait(); close(f.exited) }()
	f.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		err := <-f.exited
		if f.t.Failed() {
			f.t.Logf("edge ended with %v and said:\n%s", err, f.stderr)
		}
	})
	return nil
}

func (f *fixture) start() {
	f.t.Helper()
	if err := f.launch(); err != nil {
		f.t.Fatal(err)
	}
	f.eventually("the edge to serve", func() bool {
		select {
		case err := <-f.exited:
			if !strings.Contains(f.stderr.String(), "address already in use") {
				f.t.Fatalf("edge exited: %v\n%s", err, f.stderr)
			}
			// Another process took a port that was free a moment ago.
			f.cfg.Addr, f.cfg.Admin, f.stderr = freeAddr(f.t), freeAddr(f.t), &lockedBuffer{}
			f.writeConfig()
			if err := f.launch(); err != nil {
				f.t.Fatal(err)
			}
		default:
		}
		res, err := http.Get("http://" + f.cfg.Admin + "/healthz")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// stop sends SIGTERM and returns how the process ended.
func (f *fixture) stop() error {
	f.t.Helper()
	if err := f.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		f.t.Fatal(err)
	}
	return f.waitExit()
}

func (f *fixture) waitExit() error {
	f.t.Helper()
	select {
	case err := <-f.exited:
		return err
	case <-time.After(20 * time.Second):
		f.t.Fatal("the edge did not stop")
		return nil
	}
}

// route writes a tenant's route by rename.
func (f *fixture) route(r edge.Route) {
	f.t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		f.t.Fatal(err)
	}
	f.routeBytes(r.Tenant, b)
}

func (f *fixture) routeBytes(tenant string, b []byte) {
	f.t.Helper()
	tmp := filepath.Join(f.cfg.Routes, "."+tenant+".tmp")
	write(f.t, tmp, string(b))
	if err := os.Rename(tmp, filepath.Join(f.cfg.Routes, tenant+".json")); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) removeRoute(tenant string) {
	f.t.Helper()
	if err := os.Remove(filepath.Join(f.cfg.Routes, tenant+".json")); err != nil {
		f.t.Fatal(err)
	}
}

// routeOf is a plain route of a tenant.
func (f *fixture) routeOf(tenant string, serial uint64) edge.Route {
	return edge.Route{
		Tenant: tenant, Hosts: []string{tenant + ".localhost"}, SRV: tenant + zone,
		Bucket: filepath.Join(f.dir, "buckets", tenant), EdgeKey: "key-of-" + tenant, Serial: serial,
	}
}

// tenant makes a tenant with instances served by h, and waits for its route.
func (f *fixture) tenant(name string, handlers ...http.Handler) []*httptest.Server {
	f.t.Helper()
	var servers []*httptest.Server
	var addrs []string
	for _, h := range handlers {
		s := httptest.NewServer(h)
		f.t.Cleanup(s.Close)
		servers = append(servers, s)
		addrs = append(addrs, s.Listener.Addr().String())
	}
	f.dns.set(name+zone, addrs...)
	f.route(f.routeOf(name, 1))
	f.awaitInstances(name, len(addrs))
	return servers
}

// state asks the edge what it does with a tenant's route; nil: nothing.
func (f *fixture) state(tenant string) *edge.RouteState {
	f.t.Helper()
	res, err := http.Get("http://" + f.cfg.Admin + "/routes/" + tenant)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil
	}
	var s edge.RouteState
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
		f.t.Fatal(err)
	}
	return &s
}

func (f *fixture) awaitInstances(tenant string, n int) {
	f.t.Helper()
	f.eventually(fmt.Sprintf("%d instances of %s", n, tenant), func() bool {
		s := f.state(tenant)
		return s != nil && len(s.Instances) == n
	})
}

func (f *fixture) eventually(what string, ok func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	f.t.Fatalf("waited in vain for %s", what)
}

// reply is an answer with its body read.
type reply struct {
	*http.Response
	body string
}

// do sends a request for a host through the edge.
func (f *fixture) do(method, host, path string, edit func(*http.Request)) reply {
	f.t.Helper()
	r, err := http.NewRequest(method, "http://"+f.cfg.Addr+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	r.Host = host
	if edit != nil {
		edit(r)
	}
	res, err := f.client.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return reply{res, string(b)}
}

func (f *fixture) get(host, path string) reply { f.t.Helper(); return f.do("GET", host, path, nil) }

// raw sends bytes on a connection of their own and returns all that comes back.
func (f *fixture) raw(request string) string {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.cfg.Addr)
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		f.t.Fatal(err)
	}
	b, _ := io.ReadAll(conn)
	return string(b)
}

// nameserver is a DNS server whose records can be changed.
type nameserver struct {
	addr  string
	udp   *dns.Server
	tcp   *dns.Server
	mu    sync.Mutex
	srv   map[string][]dns.SRV
	ttl   uint32
	bare  bool // no additional section: addresses must be asked for
	fail  atomic.Bool
	asked atomic.Int64
}

func newNameserver(t testing.TB) *nameserver {
	t.Helper()
	n := &nameserver{srv: map[string][]dns.SRV{}, ttl: 60}
	for { // a port that is free for both
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", pc.LocalAddr().String())
		if err != nil {
			_ = pc.Close()
			continue
		}
		n.addr = pc.LocalAddr().String()
		n.udp = &dns.Server{PacketConn: pc, Handler: n}
		n.tcp = &dns.Server{Listener: ln, Handler: n}
		break
	}
	go func() { _ = n.udp.ActivateAndServe() }()
	go func() { _ = n.tcp.ActivateAndServe() }()
	t.Cleanup(func() { _ = n.udp.Shutdown(); _ = n.tcp.Shutdown() })
	return n
}

// set gives a name SRV records to the addresses, all of one priority and weight.
func (n *nameserver) set(name string, addrs ...string) {
	var rrs []dns.SRV
	for _, a := range addrs {
		_, port, _ := net.SplitHostPort(a)
		p, _ := strconv.Atoi(port)
		rrs = append(rrs, dns.SRV{Priority: 1, Weight: 1, Port: uint16(p), Target: "node1.gitopsd.internal."})
	}
	n.setRecords(name, rrs...)
}

func (n *nameserver) setRecords(name string, rrs ...dns.SRV) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.srv[dns.CanonicalName(name)] = rrs
}

func (n *nameserver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	n.asked.Add(1)
	n.mu.Lock()
	defer n.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	m.Authoritative = true
	name := dns.CanonicalName(q.Question[0].Name)
	node := &dns.A{Hdr: dns.RR_Header{Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: n.ttl}, A: net.IPv4(127, 0, 0, 1)}
	switch rrs, ok := n.srv[name]; {
	case n.fail.Load():
		m.Rcode = dns.RcodeServerFailure
	case ok && q.Question[0].Qtype == dns.TypeSRV:
		for _, rr := range rrs {
			rr.Hdr = dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: n.ttl}
			m.Answer = append(m.Answer, &rr)
		}
		node.Hdr.Name = "node1.gitopsd.internal."
		if !n.bare {
			m.Extra = append(m.Extra, node)
		}
	case strings.HasPrefix(name, "node") && q.Question[0].Qtype == dns.TypeA:
		node.Hdr.Name = q.Question[0].Name
		m.Answer = append(m.Answer, node)
	default:
		m.Rcode = dns.RcodeNameError
	}
	if w.RemoteAddr().Network() == "udp" && m.Len() > 1232 {
		m.Truncate(512)
	}
	_ = w.WriteMsg(m)
}

// echo answers with what it was asked, and who it is.
func echo(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Server", "secret-server/1.0")
		w.Header().Set("X-Powered-By", "magic")
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(seen{name, r.Method, r.Host, r.URL.String(), r.Header, string(b)})
	})
}

// seen is what an instance saw.
type seen struct {
	Instance, Method, Host, URL string
	Header                      http.Header
	Body                        string
}

func (r reply) seen(t testing.TB) seen {
	t.Helper()
	var s seen
	if err := json.Unmarshal([]byte(r.body), &s); err != nil {
		t.Fatalf("status %d, body %q: %v", r.StatusCode, r.body, err)
	}
	return s
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func freeAddr(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
