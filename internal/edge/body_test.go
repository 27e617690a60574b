package edge

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A body that comes in drops is not waited for; one that comes as it should is,
// however long its sender thinks afterwards.
func TestSlowBodyEnds(t *testing.T) {
	t.Parallel()
	const grace = 300 * time.Millisecond
	slow := make(chan bool, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &visit{entry: &entry{}}
		v.entry.setLimits(Limits{Body: 1 << 20})
		if err := v.bound(w, r); err != nil {
			t.Errorf("bound: %v", err)
			return
		}
		v.body.grace = grace
		_, err := io.ReadAll(r.Body)
		if v.body.slow && v.statusOf(err) != http.StatusRequestTimeout {
			t.Errorf("status of %v", err)
		}
		slow <- v.body.slow
		w.WriteHeader(http.StatusOK)
	}))
	t.Cleanup(s.Close)
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		return conn
	}
	const head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"

	drops := dial()
	began := time.Now()
	go func() {
		_, _ = io.WriteString(drops, head)
		for range 5 {
			time.Sleep(grace / 2)
			_, _ = io.WriteString(drops, "x")
		}
	}()
	if !<-slow {
		t.Error("a body in drops was waited for")
	}
	if took := time.Since(began); took > 3*grace {
		t.Errorf("it was waited for %v", took)
	}

	fine := dial()
	br := bufio.NewReader(fine)
	for range 2 {
		_, _ = io.WriteString(fine, strings.Replace(head, "Host", "host", 1)+"hello")
		if <-slow {
			t.Error("a body that was all there is slow")
		}
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatalf("the connection is of no more use: %v", err)
		}
		_ = res.Body.Close()
		time.Sleep(2 * grace) // the connection outlives the body's deadline
	}
}
