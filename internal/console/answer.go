package console

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// endpoint answers a request or returns why it cannot.
type endpoint func(w http.ResponseWriter, r *http.Request) error

// ServeHTTP turns an endpoint's error into an answer.
func (e endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := e(w, r); err != nil {
		refuse(w, codeOf(err), err)
	}
}

// codeOf is the one table from a fault's kind to an HTTP status.
func codeOf(err error) int {
	var big *http.MaxBytesError
	if errors.As(err, &big) {
		return http.StatusRequestEntityTooLarge
	}
	switch fault.KindOf(err) {
	case fault.Invalid:
		return http.StatusUnprocessableEntity
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.Transient:
		return http.StatusServiceUnavailable
	case fault.Stalled:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

func refuse(w http.ResponseWriter, code int, err error) {
	write(w, code, fault.RecordOf(err))
}

func answer(w http.ResponseWriter, v any) error {
	write(w, http.StatusOK, v)
	return nil
}

func write(w http.ResponseWriter, code int, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	// The client is gone if this fails; there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(v)
}
