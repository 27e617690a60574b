package edge_test

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gitopsd/gitopsd/internal/edge"
)

// constantly sends requests for a host, a POST and a GET in turn, until stopped;
// stop returns how many there were. Any that fails fails the test.
func (f *fixture) constantly(host string, clients int) (stop func() int64) {
	f.t.Helper()
	var n atomic.Int64
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				r, _ := http.NewRequest([]string{"GET", "POST"}[i%2], "http://"+f.cfg.Addr+"/", nil)
				r.Host = host
				res, err := f.client.Do(r)
				if err != nil {
					f.t.Errorf("request for %s: %v", host, err)
					return
				}
				_ = res.Body.Close()
				if res.StatusCode != http.StatusOK {
					f.t.Errorf("request for %s: status %d", host, res.StatusCode)
					return
				}
				n.Add(1)
			}
		})
	}
	return func() int64 { close(done); wg.Wait(); return n.Load() }
}

// Tenants come, change, move and go while others are under load, and the others
// notice nothing: no failed request, no closed connection.
func TestRoutesChangeUnderLoad(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.tenant("steady", echo("steady"))
	f.tenant("ws", http.HandlerFunc(upgrade))
	conn, br := dialUpgrade(t, f)
	defer conn.Close()
	stop := f.constantly("steady.localhost", 4)
	for i := range 20 {
		name := fmt.Sprintf("t%d", i)
		f.tenant(name, echo(name+" first"))
		if in := f.get(name+".localhost", "/").seen(t).Instance; in != name+" first" {
			t.Errorf("reached %s", in)
		}
		r := f.routeOf(name, 2)
		r.Hosts = append(r.Hosts, name+".example.com")
		f.route(r)
		f.eventually("the added host", func() bool { return f.get(name+".example.com", "/").StatusCode == 200 })
		f.routeBytes(name, []byte(`{"tenant": "`+name+`", "hosts": [`))
		f.routeBytes("steady", []byte(`rubbish`))
		f.removeRoute(name)
		f.eventually("the route to be gone", func() bool { return f.get(name+".localhost", "/").StatusCode == 404 })
		if f.get(name+".example.com", "/").StatusCode != 404 {
			t.Error("the other host stays")
		}
	}
	if n := stop(); n < 100 {
		t.Errorf("only %d requests", n)
	} else {
		t.Logf("%d requests, none failed", n)
	}
	_, _ = conn.Write([]byte("still here\n"))
	if line, err := br.ReadString('\n'); err != nil || line != "echo still here\n" {
		t.Errorf("upgraded connection: %q %v", line, err)
	}
}

// An instance moves: the record changes, the serial says so.
func TestMoveIsFollowedAtOnce(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.tenant("acme", echo("0"))
	stop := f.constantly("acme.localhost", 2)
	var times []time.Duration
	for i := range 40 {
		name := fmt.Sprint(i + 1)
		s := newServer(t, echo(name))
		f.dns.set("acme"+zone, s)
		began := time.Now()
		f.route(f.routeOf("acme", uint64(i+2)))
		f.eventually("the move", func() bool { return f.get("acme.localhost", "/").seen(t).Instance == name })
		times = append(times, time.Since(began))
	}
	n := stop()
	slices.Sort(times)
	t.Logf("moved → routed: median %v, max %v; %d requests meanwhile, none failed", times[len(times)/2], times[len(times)-1], n)
	if times[len(times)-1] > time.Second {
		t.Errorf("a move took %v", times[len(times)-1])
	}
}

// Without a new serial, the record's own TTL makes the edge look again.
func TestTTLIsFollowed(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.dns.mu.Lock()
	f.dns.ttl = 1
	f.dns.mu.Unlock()
	f.tenant("acme", echo("old"))
	f.dns.set("acme"+zone, newServer(t, echo("new")))
	f.eventually("the record to be read again", func() bool { return f.get("acme.localhost", "/").seen(t).Instance == "new" })
}

func TestDNSDown(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.tenant("acme", echo("acme-0"))
	f.dns.fail.Store(true)
	f.route(f.routeOf("acme", 2))
	f.dns.set("late"+zone, newServer(t, echo("late-0")))
	f.route(f.routeOf("late", 1))
	f.eventually("the question for acme", func() bool { s := f.state("acme"); return s.Serial == 2 })
	f.eventually("failed questions", func() bool { return f.dns.asked.Load() >= 3 })
	stop := f.constantly("acme.localhost", 1)
	f.eventually("the new tenant's page", func() bool { return f.get("late.localhost", "/").StatusCode == 503 })
	f.dns.fail.Store(false)
	f.eventually("the new tenant", func() bool { return f.get("late.localhost", "/").StatusCode == 200 })
	stop()
}

// A record that is gone is an answer, unlike no answer.
func TestRecordGone(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.tenant("acme", echo("acme-0"))
	f.dns.set("acme" + zone)
	f.route(f.routeOf("acme", 2))
	f.awaitInstances("acme", 0)
	if res := f.get("acme.localhost", "/"); res.StatusCode != 503 {
		t.Errorf("status %d", res.StatusCode)
	}
}

// Targets beyond the additional section, and answers beyond a datagram.
func TestAnswersOfOtherShapes(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.dns.mu.Lock()
	f.dns.bare = true
	f.dns.mu.Unlock()
	f.tenant("bare", echo("bare-0"))
	if in := f.get("bare.localhost", "/").seen(t).Instance; in != "bare-0" {
		t.Errorf("reached %s", in)
	}
	var many []dns.SRV
	for i := range 60 {
		many = append(many, dns.SRV{Priority: 2, Weight: 1, Port: uint16(20000 + i), Target: "node1.gitopsd.internal."})
	}
	f.dns.setRecords("many"+zone, many...)
	f.route(f.routeOf("many", 1))
	f.awaitInstances("many", 60)
}

func TestPriorityAndWeight(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	record := func(priority, weight uint16, addr string) dns.SRV {
		var port uint16
		_, _ = fmt.Sscanf(addr[strings.LastIndexByte(addr, ':')+1:], "%d", &port)
		return dns.SRV{Priority: priority, Weight: weight, Port: port, Target: "node1.gitopsd.internal."}
	}
	light, heavy, spare := newServer(t, echo("light")), newServer(t, echo("heavy")), newServer(t, echo("spare"))
	f.dns.setRecords("acme"+zone, record(1, 10, light), record(1, 30, heavy), record(5, 100, spare))
	f.route(f.routeOf("acme", 1))
	f.awaitInstances("acme", 3)
	count := map[string]int{}
	for range 40 {
		count[f.get("acme.localhost", "/").seen(t).Instance]++
	}
	if count["light"] != 10 || count["heavy"] != 30 || count["spare"] != 0 {
		t.Errorf("requests by instance: %v", count)
	}
	dead := freeAddr(t)
	f.dns.setRecords("acme"+zone, record(1, 1, dead), record(5, 1, spare))
	f.route(f.routeOf("acme", 2))
	f.awaitInstances("acme", 2)
	if in := f.get("acme.localhost", "/").seen(t).Instance; in != "spare" {
		t.Errorf("with the first priority dead: %s", in)
	}
}

// A host has one owner, and nobody can take it.
func TestHostsAreNotStolen(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.tenant("owner", echo("owner"))
	f.tenant("thief", echo("thief"))
	r := f.routeOf("owner", 2)
	r.Hosts = append(r.Hosts, "shop.example.com")
	f.route(r)
	f.eventually("the host", func() bool { return f.get("shop.example.com", "/").StatusCode == 200 })
	r = f.routeOf("thief", 2)
	r.Hosts = append(r.Hosts, "shop.example.com", "owner.localhost", "localhost", "api.owner.localhost")
	f.route(r)
	f.eventually("the thief's route", func() bool { return f.state("thief").Serial == 2 })
	if s := f.state("thief"); !slices.Equal(s.Hosts, []string{"thief.localhost"}) {
		t.Errorf("the thief owns %q", s.Hosts)
	}
	for host, want := range map[string]string{"shop.example.com": "owner", "owner.localhost": "owner", "thief.localhost": "thief"} {
		if in := f.get(host, "/").seen(t).Instance; in != want {
			t.Errorf("%s reached %s", host, in)
		}
	}
	f.removeRoute("owner") // the host is free now; the platform's are not
	f.eventually("the freed host", func() bool { s := f.state("thief"); return slices.Contains(s.Hosts, "shop.example.com") })
	if res := f.get("owner.localhost", "/"); res.StatusCode != 404 {
		t.Errorf("owner.localhost: %d", res.StatusCode)
	}
}

func TestMalformedRoutes(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.tenant("acme", echo("acme-0"))
	good := `{"tenant":"acme","hosts":["acme.localhost"],"srv":"acme` + zone + `","bucket":"/x","static":"","edgeKey":"k","serial":%d}`
	f.tenant("after", echo("after-0"))
	serial := uint64(1)
	allSeen := func() { // files are read in the order they came
		t.Helper()
		serial++
		f.route(f.routeOf("after", serial))
		f.eventually("the files to be read", func() bool { return f.state("after").Serial == serial })
	}
	for name, content := range map[string]string{
		"no JSON": "x", "empty": "", "array": "[]", "half": good[:40], "other tenant": strings.Replace(good, "acme", "evil", 1),
		"bad host": strings.Replace(good, "acme.localhost", "a b", 1), "upper host": strings.Replace(good, "acme.localhost", "ACME.localhost", 1),
		"bad digest": strings.Replace(good, `"static":""`, `"static":"../../etc"`, 1), "relative bucket": strings.Replace(strings.Replace(good, `"static":""`, `"static":"`+digestA+`"`, 1), "/x", "x", 1),
		"no key": strings.Replace(good, `"k"`, `""`, 1), "key with line": strings.Replace(good, `"k"`, `"a\r\nb"`, 1),
		"bad srv": strings.Replace(good, "acme"+zone, "a b", 1), "too large": `{"tenant":"` + strings.Repeat("x", 70<<10) + `"}`,
	} {
		f.routeBytes("acme", []byte(strings.ReplaceAll(content, "%d", "9")))
		allSeen()
		if s := f.state("acme"); s == nil || s.Serial != 1 {
			t.Errorf("%s: state %+v", name, s)
		}
	}
	for _, name := range []string{".acme.json", "ACME.json", "acme.json.tmp", "a_b.json", "..json"} {
		write(t, filepath.Join(f.cfg.Routes, name), strings.ReplaceAll(good, "%d", "9"))
	}
	outside := filepath.Join(f.dir, "outside.json")
	write(t, outside, strings.ReplaceAll(strings.ReplaceAll(good, "acme", "link"), "%d", "1"))
	if err := os.Symlink(outside, filepath.Join(f.cfg.Routes, "link.json")); err != nil {
		t.Fatal(err)
	}
	allSeen()
	if f.state("link") != nil {
		t.Error("a link was followed")
	}
	if in := f.get("acme.localhost", "/").seen(t).Instance; in != "acme-0" {
		t.Errorf("reached %s", in)
	}
	f.routeBytes("acme", []byte(strings.ReplaceAll(strings.TrimSuffix(good, "}")+`,"future":1}`, "%d", "10")))
	f.eventually("the good route", func() bool { return f.state("acme").Serial == 10 })
}

func TestThousandTenants(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	addr := newServer(t, echo("all"))
	const n = 1000
	for i := range n {
		name := fmt.Sprintf("t%04d", i)
		f.dns.set(name+zone, addr)
		f.route(f.routeOf(name, 1))
	}
	began := time.Now()
	f.start()
	t.Logf("%d tenants: serving after %v", n, time.Since(began))
	for i := range n {
		name := fmt.Sprintf("t%04d", i)
		res := f.get(name+".localhost", "/")
		if res.StatusCode != 200 {
			t.Fatalf("%s right after the start: %d", name, res.StatusCode)
		}
		if key := res.seen(t).Header.Get("X-Gitopsd-Edge"); key != "key-of-"+name {
			t.Fatalf("%s came with %q", name, key)
		}
	}
}

// A connection that stays open lives through a thousand changes of tenants: each
// comes, moves and goes, and no configuration is loaded anew.
func TestStreamsOutliveChanges(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.tenant("ws", http.HandlerFunc(upgrade))
	conn, br := dialUpgrade(t, f)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	beat := make(chan struct{})
	f.tenant("sse", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range beat {
			_, _ = fmt.Fprint(w, "data: beat\n\n")
			_ = http.NewResponseController(w).Flush()
		}
	}))
	defer close(beat)
	r, _ := http.NewRequest("GET", "http://"+f.cfg.Addr+"/", nil)
	r.Host = "sse.localhost"
	client := &http.Client{Timeout: time.Minute, Transport: f.client.Transport}
	go func() { beat <- struct{}{} }()
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	events := bufio.NewReader(res.Body)
	event := func() {
		t.Helper()
		for _, want := range []string{"data: beat\n", "\n"} {
			if line, err := events.ReadString('\n'); err != nil || line != want {
				t.Fatalf("event: %q %v", line, err)
			}
		}
	}
	event()
	const changes = 1000
	old, moved := newServer(t, echo("old")), newServer(t, echo("moved"))
	for i := range changes {
		name := fmt.Sprintf("t%03d", i/4)
		switch i % 4 {
		case 0:
			f.dns.set(name+zone, old)
			f.route(f.routeOf(name, 1))
		case 1:
			f.awaitInstances(name, 1)
			f.dns.set(name+zone, moved)
			f.route(f.routeOf(name, 2))
		case 2:
			f.eventually("the move", func() bool { return f.get(name+".localhost", "/").seen(t).Instance == "moved" })
			other := f.routeOf(name, 3)
			other.Hosts = []string{name + ".localhost", name + ".example"}
			f.route(other)
		case 3:
			f.removeRoute(name)
		}
		if i%100 == 0 {
			_, _ = fmt.Fprintf(conn, "%d\n", i)
			if line, err := br.ReadString('\n'); err != nil || line != fmt.Sprintf("echo %d\n", i) {
				t.Fatalf("upgraded connection after %d changes: %q %v", i, line, err)
			}
			beat <- struct{}{}
			event()
		}
	}
	f.eventually("all to be gone", func() bool { return f.metric("gitopsd_edge_tenants") == "2" })
	_, _ = fmt.Fprintf(conn, "end\n")
	if line, err := br.ReadString('\n'); err != nil || line != "echo end\n" {
		t.Errorf("upgraded connection: %q %v", line, err)
	}
	beat <- struct{}{}
	event()
}

// A directory that goes away changes nothing; one that comes is read.
func TestDirectoryReplaced(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.tenant("acme", echo("acme-0"))
	if err := os.Rename(f.cfg.Routes, f.cfg.Routes+".away"); err != nil {
		t.Fatal(err)
	}
	stop := f.constantly("acme.localhost", 1)
	f.eventually("some requests", func() bool { return f.get("acme.localhost", "/").StatusCode == 200 })
	if err := os.Rename(f.cfg.Routes+".away", f.cfg.Routes); err != nil {
		t.Fatal(err)
	}
	r := f.routeOf("acme", 2)
	r.Hosts = append(r.Hosts, "back.example.com")
	f.route(r)
	f.eventually("the route after the return", func() bool { return f.get("back.example.com", "/").StatusCode == 200 })
	stop()
}

func TestStartRefusals(t *testing.T) {
	t.Parallel()
	running := startEdge(t)
	for name, c := range map[string]struct {
		edit func(*edge.Config)
		say  string
	}{
		"address taken": {func(c *edge.Config) { c.Addr = running.cfg.Addr }, "taken by another process"},
		"admin taken":   {func(c *edge.Config) { c.Admin = running.cfg.Admin }, "taken by another process"},
		"no key":        {func(c *edge.Config) { c.KeyFile = filepath.Join(running.dir, "none") }, "edge key"},
		"short key":     {func(c *edge.Config) { c.KeyFile = filepath.Join(running.dir, "short") }, "at least 16"},
		"no address":    {func(c *edge.Config) { c.Addr = "8080" }, "not host:port"},
		"no domain":     {func(c *edge.Config) { c.Domain = "" }, "domain: missing"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			write(t, filepath.Join(running.dir, "short"), "short")
			c.edit(&f.cfg)
			f.writeConfig()
			if err := f.launch(); err != nil {
				t.Fatal(err)
			}
			if err := f.waitExit(); err == nil || !strings.Contains(f.stderr.String(), c.say) {
				t.Errorf("exit %v, said %s", err, f.stderr)
			}
		})
	}
}

func newServer(t testing.TB, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}
