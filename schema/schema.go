// Package schema holds the JSON Schema of a tenant file: the one that
// gitopsd validates with and that editors complete from.
package schema

import _ "embed"

// Tenant is tenant.schema.json, a JSON Schema of the 2020-12 draft. Beside the
// standard keywords it uses patternErrorMessage, which editors know: the
// sentence to show when a pattern does not match.
//
//go:embed tenant.schema.json
var Tenant []byte
