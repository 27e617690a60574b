package policy

import (
	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common/types"
)

// maxWorstCost is what an expression may cost at worst, as estimated from the
// sizes that a tenant's file can have. It is above maxRuleCost, which is what one
// may cost indeed, and keeps single steps small that no limit could interrupt:
// a text that is replaced by a text, and grows to gigabytes.
const maxWorstCost = 10_000_000

// sizes are how large the parts of a tenant can be: the limits of its schema.
type sizes struct{}

// EstimateSize returns the largest size of what is reached from a variable, and
// of what nothing is known a size that no step of maxWorstCost makes useless.
func (sizes) EstimateSize(e checker.AstNode) *checker.SizeEstimate {
	path := e.Path()
	last := ""
	if len(path) > 0 {
		last = path[len(path)-1]
	}
	most := uint64(1_000)
	switch e.Type().Kind() {
	case types.MapKind:
		most = 32
		if last == "env" {
			most = 200
		}
	case types.ListKind:
		switch last {
		case "domains", "secrets", "models":
			most = 100
		case "fields":
			most = 200
		}
	case types.StringKind:
		switch {
		case last == "@values" && len(path) > 2 && path[len(path)-2] == "env":
			most = 32 << 10
		case len(path) == 0:
			most = 256 << 10
		}
	}
	return &checker.SizeEstimate{Min: 0, Max: most}
}

// EstimateCallCost leaves calls to what their libraries say.
func (sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}
