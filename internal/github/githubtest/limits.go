package githubtest

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// limits counts requests. GitHub's are by the hour, and for mutations also by the
// minute.
type limits struct {
	mu       sync.Mutex
	accounts map[string]*window
	early    int // requests that came although they were told to wait
}

// window is what an account has used.
type window struct {
	used   int
	resets time.Time
	wait   time.Time // nothing before, by the secondary limit
	minute time.Time // of mutations
	made   int       // in that minute
}

func (s *Server) limit() int {
	if s.options.Limit == 0 {
		return 5000
	}
	return s.options.Limit
}

// Early returns how many requests came before the time that they were told to
// wait for.
func (s *Server) Early() int {
	s.limits.mu.Lock()
	defer s.limits.mu.Unlock()
	return s.limits.early
}

// limited returns the answer to an account that asks too much.
func (s *Server) limited(account, method string) *answer {
	l := &s.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	w := l.of(account, now)
	switch {
	case now.Before(w.wait):
		l.early++
		return s.secondary(w.wait.Sub(now))
	case w.used >= s.limit():
		l.early++
		a := problem(http.StatusForbidden, "API rate limit exceeded for "+account+".")
		return &a
	}
	if method == http.MethodGet || s.options.MutationsAMinute == 0 {
		return nil
	}
	if now.Sub(w.minute) >= time.Minute {
		w.minute, w.made = now, 0
	}
	if w.made++; w.made <= s.options.MutationsAMinute {
		return nil
	}
	wait := s.options.SecondaryWait
	if wait == 0 {
		wait = time.Minute
	}
	w.wait = now.Add(wait)
	return s.secondary(wait)
}

func (s *Server) secondary(wait time.Duration) *answer {
	a := problem(http.StatusForbidden, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.")
	a.body.(object)["documentation_url"] = "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"
	if s.options.SecondaryWait > 0 {
		seconds := int((wait + time.Second - 1) / time.Second)
		a.header = http.Header{"Retry-After": {strconv.Itoa(seconds)}}
	}
	return &a
}

func (l *limits) of(account string, now time.Time) *window {
	w := l.accounts[account]
	if w == nil || !now.Before(w.resets) {
		fresh := &window{resets: now.Add(time.Hour).Truncate(time.Second)}
		if w != nil {
			fresh.wait, fresh.minute, fresh.made = w.wait, w.minute, w.made
		}
		w = fresh
		l.accounts[account] = w
	}
	return w
}

// account takes a request off what is left, and says what that is. One that is
// answered that nothing changed is free.
func (s *Server) account(w http.ResponseWriter, account string, status int) {
	l := &s.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	used := l.of(account, time.Now())
	if status != http.StatusNotModified && used.used < s.limit() {
		used.used++
	}
	h := w.Header()
	h.Set("X-RateLimit-Limit", strconv.Itoa(s.limit()))
	h.Set("X-RateLimit-Used", strconv.Itoa(used.used))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(s.limit()-used.used))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(used.resets.Unix(), 10))
	h.Set("X-RateLimit-Resource", "core")
}

// Used returns how many requests of an hour an account has used.
func (s *Server) Used(account string) int {
	s.limits.mu.Lock()
	defer s.limits.mu.Unlock()
	return s.limits.of(account, time.Now()).used
}
