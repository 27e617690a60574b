package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// yamlFile is a file of settings that knows where in it each key is.
type yamlFile struct {
	name string
	docs string // that lists the keys
	root yaml.Node
}

// openYAML reads a file of settings over what into has.
func openYAML(name, docs string, into any) (*yamlFile, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "read configuration: %w", err)
	}
	return parseYAML(name, docs, data, into)
}

// unknownKey is what the YAML library says of a key that there is no field for.
var unknownKey = regexp.MustCompile(`field (\S+) not found in type \S+`)

// parseYAML reads settings over what into has. A key that into does not know is an
// error, and so is one that is there twice.
func parseYAML(name, docs string, data []byte, into any) (*yamlFile, error) {
	f := &yamlFile{name: name, docs: docs}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	switch err := decoder.Decode(into); {
	case errors.Is(err, io.EOF): // nothing but comments
		return f, nil
	case err != nil:
		return nil, f.unreadable(err)
	}
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, fault.Errorf(fault.Invalid, "%s: there is more than one document", name).WithHint("keep one of them")
	}
	if err := yaml.Unmarshal(data, &f.root); err != nil {
		return nil, f.unreadable(err)
	}
	return f, nil
}

// unreadable says where the YAML library found what it does not take.
func (f *yamlFile) unreadable(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	var typeErr *yaml.TypeError
	if errors.As(err, &typeErr) {
		text = unknownKey.ReplaceAllString(typeErr.Errors[0], `unknown key "$1"`)
	}
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		text = rest // the number, a colon, and what is wrong
	} else {
		text = " " + text
	}
	return fault.Errorf(fault.Invalid, "%s:%s", f.name, text).WithHint("%s lists the keys", f.docs)
}

// has reports whether the file gives the key, such as "aws.edge".
func (f *yamlFile) has(key string) bool { return f.find(key) != nil }

// find returns where the key is.
func (f *yamlFile) find(key string) *yaml.Node {
	if len(f.root.Content) == 0 {
		return nil
	}
	at := f.root.Content[0]
	var found *yaml.Node
	for name := range strings.SplitSeq(key, ".") {
		if found, at = member(at, name); found == nil {
			return nil
		}
	}
	return found
}

// member returns a mapping's key and value of the name.
func member(mapping *yaml.Node, name string) (key, value *yaml.Node) {
	for mapping.Kind == yaml.AliasNode {
		mapping = mapping.Alias
	}
	if mapping.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i], mapping.Content[i+1]
		}
	}
	return nil, nil
}

// wrong returns an error about a key's value, with its place if the file gives it.
func (f *yamlFile) wrong(key, format string, args ...any) *fault.Error {
	place := f.name
	if at := f.find(key); at != nil {
		place = fmt.Sprintf("%s:%d", f.name, at.Line)
	}
	return fault.Errorf(fault.Invalid, "%s: %s: %s", place, key, fmt.Sprintf(format, args...))
}
