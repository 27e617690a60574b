package aws

import infra "github.com/gitopsd/gitopsd/infra/tenant"

// certificate is how far a tenant is with the certificate of its domains.
type certificate struct {
	Stack  bool                     `json:"stack,omitempty"`  // there may be one
	Used   infra.Certificate        `json:"used,omitzero"`    // issued: what its domains are served with
	Wanted infra.Certificate        `json:"wanted,omitzero"`  // asked for, and of which hosts
	Status string                   `json:"status,omitempty"` // of the wanted one, in ACM's words
	Proofs []infra.ValidationRecord `json:"proofs,omitempty"`
}
