// Package fault sorts errors by what can be done about them.
//
// The kind of an error decides, in one table each, whether a task is tried
// again (pipeline), which HTTP status the API answers (console) and what a
// commit status says (sync). Code that fails states the kind where it knows
// it; everything between only wraps with %w.
package fault

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind says what can be done about an error.
type Kind string

const (
	// Invalid is wrong input: only a changed input can help. Never retried.
	Invalid Kind = "Invalid"
	// NotFound is something named that does not exist. Never retried.
	NotFound Kind = "NotFound"
	// Conflict is something held or changed by another: retried after a while.
	Conflict Kind = "Conflict"
	// Transient is a failure of the moment: retried with back-off.
	Transient Kind = "Transient"
	// Stalled is something that did not come about in its time, and will not
	// by waiting longer. Never retried.
	Stalled Kind = "Stalled"
)

// Retryable reports whether trying the same thing again may help.
func (k Kind) Retryable() bool { return k == Transient || k == Conflict }

// Error is an error of a known kind. Hint, when set, tells the user what to do
// next; Detail holds longer output (a compiler's, an app's last log lines).
type Error struct {
	Kind   Kind
	Hint   string
	Detail string
	Err    error
	After  time.Time // when set, trying again before then is in vain: a server said so
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an error of the given kind; format may use %w.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// WithHint returns e with a sentence that says what to do next.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// WithDetail returns e with longer output that explains it.
func (e *Error) WithDetail(detail string) *Error {
	c := *e
	c.Detail = detail
	return &c
}

// WithAfter returns e with the time before which trying again is in vain.
func (e *Error) WithAfter(t time.Time) *Error {
	c := *e
	c.After = t
	return &c
}

// After returns the time before which trying again is in vain, or the zero time.
func After(err error) time.Time {
	var e *Error
	if errors.As(err, &e) {
		return e.After
	}
	return time.Time{}
}

// KindOf returns the kind of err. An error nobody classified is Transient: it
// is retried, within bounds, rather than given up on.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.DeadlineExceeded):
		return Stalled
	default:
		return Transient
	}
}

// Is reports whether err is of the given kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// Record is an error in the form that is stored and shown. It survives JSON,
// so an error read back after a crash has the kind it had before.
type Record struct {
	Kind    Kind   `json:"kind"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// RecordOf returns err in its stored form, or nil for a nil error.
func RecordOf(err error) *Record {
	if err == nil {
		return nil
	}
	r := &Record{Kind: KindOf(err), Message: err.Error()}
	var e *Error
	if errors.As(err, &e) {
		r.Hint, r.Detail = e.Hint, e.Detail
	}
	return r
}

// Err returns the error that r records, or nil for a nil record.
func (r *Record) Err() error {
	if r == nil {
		return nil
	}
	return &Error{Kind: r.Kind, Hint: r.Hint, Detail: r.Detail, Err: errors.New(r.Message)}
}
