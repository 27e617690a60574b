// Package tenantdb makes tenants' roles and databases in a Postgres, saves them
// and has them back. Every platform with a Postgres does it this way.
//
// It works as a master role that may make roles and databases and is no
// superuser: on RDS there is no other, and elsewhere none is needed.
//
// Invariants:
//
//   - A database is entered by its owner only: it takes its first connection after
//     CONNECT was revoked from PUBLIC. Seal closes those that were there before.
//   - A tenant's role carries the mark "gitopsd:<tenant>" as its comment, from the
//     transaction that made it. A role without it is a fault.Conflict; a database
//     is the tenant's if its role owns it. Nothing else is changed or removed.
//   - A dump has all of the tenant's data or fails, whatever the tenant did to
//     them: see Dump.
//   - A restore fills a database of its own (t_<tenant>.new) as the tenant's role;
//     the one that was there before (t_<tenant>.old) is kept until Settle.
//   - One call at a time changes a tenant, also across processes: the statement of
//     one that was killed ends before the next begins.
//   - No statement is in an error: they hold passwords.
package tenantdb
