// Package tenant reads tenant files: the model, its validation and its digests.
//
// A tenant file is YAML checked against schema/tenant.schema.json and then
// against the rules a schema cannot state. Every problem of every file is
// reported at once, each with file, line, column, what is wrong and what would
// be right. A file that has a problem yields no Tenant; it never hides the
// others.
//
// Two digests split a tenant: the infra digest covers everything but
// spec.app; the app digest covers spec.app and the source it names. A change
// that moves only the app digest never touches infrastructure.
//
// Hosts keeps host names apart between tenants: what one file cannot show.
//
// Files are hostile until read: size, nesting, what aliases stand for and the
// number of problems are bounded, and reading one costs time in proportion to
// its size.
package tenant
