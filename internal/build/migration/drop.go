package migration

// swap is what a release that is still there has to do with it.
const swap = "the release before it serves until the new one is healthy, and fails where it uses it"

// drop knows DROP.
func (a *analyser) drop(c *cursor) {
	what := upper(c.peek())
	cascade := c.s.has("cascade")
	switch {
	case c.take("table"):
		c.take("if", "exists")
		a.dropTables(c, cascade)
	case c.take("schema"):
		c.take("if", "exists")
		for _, s := range c.names() {
			if cascade {
				a.lose("Schema %s is dropped with every table in it; %s.", shown(s), swap)
			} else {
				a.lose("Schema %s is dropped, and the migration fails unless the schema is empty.", shown(s))
			}
		}
	case c.take("database"):
		a.add(Destructive, "DROP DATABASE: everything in it is lost.")
		if a.tx {
			a.outside("DROP DATABASE")
		}
	case c.take("owned"):
		a.lose("DROP OWNED: every table of the role is lost.")
	case c.take("index"):
		a.dropIndex(c)
	case cascade && c.any("type", "domain", "extension", "function", "procedure", "routine", "collation"):
		a.lose("DROP %s … CASCADE drops what depends on it, columns with their values included.", what)
	case c.any("type", "domain", "extension", "function", "procedure", "routine", "collation", "aggregate", "operator",
		"sequence", "view", "trigger", "rule", "policy"), c.take("materialized", "view"):
		a.gone(what)
	case c.any("statistics", "cast"):
	default:
		a.unknown("DROP %s is not analysed.", shown(what))
	}
}

// lose reports what destroys data. What there is afterwards is not followed.
func (a *analyser) lose(format string, args ...any) {
	a.opaque = true
	if !a.empty {
		a.add(Destructive, format, args...)
	}
}

func (a *analyser) gone(what string) {
	if !a.empty {
		a.add(Caution, "DROP %s: %s.", what, swap)
	}
}

func (a *analyser) dropTables(c *cursor, cascade bool) {
	for _, t := range c.names() {
		if !a.isNew(t) {
			a.add(Destructive, "Table %s is dropped with its rows; %s.", shown(t), swap)
		}
		delete(a.fresh, t)
	}
	if cascade && !a.empty {
		a.add(Caution, "CASCADE also drops the views and the foreign keys that depend on the table.")
	}
}

func (a *analyser) dropIndex(c *cursor) {
	concurrently := c.take("concurrently")
	switch {
	case concurrently && a.tx:
		a.outside("DROP INDEX CONCURRENTLY")
	case concurrently, a.empty:
	default:
		a.add(Caution, "DROP INDEX blocks reads and writes of its table (ACCESS EXCLUSIVE lock) for a moment; queries that used it get slower.")
	}
}
