package awstest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// operation is one call of a service: it reads what is asked into the SDK's
// input type, and returns the SDK's output type or why not.
type operation func(read func(input any) error) (output any, no *refusal)

// refusal is an error of AWS.
type refusal struct{ code, message string }

func refuse(code, format string, args ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// op makes an operation of a function of the SDK's types.
func op[In, Out any](do func(*In) (*Out, *refusal)) operation {
	return func(read func(any) error) (any, *refusal) {
		in := new(In)
		if err := read(in); err != nil {
			return nil, &refusal{"SerializationException", err.Error()}
		}
		out, no := do(in)
		if no != nil {
			return nil, no
		}
		return out, nil
	}
}

// targets is a service whose calls are named in the header X-Amz-Target and
// whose bodies are JSON. One call at a time.
type targets struct {
	mu    *sync.Mutex
	names func(field string) string // of the SDK's fields, in the answers
	calls map[string]operation
	// before, unless nil, is told of each call, which waits for it.
	before func(*http.Request)
}

func (t *targets) operation(r *http.Request) string { return targetOf(r) }

func (t *targets) serve(operation string, w http.ResponseWriter, r *http.Request) {
	do := t.calls[operation]
	if do == nil {
		refuseJSON(w, "UnknownOperationException", operation+" is not played")
		return
	}
	out, no := t.locked(do, r)
	if no != nil {
		refuseJSON(w, no.code, no.message)
		return
	}
	_, _ = w.Write(out)
}

// locked answers under the lock: what is returned are the service's own values.
func (t *targets) locked(do operation, r *http.Request) ([]byte, *refusal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.before != nil {
		t.before(r)
	}
	out, no := do(func(input any) error { return readJSON(r.Body, input) })
	if no != nil {
		return nil, no
	}
	return encodeJSON(out, t.names), nil
}

func ptr[T any](v T) *T { return &v }

// errorOf returns a refusal as an error of Go's.
func errorOf(no *refusal) error { return errors.New(no.code + ": " + no.message) }

// identity returns a UUID of its arguments.
func identity(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
