package direct

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

// run is one run of a stack's program.
type run struct {
	ctx      context.Context // of the call; what was begun does not end with it
	provider pulumirpc.ResourceProviderServer
	stack    *stack
	preview  bool

	mu      sync.Mutex
	seen    map[*made]bool
	changes map[string]int
	outputs resource.PropertyMap
	first   error
}

// NewResource implements pulumi.MockResourceMonitor: it makes or changes what
// the program registers.
func (r *run) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	if args.TypeToken == outputsToken {
		r.outputs = args.Inputs
		return "outputs", nil, nil
	}
	if !args.Custom {
		return "", args.Inputs, nil
	}
	id, outputs, err := r.register(args)
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.first == nil {
			r.first = err
		}
	}
	return id, outputs, err
}

func (r *run) register(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	old := r.stack.find(args.TypeToken, args.Name)
	m := &made{token: args.TypeToken, name: args.Name, inputs: args.Inputs, protect: args.RegisterRPC.GetProtect()}
	checked, err := r.provider.Check(r.ctx, &pulumirpc.CheckRequest{Type: m.token, Urn: urn(m.token, m.name), News: marshal(m.inputs)})
	if err != nil {
		return "", nil, err
	}
	for _, f := range checked.GetFailures() {
		return "", nil, fmt.Errorf("%s %s: %s: %s", m.token, m.name, f.GetProperty(), f.GetReason())
	}
	if old == nil {
		return r.create(m)
	}
	ignored := args.RegisterRPC.GetIgnoreChanges()
	for _, key := range ignored {
		if v, had := old.inputs[resource.PropertyKey(key)]; had {
			m.inputs[resource.PropertyKey(key)] = v
		}
	}
	diff, err := r.provider.Diff(r.ctx, &pulumirpc.DiffRequest{
		Type: m.token, Id: old.id, Urn: urn(m.token, m.name), Olds: marshal(old.outputs), OldInputs: marshal(old.inputs), News: marshal(m.inputs), IgnoreChanges: ignored,
	})
	switch {
	case err != nil:
		return "", nil, err
	case diff.GetChanges() == pulumirpc.DiffResponse_DIFF_NONE:
		old.inputs, old.protect = m.inputs, m.protect
		r.see(old, "")
		return old.id, old.outputs, nil
	case len(diff.GetReplaces()) > 0:
		return r.replace(old, m, diff.GetDeleteBeforeReplace())
	}
	return r.update(old, m, ignored)
}

func (r *run) see(m *made, change string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[m] = true
	if change != "" && r.changes != nil {
		r.changes[change]++
	}
}

func (r *run) create(m *made) (string, resource.PropertyMap, error) {
	out, err := r.provider.Create(r.ctx, &pulumirpc.CreateRequest{
		Type: m.token, Name: m.name, Urn: urn(m.token, m.name), Properties: marshal(m.inputs), Preview: r.preview,
	})
	if err != nil {
		return "", nil, err
	}
	if m.outputs, err = unmarshal(out.GetProperties()); err != nil {
		return "", nil, err
	}
	r.see(m, "create")
	if m.id = out.GetId(); !r.preview {
		r.stack.add(m)
	}
	return m.id, m.outputs, nil
}

func (r *run) update(old, m *made, ignored []string) (string, resource.PropertyMap, error) {
	out, err := r.provider.Update(r.ctx, &pulumirpc.UpdateRequest{
		Type: m.token, Name: m.name, Id: old.id, Urn: urn(m.token, m.name), Olds: marshal(old.outputs), OldInputs: marshal(old.inputs), News: marshal(m.inputs),
		IgnoreChanges: ignored, Preview: r.preview,
	})
	if err != nil {
		return "", nil, err
	}
	outputs, err := unmarshal(out.GetProperties())
	if err != nil {
		return "", nil, err
	}
	r.see(old, "update")
	if !r.preview {
		old.inputs, old.outputs, old.protect = m.inputs, outputs, m.protect
	}
	return old.id, outputs, nil
}

func (r *run) replace(old, m *made, first bool) (string, resource.PropertyMap, error) {
	if old.protect {
		return "", nil, fmt.Errorf("%s %s is protected and would be replaced", m.token, m.name)
	}
	if r.preview {
		r.see(old, "replace")
		return old.id, old.outputs, nil
	}
	if !first { // the old one goes with what the program no longer has
		return r.create(m)
	}
	if err := r.remove(old); err != nil {
		return "", nil, err
	}
	return r.create(m)
}

// drop removes what is chosen, the youngest first.
func (r *run) drop(chosen func(*made) bool) error {
	r.stack.mu.Lock()
	doomed := slices.DeleteFunc(slices.Clone(r.stack.resources), func(m *made) bool { return !chosen(m) })
	r.stack.mu.Unlock()
	for _, m := range doomed {
		if m.protect {
			return fmt.Errorf("%s %s is protected", m.token, m.name)
		}
	}
	for _, m := range slices.Backward(doomed) {
		if err := r.remove(m); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) remove(m *made) error {
	_, err := r.provider.Delete(r.ctx, &pulumirpc.DeleteRequest{
		Type: m.token, Name: m.name, Id: m.id, Urn: urn(m.token, m.name), Properties: marshal(m.outputs), OldInputs: marshal(m.inputs),
	})
	if err == nil {
		r.stack.mu.Lock()
		defer r.stack.mu.Unlock()
		r.stack.resources = slices.DeleteFunc(r.stack.resources, func(o *made) bool { return o == m })
	}
	return err
}

func (s *stack) find(token, name string) *made {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.resources {
		if m.token == token && m.name == name {
			return m
		}
	}
	return nil
}

func (s *stack) add(m *made) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resources = append(s.resources, m)
}
