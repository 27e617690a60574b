package provider

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gitopsd/gitopsd/infra/aws"
)

var _ pulumirpc.ResourceProviderServer = (*Provider)(nil)

// GetPluginInfo says that this is the version that our programs ask for.
func (*Provider) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: aws.Version}, nil
}

// Attach is how an engine begins.
func (*Provider) Attach(context.Context, *pulumirpc.PluginAttach) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

// Cancel ends nothing: AWS goes on with what it was asked for.
func (*Provider) Cancel(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

// CheckConfig takes any settings.
func (*Provider) CheckConfig(_ context.Context, in *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	return &pulumirpc.CheckResponse{Inputs: in.GetNews()}, nil
}

// DiffConfig replaces nothing: no setting of ours moves resources.
func (*Provider) DiffConfig(context.Context, *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	return &pulumirpc.DiffResponse{Changes: pulumirpc.DiffResponse_DIFF_NONE}, nil
}

// Configure refuses another account or region than there is, as the provider does
// with credentials of another account.
func (p *Provider) Configure(_ context.Context, in *pulumirpc.ConfigureRequest) (*pulumirpc.ConfigureResponse, error) {
	v := in.GetVariables() //nolint:staticcheck // the CLI of this version sends nothing else
	if region := v["aws:config:region"]; region != p.c.Region {
		return nil, fmt.Errorf("the region is %s, the stack's is %q", p.c.Region, region)
	}
	if allowed := v["aws:config:allowedAccountIds"]; allowed != fmt.Sprintf("[%q]", p.c.Account) {
		return nil, fmt.Errorf("AWS Account ID not allowed: %s is not in %s", p.c.Account, allowed)
	}
	// Like the provider, which is a bridge to Terraform's: it is given no secret as one.
	return &pulumirpc.ConfigureResponse{SupportsPreview: true}, nil
}

// tagForm is what a tag's key and value are made of.
// Source: AWS General Reference, "Tag naming limits and requirements".
var tagForm = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

// Check implements pulumirpc.ResourceProviderServer.
func (p *Provider) Check(_ context.Context, in *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	if _, ok := kinds[in.GetType()]; !ok {
		return nil, fmt.Errorf("nobody plays %s", in.GetType())
	}
	news, err := unmarshal(in.GetNews())
	if err != nil {
		return nil, err
	}
	out := &pulumirpc.CheckResponse{Inputs: in.GetNews()}
	fail := func(property, format string, args ...any) {
		out.Failures = append(out.Failures, &pulumirpc.CheckFailure{Property: property, Reason: fmt.Sprintf(format, args...)})
	}
	if tags := news["tags"]; tags.IsObject() {
		if n := len(tags.ObjectValue()); n > 50 {
			fail("tags", "%d tags are more than 50", n)
		}
		for k, v := range tags.ObjectValue() {
			if v.IsString() && (len(k) > 128 || len(v.StringValue()) > 256 || strings.HasPrefix(string(k), "aws:") || !tagForm.MatchString(string(k)+v.StringValue())) {
				fail("tags", "tag %q: %q is not valid", k, v.StringValue())
			}
		}
	}
	return out, nil
}

// Diff implements pulumirpc.ResourceProviderServer. As in the provider, the new
// inputs are held against the state: what drifted and was looked at is set right.
func (p *Provider) Diff(_ context.Context, in *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	olds, err := unmarshal(in.GetOlds())
	if err != nil {
		return nil, err
	}
	news, err := unmarshal(in.GetNews())
	if err != nil {
		return nil, err
	}
	before, err := unmarshal(in.GetOldInputs())
	if err != nil {
		return nil, err
	}
	out := &pulumirpc.DiffResponse{Changes: pulumirpc.DiffResponse_DIFF_NONE}
	replaced := strings.Fields(kinds[in.GetType()].replace)
	for _, key := range union(news, before) {
		if slices.Contains(in.GetIgnoreChanges(), string(key)) || covers(news[key], olds[key]) && (news.HasValue(key) || !before.HasValue(key)) {
			continue
		}
		out.Changes = pulumirpc.DiffResponse_DIFF_SOME
		out.Diffs = append(out.Diffs, string(key))
		if slices.Contains(replaced, "*") && key != "tags" || slices.ContainsFunc(replaced, func(path string) bool { return moved(path, key, news, olds) }) {
			out.Replaces = append(out.Replaces, string(key))
		}
	}
	// What keeps its name cannot be there twice, so the old one goes first.
	out.DeleteBeforeReplace = len(out.Replaces) > 0 && !kinds[in.GetType()].revised && p.keyOf(in.GetType(), plain(news)) == p.keyOf(in.GetType(), plain(olds))
	return out, nil
}

func union(maps ...resource.PropertyMap) []resource.PropertyKey {
	seen := make(resource.PropertyMap)
	for _, m := range maps {
		for k, v := range m {
			if !strings.HasPrefix(string(k), "__") {
				seen[k] = v
			}
		}
	}
	return seen.StableKeys()
}

// moved reports whether a path of inputs, which begins with key, differs.
func moved(path string, key resource.PropertyKey, news, olds resource.PropertyMap) bool {
	first, rest, deep := strings.Cut(path, ".")
	if first != string(key) {
		return false
	}
	if !deep {
		return true
	}
	a, b := news[key], olds[key]
	if !a.IsObject() || !b.IsObject() {
		return true
	}
	sub := resource.PropertyKey(rest)
	return !covers(a.ObjectValue()[sub], b.ObjectValue()[sub])
}

// covers reports whether the state is as the inputs want it; what they leave out
// may be anything.
func covers(want, have resource.PropertyValue) bool {
	switch {
	case want.IsSecret():
		return covers(want.SecretValue().Element, have)
	case have.IsSecret():
		return covers(want, have.SecretValue().Element)
	case want.IsNull():
		return true
	case want.IsObject():
		if !have.IsObject() {
			return len(want.ObjectValue()) == 0 && have.IsNull()
		}
		for k, v := range want.ObjectValue() {
			if !strings.HasPrefix(string(k), "__") && !covers(v, have.ObjectValue()[k]) {
				return false
			}
		}
		return true
	case want.IsArray():
		if !have.IsArray() || len(want.ArrayValue()) != len(have.ArrayValue()) {
			return len(want.ArrayValue()) == 0 && have.IsNull()
		}
		for i, v := range want.ArrayValue() {
			if !covers(v, have.ArrayValue()[i]) {
				return false
			}
		}
		return true
	default:
		return want.DeepEquals(have)
	}
}

// Create implements pulumirpc.ResourceProviderServer.
func (p *Provider) Create(ctx context.Context, in *pulumirpc.CreateRequest) (*pulumirpc.CreateResponse, error) {
	news, err := unmarshal(in.GetProperties())
	if err != nil {
		return nil, err
	}
	if in.GetPreview() {
		s, err := marshal(p.unknown(in.GetType(), news))
		return &pulumirpc.CreateResponse{Properties: s}, err
	}
	began := time.Now()
	if err := p.pass(ctx, Create, in.GetType(), Before); err != nil {
		return nil, err
	}
	r, err := p.make(context.WithoutCancel(ctx), in.GetType(), in.GetUrn(), plain(news))
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", in.GetName(), err)
	}
	p.note(Create, r.Token, r.ID, r.URN, began)
	if err := p.pass(ctx, Create, in.GetType(), After); err != nil {
		return nil, err
	}
	s, err := marshal(resource.NewPropertyMapFromMap(r.Outputs))
	return &pulumirpc.CreateResponse{Id: r.ID, Properties: s}, err
}

// Read implements pulumirpc.ResourceProviderServer.
func (p *Provider) Read(ctx context.Context, in *pulumirpc.ReadRequest) (*pulumirpc.ReadResponse, error) {
	inputs, err := unmarshal(in.GetInputs())
	if err != nil {
		return nil, err
	}
	known, err := unmarshal(in.GetProperties())
	if err != nil {
		return nil, err
	}
	if err := p.pass(ctx, Read, in.GetType(), Before); err != nil {
		return nil, err
	}
	began := time.Now()
	r, err := p.look(ctx, in.GetType(), in.GetId(), plain(inputs), plain(known))
	p.note(Read, in.GetType(), in.GetId(), in.GetUrn(), began)
	if errors.Is(err, errGone) {
		return &pulumirpc.ReadResponse{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", in.GetName(), err)
	}
	out, err := marshal(resource.NewPropertyMapFromMap(r.Outputs))
	if err != nil {
		return nil, err
	}
	now, err := marshal(resource.NewPropertyMapFromMap(r.Inputs))
	return &pulumirpc.ReadResponse{Id: r.ID, Properties: out, Inputs: now}, err
}

// Update implements pulumirpc.ResourceProviderServer.
func (p *Provider) Update(ctx context.Context, in *pulumirpc.UpdateRequest) (*pulumirpc.UpdateResponse, error) {
	news, err := unmarshal(in.GetNews())
	if err != nil {
		return nil, err
	}
	olds, err := unmarshal(in.GetOlds())
	if err != nil {
		return nil, err
	}
	if in.GetPreview() {
		out := olds.Copy()
		for k, v := range news {
			out[k] = v
		}
		s, err := marshal(out)
		return &pulumirpc.UpdateResponse{Properties: s}, err
	}
	began := time.Now()
	if err := p.pass(ctx, Update, in.GetType(), Before); err != nil {
		return nil, err
	}
	r, err := p.change(context.WithoutCancel(ctx), in.GetType(), in.GetId(), plain(olds), plain(news))
	if err != nil {
		return nil, fmt.Errorf("updating %s: %w", in.GetName(), err)
	}
	p.note(Update, in.GetType(), in.GetId(), in.GetUrn(), began)
	if err := p.pass(ctx, Update, in.GetType(), After); err != nil {
		return nil, err
	}
	s, err := marshal(resource.NewPropertyMapFromMap(r.Outputs))
	return &pulumirpc.UpdateResponse{Properties: s}, err
}

// Delete implements pulumirpc.ResourceProviderServer. What is not there is no
// error, as with the provider.
func (p *Provider) Delete(ctx context.Context, in *pulumirpc.DeleteRequest) (*emptypb.Empty, error) {
	state, err := unmarshal(in.GetProperties())
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := p.pass(ctx, Delete, in.GetType(), Before); err != nil {
		return nil, err
	}
	if err := p.remove(context.WithoutCancel(ctx), in.GetType(), in.GetId(), plain(state)); err != nil {
		return nil, fmt.Errorf("deleting %s: %w", in.GetName(), err)
	}
	p.note(Delete, in.GetType(), in.GetId(), in.GetUrn(), began)
	return &emptypb.Empty{}, p.pass(ctx, Delete, in.GetType(), After)
}

func unmarshal(s *structpb.Struct) (resource.PropertyMap, error) {
	return plugin.UnmarshalProperties(s, plugin.MarshalOptions{KeepUnknowns: true, SkipNulls: true})
}

func marshal(m resource.PropertyMap) (*structpb.Struct, error) {
	return plugin.MarshalProperties(m, plugin.MarshalOptions{KeepUnknowns: true, SkipNulls: true})
}

// plain returns properties as JSON has them.
func plain(m resource.PropertyMap) Properties {
	return m.MapRepl(func(k string) (string, bool) { return k, !strings.HasPrefix(k, "__") }, nil)
}
