package tenant

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// place is where something stands in a file.
type place struct {
	line, column int
	alias        *yaml.Node // the alias the value came through, if it did
}

// placeOf returns where n begins; alias is the alias that led to it.
func placeOf(n, alias *yaml.Node) place {
	if alias != nil {
		n = alias
	}
	return place{line: n.Line, column: n.Column, alias: alias}
}

// locate returns where the value at a path stands. A mapping or list that
// begins below its key is located at the key, since that is what a reader
// calls its place. A path that does not exist is located at its nearest
// ancestor that does.
func (r *report) locate(path ...string) place {
	_, value, _ := r.find(path)
	return value
}

// locateKey returns where the key that a path ends with stands.
func (r *report) locateKey(path ...string) place {
	_, _, key := r.find(path)
	return key
}

// nodeAt returns the node of the value at a path, through aliases.
func (r *report) nodeAt(path []string) *yaml.Node {
	n, _, _ := r.find(path)
	return n
}

func (r *report) find(path []string) (n *yaml.Node, value, key place) {
	n, alias := r.root, (*yaml.Node)(nil)
	follow := func() {
		for n.Kind == yaml.AliasNode {
			if alias == nil {
				alias = n
			}
			n = n.Alias
		}
	}
	follow()
	value = placeOf(n, alias)
	key = value
	for _, token := range path {
		k, v := r.child(n, token)
		if v == nil {
			return n, value, key
		}
		key = placeOf(v, alias)
		if k != nil {
			key = placeOf(k, alias)
		}
		n = v
		follow()
		value = placeOf(n, alias)
		if k != nil && n.Kind != yaml.ScalarNode && n.Style&yaml.FlowStyle == 0 && alias == nil {
			value = key
		}
	}
	return n, value, key
}

// child returns the member or item of n that a token names, and a member's key.
func (r *report) child(n *yaml.Node, token string) (key, value *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		if i, ok := r.keysOf(n)[token]; ok {
			return n.Content[i], n.Content[i+1]
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(n.Content) {
			return nil, n.Content[i]
		}
	}
	return nil, nil
}

// keysOf returns where in n.Content each key stands, the first one of the same.
// It is kept, so that a problem at each of many keys costs no search each.
func (r *report) keysOf(n *yaml.Node) map[string]int {
	if keys, ok := r.keys[n]; ok {
		return keys
	}
	keys := make(map[string]int, len(n.Content)/2)
	for i := len(n.Content) - 2; i >= 0; i -= 2 {
		if k := n.Content[i]; k.Kind == yaml.ScalarNode {
			keys[k.Value] = i
		}
	}
	if r.keys == nil {
		r.keys = make(map[*yaml.Node]map[string]int)
	}
	r.keys[n] = keys
	return keys
}

// dig returns the value at a path of JSON objects and lists, or nil.
func dig(v any, path ...string) any {
	for _, token := range path {
		switch at := v.(type) {
		case map[string]any:
			v = at[token]
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(at) {
				return nil
			}
			v = at[i]
		default:
			return nil
		}
	}
	return v
}

var (
	bareToken  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)
	indexToken = regexp.MustCompile(`^[0-9]+$`)
)

// spell writes a path as people do: spec.domains[1], spec.app.env["a b"].
func spell(path []string) string {
	var b strings.Builder
	for _, token := range path {
		switch {
		case indexToken.MatchString(token):
			b.WriteString("[" + token + "]")
		case !bareToken.MatchString(token):
			b.WriteString("[" + quote(token) + "]")
		default:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(token)
		}
	}
	return b.String()
}

// quote shows a text of the file: on one line, without control characters, and
// short.
func quote(text string) string {
	const most = 60
	if utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most-1]) + "…"
	}
	return strconv.Quote(text)
}
