// Package postgres is the ledger: the control plane's memory, in schema
// gitopsd of a Postgres database.
//
// Invariants, each held by the database and not by its callers:
//
//   - A write is fenced: it checks, in its own transaction, that the lease's
//     token is still the one this Ledger acquired, and no successor gets a new
//     token until that transaction is over. A Ledger that never acquired the
//     lease reads, and approves, which is a user's act and not the daemon's. One
//     ForRun is fenced by its run instead: it writes while the run is running.
//   - A tenant has at most one running run, a commit at most one terminal
//     status (partial unique indexes).
//   - A commit becomes the head, its runs are queued and those they replace
//     superseded in one transaction, and only on top of the head it was
//     planned from.
//   - What a tenant was accepted with and what was made real are columns of
//     their own: only an accepted commit moves the first, only a run the second,
//     which starts to change infrastructure by making it unknown.
//   - A receipt forgets a tenant only while its deletion is still what is
//     desired.
//   - A preview is a tenant that no commit knows: what follows the branch does
//     not see it, and neither takes the other's name.
//   - Of the notices of a key the last one counts. It is due until the forge
//     shows it or it is given up, and what is over is not repeated.
//   - An approval of a plan lets one commit through, in the transaction that
//     accepts it.
//   - State changes in the very transaction that changes what it stands for.
//
// A run:
//
//	Accept, Enqueue ──► queued ──Claim──► running ──Finish──► succeeded | failed
//	                      │
//	                      └──Accept of a newer commit──► superseded
//
// Every call is one round trip, whatever it is given: a batch that Postgres
// runs as one transaction. Text that Postgres cannot store (NUL, broken UTF-8)
// is replaced by U+FFFD, so that no tenant's file can make a write fail.
package postgres
