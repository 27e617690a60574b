package tenant

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// unclear is a plain scalar that means different things to different readers.
type unclear struct {
	path []string
	node *yaml.Node
	at   place
}

// builder turns YAML nodes into JSON values and refuses what has no place in a
// tenant file: duplicate keys, merge keys, tags, boundless aliases.
type builder struct {
	report   *report
	path     []string            // of the value at hand
	aliases  []*yaml.Node        // being followed, outermost first
	open     map[*yaml.Node]bool // anchored values being read
	depth    int
	expanded int // values reached through aliases
	unclear  []unclear
	stopped  bool // a limit was passed; nothing more is read
}

// here returns where the user sees n.
func (b *builder) here(n *yaml.Node) place {
	if len(b.aliases) > 0 {
		return placeOf(b.aliases[0], b.aliases[0])
	}
	return placeOf(n, nil)
}

// stop reports that a limit was passed.
func (b *builder) stop(n *yaml.Node, message, hint string) any {
	if !b.stopped {
		b.report.at(b.here(n), message, hint)
	}
	b.stopped = true
	return nil
}

// value returns n as JSON has it.
func (b *builder) value(n *yaml.Node) any {
	if b.stopped {
		return nil
	}
	if len(b.aliases) > 0 {
		if b.expanded++; b.expanded > maxExpanded {
			return b.stop(n, fmt.Sprintf("aliases expand to more than %d values", maxExpanded), "write fewer aliases of aliases")
		}
	}
	if n.Style&yaml.TaggedStyle != 0 {
		b.report.at(b.here(n), fmt.Sprintf("the tag %s is not used here", quote(n.Tag)),
			"remove it; a text that looks like something else goes in quotes")
	}
	switch n.Kind {
	case yaml.ScalarNode:
		return b.scalar(n)
	case yaml.AliasNode:
		return b.alias(n)
	}
	defer b.enter(n)()
	if b.depth > maxDepth {
		return b.stop(n, fmt.Sprintf("values are nested deeper than %d levels", maxDepth), "")
	}
	if n.Kind == yaml.SequenceNode {
		return b.sequence(n)
	}
	return b.mapping(n)
}

func (b *builder) alias(n *yaml.Node) any {
	if b.open[n.Alias] {
		return b.stop(n, fmt.Sprintf("the alias *%s contains itself", n.Value), "")
	}
	b.aliases = append(b.aliases, n)
	defer func() { b.aliases = b.aliases[:len(b.aliases)-1] }()
	return b.value(n.Alias)
}

// enter notes that n is being read, for aliases in it; the returned function
// ends that.
func (b *builder) enter(n *yaml.Node) func() {
	b.depth++
	if n.Anchor != "" {
		if b.open == nil {
			b.open = make(map[*yaml.Node]bool)
		}
		b.open[n] = true
	}
	return func() {
		b.depth--
		delete(b.open, n)
	}
}

func (b *builder) sequence(n *yaml.Node) any {
	items := make([]any, len(n.Content))
	for i, child := range n.Content {
		b.path = append(b.path, index(i))
		items[i] = b.value(child)
		b.path = b.path[:len(b.path)-1]
	}
	return items
}

func (b *builder) mapping(n *yaml.Node) any {
	members := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content) && !b.stopped; i += 2 {
		key, child := n.Content[i], n.Content[i+1]
		if !b.usableKey(key) {
			continue
		}
		if _, twice := members[key.Value]; twice {
			first := n.Content[b.report.keysOf(n)[key.Value]]
			b.report.at(b.here(key), fmt.Sprintf("the key %s stands twice", quote(key.Value)),
				fmt.Sprintf("the first one is in line %d", first.Line))
			continue
		}
		b.path = append(b.path, key.Value)
		members[key.Value] = b.value(child)
		b.path = b.path[:len(b.path)-1]
	}
	return members
}

// usableKey checks that a key is a plain text. Any plain scalar counts as one:
// nobody means the boolean by the key "on".
func (b *builder) usableKey(key *yaml.Node) bool {
	switch {
	case key.Kind == yaml.AliasNode:
		b.report.at(b.here(key), fmt.Sprintf("the alias *%s cannot be a key", key.Value), "write the key out")
	case key.Kind != yaml.ScalarNode:
		b.report.at(b.here(key), "a key must be a text, not a mapping or a list", "")
	case key.Tag == "!!merge" && key.Style == 0:
		b.report.at(b.here(key), "merge keys (<<) are not supported",
			"repeat the keys, or use an alias for the whole value, as in compute: *small")
	case key.Style&yaml.TaggedStyle != 0:
		b.report.at(b.here(key), fmt.Sprintf("the tag %s is not used here", quote(key.Tag)), "remove it")
	default:
		return true
	}
	return false
}

// decimal is how JSON, and everyone, writes a whole number.
var decimal = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

func (b *builder) scalar(n *yaml.Node) any {
	if i := strings.IndexFunc(n.Value, isControl); i >= 0 {
		b.report.at(b.here(n), fmt.Sprintf("the text holds the control character %U", n.Value[i]), "remove it")
	}
	if n.Style&^yaml.FlowStyle != 0 {
		return n.Value
	}
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int":
		if i, err := strconv.ParseInt(n.Value, 10, 64); err == nil && decimal.MatchString(n.Value) {
			return i
		}
		b.noteUnclear(n)
		var f float64
		if n.Decode(&f) == nil {
			return f
		}
	case "!!float":
		if f, err := strconv.ParseFloat(n.Value, 64); err == nil && f-f == 0 {
			return f
		}
		var f float64
		if n.Decode(&f) == nil && f-f == 0 { // with underscores
			b.noteUnclear(n)
			return f
		}
	default:
		if old, _ := oldBool(n.Value); old {
			b.noteUnclear(n)
		}
	}
	return n.Value
}

func (b *builder) noteUnclear(n *yaml.Node) {
	b.unclear = append(b.unclear, unclear{path: slices.Clone(b.path), node: n, at: b.here(n)})
}

// isControl reports a character that no variable, column or jsonb value holds.
func isControl(c rune) bool { return c < 0x20 && c != '\t' && c != '\n' && c != '\r' || c == 0x7F }

// oldBool reports whether a plain text is a boolean to a reader of YAML 1.1,
// and which.
func oldBool(text string) (old, value bool) {
	switch text {
	case "yes", "Yes", "YES", "on", "On", "ON":
		return true, true
	case "no", "No", "NO", "off", "Off", "OFF":
		return true, false
	}
	return false, false
}

func index(i int) string { return strconv.Itoa(i) }
