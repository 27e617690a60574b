// Package design turns a tenant's design into a Go module and into a schema,
// and brings a database to that schema.
//
// The module is complete: anyone can take it away and build it. It has one file
// a model, with the SQL to be seen, and the runtime as internal/kit.
//
// Invariants:
//
//   - The same design gives the same bytes. What is generated is gofmt-clean.
//   - Nothing of a design gets into code, SQL or HTML but as an identifier of
//     the form ^[a-z][a-z0-9_]*$, or as a quoted literal.
//   - Migrate only ever adds or widens. What a design no longer mentions stays.
package design
