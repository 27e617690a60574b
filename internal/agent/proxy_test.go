package agent_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/agent"
)

func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// stream reads a response line by line.
type stream struct{ lines *bufio.Scanner }

// next returns the next line that is not empty; "" at the end.
func (s stream) next() string {
	for s.lines.Scan() {
		if s.lines.Text() != "" {
			return s.lines.Text()
		}
	}
	return ""
}

func openEvents(t testing.TB, ctx context.Context, url string) stream {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, "GET", url+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return stream{bufio.NewScanner(res.Body)}
}

// socket is an upgraded connection to the test app.
type socket struct {
	conn  net.Conn
	lines *bufio.Reader
}

func openSocket(t testing.TB, url string) socket {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
	fmt.Fprintf(conn, "GET /upgrade HTTP/1.1\r\nHost: acme\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Upgrade") != "websocket" {
		t.Fatalf("upgrade: %v %v", res, err)
	}
	return socket{conn, br}
}

// say sends a line and returns the answer; "" if the connection has ended.
func (s socket) say(text string) string {
	fmt.Fprintln(s.conn, text)
	line, _ := s.lines.ReadString('\n')
	return strings.TrimSuffix(line, "\n")
}

func TestEdgeKey(t *testing.T) {
	t.Parallel()
	in := newInstance(t, func(c *agent.Config) { c.EdgeKey = "edge-key" }).start()
	in.await(in.publish(in.stage(map[string]string{"VERSION": "v1"})).Seq)
	for name, tc := range map[string]struct {
		keys []string
		want int
	}{
		"none":  {nil, 403},
		"wrong": {[]string{"edge-kez"}, 403},
		"empty": {[]string{""}, 403},
		"two":   {[]string{"edge-key", "edge-key"}, 403},
		"right": {[]string{"edge-key"}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req, err := http.NewRequest("GET", in.url+"/header?a=1;b=%zz", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = "acme.example"
			req.Header["X-Gitopsd-Edge"] = tc.keys
			req.Header.Set("X-Forwarded-For", "203.0.113.9")
			req.Header.Set("X-Forwarded-Proto", "https")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != tc.want {
				t.Fatalf("answered %s, want %d", res.Status, tc.want)
			}
			if tc.want != 200 {
				return
			}
			var seen struct {
				Host, URI string
				Header    http.Header
			}
			if err := json.NewDecoder(res.Body).Decode(&seen); err != nil {
				t.Fatal(err)
			}
			if seen.Host != "acme.example" || seen.URI != "/header?a=1;b=%zz" || seen.Header.Get("X-Forwarded-For") != "203.0.113.9" ||
				seen.Header.Get("X-Forwarded-Proto") != "https" || seen.Header["X-Gitopsd-Edge"] != nil {
				t.Errorf("the app saw %+v", seen)
			}
		})
	}
}

// Without an edge, what a client says of itself is not believed.
func TestForwardedIsNotBelieved(t *testing.T) {
	t.Parallel()
	in := newInstance(t).start()
	in.deploy(nil)
	req, err := http.NewRequest("GET", in.url+"/header", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", "203.0.113.9")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	if strings.Contains(string(b), "203.0.113.9") || !strings.Contains(string(b), "127.0.0.1") {
		t.Errorf("the app saw %s", b)
	}
	if got := res.Header["X-Gitopsd-Agent"]; got != nil {
		t.Errorf("marker on an app's answer: %q", got)
	}
}

func TestProxyIsTransparent(t *testing.T) {
	t.Parallel()
	in := newInstance(t).start()
	in.deploy(map[string]string{"VERSION": "v1"})
	t.Run("early hints and trailers", func(t *testing.T) {
		t.Parallel()
		var hints string
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				hints = fmt.Sprint(code, h.Get("Link"))
				return nil
			},
		})
		req, err := http.NewRequestWithContext(ctx, "GET", in.url+"/early", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || string(b) != "body" || res.Trailer.Get("X-Sum") != "4" || hints != "103</a.css>; rel=preload" {
			t.Errorf("%q %v, trailer %v, hints %q", b, err, res.Trailer, hints)
		}
	})
	t.Run("answer before the body", func(t *testing.T) {
		t.Parallel()
		r, w := io.Pipe() // more than any server reads for politeness, and no end
		defer w.Close()
		go func() { _, _ = w.Write(make([]byte, 2<<20)) }()
		res, err := http.Post(in.url+"/refuse", "", r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusRequestEntityTooLarge || !res.Close {
			t.Errorf("answered %s, connection to be closed: %t", res.Status, res.Close)
		}
	})
	t.Run("large chunked body", func(t *testing.T) {
		t.Parallel()
		body := strings.Repeat("0123456789abcdef", 1<<18)
		res, err := http.Post(in.url+"/echo", "", io.MultiReader(strings.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || string(b) != body {
			t.Errorf("%v, %d bytes of %d", err, len(b), len(body))
		}
	})
	t.Run("head", func(t *testing.T) {
		t.Parallel()
		res, err := http.Head(in.url + "/")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 || res.ContentLength != 2 {
			t.Errorf("%s, length %d", res.Status, res.ContentLength)
		}
	})
	t.Run("events and sockets", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		events := openEvents(t, ctx, in.url)
		for i := range 3 {
			if line := events.next(); line != fmt.Sprint("data: v1 ", i) {
				t.Errorf("event %d: %q", i, line)
			}
		}
		s := openSocket(t, in.url)
		for _, text := range []string{"one", "two"} {
			if line := s.say(text); line != "v1 "+text {
				t.Errorf("socket: %q", line)
			}
		}
	})
}

// A client that goes away frees its place at the app.
func TestClientGoesAway(t *testing.T) {
	t.Parallel()
	in := newInstance(t).start()
	in.deploy(map[string]string{"VERSION": "v1"})
	ctx, cancel := context.WithCancel(t.Context())
	events := openEvents(t, ctx, in.url)
	events.next()
	if n := in.report().InFlight; n != 1 {
		t.Fatalf("%d in flight", n)
	}
	cancel()
	eventually(t, "nothing in flight", func() bool { return in.report().InFlight == 0 })
	in.mustServe("v1")
}

func TestControlPort(t *testing.T) {
	t.Parallel()
	in := newInstance(t).start()
	for _, tc := range []struct {
		method, path, auth string
		want               int
	}{
		{"GET", "/-/runtime", "", 200},
		{"GET", "/-/app", "", 401},
		{"GET", "/-/app", "Bearer wrong", 401},
		{"GET", "/-/app", controlKey, 401},
		{"GET", "/-/app", "Bearer " + controlKey, 200},
		{"GET", "/-/app?seq=x", "Bearer " + controlKey, 400},
		{"GET", "/-/app?wait=x", "Bearer " + controlKey, 400},
		{"POST", "/-/ring", "", 401},
		{"GET", "/-/ring", "Bearer " + controlKey, 404},
		{"POST", "/-/ring", "Bearer " + controlKey, 202},
		{"GET", "/", "Bearer " + controlKey, 404},
	} {
		req, err := http.NewRequest(tc.method, in.ctl+tc.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", tc.auth)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != tc.want {
			t.Errorf("%s %s with %q answered %s, want %d", tc.method, tc.path, tc.auth, res.Status, tc.want)
		}
	}
	start := time.Now()
	if r := in.appReport("/-/app?seq=7&wait=80ms"); r.Seq != 0 || time.Since(start) < 80*time.Millisecond || time.Since(start) > 5*time.Second {
		t.Errorf("a wait for what does not come took %s: %+v", time.Since(start), r)
	}
}

// The doorbell alone is enough, and at once.
func TestDoorbell(t *testing.T) {
	t.Parallel()
	in := newInstance(t, func(c *agent.Config) { c.Poll = agent.Duration(time.Hour) }).start()
	p := in.publish(in.stage(map[string]string{"VERSION": "v1"}))
	in.ring()
	if r := in.await(p.Seq); r.Seq != p.Seq {
		t.Fatalf("report: %+v", r)
	}
	in.mustServe("v1")
}
