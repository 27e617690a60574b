package edge_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/edge"
)

// metric returns the value of a sample of the edge's metrics, "" if it has none.
func (f *fixture) metric(sample string) string {
	f.t.Helper()
	res, err := http.Get("http://" + f.cfg.Admin + "/metrics")
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	_, rest, _ := strings.Cut("\n"+string(b), "\n"+sample+" ")
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

// One tenant's flood is refused, and another's requests do not notice.
func TestOneTenantDoesNotStarveTheRest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.cfg.Limits = edge.Limits{Rate: 50, Burst: 20, Concurrent: 8}
	f.writeConfig()
	f.start()
	release := make(chan struct{})
	letGo := sync.OnceFunc(func() { close(release) })
	defer letGo()
	var under, most atomic.Int64
	f.tenant("noisy", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		now := under.Add(1)
		for was := most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
		}
		<-release
		under.Add(-1)
	}))
	f.tenant("quiet", echo("quiet-0"))
	own := f.routeOf("wide", 1)
	own.Limits = edge.Limits{Rate: 1e6, Concurrent: 100}
	f.dns.set("wide"+zone, newServer(t, echo("wide-0")))
	f.route(own)
	f.awaitInstances("wide", 1)

	var flood sync.WaitGroup
	var refused atomic.Int64
	for range 200 {
		flood.Go(func() {
			res := f.get("noisy.localhost", "/")
			if res.StatusCode == http.StatusTooManyRequests {
				refused.Add(1)
				if res.Header.Get("Retry-After") == "" || !strings.Contains(res.body, "Too many requests") {
					t.Errorf("the refusal says %v %q", res.Header, res.body)
				}
			}
		})
	}
	f.eventually("the flood to be refused", func() bool { return refused.Load() == 192 })
	for i := range 20 {
		if res := f.get("quiet.localhost", "/"); res.StatusCode != 200 {
			t.Errorf("quiet's request %d: %d", i, res.StatusCode)
		}
	}
	if got := f.metric(`gitopsd_edge_requests_in_flight{tenant="noisy"}`); got != "8" {
		t.Errorf("in flight: %q", got)
	}
	letGo()
	flood.Wait()
	if most.Load() != 8 {
		t.Errorf("%d requests were under way", most.Load())
	}
	for range 100 {
		f.get("quiet.localhost", "/")
	}
	if got := f.metric(`gitopsd_edge_refused_total{limit="rate",tenant="quiet"}`); got == "" {
		t.Error("100 requests at once are not over a burst of 20")
	}
	for range 200 { // its route says otherwise
		if res := f.get("wide.localhost", "/"); res.StatusCode != 200 {
			t.Fatalf("wide: %d", res.StatusCode)
		}
	}
	if got := f.metric(`gitopsd_edge_request_seconds_count{tenant="wide"}`); got != "200" {
		t.Errorf("histogram counts %q", got)
	}
	if got := f.metric(`gitopsd_edge_request_seconds_bucket{tenant="wide",le="+Inf"}`); got != "200" {
		t.Errorf("histogram's last bucket: %q", got)
	}
	f.eventually("nothing to be in flight", func() bool { return f.state("noisy").InFlight == 0 })
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.cfg.Limits = edge.Limits{Body: 1 << 20}
	f.writeConfig()
	f.start()
	var got atomic.Int64
	f.tenant("acme", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		got.Store(n)
	}))
	post := func(n int, chunked bool) int {
		return f.do("POST", "acme.localhost", "/", func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(make([]byte, n))), int64(n)
			if chunked {
				r.ContentLength = -1
			}
		}).StatusCode
	}
	for _, chunked := range []bool{false, true} {
		if status := post(1<<20, chunked); status != 200 || got.Load() != 1<<20 {
			t.Errorf("chunked %v: a body as large as allowed: %d, %d bytes", chunked, status, got.Load())
		}
		if status := post(1<<20+1, chunked); status != http.StatusRequestEntityTooLarge {
			t.Errorf("chunked %v: one byte more: %d", chunked, status)
		}
	}
	if n := f.metric(`gitopsd_edge_refused_total{limit="body",tenant="acme"}`); n != "2" {
		t.Errorf("refused: %q", n)
	}
	// A body of two lengths, or of a length and chunks, is nobody's.
	for _, framing := range []string{
		"Content-Length: 3\r\nContent-Length: 4\r\n", "Content-Length: -1\r\n", "Content-Length: 3, 3\r\n",
		"Transfer-Encoding: chunked, identity\r\n", "Transfer-Encoding: gzip\r\n",
	} {
		answer := f.raw("POST / HTTP/1.1\r\nHost: acme.localhost\r\n" + framing + "Connection: close\r\n\r\nabcd")
		if !strings.HasPrefix(answer, "HTTP/1.1 400 ") && !strings.HasPrefix(answer, "HTTP/1.1 501 ") {
			t.Errorf("%q answered %.100q", framing, answer)
		}
	}
}

// Clients that open a connection and hardly send anything hold it for a bounded
// time, and others are served meanwhile.
func TestSlowHeadersEnd(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.tenant("acme", echo("acme-0"))
	const slow = 200
	ended := make(chan time.Duration, slow)
	for range slow {
		conn, err := net.Dial("tcp", f.cfg.Addr)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer conn.Close()
			began := time.Now()
			go func() { // a header a second, without an end
				for i := 0; ; i++ {
					if _, err := fmt.Fprintf(conn, "X-%d: x\r\n", i); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}()
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: acme.localhost\r\n")
			_, _ = io.Copy(io.Discard, conn)
			ended <- time.Since(began)
		}()
	}
	for range 50 {
		if res := f.get("acme.localhost", "/"); res.StatusCode != 200 {
			t.Errorf("status %d", res.StatusCode)
		}
	}
	for range slow {
		select {
		case took := <-ended:
			if took > 13*time.Second {
				t.Errorf("a connection that sends no request was held for %v", took)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("connections that send no request are held for ever")
		}
	}
}
