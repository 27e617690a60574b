// Package postgresd runs a private Postgres server and makes tenants' roles and
// databases in it.
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
//   - A tenant's role carries the mark "gitopsd:<tenant>" as its comment, from the
//     transaction that made it. A role without it is a fault.Conflict; a database
//     is the tenant's if its role owns it. Nothing else is changed or removed.
//   - A restore fills a database of its own (t_<tenant>.new) as the tenant's role;
//     the one that was there before (t_<tenant>.old) is kept until Settle.
//   - One call at a time changes a tenant, also across processes: the statement of
//     one that was killed ends before the next begins.
//   - Statements are not logged: they hold passwords.
package postgresd
