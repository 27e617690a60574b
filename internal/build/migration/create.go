package migration

// create knows CREATE.
func (a *analyser) create(c *cursor) {
	replace := c.take("or", "replace")
	c.any("global", "local")
	temporary := c.any("temp", "temporary")
	unlogged := c.take("unlogged")
	c.take("trusted")
	switch {
	case c.take("table"):
		a.createTable(c, temporary, unlogged)
	case c.take("unique", "index"), c.take("index"):
		a.createIndex(c)
	case c.take("materialized", "view"):
		a.calls(c.rest())
	case c.take("view"), c.take("recursive", "view"): // it is not run
	case c.any("type", "domain", "sequence", "collation", "statistics", "cast", "operator"):
	case c.take("schema"):
		c.take("if", "not", "exists")
		if c.name(); len(c.rest()) > 0 {
			a.unknown("What CREATE SCHEMA makes in the schema is not analysed.")
		}
	case c.any("function", "procedure", "aggregate"):
		a.add(Caution, "The body of %s is not analysed.", routine(c, replace))
	case c.take("constraint", "trigger"), c.take("trigger"):
		a.add(Caution, "Trigger %s works for the release before it, too; what it does is not analysed.", shown(c.name()))
	case c.any("rule", "policy"):
		a.add(Caution, "%s changes what statements of the release before it do.", shown(c.name()))
	case c.take("extension"):
		c.take("if", "not", "exists")
		a.add(Caution, "Extension %s has to be installed on the database server, and trusted: the tenant is no superuser.", shown(c.name()))
	case c.any("database", "tablespace", "subscription") && a.tx:
		a.outside("CREATE " + upper(c.s[c.i-1]))
	default:
		a.unknown("CREATE %s is not analysed.", shown(upper(c.peek())))
	}
}

func upper(t token) string { return string(upperASCII([]byte(t.text))) }

func upperASCII(b []byte) []byte {
	for i := range b {
		if 'a' <= b[i] && b[i] <= 'z' {
			b[i] -= 'a' - 'A'
		}
	}
	return b
}

func routine(c *cursor, replaced bool) string {
	name := shown(c.name()) + "()"
	if replaced {
		name += ", which may replace one that the release before it uses,"
	}
	return name
}

func (a *analyser) createTable(c *cursor, temporary, unlogged bool) {
	maybe := c.take("if", "not", "exists")
	table := c.name()
	if unlogged {
		a.add(Caution, "Table %s is unlogged: it is empty after a crash.", shown(table))
	}
	if c.take("partition", "of") {
		if parent := c.name(); !a.isNew(parent) {
			a.add(Caution, "A new partition blocks reads and writes of %s (ACCESS EXCLUSIVE lock) until the transaction ends.", shown(parent))
		}
	}
	a.asQuery(c.rest())
	switch {
	case table == "" || maybe:
	case temporary && c.s.has("on", "commit", "drop"): // another may have its name by then
	default:
		a.fresh[table] = true
		if temporary {
			a.temporary = append(a.temporary, table)
		}
	}
}

// asQuery looks at the query of CREATE TABLE … AS.
func (a *analyser) asQuery(st statement) {
	for i, t := range st {
		if !t.is("as") || i+1 >= len(st) {
			continue
		}
		if st[i+1].is("execute") {
			a.unknown("EXECUTE is not analysed.")
			return
		}
		if st[i+1].is("select", "with", "values", "table") || st[i+1].sym("(") {
			a.query(st[i+1:])
			return
		}
	}
}

// createIndex knows what CREATE INDEX locks, by whether it is CONCURRENTLY.
func (a *analyser) createIndex(c *cursor) {
	concurrently := c.take("concurrently")
	c.take("if", "not", "exists")
	if !c.take("on") {
		c.name()
		if !c.take("on") {
			return
		}
	}
	c.take("only")
	table := c.name()
	switch {
	case concurrently && a.tx:
		a.outside("CREATE INDEX CONCURRENTLY")
	case concurrently:
		a.add(Safe, "CREATE INDEX CONCURRENTLY: if it fails, it leaves an invalid index that has to be dropped before the next try.")
	case !a.isNew(table):
		a.add(Caution, "CREATE INDEX blocks writes to %s (SHARE lock) until the index is built; CONCURRENTLY, in a file with NO TRANSACTION, does not.", shown(table))
	}
}
