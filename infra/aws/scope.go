package aws

import (
	"fmt"
	"maps"
	"strconv"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Version is the provider's version that every resource asks for.
const Version = "7.48.0"

// Settings returns the stack's settings of the provider. With the account in
// them, credentials of another one are refused instead of used.
func Settings(account, region string) map[string]string {
	return map[string]string{
		"aws:region":            region,
		"aws:allowedAccountIds": "[" + strconv.Quote(account) + "]",
	}
}

// TagResource is the tag that says which of a program's resources one is: by it
// one is found whose making was begun and not recorded.
const TagResource = "gitopsd:resource"

// Scope is where resources are registered: one run of one program.
type Scope struct {
	Context *pulumi.Context
	tags    map[string]string
}

// failure is how Make leaves a program: nothing after it can go on.
type failure struct{ err error }

// Run calls a program with a scope whose resources all get the tags.
func Run(ctx *pulumi.Context, tags map[string]string, program func(*Scope)) (err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case failure:
			err = v.err
		default:
			panic(v)
		}
	}()
	program(&Scope{Context: ctx, tags: maps.Clone(tags)})
	return nil
}

// Args are the inputs of one kind of resource whose outputs are an R.
type Args[R any] interface {
	// kind returns the resource's token. The pointer is nil: it only ties the
	// inputs to the outputs.
	kind() (token string, out *R)
}

// Make registers a resource. It does not return if that fails: Run does.
func Make[R any](s *Scope, name string, args Args[R], opts ...pulumi.ResourceOption) *R {
	token, _ := args.kind()
	out := new(R)
	res, ok := any(out).(pulumi.CustomResource)
	if !ok {
		panic(fmt.Sprintf("%s: %T is no resource", token, out))
	}
	all := append([]pulumi.ResourceOption{pulumi.Version(Version)}, opts...)
	tags := maps.Clone(s.tags)
	if tags == nil {
		tags = map[string]string{}
	}
	tags[TagResource] = name
	if err := s.Context.RegisterResource(token, name, inputs(args, tags), res, all...); err != nil {
		panic(failure{fmt.Errorf("register %s %s: %w", token, name, err)})
	}
	return out
}

// Secret returns a value that Pulumi encrypts in its state and never shows.
func Secret(value string) pulumi.StringOutput {
	return pulumi.ToSecret(pulumi.String(value)).(pulumi.StringOutput)
}

// Strings returns values as inputs.
func Strings(values []string) []pulumi.StringInput {
	out := make([]pulumi.StringInput, len(values))
	for i, v := range values {
		out[i] = pulumi.String(v)
	}
	return out
}

// S is pulumi.String, which programs say on every other line.
func S(v string) pulumi.StringInput { return pulumi.String(v) }
