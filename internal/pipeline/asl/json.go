package asl

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// document is a state machine.
type document struct {
	Comment string
	StartAt string
	States  states
}

// state is one state; what does not belong to its type is left out.
type state struct {
	Type     string
	Comment  string `json:",omitempty"`
	Resource string `json:",omitempty"`

	Parameters     object          `json:",omitempty"`
	ResultSelector object          `json:",omitempty"`
	ResultPath     json.RawMessage `json:",omitempty"`
	TimeoutSeconds int             `json:",omitempty"`
	Retry          []retrier       `json:",omitempty"`
	Catch          []catcher       `json:",omitempty"`

	Seconds   int    `json:",omitempty"`
	Choices   []rule `json:",omitempty"`
	Default   string `json:",omitempty"`
	ErrorPath string `json:",omitempty"`
	CausePath string `json:",omitempty"`

	Next string `json:",omitempty"`
	End  bool   `json:",omitempty"`
}

type retrier struct {
	ErrorEquals     []string
	IntervalSeconds int
	BackoffRate     int
	MaxAttempts     int
	MaxDelaySeconds int
	JitterStrategy  string
}

type catcher struct {
	ErrorEquals []string
	ResultPath  json.RawMessage
	Next        string
}

type rule struct {
	Not           *rule   `json:",omitempty"`
	And           []*rule `json:",omitempty"`
	Variable      string  `json:",omitempty"`
	IsPresent     bool    `json:",omitempty"`
	IsBoolean     bool    `json:",omitempty"`
	BooleanEquals bool    `json:",omitempty"`
	Next          string  `json:",omitempty"`
}

// discard is the path of a result that is not kept.
var discard = json.RawMessage("null")

// path is the path of a result that is kept; p is plain.
func path(p string) json.RawMessage { return json.RawMessage(`"` + p + `"`) }

// leads has the state lead to next, or end the machine.
func leads(s state, next string) state {
	s.Next, s.End = next, next == ""
	return s
}

// object is a JSON object in the order it was written in, so that a document reads
// as its machine does.
type object []member

type member struct {
	key   string
	value any
}

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			out.WriteByte(',')
		}
		if err := write(&out, m.key); err != nil {
			return nil, err
		}
		out.WriteByte(':')
		if err := write(&out, m.value); err != nil {
			return nil, fmt.Errorf("%s: %w", m.key, err)
		}
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

func write(out *bytes.Buffer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// states are a document's states in the order of the machine.
type states []named

type named struct {
	name  string
	state state
}

// MarshalJSON writes the states in their order.
func (s states) MarshalJSON() ([]byte, error) {
	o := make(object, len(s))
	for i, n := range s {
		o[i] = member{n.name, n.state}
	}
	return o.MarshalJSON()
}
