// Package console is the control plane's HTTP API: what the command line, and
// whoever automates, asks and tells a running daemon.
//
// Everything below /api/v1/ needs the bearer token, since the apps of tenants
// run on the same machine and reach the same port. Beyond that:
//
//   - A request whose Host or Origin is not this server is refused, so that a
//     page in a browser cannot reach it by way of a name of its own.
//   - The value of a secret is read into memory, handed to the platform and
//     forgotten; it appears in no answer, error or log.
//   - Every error is a fault.Record as JSON; its kind decides the HTTP status.
//   - Waiting is driven by the ledger's changes. What is waited for may not be
//     known yet, and a request that waits ends with the server.
//
// The API:
//
//	GET  /healthz                               open; how the loop does
//	GET  /api/v1/tenants                        []Summary
//	GET  /api/v1/tenants/{name}                 Detail
//	GET  /api/v1/tenants/{name}/logs?follow=    text
//	POST /api/v1/tenants/{name}/retry
//	GET  /api/v1/tenants/{name}/snapshots       []platform.Snapshot; DELETE of one that is gone
//	POST /api/v1/tenants/{name}/restore         Restore
//	POST /api/v1/tenants/{name}/purge           ends the grace period
//	PUT  /api/v1/tenants/{name}/secrets/{key}   the body is the value
//	GET  /api/v1/commits?limit=                 []Commit, newest first
//	GET  /api/v1/commits/{sha}?wait=25s         Commit; HEAD is the newest
//	POST /api/v1/commits/{sha}/approve          Approval
//	GET  /api/v1/applied                        Applied
//	GET  /api/v1/receipts, /api/v1/tombstones
package console
