package provider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// errGone says that a resource is not there.
var errGone = errors.New("it is not there")

// kind is what the provider knows of a token.
type kind struct {
	// id is what the ID is made of: {input}, {region}, {account}, {last input},
	// which is the last part of an ARN, and #, a number that is given once.
	id string
	// key is what is unique, where that is not the ID.
	key string
	// arn is what the ARN is made of: as the ID, and {id}.
	arn string
	// outputs are what is told beside the inputs, made as the ARN is.
	outputs map[string]string
	// more are outputs that are no text.
	more func(p *Provider, id string, in Properties) Properties
	// replace are the inputs, or paths of them, that cannot be changed; * is all.
	replace string
	// put says that creating one that is there overwrites it.
	put bool
	// revised says that a new one is another revision of the same name.
	revised bool
	// held says that it is not deleted while another resource names it.
	held bool
	// imported is what it is imported by, where that is not the ID.
	imported string
	// real makes it in AWS; nil: it is in the registry alone.
	real *real
}

// real makes a kind of resource in AWS.
type real struct {
	// create returns the ID, where it is AWS that gives it, and outputs.
	create func(context.Context, *clients, Properties) (id string, out Properties, err error)
	// read returns the properties that can be looked at, as they are.
	read   func(ctx context.Context, c *clients, id string, in Properties) (Properties, error)
	update func(ctx context.Context, c *clients, id string, olds, news Properties) (Properties, error)
	delete func(ctx context.Context, c *clients, id string, state Properties) error
}

// real returns what makes a token in AWS, nil if nothing does.
func (p *Provider) real(token string) *real {
	module, _, _ := strings.Cut(strings.TrimPrefix(token, "aws:"), "/")
	if !slices.Contains(p.c.Services, module) {
		return nil
	}
	return kinds[token].real
}

// expand fills in a template.
func (p *Provider) expand(template, id string, in Properties) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(template, "{")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		name, after, _ := strings.Cut(rest, "}")
		template = after
		last := strings.HasPrefix(name, "last ")
		name = strings.TrimPrefix(name, "last ")
		var v string
		switch name {
		case "id":
			v = id
		case "account":
			v = p.c.Account
		default:
			v, _ = in[name].(string)
		}
		switch {
		case v == "" && name == "region": // a certificate may be of another
			v = p.c.Region
		case v == "" && name == "path":
			v = "/"
		}
		if last {
			v = v[strings.LastIndexAny(v, "/:")+1:]
		}
		out.WriteString(v)
	}
}

// keyOf returns what makes a resource one of its kind, "" if its ID is given.
func (p *Provider) keyOf(token string, in Properties) string {
	k := kinds[token]
	template := k.key
	if template == "" {
		template = k.id
	}
	if strings.Contains(template, "#") {
		return ""
	}
	return p.expand(template, "", in)
}

// number returns one that was not given before.
func (p *Provider) number() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	return p.next
}

// newID returns the ID of a new resource, in the form that AWS gives it.
func (p *Provider) newID(token string, in Properties) string {
	id := p.expand(kinds[token].id, "", in)
	if strings.Contains(id, "#") {
		id = strings.ReplaceAll(id, "#", fmt.Sprintf("%017x", 0x5eed000000000+p.number()))
	}
	return id
}

func slot(token, key string) string { return token + " " + key }

// make makes a resource.
func (p *Provider) make(ctx context.Context, token, urn string, in Properties) (*Resource, error) {
	r := &Resource{Token: token, URN: urn, Inputs: in, Key: p.keyOf(token, in)}
	api := p.real(token)
	if api == nil && r.Key != "" && !kinds[token].put && !kinds[token].revised && in["allowOverwrite"] != true {
		if p.at(token, r.Key) != nil {
			return nil, fmt.Errorf("AlreadyExists: %s %s", strings.TrimPrefix(token, "aws:"), r.Key)
		}
	}
	if api != nil {
		id, out, err := api.create(ctx, &p.clients, in)
		if err != nil {
			return nil, err
		}
		r.ID = id
		r.Outputs = p.outputs(token, r.ID, in)
		maps.Copy(r.Outputs, out)
	} else {
		r.ID = p.newID(token, in)
		r.Outputs = p.outputs(token, r.ID, in)
	}
	if kinds[token].revised {
		r.Key = p.keyOf(token, r.Outputs)
	}
	if r.Key == "" {
		r.Key = r.ID
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live[slot(token, r.Key)] = r
	return r.copy(), nil
}

func (r *Resource) copy() *Resource {
	one := *r
	one.Inputs, one.Outputs = maps.Clone(r.Inputs), maps.Clone(r.Outputs)
	return &one
}

// at returns the resource of a key, or of an ID.
func (p *Provider) at(token, key string) *Resource {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.live[slot(token, key)]; r != nil {
		return r.copy()
	}
	return nil
}

// outputs returns the inputs and what AWS adds to them.
func (p *Provider) outputs(token, id string, in Properties) Properties {
	k := kinds[token]
	out := maps.Clone(in)
	out["id"] = id
	if k.arn != "" {
		out["arn"] = p.expand(k.arn, id, in)
	}
	for name, template := range k.outputs {
		out[name] = p.expand(template, id, in)
	}
	if k.more != nil {
		maps.Copy(out, k.more(p, id, in))
	}
	return out
}

// unknown returns what a preview tells of a new resource: its inputs, and that
// the rest is not known yet.
func (p *Provider) unknown(token string, news resource.PropertyMap) resource.PropertyMap {
	out := news.Copy()
	for name := range p.outputs(token, "", plain(news)) {
		if _, given := out[resource.PropertyKey(name)]; !given {
			out[resource.PropertyKey(name)] = resource.MakeComputed(resource.NewProperty(""))
		}
	}
	return out
}

// look returns a resource as it is.
func (p *Provider) look(ctx context.Context, token, id string, in, known Properties) (*Resource, error) {
	if api := p.real(token); api != nil {
		if known["id"] == nil { // it is being taken over: the state has only what it was asked to be
			var err error
			if id, known, err = p.takeOver(token, id, in); err != nil {
				return nil, err
			}
		}
		now, err := api.read(ctx, &p.clients, id, in)
		if err != nil {
			return nil, err
		}
		r := &Resource{Token: token, ID: id, Inputs: maps.Clone(in), Outputs: maps.Clone(known)}
		for k, v := range now {
			if _, asked := in[k]; asked {
				r.Inputs[k] = v
			}
			r.Outputs[k] = v
		}
		return r, nil
	}
	if known["id"] == nil { // it is being taken over
		return p.imported(token, id)
	}
	key := p.keyOf(token, known)
	if key == "" {
		key = id
	}
	if r := p.at(token, key); r != nil && r.ID == id {
		return r, nil
	}
	return nil, errGone
}

// takeOver returns the ID and the outputs of a resource in AWS that an import names.
func (p *Provider) takeOver(token, named string, in Properties) (id string, out Properties, err error) {
	k := kinds[token]
	if k.imported == "" {
		return named, p.outputs(token, named, in), nil
	}
	id = p.expand(k.id, "", in)
	out = p.outputs(token, id, in)
	if k.imported == "{arn}" {
		out["arn"] = named
	}
	if want := p.expand(k.imported, id, out); want != named {
		return "", nil, fmt.Errorf("unexpected format for import ID %q, expected %q", named, want)
	}
	return id, out, nil
}

// imported returns the resource that an import names. As with the provider, that may
// be by another ID than the one it has.
func (p *Provider) imported(token, id string) (*Resource, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.live {
		if r.Token == token && p.importID(r) == id {
			return r.copy(), nil
		}
	}
	return nil, errGone
}

// importID returns what a resource is imported by.
func (p *Provider) importID(r *Resource) string {
	switch template := kinds[r.Token].imported; {
	case template != "":
		return p.expand(template, r.ID, r.Outputs)
	default:
		return r.ID
	}
}

// change updates a resource in place.
func (p *Provider) change(ctx context.Context, token, id string, olds, news Properties) (*Resource, error) {
	key := p.keyOf(token, news)
	if kinds[token].revised {
		key = p.keyOf(token, olds)
	}
	if key == "" {
		key = id
	}
	var told Properties
	if api := p.real(token); api != nil {
		var err error
		if told, err = api.update(ctx, &p.clients, id, olds, news); err != nil {
			return nil, err
		}
	} else if p.at(token, key) == nil {
		return nil, fmt.Errorf("NotFound: %s %s", token, id)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.live[slot(token, key)]
	if r == nil { // made in AWS before this provider was there
		r = &Resource{Token: token, Key: key, ID: id, Outputs: maps.Clone(olds)}
		p.live[slot(token, key)] = r
	}
	r.Inputs = news
	for k, v := range news {
		r.Outputs[k] = v
	}
	if n, ok := r.Outputs["latestVersion"].(float64); ok {
		r.Outputs["latestVersion"] = n + 1
	}
	maps.Copy(r.Outputs, told)
	return r.copy(), nil
}

// remove deletes a resource.
func (p *Provider) remove(ctx context.Context, token, id string, state Properties) error {
	key := p.keyOf(token, state)
	if key == "" {
		key = id
	}
	if kinds[token].held {
		if by := p.holder(token, id, state); by != "" {
			return fmt.Errorf("DependencyViolation: %s is in use by %s", id, by)
		}
	}
	if api := p.real(token); api != nil {
		if err := api.delete(ctx, &p.clients, id, state); err != nil && !errors.Is(err, errGone) {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.live, slot(token, key))
	return nil
}

// namedBy are the inputs of others that name a resource by what it is called. Anywhere
// else the same text may be another's name.
var namedBy = map[string][]string{
	"aws:rds/subnetGroup:SubnetGroup":                     {"dbSubnetGroupName"},
	"aws:rds/clusterParameterGroup:ClusterParameterGroup": {"dbClusterParameterGroupName"},
	"aws:rds/cluster:Cluster":                             {"clusterIdentifier"},
	"aws:elasticache/subnetGroup:SubnetGroup":             {"subnetGroupName"},
	"aws:elasticache/userGroup:UserGroup":                 {"userGroupIds"},
	"aws:lambda/function:Function":                        {"function", "functionName"},
}

// holder returns a resource that names this one among its inputs.
func (p *Provider) holder(token, id string, state Properties) string {
	var names []string
	if strings.Contains(kinds[token].id, "#") { // a name may be others' too
		names = append(names, id)
	}
	if arn, ok := state["arn"].(string); ok {
		names = append(names, arn)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.live {
		if r.ID != id && (mentions(r.Inputs, names) || slices.ContainsFunc(namedBy[token], func(input string) bool {
			return mentions(r.Inputs[input], []string{id})
		})) {
			return r.Token + " " + r.ID
		}
	}
	return ""
}

// mentions reports whether a value is, or has somewhere in it, one of the texts.
func mentions(v any, texts []string) bool {
	switch v := v.(type) {
	case string:
		return slices.Contains(texts, v)
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { return mentions(e, texts) })
	case map[string]any:
		for k, e := range v {
			if k != "tags" && mentions(e, texts) {
				return true
			}
		}
	}
	return false
}

// numbered returns a small number as text.
func (p *Provider) numbered() string { return strconv.Itoa(p.number()) }
