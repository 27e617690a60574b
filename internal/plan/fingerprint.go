package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Fingerprint names what the plan is held for: the reason, and which tenants it
// would delete as they are now applied. An approval of a pull request is given
// to it, so that it holds for the commit that the merge makes, whatever that is
// called, and for no other deletion. "" for a plan that is not held.
func (p Plan) Fingerprint() string {
	if p.Hold == "" {
		return ""
	}
	type deletion struct{ Tenant, Infra, App string }
	held := struct {
		Reason    HoldReason
		Deletions []deletion
	}{Reason: p.Reason}
	for _, s := range p.Steps {
		if s.Operation == Deprovision && s.Applied != nil {
			held.Deletions = append(held.Deletions, deletion{s.Tenant, s.Applied.Infra, s.Applied.App})
		}
	}
	b, err := json.Marshal(held)
	if err != nil {
		panic(err) // strings survive JSON
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
