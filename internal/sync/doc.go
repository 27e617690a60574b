// Package sync is the loop that makes the tracked branch real: fetch, load,
// plan, start, settle.
//
// One daemon at a time runs it, under the ledger's lease. It is driven by
// levels, not edges: every turn looks at what is recorded and moves it on, so
// a daemon killed anywhere goes on where the last one was.
//
//	         fetch          plan                    accept (one transaction)
//	forge ─────────► head ─────────► plan.Plan ──────────────► commit, items, runs
//	                  │                  │ brake, empty tree,        │ claim
//	                  │ not a descendant │                           ▼
//	                  └──► held ◄────────┘                      engine ──► finished
//	                        │ approved, or a newer commit            │ settle
//	                        ▼                                        ▼
//	                     accepted                        one terminal status a commit
//
// Invariants:
//
//   - Nothing is planned from a tree that could not be read whole; a commit
//     that does not descend from the accepted one is held.
//   - The head moves in the same transaction that queues its runs.
//   - A run that waits gives way to a newer commit's; one that is under way is
//     never touched.
//   - Every accepted, passed or held commit ends with one terminal status.
package sync
