package migration

import (
	"strings"

	"github.com/gitopsd/gitopsd/internal/build/design"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// DiffDesign returns what the database would be changed by when a design takes
// the place of another: one migration, or none. before is nil for an empty
// database. A design that cannot be built, or a change that is impossible
// whatever the records, is Error. It is worked out from the designs: what
// earlier ones left in the database is not known.
func DiffDesign(before, after *tenant.Design) ([]Migration, error) {
	const name = "design"
	refused := func(err error) ([]Migration, error) {
		if !fault.Is(err, fault.Invalid) {
			return nil, err
		}
		r := newReport()
		r.add(Error, "%s", err.Error())
		return []Migration{r.migration(name, "")}, nil
	}
	want, err := design.Schema(after)
	if err != nil {
		return refused(err)
	}
	var have []design.Table
	if before != nil {
		if have, err = design.Schema(before); err != nil {
			have = nil // it never was in the database
		}
	}
	statements, doubt := design.Between(have, want, true)
	if doubt != nil {
		if statements, err = design.Between(have, want, false); err != nil {
			return refused(err)
		}
	}
	if len(statements) == 0 {
		return nil, nil
	}
	r := newAnalyser(before == nil).statements(statements)
	if doubt != nil {
		r.add(Caution, "It fails if there are records: %s", doubt.Error())
	}
	return []Migration{r.migration(name, strings.Join(statements, ";\n")+";")}, nil
}
