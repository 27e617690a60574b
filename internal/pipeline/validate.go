package pipeline

import (
	"errors"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Validate reports everything that is wrong with the machines: a state that
// cannot be reached or that leads nowhere, a task nobody wrote, a machine that
// might never end. Engines refuse machines that do not pass. The error is
// fault.Invalid.
func Validate(machines []Machine, tasks map[string]Task) error {
	type id struct {
		name    string
		version int
	}
	var c checker
	seen := map[id]bool{}
	for _, m := range machines {
		if m.Name == "" || m.Version < 1 {
			c.addf("machine %q: name and a version from 1 on are needed", m.Name)
		}
		if seen[id{m.Name, m.Version}] {
			c.addf("machine %s: version %d is there twice", m.Name, m.Version)
		}
		seen[id{m.Name, m.Version}] = true
		c.machine(m, machines, tasks)
		if nests(m.Name, m, machines, len(machines)) {
			c.addf("machine %s: runs itself", m.Name)
		}
	}
	return errors.Join(c...)
}

// checker collects what is wrong.
type checker []error

func (c *checker) addf(format string, args ...any) {
	*c = append(*c, fault.Errorf(fault.Invalid, format, args...))
}

func (c *checker) machine(m Machine, machines []Machine, tasks map[string]Task) {
	states := map[string]State{}
	for _, s := range m.States {
		switch _, twice := states[s.Name]; {
		case s.Name == "" || strings.Contains(s.Name, "/"):
			c.addf("machine %s: %q cannot name a state", m.Name, s.Name)
		case twice:
			c.addf("machine %s: state %s is there twice", m.Name, s.Name)
		}
		states[s.Name] = s
	}
	for _, s := range m.States {
		c.state(m, s, states, machines, tasks)
	}
	if _, ok := states[m.Start]; !ok {
		c.addf("machine %s: there is no state %q to start with", m.Name, m.Start)
		return
	}
	reached := map[string]int{}
	if !ends(m.Start, states, reached) {
		c.addf("machine %s: a state leads back to itself", m.Name)
	}
	for _, s := range m.States {
		if reached[s.Name] == 0 {
			c.addf("machine %s: state %s cannot be reached", m.Name, s.Name)
		}
	}
}

func (c *checker) state(m Machine, s State, states map[string]State, machines []Machine, tasks map[string]Task) {
	bad := func(format string, args ...any) {
		c.addf("machine %s: state %s: "+format, append([]any{m.Name, s.Name}, args...)...)
	}
	kinds := 0
	for _, is := range []bool{s.Task != "", s.Machine != "", len(s.Choice) > 0, s.Fail} {
		if is {
			kinds++
		}
	}
	if kinds != 1 {
		bad("exactly one of task, machine, choice and fail is needed")
		return
	}
	for _, next := range leads(s) {
		if _, ok := states[next]; !ok {
			bad("leads to %q, which does not exist", next)
		}
	}
	if s.Task == "" && (s.Timeout != 0 || s.Retry != Retry{}) {
		bad("only a task has a timeout and is retried")
	}
	switch {
	case s.Task != "":
		if _, ok := tasks[s.Task]; !ok {
			bad("there is no task %s", s.Task)
		}
		if s.Timeout <= 0 {
			bad("a task needs a timeout")
		}
		if s.Retry.Attempts > 1 && (s.Retry.Base <= 0 || s.Retry.Cap < s.Retry.Base) {
			bad("a retry needs a base and a cap that is not less")
		}
	case s.Machine != "":
		if _, ok := newest(machines, s.Machine); !ok {
			bad("there is no machine %s", s.Machine)
		}
	case s.Fail:
		if s.Next != "" || s.Catch != "" {
			bad("nothing comes after a failure")
		}
	default:
		if s.Catch != "" {
			bad("a choice cannot fail")
		}
		for _, b := range s.Choice {
			if of, ok := states[b.State]; !ok || of.Task == "" || b.Field == "" {
				bad("looks at %s.%s, which no task of this machine puts out", b.State, b.Field)
			}
			if b.Next == "" {
				bad("a branch leads nowhere")
			}
		}
	}
}

// leads returns the states that s may lead to.
func leads(s State) []string {
	var to []string
	for _, b := range s.Choice {
		to = append(to, b.Next)
	}
	to = append(to, s.Next, s.Catch)
	named := to[:0]
	for _, name := range to {
		if name != "" {
			named = append(named, name)
		}
	}
	return named
}

// ends reports whether every way from the state on comes to an end, and notes
// the states it meets: 1 for under way, 2 for known to end.
func ends(name string, states map[string]State, met map[string]int) bool {
	switch met[name] {
	case 1:
		return false
	case 2:
		return true
	}
	met[name] = 1
	all := true
	for _, next := range leads(states[name]) {
		if _, ok := states[next]; ok {
			all = ends(next, states, met) && all
		}
	}
	met[name] = 2
	return all
}

// nests reports whether the named machine is run, at any depth, by m.
func nests(name string, m Machine, machines []Machine, depth int) bool {
	for _, s := range m.States {
		if s.Machine == "" {
			continue
		}
		if s.Machine == name {
			return true
		}
		if inner, ok := newest(machines, s.Machine); ok && depth > 0 && nests(name, inner, machines, depth-1) {
			return true
		}
	}
	return false
}

// newest returns the named machine of the highest version.
func newest(machines []Machine, name string) (Machine, bool) {
	var best Machine
	for _, m := range machines {
		if m.Name == name && m.Version > best.Version {
			best = m
		}
	}
	return best, best.Version > 0
}
