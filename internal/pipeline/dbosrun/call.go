package dbosrun

import (
	"context"
	"encoding/json"
	"errors"
	"runtime/debug"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
)

const (
	// maxOutput bounds a task's output, in bytes: as much as Step Functions
	// passes between states. Source: its quotas.
	maxOutput = 256 << 10
	// maxMessage and maxDetail bound what is kept of an error, in bytes.
	maxMessage = 4 << 10
	maxDetail  = 64 << 10
)

// call runs a task once, within its state's timeout, and returns its output as
// JSON.
func (x *execution) call(ctx context.Context, s pipeline.State, path string, in pipeline.Input) (json.RawMessage, error) {
	limited, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	out, err := x.guard(limited, s, path, in)
	if err != nil {
		var known *fault.Error
		timedOut := limited.Err() != nil && ctx.Err() == nil
		if timedOut && !(errors.As(err, &known) && known.Kind == fault.Stalled) { // it may say more itself
			return nil, fault.Errorf(fault.Stalled, "%s did not end within %s: %w", path, s.Timeout, err)
		}
		return nil, err
	}
	raw, err := json.Marshal(out)
	switch {
	case err != nil:
		return nil, fault.Errorf(fault.Stalled, "%s: output cannot be kept: %w", path, err)
	case len(raw) > maxOutput:
		return nil, fault.Errorf(fault.Stalled, "%s: output has %d bytes, more than %d", path, len(raw), maxOutput)
	}
	return raw, nil
}

// guard runs a task and turns its panic into an error.
func (x *execution) guard(ctx context.Context, s pipeline.State, path string, in pipeline.Input) (out any, err error) {
	defer func() {
		if v := recover(); v != nil {
			x.Logger.Error("task panicked", "tenant", in.Run.Tenant, "commit", in.Run.Commit, "run", in.Run.ID,
				"state", path, "panic", v, "stack", string(debug.Stack()))
			out, err = nil, fault.Errorf(fault.Stalled, "%s panicked: %v", path, v).
				WithHint("this is a defect of the program; its log has more")
		}
	}()
	return x.Tasks[s.Task](ctx, in)
}

// record returns the error in its stored form, cut to what is worth keeping.
func record(err error) *fault.Record {
	r := *fault.RecordOf(err)
	r.Message = cut(r.Message, maxMessage)
	r.Detail = cut(r.Detail, maxDetail)
	return &r
}

// cut shortens long text by its middle: compilers say what matters first, apps
// last.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most/2], "") + "\n[…]\n" + strings.ToValidUTF8(s[len(s)-most/2:], "")
}
