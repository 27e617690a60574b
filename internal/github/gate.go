package github

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
)

const (
	secondaryWait    = time.Minute      // after a secondary limit that names no time, doubling
	secondaryWaitMax = 16 * time.Minute // doubling ends here
	mutationGap      = time.Second      // between mutations, once a secondary limit was met
	pacedFor         = time.Hour        // after the last secondary limit, mutations keep that gap
	longestWait      = 2 * time.Hour    // GitHub's own limits end within one: what asks for more is a mistake
	maxAnswer        = 64 << 20         // bytes; a page of 100 pull requests has 3 MB
)

// gate keeps GitHub's rate limits: once one is met it refuses every request until
// the limit is over, without sending it.
//
// Sources: docs.github.com, "Rate limits for the REST API" and "Best practices
// for using the REST API".
type gate struct {
	next http.RoundTripper
	now  func() time.Time
	log  *slog.Logger

	mu        sync.Mutex
	until     time.Time
	why       string
	strikes   int       // secondary limits in a row
	secondary time.Time // when the last one was met
}

// closed is what the gate answers instead of sending a request.
func (g *gate) closed() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now().Before(g.until) {
		return fault.Errorf(fault.Transient, "not sent: %s", g.why).WithAfter(g.until)
	}
	return nil
}

func (g *gate) open() bool { return g.closed() == nil }

// after returns when the gate opens, the zero time if it is open.
func (g *gate) after() time.Time { return fault.After(g.closed()) }

// paced reports whether mutations are to be sent apart from each other.
func (g *gate) paced() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.secondary.IsZero() && g.now().Sub(g.secondary) < pacedFor
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := g.closed(); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper must; nothing was read
		}
		return nil, err
	}
	// The time is bounded here, and not by the client, so that it holds for asking
	// for a token, too; and so the answer is read here, as a whole.
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	resp, err := g.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	_ = resp.Body.Close() // read as far as it is wanted
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer: %w", err)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	g.observe(resp, body)
	// go-github keeps limits of its own, by our clock, and would refuse requests
	// that the gate lets pass.
	for _, name := range []string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After"} {
		resp.Header.Del(name)
	}
	return resp, nil
}

// observe closes the gate if an answer says that a limit is met.
func (g *gate) observe(resp *http.Response, body []byte) {
	refused := resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusTooManyRequests
	spent := resp.Header.Get("X-RateLimit-Remaining") == "0"
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	switch wait, named := retryAfter(resp, now); {
	case refused && named:
		g.strikes++
		g.close(now, wait, "a secondary rate limit of GitHub is met")
	case spent:
		g.closePrimary(resp, now)
	case refused && (resp.StatusCode == http.StatusTooManyRequests || isSecondary(string(body))):
		wait := min(secondaryWait<<min(g.strikes, 10), secondaryWaitMax)
		g.strikes++
		g.close(now, wait, "a secondary rate limit of GitHub is met")
	case resp.StatusCode < http.StatusBadRequest:
		g.strikes = 0
	}
}

// close refuses requests for a while; pacing mutations starts with it.
func (g *gate) close(now time.Time, wait time.Duration, why string) {
	g.secondary = now
	g.shut(now.Add(wait), why)
}

func (g *gate) shut(until time.Time, why string) {
	if !until.After(g.until) {
		return
	}
	g.until, g.why = until, fmt.Sprintf("%s, until %s", why, until.UTC().Format(time.RFC3339))
	g.log.Warn("GitHub bounds requests", "why", why, "until", until)
}

// closePrimary waits for the reset, by GitHub's own clock: ours may be off.
func (g *gate) closePrimary(resp *http.Response, now time.Time) {
	reset, err := strconv.ParseInt(resp.Header.Get("X-RateLimit-Reset"), 10, 64)
	if resource := resp.Header.Get("X-RateLimit-Resource"); err != nil || (resource != "" && resource != "core") {
		return
	}
	there := now
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		there = date
	}
	wait := min(max(time.Unix(reset, 0).Sub(there), time.Second), time.Hour+time.Minute)
	g.shut(now.Add(wait), "the rate limit of GitHub is spent")
}

// retryAfter reads how long an answer asks to wait.
func retryAfter(resp *http.Response, now time.Time) (time.Duration, bool) {
	value := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil && seconds >= 0 {
		return min(max(time.Duration(seconds)*time.Second, time.Second), longestWait), true
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), time.Second), longestWait), true
	}
	return 0, false
}

func isSecondary(message string) bool {
	message = strings.ToLower(message)
	for _, sign := range []string{"secondary rate limit", "secondary-rate-limits", "abuse-rate-limits", "abuse detection"} {
		if strings.Contains(message, sign) {
			return true
		}
	}
	return false
}

// pace sends mutations one after another, a second apart, while the gate says
// that they should be. Otherwise it does not hold them up.
type pace struct {
	gate *gate
	turn chan struct{}
	last time.Time // guarded by turn
}

func newPace(g *gate) *pace { return &pace{gate: g, turn: make(chan struct{}, 1)} }

// wait returns when a mutation may be sent, and what to call after its answer.
func (p *pace) wait(ctx context.Context) (done func(), err error) {
	if err := p.gate.closed(); err != nil {
		return nil, err
	}
	if !p.gate.paced() {
		return func() {}, nil
	}
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	done = func() {
		p.last = p.gate.now()
		<-p.turn
	}
	timer := time.NewTimer(p.last.Add(mutationGap).Sub(p.gate.now()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return done, nil
	case <-ctx.Done():
		<-p.turn
		return nil, ctx.Err()
	}
}
