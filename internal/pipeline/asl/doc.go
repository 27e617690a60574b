// Package asl writes machines as documents of the Amazon States Language, for
// Step Functions. It only writes: sfnrun starts what runs them, and works behind
// their tasks.
//
// An execution's data are one object, from its input to its output:
//
//	{"run": {"id", "tenant", "commit", "operation"},   a reference; workers read the rest in the ledger
//	 "path": "Deploy/",                                what a nested machine's states are named below
//	 "doc": {"Generate": {…}},                         each state's output, by the state's name
//	 "cause": {"Error": "None", "Cause": ""}}          of a state that Catch led to: what failed
//
// A task gets these and its own name: {"machine", "version", "state", "task",
// "run", "path", "doc", "cause"}. It is one of two:
//
//   - A Lambda function, whose result is the state's output. Its errors have the
//     kinds of package fault as their names, so that Retry tells them apart.
//   - An ECS task, where a Lambda function may not do: it must not be cut off
//     (Contained names those), or its state has more time than Lambda gives. Its
//     result and the kind of its error do not come back through Step Functions,
//     which knows exit codes only; nor does the document fit into its start (8 KiB).
//     It tries again by itself, as its state says, reads and writes the ledger, and
//     a Lambda state behind it asks the ledger how it ended: "<state> outcome".
//
// What follows from that:
//
//   - An ECS task is never started again for its exit code or for an error of
//     ECS: only if the ledger has no end of it ("Repeat": it was killed, or
//     never started), after a wait, and only as often as the outcome's worker says;
//     or if what it waits for takes longer than it is worth to keep it ("Later").
//   - Lambda's own errors are retried apart from the task's, whose number of tries
//     is as in the machine; so are a function's death and a ledger that does not
//     answer ("Unavailable").
//   - Every task state has a timeout a little longer than the one its worker keeps,
//     which then is what is told. No state waits without an end, so no machine does.
//   - The waits of tasks (for health, for requests in flight) are minutes at most and
//     stay in their Lambda functions: a loop of Wait states would cost more
//     transitions than the seconds it saves.
//   - What cannot be said so that it means the same as under dbosrun is refused:
//     see Document.
//
// The documents in testdata are these machines for an account of examples;
// `go generate` writes them anew.
package asl

//go:generate go test . -run ^TestDocuments$ -update
