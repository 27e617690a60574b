// Package snapshot saves tenants' data and has them back: database and keys, with
// the current release and the assets that were served. Where the files of
// snapshots are kept is a Store's business, which each platform has its own of;
// what is in one is the same everywhere:
//
//	manifest.json   what it has: written last, it is a snapshot from then on
//	database.dump   of the tenant's database, for pg_restore
//	cache.jsonl     its keys, a tenantkeys.Entry a line
//	release/        the current release, as on the volume
//	static/         the assets served
//
// Invariants:
//
//   - A snapshot is whole or none: what a dead one left is thrown away.
//   - Nothing is restored of a snapshot whose files are not all there as they were
//     saved, or that has others.
//   - A restore makes all ready beside what is there; then the databases change
//     places, then the keys, each in one transaction. The keys' transaction is what
//     makes it done: until then Settle puts back what was there before.
//   - Of each tenant the few that were last of use are kept: taken, verified or
//     restored.
//
// Callers keep two from working on one tenant at a time.
package snapshot
