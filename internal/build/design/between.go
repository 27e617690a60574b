package design

import "github.com/gitopsd/gitopsd/internal/build/design/kit"

// Between returns the statements that Migrate would run on a database that is
// just as before says. records tells whether to assume that every table has
// records and that optional columns are empty in some: what is impossible then
// is fault.Invalid. A real database may have more, of designs before that.
func Between(before, after []Table, records bool) ([]string, error) {
	have := make(map[string]live, len(before))
	for _, t := range before {
		own := liveColumn{typ: "timestamp with time zone", notNull: true, hasDefault: true}
		l := live{
			rows:    records,
			columns: map[string]liveColumn{"id": {typ: "bigint", notNull: true, hasDefault: true}, "created_at": own, "updated_at": own},
			unique:  map[string]string{}, refs: map[string]liveRef{},
		}
		for _, c := range t.Columns {
			l.columns[c.Name] = liveColumn{typ: c.Type, notNull: c.NotNull, hasDefault: c.defaultNow() != "", nulls: records && !c.NotNull}
			if c.Unique {
				l.unique[c.Name] = kit.ConstraintName(t.Name, c.Name, "key")
			}
			if c.Refers != "" {
				l.refs[c.Name] = liveRef{constraint: kit.ConstraintName(t.Name, c.Name, "fkey"), table: c.Refers}
			}
		}
		have[t.Name] = l
	}
	return diff(have, after)
}
