package migration

// alter knows ALTER.
func (a *analyser) alter(c *cursor) {
	switch {
	case c.take("table", "all"):
		a.unknown("ALTER TABLE ALL is not analysed.")
	case c.take("table"):
		a.alterTable(c)
	case c.take("type"):
		a.alterType(c)
	case c.take("index"):
		if !c.s.has("rename", "to") && !c.s.has("set") && !c.s.has("attach", "partition") {
			a.unknown("This ALTER INDEX is not analysed.")
		}
	case c.take("sequence"):
		if c.s.has("restart") && !a.empty {
			a.add(Caution, "ALTER SEQUENCE … RESTART: numbers may be given out twice.")
		}
	case c.take("materialized", "view"), c.take("view"):
		c.take("if", "exists")
		a.renamed(c, "View")
	case c.take("default", "privileges"):
	default:
		a.unknown("ALTER %s is not analysed.", shown(upper(c.peek())))
	}
}

func (a *analyser) renamed(c *cursor, what string) {
	name := c.name()
	if c.s.has("rename") || c.s.has("set", "schema") {
		a.opaque = true
		a.add(Caution, "%s %s is renamed: %s.", what, shown(name), swap)
		return
	}
	a.unknown("The change of %s is not analysed.", shown(name))
}

func (a *analyser) alterType(c *cursor) {
	name := shown(c.name())
	switch {
	case a.empty, c.take("add", "value"):
	case c.s.has("drop", "attribute"):
		a.lose("Type %s loses an attribute, with its values.", name)
	case c.s.has("rename"), c.s.has("set", "schema"):
		a.add(Caution, "A name of type %s changes: %s.", name, swap)
	default:
		a.unknown("The change of type %s is not analysed.", name)
	}
}

func (a *analyser) alterTable(c *cursor) {
	c.take("if", "exists")
	c.take("only")
	table := c.name()
	c.sym("*")
	wasNew := a.isNew(table)
	for _, part := range c.rest().parts() {
		p := &cursor{s: part}
		switch {
		case p.take("add"):
			a.addPart(p, table, wasNew)
		case p.take("drop"):
			a.dropPart(p, table, wasNew)
		case p.take("alter"):
			a.alterColumn(p, table, wasNew)
		case p.take("rename"):
			a.rename(p, table, wasNew)
		case wasNew, p.take("validate", "constraint"), p.take("cluster", "on"), p.take("set", "without"), p.any("reset"):
		default:
			a.alterWhole(p, table)
		}
	}
}

// rewrites says what a change that writes the whole table anew does to others.
const rewrites = "blocks reads and writes of it (ACCESS EXCLUSIVE lock) until it is written anew"

// alterWhole knows the changes of a table as a whole.
func (a *analyser) alterWhole(p *cursor, table string) {
	t := shown(table)
	switch {
	case p.take("set", "schema"):
		a.opaque = true
		a.add(Caution, "Table %s moves to another schema: %s.", t, swap)
	case p.take("set", "unlogged"):
		a.add(Caution, "Table %s becomes unlogged: it is empty after a crash. The change %s.", t, rewrites)
	case p.take("set", "logged"), p.take("set", "tablespace"), p.take("set", "access", "method"):
		a.add(Caution, "The change of table %s %s.", t, rewrites)
	case p.take("set"): // storage parameters
	case p.take("detach", "partition"):
		if p.s.has("concurrently") && a.tx {
			a.outside("DETACH PARTITION … CONCURRENTLY")
			return
		}
		a.add(Caution, "Table %s loses a partition: its rows are no longer found there.", t)
	case p.take("attach", "partition"):
		a.add(Caution, "ATTACH PARTITION scans the table that is attached, and blocks it (ACCESS EXCLUSIVE lock) meanwhile, unless a CHECK proves that its rows fit.")
	case p.any("enable", "disable", "force"), p.take("no", "force"):
		a.add(Caution, "Triggers, rules or row security of %s are switched, for the release before it, too.", t)
	case p.take("owner"), p.take("replica"):
		a.add(Caution, "Owner or replica identity of %s changes.", t)
	default:
		a.unknown("This change of table %s is not analysed.", t)
	}
}

func (a *analyser) rename(p *cursor, table string, isNew bool) {
	switch {
	case p.take("constraint"):
		return
	case p.take("to"):
		a.opaque = true
		if !isNew {
			a.add(Caution, "Table %s is renamed: %s.", shown(table), swap)
		}
		return
	}
	p.take("column")
	if !isNew {
		a.add(Caution, "Column %s of %s is renamed: %s.", shown(p.name()), shown(table), swap)
	}
}

func (a *analyser) dropPart(p *cursor, table string, isNew bool) {
	t := shown(table)
	if p.take("constraint") {
		p.take("if", "exists")
		if !isNew {
			a.add(Caution, "Constraint %s of %s is dropped: ON CONFLICT that needs it fails.", shown(p.name()), t)
		}
		return
	}
	p.take("column")
	p.take("if", "exists")
	column := p.name()
	if !isNew && !a.fresh[table+"."+column] {
		a.add(Destructive, "Column %s of %s is dropped with its values; %s.", shown(column), t, swap)
	}
	delete(a.fresh, table+"."+column)
	if p.take("cascade") && !a.empty {
		a.add(Caution, "CASCADE also drops the views, indexes and constraints that use column %s.", shown(column))
	}
}

func (a *analyser) alterColumn(p *cursor, table string, isNew bool) {
	if p.take("constraint") {
		if !isNew {
			a.add(Caution, "A constraint of %s changes.", shown(table))
		}
		return
	}
	p.take("column")
	column, t := shown(p.name()), shown(table)
	switch {
	case isNew, p.take("drop", "not", "null"), p.take("set", "default"), p.take("set", "statistics"), p.take("set", "storage"):
	case p.take("type"), p.take("set", "data", "type"):
		a.add(Caution, "The type of column %s of %s changes: that %s, unless the two types are stored alike.", column, t, rewrites)
		a.calls(p.rest())
	case p.take("set", "not", "null"):
		a.add(Caution, "SET NOT NULL on column %s fails if a value is missing, and blocks reads and writes of %s (ACCESS EXCLUSIVE lock) while it scans it, unless a CHECK proves it; the release before it fails where it stores none.", column, t)
	case p.take("drop", "default"):
		a.add(Caution, "Column %s of %s loses its default: the release before it may leave the column out.", column, t)
	case p.take("drop", "expression"), p.take("drop", "identity"), p.take("add", "generated"), p.take("set", "generated"), p.take("restart"):
		a.add(Caution, "How column %s of %s gets its values changes.", column, t)
	case p.take("set"), p.take("reset"):
	default:
		a.unknown("This change of column %s of %s is not analysed.", column, t)
	}
}
