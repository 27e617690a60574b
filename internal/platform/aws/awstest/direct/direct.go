// Package direct makes stacks without Pulumi's engine: the programs run in this
// process, and what they register is made by the played provider at once. A
// stack costs some milliseconds, where an engine takes a second of a processor
// and 120 MB, so that a thousand tenants can be made. What an engine adds, its
// state, its locks and what it does after a death, is not here.
package direct

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gitopsd/gitopsd/internal/fault"
	aws "github.com/gitopsd/gitopsd/internal/platform/aws"
)

// Stacks are stacks in memory.
type Stacks struct {
	provider pulumirpc.ResourceProviderServer

	mu     sync.Mutex
	stacks map[string]*stack
}

var _ aws.Stacks = (*Stacks)(nil)

// New returns stacks that the provider makes.
func New(p pulumirpc.ResourceProviderServer) *Stacks {
	return &Stacks{provider: p, stacks: make(map[string]*stack)}
}

// stack is a stack's state.
type stack struct {
	busy sync.Mutex // one at a time

	mu        sync.Mutex
	resources []*made // in the order in which they were made
}

// made is a resource that is there.
type made struct {
	token, name, id string
	inputs, outputs resource.PropertyMap
	protect         bool
}

func (s *Stacks) stack(of aws.Stack, make bool) *stack {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := of.Project + "/" + of.Name
	if s.stacks[key] == nil && make {
		s.stacks[key] = new(stack)
	}
	return s.stacks[key]
}

// Has implements aws.Stacks.
func (s *Stacks) Has(_ context.Context, of aws.Stack) (bool, error) {
	return s.stack(of, false) != nil, nil
}

// Up implements aws.Stacks.
func (s *Stacks) Up(ctx context.Context, of aws.Stack) (map[string]any, error) {
	st := s.stack(of, true)
	st.busy.Lock()
	defer st.busy.Unlock()
	r := &run{ctx: context.WithoutCancel(ctx), provider: s.provider, stack: st, seen: make(map[*made]bool)}
	if err := r.program(of); err != nil {
		return nil, err
	}
	if err := r.drop(func(m *made) bool { return !r.seen[m] }); err != nil {
		return nil, failure("make", of, err)
	}
	outputs := make(map[string]any)
	for name, v := range r.outputs {
		outputs[string(name)] = plain(v)
	}
	return outputs, nil
}

// Destroy implements aws.Stacks.
func (s *Stacks) Destroy(ctx context.Context, of aws.Stack) error {
	st := s.stack(of, false)
	if st == nil {
		return nil
	}
	st.busy.Lock()
	defer st.busy.Unlock()
	r := &run{ctx: context.WithoutCancel(ctx), provider: s.provider, stack: st}
	if err := r.drop(func(*made) bool { return true }); err != nil {
		return failure("destroy", of, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.stacks, of.Project+"/"+of.Name)
	return nil
}

// Preview implements aws.Stacks.
func (s *Stacks) Preview(ctx context.Context, of aws.Stack) (map[string]int, error) {
	st := s.stack(of, true)
	st.busy.Lock()
	defer st.busy.Unlock()
	r := &run{ctx: ctx, provider: s.provider, stack: st, seen: make(map[*made]bool), preview: true, changes: make(map[string]int)}
	if err := r.program(of); err != nil {
		return nil, err
	}
	for _, m := range st.resources {
		if !r.seen[m] {
			r.changes["delete"]++
		}
	}
	return r.changes, nil
}

// Drift implements aws.Stacks.
func (s *Stacks) Drift(ctx context.Context, of aws.Stack) (map[string]int, error) {
	changes := make(map[string]int)
	return changes, s.look(ctx, of, func(m *made, now resource.PropertyMap) {
		switch {
		case now == nil:
			changes["delete"]++
		case !now.DeepEquals(m.outputs):
			changes["update"]++
		}
	})
}

// Heal implements aws.Stacks.
func (s *Stacks) Heal(ctx context.Context, of aws.Stack) error {
	gone := make(map[*made]bool)
	err := s.look(ctx, of, func(m *made, now resource.PropertyMap) {
		m.outputs, gone[m] = now, now == nil
	})
	if st := s.stack(of, false); st != nil {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.resources = slices.DeleteFunc(st.resources, func(m *made) bool { return gone[m] })
	}
	return err
}

// look reads all of a stack's resources; nil: it is not there any more.
func (s *Stacks) look(ctx context.Context, of aws.Stack, see func(*made, resource.PropertyMap)) error {
	st := s.stack(of, false)
	if st == nil {
		return nil
	}
	st.busy.Lock()
	defer st.busy.Unlock()
	for _, m := range st.resources {
		out, err := s.provider.Read(ctx, &pulumirpc.ReadRequest{Id: m.id, Type: m.token, Name: m.name, Urn: urn(m.token, m.name), Properties: marshal(m.outputs), Inputs: marshal(m.inputs)})
		if err != nil {
			return failure("look at", of, err)
		}
		if out.GetId() == "" {
			see(m, nil)
			continue
		}
		now, err := unmarshal(out.GetProperties())
		if err != nil {
			return failure("look at", of, err)
		}
		see(m, now)
	}
	return nil
}

func failure(what string, of aws.Stack, err error) error {
	return fault.Errorf(fault.Transient, "%s stack %s/%s: %w", what, of.Project, of.Name, err)
}

func urn(token, name string) string { return "urn:pulumi:stack::project::" + token + "::" + name }

func marshal(m resource.PropertyMap) *structpb.Struct {
	s, err := plugin.MarshalProperties(m, plugin.MarshalOptions{KeepUnknowns: true, SkipNulls: true})
	if err != nil {
		panic(err) // they were made of such
	}
	return s
}

func unmarshal(s *structpb.Struct) (resource.PropertyMap, error) {
	return plugin.UnmarshalProperties(s, plugin.MarshalOptions{KeepUnknowns: true, SkipNulls: true})
}

// plain returns a value as the Automation API does.
func plain(v resource.PropertyValue) any {
	switch {
	case v.IsSecret():
		return plain(v.SecretValue().Element)
	case v.IsOutput():
		return plain(v.OutputValue().Element)
	case v.IsArray():
		list := []any{}
		for _, e := range v.ArrayValue() {
			list = append(list, plain(e))
		}
		return list
	case v.IsObject():
		m := map[string]any{}
		for k, e := range v.ObjectValue() {
			m[string(k)] = plain(e)
		}
		return m
	default:
		return v.V
	}
}

// told has a program's outputs as the inputs of a resource, which are awaited.
type told struct{ pulumi.CustomResourceState }

const outputsToken = "direct:index:Outputs"

// program runs a stack's program, whose resources NewResource is told of.
func (r *run) program(of aws.Stack) error {
	opts := []pulumi.RunOption{pulumi.WithMocks(of.Project, of.Name, r)}
	if r.preview {
		opts = append(opts, func(i *pulumi.RunInfo) { i.DryRun = true })
	}
	err := pulumi.RunErr(func(ctx *pulumi.Context) error {
		if err := of.Program(ctx); err != nil {
			return err
		}
		return ctx.RegisterResource(outputsToken, "outputs", pulumi.Map(ctx.GetCurrentExportMap()), &told{})
	}, opts...)
	if r.first != nil {
		err = r.first // said without the engine's words around it
	}
	if err != nil {
		return failure("make", of, err)
	}
	return nil
}

// Call implements pulumi.MockResourceMonitor: our programs ask for nothing.
func (r *run) Call(args pulumi.MockCallArgs) (resource.PropertyMap, error) {
	return nil, fmt.Errorf("the program calls %s", args.Token)
}
