package console

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// logs streams an app's output. What fails after the first byte breaks the
// connection off, so that a cut stream never looks like a whole one.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) error {
	name, follow := r.PathValue("name"), false
	if v := r.URL.Query().Get("follow"); v != "" {
		var err error
		if follow, err = strconv.ParseBool(v); err != nil {
			return fault.Errorf(fault.Invalid, "follow=%s is neither true nor false", v)
		}
	}
	if _, err := s.config.Ledger.Tenant(r.Context(), name); err != nil {
		if fault.Is(err, fault.NotFound) {
			return noTenant(name)
		}
		return fmt.Errorf("read tenant %s: %w", name, err)
	}
	out := &stream{w: w, control: http.NewResponseController(w)}
	if err := out.control.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("prepare stream: %w", err)
	}
	if follow {
		out.start() // the client sees that it is connected before anything is written
	}
	err := s.config.Platform.Logs(r.Context(), name, out, follow)
	switch {
	case err == nil, r.Context().Err() != nil:
		return nil //nolint:nilerr // whoever asked is gone, or the server ends
	case out.started:
		s.config.Log.Warn("log stream broke off", "tenant", name, "error", err)
		panic(http.ErrAbortHandler)
	}
	return fmt.Errorf("read logs of %s: %w", name, err)
}

// stream writes through to the client at once. A client that takes nothing for
// a while is given up, however long the stream lasts in all.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	started bool
}

// start sends the header. A client that is gone shows at the next write.
func (s *stream) start() {
	s.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	s.w.Header().Set("Cache-Control", "no-store")
	s.w.Header().Set("X-Content-Type-Options", "nosniff")
	s.started = true
	_ = s.control.Flush()
}

func (s *stream) Write(p []byte) (int, error) {
	if err := s.control.SetWriteDeadline(time.Now().Add(requestTimeout)); err != nil {
		return 0, err
	}
	if !s.started {
		s.start()
	}
	n, err := s.w.Write(p)
	if err != nil {
		return n, err
	}
	return n, s.control.Flush()
}
