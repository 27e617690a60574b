package githubtest

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// FaultKind is a way to fail.
type FaultKind string

// The ways to fail.
const (
	ServerError FaultKind = "500"   // an answer 500 with a page of HTML
	Hold        FaultKind = "hold"  // no answer, until the fault ends
	Reset       FaultKind = "reset" // the connection is reset at once
	Limited     FaultKind = "limit" // 403 with Retry-After
	Lost        FaultKind = "lost"  // it is done, and the connection is reset instead of an answer
)

// Fault says which requests fail, and how.
type Fault struct {
	Kind  FaultKind
	Times int // requests that fail; 0 means all until it is ended
	// Match says which requests; nil means all, those of git, too.
	Match func(*http.Request) bool
	// RetryAfter is what Limited says; 0 means a second.
	RetryAfter time.Duration
}

type fault struct {
	Fault
	left int
	over chan struct{}
}

// Fail has requests fail. It returns what ends that; a fault that has had its
// Times ends by itself.
func (s *Server) Fail(f Fault) (end func()) {
	active := &fault{Fault: f, left: f.Times, over: make(chan struct{})}
	s.faultsMu.Lock()
	s.faults = append(s.faults, active)
	s.faultsMu.Unlock()
	return sync.OnceFunc(func() {
		s.faultsMu.Lock()
		defer s.faultsMu.Unlock()
		s.drop(active)
		close(active.over)
	})
}

func (s *Server) drop(f *fault) {
	for i, other := range s.faults {
		if other == f {
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
			return
		}
	}
}

// faultFor returns the fault that a request meets, if there is one.
func (s *Server) faultFor(r *http.Request) *fault {
	s.faultsMu.Lock()
	defer s.faultsMu.Unlock()
	for _, f := range s.faults {
		if f.Match != nil && !f.Match(r) {
			continue
		}
		if f.Times > 0 {
			if f.left--; f.left == 0 {
				s.drop(f)
			}
		}
		return f
	}
	return nil
}

// failing fails the requests that are to fail, and hands on the others.
func (s *Server) failing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := s.faultFor(r)
		if f == nil {
			next.ServeHTTP(w, r)
			return
		}
		switch f.Kind {
		case ServerError:
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte("<html><h1>Unicorn!</h1></html>")) // as GitHub's are
		case Limited:
			w.Header().Set("Retry-After", strconv.Itoa(int(max(f.RetryAfter, time.Second)/time.Second)))
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"message":"You have exceeded a secondary rate limit."}`)) // nobody misses it
		case Hold:
			select {
			case <-f.over:
			case <-r.Context().Done():
			case <-s.closing:
			}
			reset(w)
		case Lost:
			next.ServeHTTP(&recorder{header: http.Header{}}, r)
			reset(w)
		default:
			reset(w)
		}
	})
}

// reset closes the connection without an answer.
func reset(w http.ResponseWriter) {
	if hijacker, ok := w.(http.Hijacker); ok {
		if conn, _, err := hijacker.Hijack(); err == nil {
			if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
				_ = tcp.SetLinger(0) // a reset instead of an end
			}
			_ = conn.Close()
			return
		}
	}
	panic(http.ErrAbortHandler)
}
