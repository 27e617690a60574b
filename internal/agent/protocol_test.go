package agent_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// What began on a release ends there, whatever HTTP can do, while reloads go on:
// each of these is open over three of them.
func TestProtocolsThroughReloads(t *testing.T) {
	t.Parallel()
	in := newInstance(t).start()
	in.deploy(map[string]string{"VERSION": "v0"})
	reload := make(chan struct{}) // closed after three reloads
	var wg sync.WaitGroup
	defer wg.Wait()
	for name, exchange := range map[string]func(t *testing.T){
		"a long upload, chunked": func(t *testing.T) {
			r, w := io.Pipe()
			go func() {
				_, _ = io.WriteString(w, strings.Repeat("a", 1<<20))
				<-reload
				_, _ = io.WriteString(w, strings.Repeat("b", 1<<20))
				w.Close()
			}()
			req, err := http.NewRequest("POST", in.url+"/echo", r)
			if err != nil {
				t.Error(err)
				return
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if err != nil || len(b) != 2<<20 || res.Header.Get("X-Version") != "v0" {
				t.Errorf("%d bytes from %s: %v", len(b), res.Header.Get("X-Version"), err)
			}
		},
		"an upload that waits for 100": func(t *testing.T) {
			conn, lines := dial(t, in.url)
			fmt.Fprint(conn, "POST /echo HTTP/1.1\r\nHost: acme\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
			if status := head(t, lines); status != "HTTP/1.1 100 Continue" {
				t.Errorf("before the body: %q", status)
			}
			<-reload
			fmt.Fprint(conn, "hello")
			res, err := http.ReadResponse(lines, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if b, _ := io.ReadAll(res.Body); string(b) != "hello" || res.Header.Get("X-Version") != "v0" {
				t.Errorf("%q from %s", b, res.Header.Get("X-Version"))
			}
		},
		"a request whose header comes in parts": func(t *testing.T) {
			conn, lines := dial(t, in.url)
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHo")
			<-reload
			fmt.Fprint(conn, "st: acme\r\n\r\n") // only now is there a request: the newest release's
			res, err := http.ReadResponse(lines, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if b, _ := io.ReadAll(res.Body); string(b) != "v3" {
				t.Errorf("%q answered", b)
			}
		},
		"a kept connection": func(t *testing.T) {
			conn, lines := dial(t, in.url)
			ask := func(method, want string) {
				fmt.Fprintf(conn, "%s / HTTP/1.1\r\nHost: acme\r\n\r\n", method)
				res, err := http.ReadResponse(lines, &http.Request{Method: method})
				if err != nil {
					t.Error(err)
					return
				}
				b, _ := io.ReadAll(res.Body)
				if string(b) != want || res.ContentLength != 2 || res.Close {
					t.Errorf("%s: %q, %d bytes, to be closed: %t", method, b, res.ContentLength, res.Close)
				}
			}
			ask("GET", "v0")
			ask("HEAD", "")
			<-reload
			ask("HEAD", "")
			ask("GET", "v3")
		},
		"a response with a trailer": func(t *testing.T) {
			conn, lines := dial(t, in.url)
			fmt.Fprint(conn, "GET /trailer HTTP/1.1\r\nHost: acme\r\nTE: trailers\r\n\r\n")
			res, err := http.ReadResponse(lines, nil)
			if err != nil {
				t.Error(err)
				return
			}
			<-reload
			b, err := io.ReadAll(res.Body)
			if err != nil || !strings.HasPrefix(string(b), "v0") || res.Trailer.Get("X-Sum") != fmt.Sprint(len(b)) {
				t.Errorf("%d bytes, trailer %v: %v", len(b), res.Trailer, err)
			}
		},
		"server-sent events": func(t *testing.T) {
			events := openEvents(t, t.Context(), in.url)
			events.next()
			<-reload
			for range 100 {
				if line := events.next(); !strings.HasPrefix(line, "data: v0 ") {
					t.Errorf("event: %q", line)
					return
				}
			}
		},
		"a WebSocket": func(t *testing.T) {
			s := openSocket(t, in.url)
			if line := s.say("before"); line != "v0 before" {
				t.Errorf("socket: %q", line)
			}
			<-reload
			if line := s.say("after"); line != "v0 after" {
				t.Errorf("socket: %q", line)
			}
		},
	} {
		wg.Go(func() { t.Run(name, exchange) })
	}
	defer close(reload)
	eventually(t, "all are under way", func() bool { return in.report().InFlight >= 5 })
	for n := range 3 {
		in.deploy(map[string]string{"VERSION": fmt.Sprint("v", n+1)})
	}
}

func dial(t *testing.T, url string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn, bufio.NewReader(conn)
}

// head reads a response's head and returns its first line.
func head(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	first := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		line = strings.TrimSpace(line)
		if line == "" {
			return first
		}
		if first == "" {
			first = line
		}
	}
}
