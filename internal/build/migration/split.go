package migration

// statement is one statement, without the semicolon that ends it.
type statement []token

// split cuts tokens into statements where Postgres does: at semicolons that are
// neither in parentheses (CREATE RULE) nor in a routine's BEGIN ATOMIC … END.
func split(tokens []token) []statement {
	var all []statement
	start, parens, blocks := 0, 0, 0
	end := func(i int) {
		if i > start {
			all = append(all, statement(tokens[start:i]))
		}
		start, parens, blocks = i+1, 0, 0
	}
	for i, t := range tokens {
		switch {
		case t.sym("("):
			parens++
		case t.sym(")"):
			parens = max(0, parens-1)
		case parens > 0:
		case blocks == 0 && t.is("begin") && i+1 < len(tokens) && tokens[i+1].is("atomic") && isRoutine(tokens[start:i]):
			blocks = 1
		case blocks > 0 && t.is("case"):
			blocks++
		case blocks > 0 && t.is("end"):
			blocks--
		case t.sym(";") && blocks == 0:
			end(i)
		}
	}
	end(len(tokens))
	return all
}

// isRoutine reports whether a statement begins as one that makes a function or
// a procedure.
func isRoutine(s statement) bool {
	c := cursor{s: s}
	if !c.take("create") {
		return false
	}
	c.take("or", "replace")
	return c.take("function") || c.take("procedure")
}

// cursor reads a statement from its beginning.
type cursor struct {
	s statement
	i int
}

// peek returns the next token; past the end, one that is nothing.
func (c *cursor) peek() token {
	if c.i < len(c.s) {
		return c.s[c.i]
	}
	return token{kind: symbol}
}

// take passes over these words if they are next.
func (c *cursor) take(words ...string) bool {
	for n, w := range words {
		if c.i+n >= len(c.s) || !c.s[c.i+n].is(w) {
			return false
		}
	}
	c.i += len(words)
	return true
}

// any passes over the next word if it is one of these.
func (c *cursor) any(words ...string) bool {
	if c.peek().is(words...) {
		c.i++
		return true
	}
	return false
}

// sym passes over a character if it is next.
func (c *cursor) sym(s string) bool {
	if c.peek().sym(s) {
		c.i++
		return true
	}
	return false
}

// rest is what was not read yet.
func (c *cursor) rest() statement { return c.s[min(c.i, len(c.s)):] }

// name reads a name, with schema where there is one, such that equal names are
// equal texts. "" if there is none.
func (c *cursor) name() string {
	name := ""
	for {
		t := c.peek()
		if t.kind != word && t.kind != quoted {
			return ""
		}
		c.i++
		name += canonical(t)
		if !c.sym(".") {
			return name
		}
		name += "."
	}
}

// names reads names with commas between them, and the signs that DROP TABLE,
// TRUNCATE and the like allow beside them.
func (c *cursor) names() []string {
	var all []string
	for {
		c.take("only")
		name := c.name()
		if name == "" {
			return all
		}
		all = append(all, name)
		c.sym("*")
		if !c.sym(",") {
			return all
		}
	}
}

// canonical writes a name as Postgres would: quoted only where it has to be.
func canonical(t token) string {
	if t.kind == word {
		return t.text
	}
	plain := t.text != ""
	for i := range len(t.text) {
		c := t.text[i]
		plain = plain && isName(c) && (c < 'A' || c > 'Z') && (i > 0 || isNameStart(c))
	}
	if plain {
		return t.text
	}
	return `"` + t.text + `"`
}

// parts cuts at commas outside of parentheses.
func (s statement) parts() []statement {
	var all []statement
	start, depth := 0, 0
	for i, t := range s {
		switch {
		case t.sym("("), t.sym("["):
			depth++
		case t.sym(")"), t.sym("]"):
			depth--
		case t.sym(",") && depth == 0:
			all = append(all, s[start:i])
			start = i + 1
		}
	}
	return append(all, s[start:])
}

// has reports whether these words follow each other somewhere outside of
// parentheses.
func (s statement) has(words ...string) bool {
	depth := 0
	for i, t := range s {
		switch {
		case t.sym("("):
			depth++
		case t.sym(")"):
			depth--
		case depth == 0:
			c := cursor{s: s, i: i}
			if c.take(words...) {
				return true
			}
		}
	}
	return false
}
