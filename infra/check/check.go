// Package check runs a Pulumi program without an engine and holds what it
// registers against what we did not write: the provider's own types.
//
// It is for tests. Mocks take any input, also a misspelt one; AWS's provider
// would refuse it, after the resources before it were made.
package check

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Resource is one that a program registered.
type Resource struct {
	Token   string
	Name    string
	Inputs  resource.PropertyMap
	Version string
	Protect bool
	Retain  bool
	Ignored []string // IgnoreChanges
	Secrets []string // AdditionalSecretOutputs
	Depends []string // names of what it waits for
}

// Run is what a program registered and told.
type Run struct {
	Resources []Resource
	Outputs   map[string]any
	// Secret are the outputs that are secret.
	Secret map[string]bool
}

// Of returns the resources of a token, e.g. "aws:ecs/service:Service".
func (r Run) Of(token string) []Resource {
	var out []Resource
	for _, res := range r.Resources {
		if res.Token == token {
			out = append(out, res)
		}
	}
	return out
}

// Program runs a program: the real thing, or, with preview, as `pulumi preview`
// does when nothing is known of resources yet.
func Program(program pulumi.RunFunc, preview bool) (Run, error) {
	m := &mocks{}
	run := Run{Outputs: map[string]any{}, Secret: map[string]bool{}}
	opts := []pulumi.RunOption{pulumi.WithMocks("project", "stack", m)}
	if preview {
		m.preview = true
		opts = append(opts, func(i *pulumi.RunInfo) { i.DryRun = true })
	}
	err := pulumi.RunErr(func(ctx *pulumi.Context) error {
		if err := program(ctx); err != nil {
			return err
		}
		// What the program told, as a resource's inputs: those are awaited and keep
		// what is secret.
		return ctx.RegisterResource(outputsToken, "outputs", pulumi.Map(ctx.GetCurrentExportMap()), &told{})
	}, opts...)
	run.Resources = m.resources
	slices.SortFunc(run.Resources, func(a, b Resource) int {
		return strings.Compare(a.Token+"\x00"+a.Name, b.Token+"\x00"+b.Name)
	})
	for name, v := range m.outputs {
		run.Outputs[string(name)] = plain(v)
		run.Secret[string(name)] = v.ContainsSecrets()
	}
	return run, err
}

type told struct{ pulumi.CustomResourceState }

const outputsToken = "check:index:Outputs"

// plain returns a value as the Automation API does.
func plain(v resource.PropertyValue) any {
	switch {
	case v.IsSecret():
		return plain(v.SecretValue().Element)
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
	case v.IsComputed() || v.IsOutput():
		return nil
	default:
		return v.V
	}
}

// mocks is the engine: it answers with what AWS would, by name.
type mocks struct {
	preview bool

	mu        sync.Mutex
	resources []Resource
	outputs   resource.PropertyMap
}

// Call implements pulumi.MockResourceMonitor: our programs ask for nothing.
func (m *mocks) Call(args pulumi.MockCallArgs) (resource.PropertyMap, error) {
	return nil, fmt.Errorf("the program calls %s", args.Token)
}

// NewResource implements pulumi.MockResourceMonitor.
func (m *mocks) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	if args.TypeToken == outputsToken {
		m.outputs = args.Inputs
		return "outputs", nil, nil
	}
	r := Resource{Token: args.TypeToken, Name: args.Name, Inputs: args.Inputs}
	if rpc := args.RegisterRPC; rpc != nil {
		r.Version, r.Protect, r.Retain = rpc.GetVersion(), rpc.GetProtect(), rpc.GetRetainOnDelete()
		r.Ignored, r.Secrets = rpc.GetIgnoreChanges(), rpc.GetAdditionalSecretOutputs()
		for _, urn := range rpc.GetDependencies() {
			r.Depends = append(r.Depends, urn[strings.LastIndex(urn, "::")+2:])
		}
	}
	m.mu.Lock()
	m.resources = append(m.resources, r)
	m.mu.Unlock()
	state := args.Inputs.Copy()
	if m.preview {
		return "", state, nil
	}
	id := args.Name + "-id"
	for k, v := range outputsOf(args.TypeToken, args.Name, args.Inputs) {
		if _, given := state[k]; !given {
			state[k] = v
		}
	}
	return id, state, nil
}
