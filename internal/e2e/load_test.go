package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load asks tenants without pause, by POST (which nobody may retry), and counts
// what fails.
type load struct {
	cancel   context.CancelFunc
	workers  sync.WaitGroup
	requests atomic.Int64
	failed   atomic.Int64
	mu       sync.Mutex
	first    string // failure
}

// startLoad sends requests to each tenant from n workers, half of them with a
// new connection each time.
func (w *world) startLoad(n int, tenants ...string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	for _, tenant := range tenants {
		for i := range n {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: i%2 == 1}, Timeout: 30 * time.Second}
			l.workers.Add(1)
			go func() {
				defer l.workers.Done()
				defer client.CloseIdleConnections()
				for ctx.Err() == nil {
					l.one(ctx, client, w.edge, tenant+"."+w.domain)
				}
			}()
		}
	}
	return l
}

func (l *load) one(ctx context.Context, client *http.Client, edge, host string) {
	r, err := http.NewRequest(http.MethodPost, "http://"+edge+"/version", strings.NewReader("x"))
	if err != nil {
		panic(err)
	}
	r.Host = host
	answer, err := client.Do(r)
	if err == nil {
		var body []byte
		body, err = io.ReadAll(answer.Body)
		answer.Body.Close()
		if err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d: %s", answer.StatusCode, body)
		}
	}
	l.requests.Add(1)
	if err != nil && ctx.Err() == nil {
		l.failed.Add(1)
		l.mu.Lock()
		if l.first == "" {
			l.first = fmt.Sprintf("%s at %s: %v", host, time.Now().Format(time.RFC3339Nano), err)
		}
		l.mu.Unlock()
	}
	select { // a steady load, not a flood: the machine has work to do besides
	case <-ctx.Done():
	case <-time.After(2 * time.Millisecond):
	}
}

// stop ends the load and fails the test if any request failed.
func (l *load) stop(t testing.TB) {
	t.Helper()
	l.cancel()
	l.workers.Wait()
	t.Logf("%d requests, %d failed", l.requests.Load(), l.failed.Load())
	if n := l.failed.Load(); n > 0 {
		t.Errorf("%d of %d requests failed; the first: %s", n, l.requests.Load(), l.first)
	}
	if l.requests.Load() == 0 {
		t.Error("the load sent nothing")
	}
}

// lockedBuffer collects a process's output.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
