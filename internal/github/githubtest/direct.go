package githubtest

import (
	"errors"
	"net/http"
	"net/http/httptest"
)

// Direct sends requests to a handler without a network, so that tests can run on
// a clock of their own (testing/synctest).
type Direct struct{ Handler http.Handler }

// errReset is what a reset connection looks like.
var errReset = errors.New("connection reset by peer")

// RoundTrip implements http.RoundTripper.
func (d Direct) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.RequestURI = r.URL.RequestURI()
	answer := httptest.NewRecorder()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- errReset
			}
		}()
		d.Handler.ServeHTTP(answer, in)
		done <- nil
	}()
	select {
	case err := <-done:
		closeBody(r)
		if err != nil {
			return nil, err
		}
		resp := answer.Result()
		resp.Request = r
		return resp, nil
	case <-r.Context().Done():
		closeBody(r)
		return nil, r.Context().Err()
	}
}

var _ http.RoundTripper = Direct{}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close() // as a RoundTripper must
	}
}
