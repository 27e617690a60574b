package edge_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

func TestStreams(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	next := make(chan string)
	f.tenant("sse", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			select {
			case s := <-next:
				_, _ = io.WriteString(w, s)
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}))
	f.tenant("ws", http.HandlerFunc(upgrade))

	t.Run("server-sent events", func(t *testing.T) {
		r, _ := http.NewRequest("GET", "http://"+f.cfg.Addr+"/events", nil)
		r.Host = "sse.localhost"
		go func() { next <- "data: 1\n\n" }()
		res, err := f.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		for i, want := range []string{"data: 1\n\n", "data: 2\n\n", "data: 3\n\n"} {
			if i > 0 {
				next <- want // only once the one before has arrived
			}
			buf := make([]byte, len(want))
			if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != want {
				t.Fatalf("event %d: %q %v", i, buf, err)
			}
		}
	})
	t.Run("upgraded connection", func(t *testing.T) {
		conn, br := dialUpgrade(t, f)
		defer conn.Close()
		for _, s := range []string{"one\n", "two\n"} {
			_, _ = io.WriteString(conn, s)
			if line, err := br.ReadString('\n'); err != nil || line != "echo "+s {
				t.Fatalf("%q %v", line, err)
			}
		}
	})
	t.Run("large bodies both ways", func(t *testing.T) {
		f.tenant("big", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			_, _ = w.Write(b)
		}))
		body := bytes.Repeat([]byte("0123456789abcdef"), 1<<20/4)
		res := f.do("POST", "big.localhost", "/", func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		})
		if res.StatusCode != 200 || res.body != string(body) {
			t.Errorf("%d, %d of %d bytes", res.StatusCode, len(res.body), len(body))
		}
	})
}

// upgrade switches to a protocol that echoes lines.
func upgrade(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "websocket" {
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "echo "+line)
	}
}

func dialUpgrade(t *testing.T, f *fixture) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", f.cfg.Addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
	_, _ = io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: ws.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", res, err)
	}
	return conn, br
}
