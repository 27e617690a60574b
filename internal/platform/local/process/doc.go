// Package process keeps processes running that outlive the one that started
// them: servers and agents go on serving while the control plane is stopped,
// killed or upgraded, and its next start adopts them.
//
// Each process has a name, a record (<run>/<name>.json) and a log
// (<logs>/<name>.log). A name's life:
//
//	            Ensure                    recorded
//	(nothing) ─────────► intent (no pid) ─────────► running ──► dead ─┐
//	                         ▲                                        │ Supervise
//	                         └────────────────────────────────────────┘
//	          Stop: running ─────────► stopped (ports are kept) ──Remove──► (nothing)
//
// Invariants:
//
//   - At most one process runs under a name. The record is written before the
//     fork, and the child carries its name in its environment, so a process
//     that was started by someone killed before recording it is found, and
//     ended, before another is started.
//   - A process is recognised by its pid, its kernel start time and the boot it
//     was started in: a signal never reaches a stranger that got the same pid.
//   - A running process is kept if it is what the service asks for now (the
//     digest of its command), and replaced otherwise.
//   - Ports are chosen once and kept, also while nothing runs, unless somebody
//     else has taken them meanwhile.
//   - One Runner uses a directory at a time. The owner of the directory sees to that.
package process
