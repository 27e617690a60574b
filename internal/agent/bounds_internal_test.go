package agent

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	t.Parallel()
	var b backoff
	now := time.Now()
	if pause := b.next(now); pause != 0 {
		t.Errorf("the first pause is %s", pause)
	}
	for n, most := 1, firstBackoff; n < 40; n, most = n+1, min(2*most, maxBackoff) {
		if pause := b.next(now); pause < most/2 || pause > most {
			t.Errorf("pause %d is %s, want %s to %s", n, pause, most/2, most)
		}
	}
	if pause := b.next(now.Add(crashWindow + time.Second)); pause != 0 || b.recent() != 1 {
		t.Errorf("after a quiet window the pause is %s", pause)
	}
}

// Requests for a crashed app wait, but only so many, and only so long.
func TestHoldIsBounded(t *testing.T) {
	t.Parallel()
	const wait = 300 * time.Millisecond
	r := newRouter(wait, wait)
	r.point(target{phase: Failing, hold: true})
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://app/", nil)
	if err != nil {
		t.Fatal(err)
	}
	const extra = 50
	var early atomic.Int64
	start := time.Now()
	done := make(chan error)
	for range maxHeld + extra {
		go func() {
			_, err := r.RoundTrip(req)
			if time.Since(start) < wait {
				early.Add(1)
			}
			done <- err
		}()
	}
	for range maxHeld + extra {
		if err := <-done; !errors.Is(err, errNoApp) {
			t.Fatal(err)
		}
	}
	if early.Load() != extra || r.held.Load() != 0 {
		t.Errorf("%d were turned away at once, want %d; %d still counted", early.Load(), extra, r.held.Load())
	}
}
