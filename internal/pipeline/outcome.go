package pipeline

import (
	"encoding/json"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Outcome is how a task state of a run ended for good: with an output or with a
// failure. The ledger keeps those of runs under way for an engine whose tasks run in
// many processes.
type Outcome struct {
	State   string          // its path, e.g. "Deploy/Compile"
	Output  json.RawMessage // of a state that succeeded
	Failure *fault.Record   // of one that did not
}
