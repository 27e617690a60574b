package review

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What follows shows texts of people in Markdown as GitHub reads it.
// Sources: the GitHub Flavored Markdown Spec; docs.github.com, "Autolinked
// references and URLs".

// joiner shows nothing, and parts what GitHub would make a link of: that happens
// after Markdown is read, where escaping does not help.
const joiner = "\u2060"

func list(items []string, most int) string {
	var b strings.Builder
	for i, item := range items {
		if i == most {
			fmt.Fprintf(&b, "- … and %d more\n", len(items)-most)
			break
		}
		fmt.Fprintf(&b, "- %s\n", code(item))
	}
	return b.String() + "\n"
}

// fenced shows text as it is, cut to a bearable length.
func fenced(language, text string) string {
	text = printable(cut(strings.TrimRight(text, "\n"), 8<<10), true)
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fmt.Sprintf("%s%s\n%s\n%s\n\n", fence, language, text, fence)
}

// code shows a word as it is.
func code(s string) string {
	s = printable(cut(s, 200), false)
	fence := "`"
	for strings.Contains(s, fence) {
		fence += "`"
	}
	if s == "" || strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	return fence + s + fence
}

var (
	// numbered begins a list.
	numbered = regexp.MustCompile(`^[0-9]{1,9}[.)]`)
	// linked is what is made a link of beside what begins with @ and #.
	linked = regexp.MustCompile(`(?i)\bwww\.|\bgh-|://`)
)

// plain shows a sentence as it is: no markup, no links, no mentions.
func plain(s string) string {
	s = strings.TrimSpace(printable(cut(s, 1000), false))
	s = linked.ReplaceAllStringFunc(s, func(found string) string {
		if found == "://" {
			return ":" + joiner + "//"
		}
		return found[:len(found)-1] + joiner + found[len(found)-1:]
	})
	number := len(numbered.FindString(s)) - 1
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '@' || r == '#':
			b.WriteRune(r)
			b.WriteString(joiner)
		case strings.ContainsRune("\\`*_[]<>|~&$", r), i == number, i == 0 && strings.ContainsRune("+-=:", r):
			fmt.Fprintf(&b, "&#%d;", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// printable replaces what does not print, and line ends unless lines are kept.
func printable(s string, lines bool) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			if lines {
				return r
			}
			return ' '
		case r == utf8.RuneError, !unicode.IsPrint(r):
			return '\uFFFD'
		}
		return r
	}, s)
}

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
