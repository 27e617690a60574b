package pipeline_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	do := func(name, next string) pipeline.State {
		return pipeline.State{Name: name, Task: "Do", Timeout: time.Second, Next: next}
	}
	with := func(s pipeline.State, change func(*pipeline.State)) pipeline.State {
		change(&s)
		return s
	}
	one := func(states ...pipeline.State) []pipeline.Machine {
		return []pipeline.Machine{{Name: "m", Version: 1, Start: "A", States: states}}
	}
	nested := pipeline.State{Name: "A", Machine: "m"}
	for name, tt := range map[string]struct {
		machines []pipeline.Machine
		want     string // in the error; "" for none
	}{
		"good": {one(with(do("A", "C"), func(s *pipeline.State) { s.Catch = "F" }),
			pipeline.State{Name: "C", Choice: []pipeline.Branch{{State: "A", Field: "x", Next: "B"}}}, do("B", ""),
			pipeline.State{Name: "F", Fail: true}), ""},
		"two versions":      {append(one(do("A", "")), pipeline.Machine{Name: "m", Version: 2, Start: "A", States: []pipeline.State{do("A", "")}}), ""},
		"a version twice":   {append(one(do("A", "")), one(do("A", ""))...), "version 1 is there twice"},
		"no version":        {[]pipeline.Machine{{Name: "m", Start: "A", States: []pipeline.State{do("A", "")}}}, "a version from 1 on"},
		"no start":          {one(do("B", "")), `no state "A" to start with`},
		"next is unknown":   {one(do("A", "X")), `leads to "X"`},
		"catch is unknown":  {one(with(do("A", ""), func(s *pipeline.State) { s.Catch = "X" })), `leads to "X"`},
		"unreachable":       {one(do("A", ""), do("B", "")), "B cannot be reached"},
		"endless":           {one(do("A", "B"), do("B", "A")), "leads back to itself"},
		"a name twice":      {one(do("A", "A"), do("A", "")), "A is there twice"},
		"a path for a name": {one(do("A", "B/C"), do("B/C", "")), "cannot name a state"},
		"nothing to do":     {one(pipeline.State{Name: "A"}), "exactly one of"},
		"two things to do":  {one(with(do("A", ""), func(s *pipeline.State) { s.Fail = true })), "exactly one of"},
		"unknown task":      {one(with(do("A", ""), func(s *pipeline.State) { s.Task = "Nope" })), "no task Nope"},
		"no timeout":        {one(with(do("A", ""), func(s *pipeline.State) { s.Timeout = 0 })), "needs a timeout"},
		"retry without base": {one(with(do("A", ""), func(s *pipeline.State) {
			s.Retry = pipeline.Retry{Attempts: 2}
		})), "needs a base"},
		"unknown machine":   {one(pipeline.State{Name: "A", Machine: "other"}), "no machine other"},
		"runs itself":       {one(nested), "runs itself"},
		"nested with retry": {one(with(nested, func(s *pipeline.State) { s.Retry.Attempts = 2 })), "only a task"},
		"runs itself by another": {
			append(one(pipeline.State{Name: "A", Machine: "n"}), pipeline.Machine{Name: "n", Version: 1, Start: "A", States: []pipeline.State{nested}}),
			"machine n: runs itself",
		},
		"after a failure": {one(pipeline.State{Name: "A", Fail: true, Next: "B"}, do("B", "")), "nothing comes after"},
		"choice by a state without output": {
			one(pipeline.State{Name: "A", Choice: []pipeline.Branch{{State: "A", Field: "x", Next: "B"}}}, do("B", "")),
			"no task of this machine puts out",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tasks := map[string]pipeline.Task{"Do": func(context.Context, pipeline.Input) (any, error) { return nil, nil }}
			err := pipeline.Validate(tt.machines, tasks)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("error is %v", err)
			case tt.want != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error is %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestTheMachinesAreValid(t *testing.T) {
	t.Parallel()
	tasks := map[string]pipeline.Task{}
	for _, m := range pipeline.Machines() {
		for _, s := range m.States {
			tasks[s.Task] = func(context.Context, pipeline.Input) (any, error) { return nil, nil }
		}
	}
	if err := pipeline.Validate(pipeline.Machines(), tasks); err != nil {
		t.Error(err)
	}
}
