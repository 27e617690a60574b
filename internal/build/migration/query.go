package migration

import "strings"

// harmless are functions that do nothing but compute, and those for sequences.
var harmless = words(`
	abs age array_agg array_append array_cat array_length array_position array_remove array_to_json array_to_string
	avg btrim bool_and bool_or ceil ceiling char_length concat concat_ws count currval date_part date_trunc decode
	dense_rank digest encode extract first_value floor format gen_random_uuid generate_series greatest initcap
	json_agg json_build_array json_build_object jsonb_agg jsonb_array_elements jsonb_array_elements_text
	jsonb_build_array jsonb_build_object jsonb_each jsonb_object_agg jsonb_set jsonb_strip_nulls jsonb_typeof lag
	last_value lead least length lower lpad ltrim make_date make_interval max md5 min mod nextval now overlay
	position power random rank regexp_matches regexp_replace replace reverse round row_number row_to_json rpad rtrim
	setval sha256 split_part sqrt statement_timestamp string_agg string_to_array strpos substr substring sum timezone
	to_char to_date to_json to_jsonb to_number to_timestamp transaction_timestamp translate trim trunc unnest upper
	uuid_generate_v4`)

// notCalls are words that stand before a parenthesis without calling anything.
var notCalls = words(`
	all and any array as between bit by case cast char character check coalesce conflict cube decimal default distinct
	else except exists explain filter float foreign from full group grouping having ilike in inner intersect interval into
	is join key lateral left like limit materialized natural not nullif numeric offset on only or order outer over
	partition primary recursive references returning right rollup row select set sets similar some then time
	timestamp union unique using values varchar varying when where with within`)

func words(list string) map[string]bool {
	set := map[string]bool{}
	for w := range strings.FieldsSeq(list) {
		set[w] = true
	}
	return set
}

const (
	most     = 50      // parts of one statement that are looked at for themselves
	maxQuery = 100_000 // tokens of one that is looked at
)

// query looks at a statement that reads or writes rows, and at every part of it
// that writes: WITH may hold any.
func (a *analyser) query(st statement) {
	if st[0].is("copy") && st.has("program") {
		a.unknown("COPY … PROGRAM runs a program of the database server.")
	}
	const tooLong = "The statement is too long to be analysed."
	if len(st) > maxQuery {
		a.unknown(tooLong)
		return
	}
	a.calls(st)
	writes := 0
	for i, t := range st {
		if writes > most {
			a.unknown(tooLong)
			return
		}
		previous := token{kind: symbol}
		if i > 0 {
			previous = st[i-1]
		}
		switch {
		case t.is("delete") && i+1 < len(st) && st[i+1].is("from"):
			writes++
			a.delete(st[i:])
		case t.is("update") && !previous.is("do", "for", "key", "on", "then"):
			writes++
			a.update(st[i:])
		case t.is("merge") && i+1 < len(st) && st[i+1].is("into"):
			writes++
			a.merge(st[i:])
		}
	}
}

// calls reports functions that may do more than compute.
func (a *analyser) calls(st statement) {
	looked := 0
	for i := range st[:max(0, len(st)-1)] {
		t := st[i]
		if !st[i+1].sym("(") || t.kind != word && t.kind != quoted {
			continue
		}
		plain := t.kind == word && (i == 0 || !st[i-1].sym(".") || i > 1 && st[i-2].is("pg_catalog"))
		if plain && (harmless[t.text] || notCalls[t.text]) {
			continue
		}
		if looked++; looked <= most && listsColumns(st, i) {
			continue
		}
		a.unknown("%s(): what it does is not analysed.", shown(t.text))
	}
}

// listsColumns reports whether the name before a parenthesis is a table's, or a
// WITH query's, whose columns follow.
func listsColumns(st statement, i int) bool {
	for i >= 2 && st[i-1].sym(".") { // to the beginning of the name
		i -= 2
	}
	if i == 0 {
		return false
	}
	before := st[i-1]
	if before.sym(")") || before.is("into", "copy", "with", "recursive", "as") {
		return true
	}
	// WITH a AS (…), b (x) AS (…)
	return before.sym(",") && st[0].is("with") && closes(st, i)
}

// closes reports whether the parenthesis behind a name is followed by AS (.
func closes(st statement, i int) bool {
	depth := 0
	for n := i + 1; n < len(st); n++ {
		switch {
		case st[n].sym("("):
			depth++
		case st[n].sym(")"):
			if depth--; depth == 0 {
				return n+1 < len(st) && st[n+1].is("as")
			}
		}
	}
	return false
}

// scope cuts a part of a statement off where the parenthesis around it closes.
func scope(st statement) statement {
	depth := 0
	for i, t := range st {
		switch {
		case t.sym("("):
			depth++
		case t.sym(")"):
			if depth--; depth < 0 {
				return st[:i]
			}
		}
	}
	return st
}

func (a *analyser) delete(st statement) {
	st = scope(st)
	c := cursor{s: st}
	c.take("delete", "from")
	c.take("only")
	table := c.name()
	switch {
	case a.isNew(table):
	case everyRow(st):
		a.add(Destructive, "DELETE FROM %s without a condition: every row is lost.", shown(table))
	default:
		a.add(Caution, "DELETE FROM %s: the rows that its condition finds are lost.", shown(table))
	}
}

func (a *analyser) update(st statement) {
	st = scope(st)
	c := cursor{s: st}
	c.take("update")
	c.take("only")
	table := c.name()
	switch {
	case a.isNew(table):
	case everyRow(st) && a.fills(table, c.rest()):
		a.add(Caution, "UPDATE %s fills a new column in every row; others that change them wait.", shown(table))
	case everyRow(st):
		a.add(Destructive, "UPDATE %s without a condition: the values before are lost in every row.", shown(table))
	default:
		a.add(Caution, "UPDATE %s: the values before are lost in the rows that its condition finds; others that change them wait.", shown(table))
	}
}

// fills reports whether an UPDATE sets nothing but columns that these migrations
// added.
func (a *analyser) fills(table string, rest statement) bool {
	c := cursor{s: rest}
	for !c.take("set") { // behind an alias
		if c.i++; c.i >= len(rest) {
			return false
		}
	}
	for i, part := range c.rest().parts() {
		column := cursor{s: part}
		if name := column.name(); i >= most || !a.fresh[table+"."+name] || !column.sym("=") {
			return false
		}
	}
	return true
}

func (a *analyser) merge(st statement) {
	c := cursor{s: st}
	c.take("merge", "into")
	c.take("only")
	if table := c.name(); !a.isNew(table) {
		a.add(Caution, "MERGE INTO %s may change and delete rows.", shown(table))
	}
}

// everyRow reports whether there is no condition, or one that always holds.
func everyRow(st statement) bool {
	depth := 0
	for i, t := range st {
		switch {
		case t.sym("("):
			depth++
		case t.sym(")"):
			depth--
		case t.is("where") && depth == 0:
			return always(st[i+1:])
		}
	}
	return true
}

// always knows the conditions that people write to say every row.
func always(condition statement) bool {
	c := condition
	for i, t := range c {
		if t.is("returning") {
			c = c[:i]
			break
		}
	}
	for len(c) > 1 && c[0].sym("(") && c[len(c)-1].sym(")") {
		c = c[1 : len(c)-1]
	}
	switch len(c) {
	case 1:
		return c[0].is("true")
	case 3:
		return c[1].sym("=") && c[0].kind == c[2].kind && c[0].text == c[2].text && (c[0].kind == number || c[0].kind == str)
	}
	return false
}
