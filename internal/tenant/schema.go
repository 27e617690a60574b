package tenant

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/gitopsd/gitopsd/schema"
)

// rulebook is the schema in the two forms that a check needs: compiled, and as
// the JSON it is, to look up what a sentence needs to say.
type rulebook struct {
	compiled *jsonschema.Schema
	doc      map[string]any
	homes    map[string][]string // key → the paths of the mappings that know it
}

// theFormat compiles the schema when the first file is parsed.
var theFormat = sync.OnceValue(func() *Format { return NewFormat("Tenant", schema.Tenant) })

// newRulebook compiles a schema, which is part of the program: that it compiles
// is a matter of the tests.
func newRulebook(url string, text []byte) *rulebook {
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		panic(fmt.Sprintf("embedded %s: %v", url, err))
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(url, parsed); err != nil {
		panic(fmt.Sprintf("embedded %s: %v", url, err))
	}
	b := &rulebook{compiled: c.MustCompile(url), homes: map[string][]string{}}
	b.doc, _ = parsed.(map[string]any)
	b.collectHomes(b.doc, "")
	for _, homes := range b.homes {
		slices.Sort(homes)
	}
	return b
}

// collectHomes notes every key below a schema under the path of its mapping.
func (b *rulebook) collectHomes(s map[string]any, path string) {
	s = b.resolve(s)
	for key, sub := range properties(s) {
		b.homes[key] = append(b.homes[key], path)
		below := key
		if path != "" {
			below = path + "." + key
		}
		if sub, ok := sub.(map[string]any); ok {
			b.collectHomes(sub, below)
		}
	}
	if items, ok := s["items"].(map[string]any); ok {
		b.collectHomes(items, path+"[]")
	}
}

// resolve follows a $ref into $defs.
func (b *rulebook) resolve(s map[string]any) map[string]any {
	ref, ok := s["$ref"].(string)
	if !ok {
		return s
	}
	target, _ := dig(b.doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...).(map[string]any)
	return target
}

// at returns the schema that a location of the compiled schema names.
func (b *rulebook) at(location string) map[string]any {
	_, fragment, _ := strings.Cut(location, "#")
	var v any = b.doc
	for token := range strings.SplitSeq(strings.TrimPrefix(fragment, "/"), "/") {
		switch node := v.(type) {
		case map[string]any:
			if token != "" {
				v = node[token]
			}
		default:
			return nil
		}
	}
	s, _ := v.(map[string]any)
	return s
}

func properties(s map[string]any) map[string]any {
	p, _ := s["properties"].(map[string]any)
	return p
}

func keysOf(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// wanted returns the sentence a schema itself has for a value that does not
// match, without the leading "must".
func wanted(s map[string]any) string {
	text, _ := s["patternErrorMessage"].(string)
	return text
}
