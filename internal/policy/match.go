package policy

import (
	"regexp"
	"strings"
)

// patterns match a name where one of them does. In a pattern * stands for
// anything up to the next separator, and ** for anything.
type patterns []*regexp.Regexp

func newPatterns(separator string, texts ...string) patterns {
	within := "."
	if separator != "" {
		within = "[^" + regexp.QuoteMeta(separator) + "]"
	}
	all := make(patterns, len(texts))
	for i, text := range texts {
		var b strings.Builder
		b.WriteString(`\A`)
		for text != "" {
			star := strings.IndexByte(text, '*')
			if star < 0 {
				star = len(text)
			}
			b.WriteString(regexp.QuoteMeta(text[:star]))
			rest := strings.TrimLeft(text[star:], "*")
			switch len(text) - star - len(rest) {
			case 0:
			case 1:
				b.WriteString(within + "*")
			default:
				b.WriteString(".*")
			}
			text = rest
		}
		b.WriteString(`\z`)
		all[i] = regexp.MustCompile(`(?s)` + b.String()) // quoted, so it compiles
	}
	return all
}

func (ps patterns) match(name string) bool {
	for _, p := range ps {
		if p.MatchString(name) {
			return true
		}
	}
	return false
}

// plainAddress reports whether an address means what it looks like: one whose
// path a server could read as another is matched by no pattern.
func plainAddress(address string) bool {
	_, rest, ok := strings.Cut(address, "://")
	if !ok || strings.ContainsAny(rest, `%\@?#`) {
		return false
	}
	_, path, _ := strings.Cut(rest, "/")
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// lowerHost writes an address's host in lower case, since case means nothing in it.
func lowerHost(address string) string {
	scheme, rest, _ := strings.Cut(address, "://")
	host, path, slash := strings.Cut(rest, "/")
	address = scheme + "://" + strings.ToLower(host)
	if slash {
		address += "/" + path
	}
	return address
}
