// Package postgresd runs a private Postgres server, in which tenantdb makes
// tenants' roles and databases.
//
// The work is done as on RDS: by a role (gitopsd) that may make databases and
// roles and is no superuser. The superuser is used to set the server up, and for
// nothing of a tenant's.
//
// Invariants:
//
//   - The data directory appears whole, by one rename after initdb, or not at all.
//   - Nobody connects without a password, and to a database only its owner does:
//     CONNECT is revoked from PUBLIC on every one, the server's own included.
//   - Statements are not logged: they hold passwords.
package postgresd
