// Package sfnrun runs machines on AWS Step Functions. It has both ends: the Engine,
// which starts an execution for each run and ends the run with it, and the Worker,
// which does the work of the tasks, in Lambda functions and containers. What is
// between them is written by package asl.
//
//	Engine.Start ──► execution ──► task ──► Worker.Call ──► ledger: Enter, Settle
//	                     │          └─ ECS: Worker.Contain, then Call for its outcome
//	Engine (looks) ◄─────┴─ ended ──► Ledger.Finish ──► Finished
//
// Who tells the story: workers write what they do into the ledger, as the other
// engine does. The Engine adds one event where an execution ended for a reason that
// no worker could tell: a function that never answered, a start that was refused.
//
// Fencing. A worker holds no lease: daemons come and go while an execution goes on,
// and no one may make it stop for that. It writes through the ledger fenced by its
// run, which has one execution (below), at one state at a time, and ends only after
// that: by then no worker of it can write, however late it wakes. Between daemons
// the lease decides who starts and ends runs, as always.
//
// Invariants:
//
//   - A run has one execution: its name is made of the run's ID, and Step Functions
//     takes a name once. Where a machine has several versions, the execution is
//     looked for in the others first.
//   - A state that is recorded as over is never run again: a call that is repeated,
//     because its answer was lost, is answered from the record.
//   - A worker that dies leaves no record, and its state runs again: tasks adopt what
//     a dead try left.
//   - What a failure is called decides whether Step Functions tries again; what it
//     says in full is in the ledger, since Step Functions keeps 32 KiB of it and 256
//     KiB in all. Only references and outputs go through Step Functions: no
//     file of a tenant, no secret.
//   - A function or container that is being ended says "Unavailable" or nothing, which
//     says nothing about the task, and is tried again.
package sfnrun
