package tenant

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// document is the one YAML document of a file.
type document struct {
	root    *yaml.Node
	value   any       // as JSON has it: map[string]any, []any, string, int64, float64, bool, nil
	unclear []unclear // plain scalars that YAML readers disagree about
}

// readDocument reads the text as YAML. It returns false when there is nothing
// left to check; then the report says why.
func readDocument(r *report, data []byte) (*document, bool) {
	if len(data) > MaxFile {
		r.add(0, 0, fmt.Sprintf("the file is larger than %d KiB", MaxFile>>10), fmt.Sprintf("no %s file needs to be", r.noun()))
		return nil, false
	}
	if !checkBytes(r, data) {
		return nil, false
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var root yaml.Node
	switch err := decodeNode(dec, &root); {
	case errors.Is(err, io.EOF):
		r.add(1, 1, "the file is empty", "begin with apiVersion: gitopsd.dev/v1 and kind: "+r.kind)
		return nil, false
	case err != nil:
		syntaxProblem(r, data, err)
		return nil, false
	}
	if !onlyDocument(r, dec, data) {
		return nil, false
	}
	b := builder{report: r}
	doc := &document{root: root.Content[0]}
	doc.value = b.value(doc.root)
	doc.unclear = b.unclear
	return doc, !b.stopped
}

// onlyDocument checks that nothing follows the first document.
func onlyDocument(r *report, dec *yaml.Decoder, data []byte) bool {
	var second yaml.Node
	err := decodeNode(dec, &second)
	switch {
	case errors.Is(err, io.EOF):
		return true
	case err != nil:
		syntaxProblem(r, data, err)
	default:
		r.add(second.Line, second.Column, "a second document begins here",
			fmt.Sprintf("a file describes one %s; put the second one into a file of its own", r.noun()))
	}
	return false
}

// decodeNode reads the next document. The YAML library reports some malformed
// input by panicking with a text; here that is an error like any other.
func decodeNode(dec *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("yaml: %v", p)
		}
	}()
	return dec.Decode(n)
}

// checkBytes finds bytes that no YAML file can hold, of which the YAML library
// would not say where they are.
func checkBytes(r *report, data []byte) bool {
	line, column := 1, 1
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			r.add(line, column, fmt.Sprintf("the byte 0x%02X is not UTF-8", data[i]), "save the file as UTF-8")
			return false
		case !allowedRune(c) && (i > 0 || c != '\uFEFF'):
			r.add(line, column, fmt.Sprintf("the control character %U is not allowed", c), "remove it")
			return false
		}
		i += size
		column++
		if c == '\n' {
			line, column = line+1, 1
		}
	}
	return true
}

// allowedRune is YAML's set of printable characters (YAML 1.2, 5.1).
func allowedRune(c rune) bool {
	return c == '\t' || c == '\n' || c == '\r' || c >= 0x20 && c <= 0x7E ||
		c == 0x85 || c >= 0xA0 && c <= 0xD7FF || c >= 0xE000 && c <= 0xFFFD && c != 0xFEFF ||
		c >= 0x10000 && c <= 0x10FFFF
}
