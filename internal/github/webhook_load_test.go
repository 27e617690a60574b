package github_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	gosync "sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gitopsd/gitopsd/internal/review"
)

// TestWebhookDoesNotWait: deliveries are answered while a hint is worked off; what
// has no room is told without what it is about.
func TestWebhookDoesNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []review.Hint
		busy := make(chan struct{})
		h, err := quiet(t).Webhook([]byte(secret), &remembered{}, func(hint review.Hint) {
			<-busy
			got = append(got, hint)
		})
		do(t, err)
		const many = 2000
		for i := range many {
			body := fmt.Sprintf(`{"action":"opened","number":%d,"repository":{"full_name":"acme/tenants"}}`, i+1)
			if status, text := answer(h, request("pull_request", fmt.Sprint(i), body)); status != http.StatusAccepted {
				t.Fatalf("%d: %d %s", i, status, text)
			}
		}
		close(busy)
		synctest.Wait()
		n := len(got)
		if n > 300 || n < 200 || got[n-1] != (review.Hint{Kind: review.HintPull}) {
			t.Errorf("%d hints, the last %+v", n, got[n-1])
		}
		for i, hint := range got[:n-1] {
			if hint.Pull != i+1 {
				t.Fatalf("the hint %d is of %d", i, hint.Pull)
			}
		}
	})
}

// blocked is a body that does not come to its end before it is let go.
type blocked chan struct{}

func (b blocked) Read([]byte) (int, error) {
	<-b
	return 0, io.EOF
}

// TestWebhookMemory: many who send much do not take more memory than one may.
func TestWebhookMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHook(t, quiet(t))
		end := make(blocked)
		long := func(rest io.Reader) *http.Request {
			r := request("push", "long", pushed)
			r.Body, r.ContentLength = io.NopCloser(io.MultiReader(bytes.NewReader(make([]byte, 20<<20)), rest)), -1
			return r
		}
		var readers gosync.WaitGroup
		for range 3 {
			readers.Go(func() {
				if status, _ := answer(h, long(end)); status != http.StatusUnauthorized {
					t.Errorf("one of three: %d", status)
				}
			})
		}
		synctest.Wait()
		if status, _ := answer(h, long(http.NoBody)); status != http.StatusServiceUnavailable {
			t.Errorf("the fourth: %d", status)
		}
		if status, _ := answer(h, request("push", "1", pushed)); status != http.StatusAccepted {
			t.Errorf("a short one meanwhile: %d", status)
		}
		close(end)
		readers.Wait()
		if status, _ := answer(h, long(http.NoBody)); status != http.StatusUnauthorized {
			t.Errorf("after them: %d", status)
		}
	})
}

// TestWebhookSlowBody: who sends a byte now and then does not hold a connection.
func TestWebhookSlowBody(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for ten seconds")
	}
	server := httptest.NewServer(newHook(t, quiet(t)))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	do(t, err)
	defer func() { _ = conn.Close() }()
	begin := time.Now()
	_, err = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\nX-Hub-Signature-256: sha256=%s\r\n\r\n", strings.Repeat("0", 64))
	do(t, err)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
				if _, err := conn.Write([]byte("x")); err != nil {
					return
				}
			}
		}
	}()
	do(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("after %v: %v", time.Since(begin), err)
	}
	_ = resp.Body.Close() // the status says all
	if took := time.Since(begin); resp.StatusCode != http.StatusRequestTimeout || took > 15*time.Second {
		t.Errorf("answers %d after %v", resp.StatusCode, took)
	}
}
