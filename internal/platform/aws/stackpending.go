package aws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Adopter finds a resource whose creation was begun and not recorded. It
// returns the ID by which the provider knows it, or "" if there is none.
// What is there and is not ours is a fault.Conflict.
type Adopter func(ctx context.Context, kind string, inputs map[string]any) (id string, err error)

// operation is what Pulumi was doing when it died, as its state has it.
type operation struct {
	Type     apitype.OperationType `json:"type"`
	Resource map[string]any        `json:"resource"`
}

func (o operation) urn() string { return field(o.Resource, "urn") }

// inputs returns the resource's inputs, with numbers as Go has them.
func (o operation) inputs() (map[string]any, error) {
	b, err := json.Marshal(o.Resource["inputs"])
	if err != nil {
		return nil, err
	}
	var out map[string]any
	return out, json.Unmarshal(b, &out)
}

func field(m map[string]any, name string) string {
	s, _ := m[name].(string)
	return s
}

// adopt has the state know what was being made: what is there becomes part of it,
// what is not is forgotten. What was being changed or deleted is looked at.
//
// Pulumi's own `refresh --import-pending-creates` forgets what it is told to import
// (v3.260.0). So the state is edited: in one step, and such that the next run begins
// by looking at what was touched. Dying in between does no harm.
func (p *Pulumi) adopt(ctx context.Context, s Stack, stack *auto.Stack) error {
	if now, err := p.state(ctx, s, stack); err != nil || len(now.Pending) == 0 {
		return err
	}
	exported, err := p.command(ctx, stack, nil, "stack", "export", "--stack", s.full())
	if err != nil {
		return err
	}
	var whole, state map[string]json.RawMessage
	if err := json.Unmarshal(exported, &whole); err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	if err := json.Unmarshal(whole["deployment"], &state); err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	var begun []operation
	var resources []map[string]any
	for name, into := range map[string]any{"pending_operations": &begun, "resources": &resources} {
		if err := decodeExactly(state[name], into); err != nil {
			return fmt.Errorf("read state: %s: %w", name, err)
		}
	}
	made, err := p.found(ctx, s, begun)
	if err != nil {
		return err
	}
	if state["resources"], err = json.Marshal(settle(resources, begun, made)); err != nil {
		return err
	}
	delete(state, "pending_operations")
	if whole["deployment"], err = json.Marshal(state); err != nil {
		return err
	}
	edited, err := json.Marshal(whole)
	if err != nil {
		return err
	}
	_, err = p.command(ctx, stack, edited, "stack", "import", "--stack", s.full())
	return err
}

// stackState is what is looked at of a stack's state.
type stackState struct {
	Resources []struct {
		URN     string `json:"urn"`
		Protect bool   `json:"protect"`
	} `json:"resources"`
	Pending []json.RawMessage `json:"pending_operations"`
}

// state returns a stack's state. It is read where the backend has it, before each
// run: asking the CLI takes as long as a preview.
func (p *Pulumi) state(ctx context.Context, s Stack, stack *auto.Stack) (stackState, error) {
	var file struct {
		Checkpoint *struct {
			Latest *stackState `json:"latest"`
		} `json:"checkpoint"`
	}
	b, err := p.c.Files.Read(ctx, path.Join(".pulumi", "stacks", s.Project, s.Name+".json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // compressed, it has another name
		return stackState{}, fmt.Errorf("state of stack %s: %w", s.full(), err)
	}
	if err == nil && json.Unmarshal(b, &file) == nil && file.Checkpoint != nil {
		if file.Checkpoint.Latest == nil { // nothing was made yet
			return stackState{}, nil
		}
		return *file.Checkpoint.Latest, nil
	}
	var exported struct {
		Deployment stackState `json:"deployment"`
	}
	if b, err = p.command(ctx, stack, nil, "stack", "export", "--stack", s.full()); err == nil {
		err = json.Unmarshal(b, &exported)
	}
	return exported.Deployment, err
}

// unprotected fails if something in the stack is protected. Left to itself, a destroy
// would delete all else first, and fail then.
func (p *Pulumi) unprotected(ctx context.Context, s Stack, stack *auto.Stack) error {
	state, err := p.state(ctx, s, stack)
	if err != nil {
		return err
	}
	var names []string
	for _, r := range state.Resources {
		if r.Protect {
			names = append(names, r.URN[strings.LastIndex(r.URN, "::")+2:])
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fault.Errorf(fault.Stalled, "what holds data is protected: %s", strings.Join(names, ", ")).
		WithHint("lift the protection with an up of its own, then destroy")
}

// found asks for the resources that were being made, and returns those that are
// there, by URN, with their IDs.
func (p *Pulumi) found(ctx context.Context, s Stack, begun []operation) (map[string]map[string]any, error) {
	made := make(map[string]map[string]any)
	for _, op := range begun {
		if op.Type != apitype.OperationTypeCreating {
			continue
		}
		name := op.urn()[strings.LastIndex(op.urn(), "::")+2:]
		inputs, err := op.inputs()
		if err != nil {
			return nil, fmt.Errorf("read state: inputs of %s: %w", name, err)
		}
		id, err := p.c.Adopter(ctx, field(op.Resource, "type"), inputs)
		if err != nil {
			return nil, fmt.Errorf("look for %s, which was being made: %w", name, err)
		}
		p.c.Logger.Warn("a resource was being made when Pulumi died", "stack", s.full(), "resource", name, "found", id)
		if id == "" {
			continue
		}
		op.Resource["id"] = id
		made[op.urn()] = op.Resource
	}
	return made, nil
}

// lookFirst is the field of a resource that has a run begin by looking at it.
const lookFirst = "refreshBeforeUpdate"

// settle returns the resources with those that were made. One that was to replace
// another takes its place, and that one is to be deleted.
func settle(resources []map[string]any, begun []operation, made map[string]map[string]any) []map[string]any {
	var out, replaced []map[string]any
	known := make(map[string]bool)
	touched := make(map[string]bool)
	for _, op := range begun {
		touched[op.urn()] = true
	}
	for _, r := range resources {
		urn := field(r, "urn")
		if touched[urn] {
			r[lookFirst] = true
		}
		if one := made[urn]; one != nil && r["delete"] != true {
			r["delete"] = true
			delete(r, lookFirst)
			replaced = append(replaced, r)
			r = one
			r[lookFirst] = true
			delete(made, urn)
		}
		known[urn] = true
		out = append(out, r)
	}
	// A resource comes after what it depends on.
	for len(made) > 0 {
		placed := false
		for _, op := range begun {
			r := made[op.urn()]
			if r == nil || slices.ContainsFunc(dependencies(r), func(urn string) bool { return made[urn] != nil }) {
				continue
			}
			r[lookFirst] = true
			out = append(out, r)
			known[op.urn()], placed = true, true
			delete(made, op.urn())
		}
		if !placed {
			break // they depend on each other, which Pulumi would not have begun
		}
	}
	out = append(out, replaced...)
	for _, r := range out {
		forget(r, known)
	}
	return out
}

// dependencies returns what a resource depends on.
func dependencies(r map[string]any) []string {
	var out []string
	list, _ := r["dependencies"].([]any)
	for _, v := range list {
		if urn, ok := v.(string); ok {
			out = append(out, urn)
		}
	}
	return out
}

// forget takes out dependencies on what is not there.
func forget(r map[string]any, known map[string]bool) {
	kept := func(list []any) []any {
		return slices.DeleteFunc(list, func(v any) bool {
			urn, _ := v.(string)
			return !known[urn]
		})
	}
	if list, ok := r["dependencies"].([]any); ok {
		r["dependencies"] = kept(list)
	}
	by, _ := r["propertyDependencies"].(map[string]any)
	for name, v := range by {
		if list, ok := v.([]any); ok {
			by[name] = kept(list)
		}
	}
}

// decodeExactly keeps numbers as they are written.
func decodeExactly(b json.RawMessage, into any) error {
	if len(b) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(into)
}

// command runs the CLI on a stack. What it is given and what it says may be long,
// and stays in memory: the SDK would put a state, its secrets in the clear, in a
// file.
func (p *Pulumi) command(ctx context.Context, stack *auto.Stack, input []byte, args ...string) ([]byte, error) {
	w := stack.Workspace()
	env := []string{"PULUMI_HOME=" + w.PulumiHome()}
	for k, v := range w.GetEnvVars() {
		env = append(env, k+"="+v)
	}
	stdout, stderr, _, err := w.PulumiCommand().Run(ctx, w.WorkDir(), bytes.NewReader(input), nil, nil, env, args...)
	if err != nil {
		return nil, fmt.Errorf("pulumi %s: %w: %s", strings.Join(args[:2], " "), err, strings.TrimSpace(stderr))
	}
	return []byte(stdout), nil
}
