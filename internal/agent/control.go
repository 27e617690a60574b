package agent

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// maxWait bounds a long poll.
const maxWait = time.Minute

// control is the agent's own port:
//
//	GET  /-/runtime            200: the instance is up; 503: it is stopping. Open.
//	GET  /-/app                the Report as JSON
//	GET  /-/app?seq=N&wait=25s the same, as soon as pointer N, or a later one,
//	                           serves or failed, or when the wait is over
//	POST /-/ring               look at the pointer now
//
// All but the first need "Authorization: Bearer <control key>".
type control struct {
	key      []byte
	board    *board
	inFlight func() int64
	ring     chan<- struct{}
	stopping atomic.Bool
	ended    <-chan struct{} // ends every long poll
}

func (c *control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/-/runtime" {
		if c.stopping.Load() {
			http.Error(w, "stopping", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
		return
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || subtle.ConstantTimeCompare([]byte(token), c.key) != 1 {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "the control key is needed", http.StatusUnauthorized)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /-/app":
		c.app(w, r)
	case "POST /-/ring":
		select {
		case c.ring <- struct{}{}:
		default: // a look is due anyway
		}
		w.WriteHeader(http.StatusAccepted)
	default:
		http.NotFound(w, r)
	}
}

func (c *control) app(w http.ResponseWriter, r *http.Request) {
	seq, wait, err := longPoll(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	report := c.await(r.Context(), seq, wait)
	report.InFlight, report.Health = c.inFlight(), report.health()
	if pid := c.board.process(); pid != 0 {
		var cpu time.Duration
		report.Memory, cpu = usage(pid)
		report.CPUSeconds = cpu.Seconds()
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(report)
}

func longPoll(r *http.Request) (seq uint64, wait time.Duration, err error) {
	q := r.URL.Query()
	if s := q.Get("seq"); s != "" {
		if seq, err = strconv.ParseUint(s, 10, 64); err != nil {
			return 0, 0, err
		}
	}
	if s := q.Get("wait"); s != "" {
		if wait, err = time.ParseDuration(s); err != nil {
			return 0, 0, err
		}
	}
	return seq, min(wait, maxWait), nil
}

// await returns the report once the pointer is settled, or the wait is over.
func (c *control) await(ctx context.Context, seq uint64, wait time.Duration) Report {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		report, changed := c.board.read()
		if wait <= 0 || report.settled(seq) {
			return report
		}
		select {
		case <-changed:
		case <-timer.C:
			wait = 0
		case <-c.ended:
			wait = 0
		case <-ctx.Done():
			wait = 0
		}
	}
}
