package migration

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
)

// maxFile is the largest migration file that a release takes, in bytes.
const maxFile = 4 << 20

// chunk is what goose sends to the database at once: a statement, or several
// when one line ends some of them.
type chunk struct {
	sql  string
	line int // of the file, from 1
}

// script is what a migration file says.
type script struct {
	up []chunk
	tx bool // all of it in one transaction
}

// badFile is what keeps goose, or a release, from taking a file.
type badFile struct {
	line int // 0 for the file as a whole
	why  string
}

func (b *badFile) Error() string {
	if b.line == 0 {
		return b.why
	}
	return fmt.Sprintf("line %d: %s", b.line, b.why)
}

// readScript reads a migration file by goose's rules, in both directions, for
// goose runs neither if it cannot read the other.
func readScript(content []byte) (script, error) {
	if _, err := (&reader{up: false}).read(content); err != nil {
		return script{}, err
	}
	return (&reader{up: true}).read(content)
}

// section is where in a file a line stands.
type section int

const (
	before section = iota // of all annotations
	plainUp
	blockUp // between StatementBegin and StatementEnd
	endUp   // just behind such a block
	plainDown
	blockDown
	endDown
)

// reader cuts one direction of a file into chunks.
type reader struct {
	up      bool
	section section
	buf     bytes.Buffer // the statement that has begun
	began   int          // its line
	line    int
	out     script
}

func (r *reader) read(content []byte) (script, error) {
	r.out.tx = true
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, maxFile)
	for lines.Scan() {
		r.line++
		if err := r.take(lines.Text()); err != nil {
			return script{}, err
		}
	}
	switch {
	case lines.Err() != nil:
		return script{}, &badFile{r.line + 1, "the line is too long"}
	case r.section == before:
		return script{}, &badFile{0, "there is no line -- +goose Up"}
	case r.section == blockUp, r.section == blockDown:
		return script{}, &badFile{0, "a -- +goose StatementBegin has no StatementEnd"}
	}
	return r.out, r.unfinished()
}

// take reads a line.
func (r *reader) take(line string) error {
	trimmed := strings.TrimSpace(line)
	if r.section == before && trimmed == "" {
		return nil
	}
	if strings.HasPrefix(trimmed, "--") && strings.Contains(line, "+goose") {
		ended, err := r.annotation(line)
		if err != nil || !ended {
			return err
		}
	}
	if r.buf.Len() == 0 {
		if strings.HasPrefix(trimmed, "--") || line == "" {
			return nil
		}
		r.began = r.line
	}
	if r.section != endUp && r.section != endDown {
		r.buf.WriteString(line)
		r.buf.WriteByte('\n')
	}
	if r.section == before {
		return &badFile{r.line, "it stands before -- +goose Up"}
	}
	if ours := r.section <= endUp; ours != r.up {
		r.buf.Reset()
		return nil
	}
	switch r.section {
	case plainUp, plainDown:
		if endsStatement(line) {
			r.store()
		}
	case endUp:
		r.store()
		r.section = plainUp
	case endDown:
		r.store()
		r.section = plainDown
	}
	return nil
}

func (r *reader) store() {
	r.out.up = append(r.out.up, chunk{strings.TrimSpace(r.buf.String()), r.began})
	r.buf.Reset()
}

// annotation follows a line that holds +goose. ended is set for the one that
// ends a block: the line then goes on to have the block stored.
func (r *reader) annotation(line string) (ended bool, err error) {
	bad := func(format string, args ...any) (bool, error) {
		return false, &badFile{r.line, fmt.Sprintf(format, args...)}
	}
	command := strings.Replace(strings.ReplaceAll(line, "--", ""), "+goose", "", 1)
	if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") || strings.Contains(command, "+goose") {
		return bad("an annotation has a line of its own, and begins it")
	}
	switch command = strings.TrimSpace(command); {
	case strings.EqualFold(command, "Up"):
		if r.section != before {
			return bad("there is a second -- +goose Up")
		}
		r.section = plainUp
	case strings.EqualFold(command, "Down"):
		if r.section != plainUp && r.section != endUp {
			return bad("-- +goose Down has to stand behind -- +goose Up, once")
		}
		if err := r.unfinished(); err != nil {
			return false, err
		}
		r.section = plainDown
	case strings.EqualFold(command, "StatementBegin"):
		switch r.section {
		case plainUp, endUp:
			r.section = blockUp
		case plainDown, endDown:
			r.section = blockDown
		default:
			return bad("-- +goose StatementBegin has to stand behind -- +goose Up, and not in another block")
		}
	case strings.EqualFold(command, "StatementEnd"):
		switch r.section {
		case blockUp:
			r.section = endUp
		case blockDown:
			r.section = endDown
		default:
			return bad("-- +goose StatementEnd has no StatementBegin")
		}
		return true, nil
	case strings.EqualFold(command, "NO TRANSACTION"):
		r.out.tx = false
	default:
		return bad("+goose %.60s is not supported", command)
	}
	return false, nil
}

// unfinished fails if a statement has begun that nothing ends.
func (r *reader) unfinished() error {
	if strings.TrimSpace(r.buf.String()) != "" {
		return &badFile{r.began, "the statement has no semicolon at the end of a line"}
	}
	return nil
}

// endsStatement reports whether the last word before a comment ends in a
// semicolon.
func endsStatement(line string) bool {
	last := ""
	for w := range strings.FieldsSeq(line) {
		if strings.HasPrefix(w, "--") {
			break
		}
		last = w
	}
	return strings.HasSuffix(last, ";")
}
