package migration

import (
	"errors"
	"strings"
)

// analyser knows what migrations that run after each other have done so far.
type analyser struct {
	empty     bool            // the database was empty before the first of them
	fresh     map[string]bool // tables that they made, and table.column: nobody else uses them yet
	temporary []string        // those of them that end with the session
	*report
	tx     bool // the statement runs in a transaction
	opened bool // which the migration opened itself
	opaque bool // the statement may do what cannot be seen
	off    bool // what follows cannot be read any more
}

func newAnalyser(empty bool) *analyser {
	return &analyser{empty: empty, fresh: map[string]bool{}}
}

// isNew reports whether nothing but these migrations has used the table.
func (a *analyser) isNew(table string) bool { return a.empty || a.fresh[table] }

// script says what there is to say of a file's statements.
func (a *analyser) script(s script) *report {
	a.report, a.opened, a.off = newReport(), false, false
	for _, table := range a.temporary { // of another session, if this is a try of its own
		delete(a.fresh, table)
	}
	a.temporary = nil
	n := 0
	for _, c := range s.up {
		a.line = c.line
		tokens, err := lex(c.sql)
		if err != nil {
			if errors.Is(err, errTooLong) {
				a.unknown("The statement is too long to be analysed.")
				clear(a.fresh)
				continue
			}
			a.unclosed(c, err)
			return a.report
		}
		statements := split(tokens)
		n += len(statements)
		line, counted := c.line, 0
		for _, st := range statements {
			line += strings.Count(c.sql[counted:st[0].at], "\n")
			a.line, counted = line, st[0].at
			a.tx = s.tx || a.opened || len(statements) > 1
			a.statement(st)
		}
	}
	a.line = 0
	if !s.tx && n > 1 {
		a.add(Caution, "NO TRANSACTION: if a statement fails, what ran before it stays, and runs again with the next try.")
	}
	return a.report
}

// unclosed explains a chunk that ends inside of something.
func (a *analyser) unclosed(c chunk, err error) {
	var e *lexError
	if errors.As(err, &e) {
		a.line = c.line + strings.Count(c.sql[:min(e.at, len(c.sql))], "\n")
	}
	a.add(Error, "%v. goose ends a statement where a line ends in a semicolon: put it between -- +goose StatementBegin and StatementEnd.", err)
}

// statements says what there is to say of single statements in one transaction.
func (a *analyser) statements(all []string) *report {
	a.report = newReport()
	for _, sql := range all {
		tokens, err := lex(sql)
		if err != nil {
			a.add(Error, "%v", err)
			continue
		}
		for _, st := range split(tokens) {
			a.tx = true
			a.statement(st)
		}
	}
	return a.report
}

func (a *analyser) statement(st statement) {
	if a.off {
		a.add(Caution, "Not analysed: the statement before changes how SQL is read.")
		return
	}
	a.opaque = false
	c := &cursor{s: st}
	switch {
	case c.take("create"):
		a.create(c)
	case c.take("alter"):
		a.alter(c)
	case c.take("drop"):
		a.drop(c)
	case c.take("truncate"):
		a.truncate(c)
	case c.any("set", "reset"):
		a.set(c)
	case c.any("begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release"):
		a.transaction(st)
	case c.any("comment", "grant", "analyze", "analyse", "show"):
	case c.peek().is("select", "with", "insert", "update", "delete", "merge", "values", "table", "copy", "explain"), c.peek().sym("("):
		a.query(st)
	default:
		a.other(c)
	}
	if a.opaque { // the tables may be others by now
		clear(a.fresh)
	}
}

// other knows the statements that are seldom in migrations.
func (a *analyser) other(c *cursor) {
	switch {
	case c.take("do"):
		a.unknown("A DO block is not analysed.")
	case c.take("call"):
		a.unknown("A procedure is called: what it does is not analysed.")
	case c.take("lock"):
		c.take("table")
		for _, t := range c.names() {
			if !a.isNew(t) {
				a.add(Caution, "LOCK %s: others wait for it until the transaction ends.", shown(t))
			}
		}
	case c.take("refresh", "materialized", "view"):
		if !c.take("concurrently") {
			a.add(Caution, "REFRESH MATERIALIZED VIEW blocks reads of it (ACCESS EXCLUSIVE lock) until it is done.")
		}
	case c.take("revoke"):
		a.add(Caution, "REVOKE: the release before it may need what is taken away.")
	case c.any("vacuum", "cluster"), c.take("reindex"):
		a.maintenance(c)
	default:
		a.unknown("%s is not analysed.", shown(strings.ToUpper(c.peek().text)))
	}
}

func (a *analyser) unknown(format string, args ...any) {
	a.opaque = true
	a.add(Caution, format, args...)
}

// maintenance knows VACUUM, CLUSTER and REINDEX.
func (a *analyser) maintenance(c *cursor) {
	what := c.s[0].text
	concurrently := c.s.has("concurrently")
	switch {
	case a.tx && (what == "vacuum" || concurrently):
		a.outside(strings.ToUpper(what))
	case what == "vacuum" && !c.s.has("full"), concurrently:
	case what == "reindex":
		a.add(Caution, "REINDEX blocks writes to the table (SHARE lock), and queries that might use the index (ACCESS EXCLUSIVE lock), until it is done.")
	default:
		a.add(Caution, "%s blocks reads and writes (ACCESS EXCLUSIVE lock) until it is done.", strings.ToUpper(what))
	}
}

// outside reports what only works outside of a transaction.
func (a *analyser) outside(what string) {
	a.add(Error, "%s cannot run in a transaction: give it a file of its own with -- +goose NO TRANSACTION.", what)
}

func (a *analyser) truncate(c *cursor) {
	c.take("table")
	for _, t := range c.names() {
		if !a.isNew(t) {
			a.add(Destructive, "TRUNCATE %s: every row is lost.", shown(t))
		}
	}
	if c.s.has("cascade") && !a.empty {
		a.add(Destructive, "CASCADE empties every table that refers to it, too.")
	}
}

// transaction follows BEGIN, COMMIT and the like.
func (a *analyser) transaction(st statement) {
	begins := st[0].is("begin", "start")
	ends := st[0].is("commit", "end", "rollback", "abort") && !st.has("to")
	a.opaque = st[0].is("rollback", "abort") // what was made may be gone
	switch {
	case a.tx && !a.opened && (begins || ends):
		a.add(Caution, "The file runs in a transaction of its own: BEGIN has no effect, and what is done before a COMMIT stays when the rest fails.")
	case begins:
		a.opened = true
	case ends:
		a.opened = false
	}
}

// set knows the settings that change nothing but time limits and messages.
func (a *analyser) set(c *cursor) {
	c.any("local", "session")
	setting := c.name()
	switch setting {
	case "lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout", "client_min_messages",
		"timezone", "time", "application_name", "work_mem", "maintenance_work_mem", "constraints", "transaction":
	case "search_path", "schema":
		a.opaque = true // names mean other tables
	case "standard_conforming_strings", "all", "client_encoding", "names":
		a.off = true
		a.unknown("SET %s changes how SQL is read: what follows is not analysed.", setting)
	default:
		a.unknown("SET %s is not analysed.", shown(setting))
	}
}
