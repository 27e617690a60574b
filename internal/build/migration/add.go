package migration

// addPart knows ADD COLUMN and ADD CONSTRAINT.
func (a *analyser) addPart(p *cursor, table string, isNew bool) {
	if p.peek().is("constraint", "check", "foreign", "primary", "unique", "exclude") || p.peek().is("not") {
		if !isNew {
			a.addConstraint(p, table)
		}
		return
	}
	p.take("column")
	maybe := p.take("if", "not", "exists")
	column := p.name()
	if !isNew {
		a.addColumn(p.rest(), shown(table), shown(column))
	}
	if !maybe && column != "" {
		a.fresh[table+"."+column] = true
	}
}

func (a *analyser) addConstraint(p *cursor, table string) {
	t := shown(table)
	what := "The constraint"
	if p.take("constraint") {
		what = "Constraint " + shown(p.name())
	}
	switch deferred := p.s.has("not", "valid"); {
	case p.take("check"), p.take("not", "null"):
		if !deferred {
			a.add(Caution, "%s fails if a row does not fit, and blocks reads and writes of %s (ACCESS EXCLUSIVE lock) while it scans it; NOT VALID and a later VALIDATE CONSTRAINT do not.", what, t)
		}
		a.calls(p.rest())
	case p.take("foreign", "key"):
		if !deferred {
			a.add(Caution, "%s fails if a row refers to nothing, and blocks writes to %s and to the table it refers to (SHARE ROW EXCLUSIVE lock) while it scans; NOT VALID and a later VALIDATE CONSTRAINT do not.", what, t)
		}
	case p.s.has("using", "index"):
		a.add(Caution, "%s takes over an index, under an ACCESS EXCLUSIVE lock on %s for a moment; a primary key scans for missing values.", what, t)
	default:
		a.add(Caution, "%s fails if two rows are alike, and blocks reads and writes of %s (ACCESS EXCLUSIVE lock) until its index is built.", what, t)
	}
}

// addColumn looks at a column's definition, from its type on.
func (a *analyser) addColumn(definition statement, t, column string) {
	generated := definition.has("generated") || serial(definition)
	preset := definition.has("default")
	required := definition.has("not", "null") || definition.has("primary", "key")
	if required && !generated && !preset {
		a.add(Caution, "Adding column %s fails if %s has rows: it is NOT NULL without a DEFAULT; the release before it fails where it adds rows.", column, t)
	}
	if generated || preset && volatile(definition) {
		a.add(Caution, "Column %s gets a value of its own in each row: that %s.", column, "blocks reads and writes of "+t+" (ACCESS EXCLUSIVE lock) until it is written anew")
	}
	if definition.has("unique") || definition.has("primary", "key") {
		a.add(Caution, "Column %s is unique: its index is built while reads and writes of %s are blocked (ACCESS EXCLUSIVE lock).", column, t)
	}
	if definition.has("check") {
		a.add(Caution, "Column %s has a CHECK: reads and writes of %s are blocked (ACCESS EXCLUSIVE lock) while it is scanned.", column, t)
	}
	if definition.has("references") {
		a.add(Caution, "Column %s refers to another table: writes to that are blocked (SHARE ROW EXCLUSIVE lock) until the transaction ends.", column)
	}
	for i, t := range definition { // behind the type, which may look like a call
		if t.is("default", "generated", "check") {
			a.calls(definition[i:])
			return
		}
	}
}

func serial(definition statement) bool {
	return len(definition) > 0 && definition[0].is("serial", "bigserial", "smallserial", "serial2", "serial4", "serial8")
}

// volatile reports whether a default calls a function that may give another
// value each time.
func volatile(definition statement) bool {
	for i, t := range definition[:max(0, len(definition)-1)] {
		if !t.is("default") {
			continue
		}
		for n := i + 1; n+1 < len(definition); n++ {
			call := definition[n]
			if !definition[n+1].sym("(") || call.kind == symbol || call.kind == str || call.kind == number {
				continue
			}
			if !call.is("now", "statement_timestamp", "transaction_timestamp", "lower", "upper", "cast", "varchar", "numeric", "char", "check", "references") {
				return true
			}
		}
	}
	return false
}
