// Package console is the control plane's HTTP API, what the command line, and
// whoever automates, asks and tells a running daemon; the pages that show the
// same to people; and the place where the forge's webhooks come in.
//
// Everything below /api/v1/ needs the bearer token, since the apps of tenants
// run on the same machine and reach the same port. The pages need a session,
// which a browser gets for the token, unless PublicRead is set. Beyond that:
//
//   - A request whose Host or Origin is not this server is refused, so that a
//     page in a browser cannot reach it by way of a name of its own.
//   - The value of a secret is read into memory, handed to the platform and
//     forgotten; it appears in no answer, error or log.
//   - Every error is a fault.Record as JSON; its kind decides the HTTP status.
//   - Waiting is driven by the ledger's changes. What is waited for may not be
//     known yet, and a request that waits ends with the server.
//   - Pages change nothing: they show the command that would. They are whole
//     without a script, run none but our own, and are bounded in size.
//   - What pages show of Git, apps and tenants' files is hostile text: escaped,
//     without control characters, cut. What apps and compilers wrote is only for
//     those who are signed in.
//   - A session is an HMAC under a key made of the token. It survives restarts,
//     ends when the token changes, and is no good for the API.
//   - A webhook needs no token: its handler checks the signature. It is exempt
//     from the rule for Origin, not from the one for Host.
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
//	GET  /api/v1/pulls?limit=                   []review.Report, newest first
//	GET  /api/v1/pulls/{number}                 review.Report
//	GET  /api/v1/applied                        Applied
//	GET  /api/v1/receipts, /api/v1/tombstones
//
// The pages, which answer with their own part alone to ?news=1, once it differs
// from what If-None-Match names, if also wait is given:
//
//	GET  /                                      tenants, pull requests, commits
//	GET  /commits/{sha}, /tenants/{name}, /pulls/{number}
//	GET  /login, POST /login, POST /logout
//	POST /webhooks/github
package console
