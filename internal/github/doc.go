// Package github is the forge GitHub: it reads pull requests, comments and
// permissions, shows statuses, comments, check runs and deployments, and takes
// webhooks.
//
// A request passes, from the outside in:
//
//	go-github ─► who we are (a token, or an App's) ─► gate (rate limits) ─► network
//
// Invariants:
//
//   - No request is sent before the time GitHub named, be it for the primary limit
//     (X-RateLimit-Reset) or a secondary one (Retry-After): the gate refuses it
//     with fault.Transient and fault.After. Nothing waits in line meanwhile.
//   - A try whose answer was lost is found, not repeated: before something is made,
//     what there is is looked through for what an earlier try, or an earlier
//     process, left behind. Only what this process saw a moment ago is relied on.
//   - Credentials go to the API's own host only, by HTTPS (or to a loopback
//     address), and appear in no error and no log line.
//   - What is wrong with a request (422) is fault.Invalid and what is gone is
//     fault.NotFound; refused credentials and missing permissions can be repaired
//     and are fault.Transient, with a hint that says how.
//   - A webhook's body is believed in nothing before its signature is checked, and
//     is only a hint after. One delivery is acted upon once.
package github
