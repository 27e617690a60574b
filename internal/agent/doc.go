// Package agent is the reloader: the foreground process of a tenant's
// instance. It runs the release that the volume's pointer names and replaces
// it while serving.
//
//	             public port                       loopback, a fresh port each
//	edge ──────► proxy ── router (one atomic pointer) ──► app, old release
//	                                      └── swap ─────► app, new release
//	             watcher: poll/ring → supervisor: fetch → start → probe → swap → drain → stop
//
// The life of one app process:
//
//	starting ──healthy──► serving ──replaced──► draining ──idle or deadline──► stopping ──► gone
//	   │                     ├──exit──► run again, with back-off
//	   │                     └──no request for long──► asleep, draining ──request──► starting
//	   └──exit, deadline, superseded──► gone
//
// Invariants:
//
//   - The public port is open for the agent's whole life; a reload never
//     touches it.
//   - A release takes traffic only after it answered its health check with
//     200, and only from the one process the agent started for it.
//   - A request is counted with the app it goes to before the router is looked
//     at again, so a replaced app whose count is zero never gets another one.
//   - A pointer is tried once while another release serves. Only while nothing
//     serves is the last pointer tried again, with back-off: there is nothing
//     better, and what the app lacked may have come up since.
//   - Nothing is executed from the volume: another host may replace or remove a
//     file there, which kills whoever runs it.
//   - No app outlives its agent, even one that is killed.
//   - The supervisor's state belongs to its one goroutine. Others send to it.
//   - A volume that hangs holds up new releases and nothing else: no restart, no
//     waking, no request waits for it.
//
// The package uses the standard library and internal/release alone, so that an
// idle tenant costs a few megabytes.
package agent
