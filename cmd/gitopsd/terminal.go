package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// terminal is where a command reads and writes.
type terminal struct {
	in       *os.File
	out, err io.Writer
	tty      bool // out is a terminal
	colour   bool
}

func newTerminal(in, out, errs *os.File) *terminal {
	tty := term.IsTerminal(int(out.Fd()))
	return &terminal{
		in: in, out: out, err: errs, tty: tty,
		colour: tty && term.IsTerminal(int(errs.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
	}
}

// colour is an ANSI colour.
type colour string

const (
	plain  colour = ""
	red    colour = "\x1b[31m"
	green  colour = "\x1b[32m"
	yellow colour = "\x1b[33m"
	grey   colour = "\x1b[90m"
)

func (t *terminal) paint(c colour, text string) string {
	if !t.colour || c == plain {
		return text
	}
	return string(c) + text + "\x1b[39m"
}

// printJSON writes what a machine reads.
func (t *terminal) printJSON(v any) error {
	enc := json.NewEncoder(t.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// table is lines of cells, the first line the header. An empty cell is shown as
// a dash unless nothing follows it.
type table struct {
	t      *terminal
	indent string
	rows   [][]string
}

func (t *terminal) table(indent string, header ...string) *table {
	return &table{t: t, indent: indent, rows: [][]string{header}}
}

func (b *table) row(cells ...string) {
	last := len(cells)
	for last > 0 && cells[last-1] == "" {
		last--
	}
	shown := make([]string, last)
	for i, cell := range cells[:last] {
		if shown[i] = clean(cell); cell == "" {
			shown[i] = "-"
		}
	}
	b.rows = append(b.rows, shown)
}

// print writes the table; paint, unless it is nil, chooses a cell's colour.
func (b *table) print(paint func(column int, cell string) colour) error {
	widths := make([]int, len(b.rows[0]))
	for _, row := range b.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var text strings.Builder
	for n, row := range b.rows {
		text.WriteString(b.indent)
		for i, cell := range row {
			c := plain
			if n > 0 && paint != nil {
				c = paint(i, cell)
			}
			text.WriteString(b.t.paint(c, cell))
			if i < len(row)-1 {
				text.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		text.WriteByte('\n')
	}
	_, err := io.WriteString(b.t.out, text.String())
	return err
}

// clean makes text from a tenant or a commit harmless for a terminal: nothing
// in it moves the cursor, changes the title or turns the direction of writing.
func clean(text string) string {
	return strings.Map(cleanRune, text)
}

func cleanRune(r rune) rune {
	if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
		return unicode.ReplacementChar
	}
	return r
}

// cleanLines is clean for text of several lines.
func cleanLines(text string) string {
	lines := strings.Split(strings.ReplaceAll(text, "\t", "    "), "\n")
	for i, line := range lines {
		lines[i] = clean(strings.TrimSuffix(line, "\r"))
	}
	return strings.Join(lines, "\n")
}

// cleanWriter is cleanLines for a stream. Close writes what is left of a
// character that was cut.
type cleanWriter struct {
	w    io.Writer
	rest []byte // the beginning of a character
}

func (c *cleanWriter) Write(p []byte) (int, error) {
	b := append(c.rest, p...)
	end := len(b)
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ { // is the last character whole?
		if at := len(b) - n; utf8.RuneStart(b[at]) {
			if !utf8.FullRune(b[at:]) {
				end = at
			}
			break
		}
	}
	if err := c.show(b[:end]); err != nil {
		return 0, err
	}
	c.rest = append([]byte(nil), b[end:]...)
	return len(p), nil
}

// Close ends the stream.
func (c *cleanWriter) Close() error { return c.show(c.rest) }

func (c *cleanWriter) show(b []byte) error {
	text := strings.Map(func(r rune) rune {
		switch r {
		case '\n', '\t':
			return r
		case '\r':
			return -1
		}
		return cleanRune(r)
	}, strings.ToValidUTF8(string(b), "\uFFFD"))
	_, err := io.WriteString(c.w, text)
	return err
}

func indented(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }

// short shortens a commit or a release to what people compare.
func short(digest string) string { return digest[:min(len(digest), 7)] }

// age says how long ago something was, in one unit.
func age(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	switch d := now.Sub(at); {
	case d < time.Second:
		return "0s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// took says how long something lasted.
func took(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}

// cut shortens text to a number of characters.
func cut(text string, most int) string {
	text, _, _ = strings.Cut(text, "\n")
	if r := []rune(text); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return text
}

// outputFlag chooses between people and machines.
type outputFlag struct {
	Output string `help:"How to write: table or json." short:"o" enum:"table,json" default:"table"`
}

func (o outputFlag) json() bool { return o.Output == "json" }
