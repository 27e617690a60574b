package tenant

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// InfraDigest identifies what a tenant asks for but its app: SHA-256, in hex,
// over everything but spec.app, defaults filled in. Labels and deletion guards
// are part of it, so that a change of them is recorded as applied like any other.
//
// Digests are stored and compared across versions of gitopsd. A field added to
// the model must be omitted from JSON at its default, or every tenant is
// updated after the upgrade.
func InfraDigest(t *Tenant) string {
	infra := *t
	infra.App = App{}
	return digest("infra/v1", infra)
}

// AppDigest identifies what a tenant runs: SHA-256, in hex, over spec.app and
// source, the digest of the tree that spec.app names ("" for a design).
func AppDigest(t *Tenant, source string) string {
	return digest("app/v1", struct {
		App    App    `json:"app"`
		Source string `json:"source"`
	}{t.App, source})
}

// digest hashes the JSON of v, which is canonical: fields in the order of their
// declaration, keys of maps sorted, empty optional values left out. The kind
// keeps digests of different things apart.
func digest(kind string, v any) string {
	data, err := json.Marshal(v)
	if err != nil { // a default that is no JSON value; the parser makes none
		panic(fmt.Sprintf("digest of a tenant: %v", err))
	}
	sum := sha256.Sum256(append([]byte(kind+"\n"), data...))
	return hex.EncodeToString(sum[:])
}
