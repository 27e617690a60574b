// Package migration says which migrations a change of an app would newly run,
// and how dangerous they are, without a database.
//
// It reads what a pull request says, as data: nothing is executed, every input
// is bounded, and whatever is not understood is said to be so.
//
// Invariants:
//
//   - A file is cut into statements as goose cuts it, and each of these as
//     Postgres does: what stands in a comment, a string or a quoted name is never
//     taken for SQL, and the other way round.
//   - A statement is Safe only if it is known to be. What no rule knows, and what
//     runs code that is not in sight, is Caution.
//   - The locks named are those of "Explicit Locking" and of the statement's own
//     page in the documentation of Postgres 15 to 18.
//
// What a verdict takes as given: the release before it serves until the new one
// is healthy, so both run on the changed schema for a while; a migration waits
// 5 seconds for a lock, gives up and is tried again.
package migration
