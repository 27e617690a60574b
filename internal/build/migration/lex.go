package migration

import (
	"errors"
	"fmt"
	"strings"
)

// kind is what a token is.
type kind int

const (
	word   kind = iota // a keyword or a plain name, folded to lower case
	quoted             // a quoted name
	str                // a string constant of any form
	number             //
	symbol             // one other character
)

// token is a lexical element, comments and spaces left out.
type token struct {
	kind kind
	text string // of a quoted name what is between the quotes; else as it stands
	at   int    // offset of its first byte
	end  int    // offset after its last byte
}

func (t token) is(words ...string) bool {
	if t.kind != word {
		return false
	}
	for _, w := range words {
		if t.text == w {
			return true
		}
	}
	return false
}

func (t token) sym(c string) bool { return t.kind == symbol && t.text == c }

// lexError is something that is not closed.
type lexError struct {
	what string
	at   int
}

func (e *lexError) Error() string { return e.what + " is not closed" }

// maxTokens bounds what is kept of SQL that is read at once.
const maxTokens = 500_000

var errTooLong = errors.New("too long to be analysed")

// lexer follows src/backend/parser/scan.l, with standard_conforming_strings on.
type lexer struct {
	s string
	i int
}

// lex returns the tokens of SQL. The error is a lexError, or errTooLong.
func lex(sql string) ([]token, error) {
	l := &lexer{s: sql}
	var tokens []token
	for {
		if err := l.skip(); err != nil {
			return tokens, err
		}
		if l.i >= len(l.s) {
			return tokens, nil
		}
		if len(tokens) == maxTokens {
			return tokens, errTooLong
		}
		t, err := l.next()
		if err != nil {
			return tokens, err
		}
		tokens = append(tokens, t)
	}
}

// skip passes over spaces and comments. A line also ends with a carriage return.
func (l *lexer) skip() error {
	for l.i < len(l.s) {
		switch rest := l.s[l.i:]; {
		case isSpace(rest[0]):
			l.i++
		case strings.HasPrefix(rest, "--"):
			l.skipLine()
		case strings.HasPrefix(rest, "/*"):
			if err := l.skipBlock(); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

func (l *lexer) skipLine() {
	if n := strings.IndexAny(l.s[l.i:], "\n\r"); n >= 0 {
		l.i += n
	} else {
		l.i = len(l.s)
	}
}

// skipBlock passes over a block comment, which may hold others.
func (l *lexer) skipBlock() error {
	at, depth := l.i, 0
	for l.i < len(l.s) {
		switch rest := l.s[l.i:]; {
		case strings.HasPrefix(rest, "/*"):
			depth, l.i = depth+1, l.i+2
		case strings.HasPrefix(rest, "*/"):
			depth, l.i = depth-1, l.i+2
			if depth == 0 {
				return nil
			}
		default:
			l.i++
		}
	}
	return &lexError{"a comment", at}
}

func isSpace(c byte) bool { return strings.IndexByte(" \t\n\r\f\v", c) >= 0 }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isNameStart(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c >= 0x80
}

func isName(c byte) bool { return isNameStart(c) || isDigit(c) || c == '$' }

func (l *lexer) next() (token, error) {
	at, c := l.i, l.s[l.i]
	switch {
	case isNameStart(c):
		return l.name()
	case isDigit(c):
		for l.i < len(l.s) && isDigit(l.s[l.i]) {
			l.i++
		}
		return l.token(number, at), nil
	case c == '\'':
		return l.str(at, false)
	case c == '"':
		return l.quoted(at)
	case c == '$':
		return l.dollar()
	}
	l.i++
	return l.token(symbol, at), nil
}

func (l *lexer) token(k kind, at int) token { return token{k, l.s[at:l.i], at, l.i} }

// name reads a word, and what a word of one letter makes of quotes behind it.
func (l *lexer) name() (token, error) {
	at := l.i
	for l.i < len(l.s) && isName(l.s[l.i]) {
		l.i++
	}
	text, rest := l.s[at:l.i], l.s[l.i:]
	if len(text) == 1 && rest != "" {
		switch c := text[0] | 0x20; {
		case rest[0] == '\'' && c == 'e':
			return l.str(at, true)
		case rest[0] == '\'' && (c == 'b' || c == 'x'):
			return l.str(at, false)
		case c == 'u' && strings.HasPrefix(rest, "&'"):
			l.i++
			return l.str(at, false)
		case c == 'u' && strings.HasPrefix(rest, `&"`):
			l.i++
			t, err := l.quoted(at)
			t.text = l.s[at:l.i] // its escapes are not read: it is no other name
			return t, err
		}
	}
	t := l.token(word, at)
	t.text = fold(text)
	return t, nil
}

// fold lowers ASCII letters, all that Postgres folds in UTF-8.
func fold(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for j := range b {
				if 'A' <= b[j] && b[j] <= 'Z' {
					b[j] |= 0x20
				}
			}
			return string(b)
		}
	}
	return s
}

// str reads a string whose opening quote is next. With escapes a backslash
// takes the character behind it along, also in parts that follow on other lines.
func (l *lexer) str(at int, escapes bool) (token, error) {
	for {
		l.i++
		for l.i < len(l.s) && l.s[l.i] != '\'' {
			if escapes && l.s[l.i] == '\\' {
				l.i++
			}
			l.i++
		}
		if l.i >= len(l.s) {
			l.i = len(l.s)
			return l.token(str, at), &lexError{"a string", at}
		}
		l.i++
		if l.i < len(l.s) && l.s[l.i] == '\'' {
			continue // a doubled quote
		}
		if !l.continues() {
			return l.token(str, at), nil
		}
	}
}

// continues goes to the quote of the next part of a string, if there is one:
// behind spaces and line comments that hold a line end.
func (l *lexer) continues() bool {
	lineEnd := false
	for i := l.i; i < len(l.s); {
		switch rest := l.s[i:]; {
		case rest[0] == '\'' && lineEnd:
			l.i = i
			return true
		case isSpace(rest[0]):
			lineEnd = lineEnd || rest[0] == '\n' || rest[0] == '\r'
			i++
		case strings.HasPrefix(rest, "--"):
			n := strings.IndexAny(rest, "\n\r")
			if n < 0 {
				return false
			}
			i += n
		default:
			return false
		}
	}
	return false
}

// quoted reads a name whose opening quote is next.
func (l *lexer) quoted(at int) (token, error) {
	var b strings.Builder
	for l.i++; l.i < len(l.s); l.i++ {
		if l.s[l.i] != '"' {
			b.WriteByte(l.s[l.i])
			continue
		}
		if strings.HasPrefix(l.s[l.i:], `""`) {
			b.WriteByte('"')
			l.i++
			continue
		}
		l.i++
		return token{quoted, b.String(), at, l.i}, nil
	}
	return token{quoted, b.String(), at, l.i}, &lexError{"a quoted name", at}
}

// dollar reads a dollar-quoted string, a parameter, or the sign alone.
func (l *lexer) dollar() (token, error) {
	at, n := l.i, l.i+1
	for n < len(l.s) && (isNameStart(l.s[n]) || n > at+1 && isDigit(l.s[n])) {
		n++
	}
	if n >= len(l.s) || l.s[n] != '$' {
		l.i++
		return l.token(symbol, at), nil
	}
	tag := l.s[at : n+1]
	end := strings.Index(l.s[n+1:], tag)
	if end < 0 {
		l.i = len(l.s)
		return l.token(str, at), &lexError{fmt.Sprintf("the string that begins with %.40s", tag), at}
	}
	l.i = n + 1 + end + len(tag)
	return l.token(str, at), nil
}
