// Package dbosrun runs machines on DBOS, a library that keeps what a workflow
// did in Postgres (schema dbos).
//
// A run is one workflow, whose ID is the run's. Its recorded input names the
// run and the versions of the machines; every task state is one step, named by
// the path of its state ("Deploy/Compile"), whose recorded output is the task's
// output or the record of its failure. Choices and failures are computed anew
// from those, so a workflow that is gone through again takes the same way.
//
//	Start ──► workflow ──► step ──► step ──► … ──► Ledger.Finish ──► Finished
//	             │          │ each try: Ledger.Run, Enter, task, Append
//	             │          └─ killed here: this step runs again, none before it
//	             └─ recovered when the next engine starts
//
// Invariants:
//
//   - A step that was recorded never runs again; the one that was under way when
//     the process died does.
//   - A failure is the same before and after a crash: it is recorded as data.
//   - Nothing that happens to this process ends a workflow: Close leaves it
//     pending. Only the end of its machine does, or a reason it can never end.
//   - Only one engine runs, that of the daemon that holds the ledger's lease:
//     starting a second takes the first one's workflows away. A run whose ledger
//     refuses its events (another daemon holds the lease) stands still until
//     Close, and is not finished.
//   - A task's panic is its failure, not the daemon's.
package dbosrun
