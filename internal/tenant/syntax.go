package tenant

import (
	"bytes"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// yamlError is how the YAML library words a syntax error. The line is that of
// the construct around the mistake, and missing in the first line.
var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// syntaxCase is one kind of syntax error: how the library words it, and how a
// person would.
type syntaxCase struct {
	library string // contained in the library's words
	message string
	hint    string
	// mark finds the column's text in the line, "" for the line's first word.
	mark string
	// stated: the library's line is the mistake's own. Otherwise it is where
	// the construct around it began, and the mistake is where reading stopped.
	stated bool
}

// quotes is the mark of a text in either kind of quotes.
const quotes = `"'`

// signs are the characters that YAML keeps for itself.
const signs = "@`%"

func syntaxCases(noun string) []syntaxCase {
	return []syntaxCase{
		{
			library: "mapping values are not allowed", message: "a key cannot stand here",
			hint: "the line above lacks its colon, or this line is indented too far", stated: true, mark: ": ",
		},
		{
			library: "could not find expected ':'", message: "this is neither a key with a colon nor part of the value above",
			hint: "write key: value, with a space after the colon", stated: true,
		},
		{
			library: "cannot start any token", message: "a text cannot begin with this character",
			hint: "put the text in quotes", stated: true, mark: signs,
		},
		{
			library: "did not find expected ',' or ']'", message: "the list in [ ] is not closed here",
			hint: "write , between items and ] at the end",
		},
		{
			library: "did not find expected ',' or '}'", message: "the mapping in { } is not closed here",
			hint: "write , between pairs and } at the end",
		},
		{
			library: "did not find expected key", message: "the indentation does not match the lines above",
			hint: "align the keys of a mapping, and the dashes of a list, in one column",
		},
		{
			library: "did not find expected '-' indicator", message: "the indentation does not match the list above",
			hint: "align the dashes of one list in one column",
		},
		{
			library: "block sequence entries are not allowed", message: "a list cannot begin here",
			hint: "begin the list in a line of its own, below its key", stated: true, mark: "- ",
		},
		{
			library: "mapping keys are not allowed", message: "a key cannot stand here",
			hint: "put it in a line of its own, or the text in quotes", stated: true,
		},
		{
			library: "found unexpected end of stream", message: "a text in quotes begins here and never ends",
			hint: "close the quotes", stated: true, mark: quotes,
		},
		{
			library: "found unexpected document indicator", message: "a text in quotes is cut off by --- or ...",
			hint: "close the quotes", stated: true, mark: quotes,
		},
		{
			library: "found unknown escape character", message: "an unknown \\ escape in a text in double quotes",
			hint: `write \\ for a backslash, or use single quotes`, stated: true, mark: `\`,
		},
		{
			library: "unknown anchor", message: "this alias names an anchor that does not stand above it",
			hint: "define it first with &name", mark: "*",
		},
		{
			library: "did not find expected <document start>", message: "text follows the end of the document",
			hint: "a file describes one " + noun,
		},
		{
			library: "did not find expected node content", message: "a list or mapping in brackets breaks off here",
			hint: "write the value, or close the bracket",
		},
		{library: "exceeded max depth", message: "values are nested far too deep"},
		{
			library: "found incompatible YAML document", message: "this version of YAML is unknown",
			hint: "remove the %YAML line",
		},
		{
			library: "attempted to go past the end of stream", message: "the file ends in the middle of a value",
			hint: "",
		},
	}
}

// syntaxProblem reports why the text is not YAML.
func syntaxProblem(r *report, data []byte, err error) {
	m := yamlError.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " "))
	if m == nil {
		m = []string{"", "", err.Error()}
	}
	c := syntaxCase{message: "this is not YAML: " + m[2]}
	for _, candidate := range syntaxCases(r.noun()) {
		if strings.Contains(m[2], candidate.library) {
			c = candidate
			break
		}
	}
	lines := bytes.Split(data, []byte("\n"))
	line := stopLine(data)
	if c.stated {
		line = 1
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
	}
	line = min(max(line, 1), len(lines))
	if c.mark == quotes && !bytes.ContainsAny(lines[line-1], quotes) {
		line = 1 // the library has no way to say so
	}
	if column := tabIndent(lines[line-1]); column > 0 {
		r.add(line, column, "a tab in the indentation", "YAML is indented with spaces")
		return
	}
	if c.mark == ": " && bytes.Count(lines[line-1], []byte(c.mark)) > 1 {
		c.message, c.hint = `a second ": " in one line`, `put a text that contains ": " in quotes`
	}
	r.add(line, syntaxColumn(lines[line-1], c.mark), c.message, c.hint)
}

// stopLine returns the line at which the YAML library stops reading: it looks
// only a few characters ahead, so that is where it found the mistake.
func stopLine(data []byte) int {
	b := &bytewise{data: data}
	dec := yaml.NewDecoder(b)
	for {
		var n yaml.Node
		if decodeNode(dec, &n) != nil {
			break
		}
	}
	read := bytes.TrimRight(data[:b.read], " \n")
	return 1 + bytes.Count(read, []byte("\n"))
}

// bytewise reads one byte at a time, so that read says how far its reader is.
type bytewise struct {
	data []byte
	read int
}

func (b *bytewise) Read(p []byte) (int, error) {
	if b.read >= len(b.data) {
		return 0, io.EOF
	}
	p[0] = b.data[b.read]
	b.read++
	return 1, nil
}

// tabIndent returns the column of a tab before a line's first word, or 0.
func tabIndent(line []byte) int {
	indent := len(line) - len(bytes.TrimLeft(line, " \t"))
	return 1 + bytes.IndexByte(line[:indent], '\t')
}

// syntaxColumn returns the column, in characters from 1, of the mark that made
// the mistake: of ": " the second, of others the first; else of the first word.
func syntaxColumn(line []byte, mark string) int {
	at := len(line) - len(bytes.TrimLeft(line, " "))
	switch mark {
	case "":
	case ": ":
		if i := bytes.Index(line, []byte(mark)); i >= 0 {
			if j := bytes.Index(line[i+1:], []byte(":")); j >= 0 {
				at = i + 1 + j
			}
		}
	case quotes, signs:
		if i := bytes.IndexAny(line, mark); i >= 0 {
			at = i
		}
	default:
		if i := bytes.Index(line, []byte(mark)); i >= 0 {
			at = i
		}
	}
	return 1 + utf8.RuneCount(line[:at])
}
