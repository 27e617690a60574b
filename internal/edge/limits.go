package edge

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/time/rate"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Limits bound what one tenant takes of the edge, so that the others have the
// rest. 0 stands for the default.
type Limits struct {
	Rate       float64 `json:"rate,omitempty"`       // requests a second; default 5000
	Burst      int     `json:"burst,omitempty"`      // requests at once; default: a second's
	Concurrent int     `json:"concurrent,omitempty"` // requests under way, streams among them; default 2000
	Body       int64   `json:"body,omitempty"`       // bytes of a request's body; default 1 GiB
}

const (
	defaultRate       = 5000
	defaultConcurrent = 2000
	defaultBody       = 1 << 30
)

// or returns the limits with those of d in place of what is not set.
func (l Limits) or(d Limits) Limits {
	if l.Rate > 0 && l.Burst == 0 {
		l.Burst = max(int(l.Rate), 1)
	}
	if l.Rate == 0 {
		l.Rate = d.Rate
	}
	if l.Burst == 0 {
		l.Burst = d.Burst
	}
	if l.Concurrent == 0 {
		l.Concurrent = d.Concurrent
	}
	if l.Body == 0 {
		l.Body = d.Body
	}
	return l
}

// Validate returns what is wrong with them, as fault.Invalid.
func (l Limits) Validate() error {
	if l.Rate < 0 || l.Burst < 0 || l.Concurrent < 0 || l.Body < 0 {
		return fault.Errorf(fault.Invalid, "limits: a negative number")
	}
	return nil
}

// refusal is an error that has its page.
type refusal struct{ page page }

func (e *refusal) Error() string { return fmt.Sprintf("refused: %d %s", e.page.status, e.page.title) }

// Reasons to refuse a tenant's request, as the metrics count them.
const (
	overRate = iota
	overConcurrent
	overBody
	slowBody
	refusalKinds
)

var refusalNames = [refusalKinds]string{"rate", "concurrent", "body", "slow"}

// enter counts a request of the tenant in, unless it has too many. Whoever
// entered leaves.
func (e *entry) enter(now time.Time) error {
	l := e.limits.Load()
	if e.inFlight.Add(1) > int64(l.Concurrent) {
		e.inFlight.Add(-1)
		e.refused[overConcurrent].Add(1)
		return &refusal{page{status: http.StatusTooManyRequests, title: "Too many requests", text: "Too many are under way. Try again in a moment.", retry: 1}}
	}
	if !e.bucket.AllowN(now, 1) {
		e.inFlight.Add(-1)
		e.refused[overRate].Add(1)
		return &refusal{page{status: http.StatusTooManyRequests, title: "Too many requests", text: "They come too fast. Try again in a moment.", retry: 1}}
	}
	e.waiting.Add(1)
	return nil
}

// answered counts a request out of those that wait.
func (v *visit) answered() {
	if v.waits {
		v.waits = false
		v.entry.waiting.Add(-1)
	}
}

func (e *entry) leave() { e.inFlight.Add(-1) }

// setLimits has the tenant's limits be l.
func (e *entry) setLimits(l Limits) {
	was := e.limits.Load()
	if was != nil && *was == l {
		return
	}
	e.limits.Store(&l)
	if e.bucket == nil { // before anyone sees the entry
		e.bucket = rate.NewLimiter(rate.Limit(l.Rate), l.Burst)
		return
	}
	e.bucket.SetLimit(rate.Limit(l.Rate))
	e.bucket.SetBurst(l.Burst)
}

// A body must come at least so fast, on average, after a while of grace: a
// client that sends a byte now and then would hold an instance's connection.
const (
	bodyGrace   = 30 * time.Second
	minBodyRate = 1 << 10 // bytes a second
)

// boundedBody is a request's body that is not larger, and does not come slower,
// than is taken.
type boundedBody struct {
	io.ReadCloser
	deadline func(time.Time) error // sets the connection's
	began    time.Time
	grace    time.Duration
	read     int64
	slow     bool
}

// bound puts a bound on a request's body.
func (v *visit) bound(w http.ResponseWriter, r *http.Request) error {
	limit := v.entry.limits.Load().Body
	if r.ContentLength > limit {
		return &http.MaxBytesError{Limit: limit}
	}
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	v.body = &boundedBody{
		ReadCloser: http.MaxBytesReader(w, r.Body, limit), grace: bodyGrace,
		deadline: http.NewResponseController(w).SetReadDeadline,
	}
	r.Body = v.body
	return nil
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.began.IsZero() { // from when it is asked for: an app may take its time
		b.began = time.Now()
	}
	late := b.began.Add(b.grace + time.Duration(b.read)*time.Second/minBodyRate)
	_ = b.deadline(late)
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.slow = true
	case err != nil: // the end: what the server reads next is not the body
		_ = b.deadline(time.Time{})
	}
	return n, err
}
