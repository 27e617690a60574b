// Package local is the platform on one machine: real Postgres, Redis, DNS, edge
// and agents, as processes of their own that go on serving without the
// control plane.
//
//	<dir>/run/<process>.json          what runs (package process); logs/<process>.log its output
//	<dir>/bin/<name>-<digest>         the programs that run, by content
//	<dir>/secrets/keys.json           the platform's own; edge.key the edge's
//	<dir>/secrets/tenants/<t>.json    a tenant's passwords and the values of its secrets
//	<dir>/tenants/<t>.json            a tenant's state: configuration, uid, phase, serial
//	<dir>/postgres, redis             servers' data
//	<dir>/dns/<t>.json                records, read by the DNS server
//	<dir>/edge/routes/<t>.json        route, or notice that it is stopped or gone, read by the edge
//	<dir>/edge/tls                    certificates, and the edge's own authority
//	<dir>/volume/<t>                  releases; root's, readable by the tenant's group
//	<dir>/buckets/<t>/<release>       static assets; the edge's alone
//	<dir>/instances/<t>/<n>           an agent's configuration, environment and own directory
//	<dir>/snapshots/<t>/<time>        what was saved of a tenant: database, keys, release, assets
//
// The phases of a tenant:
//
//	          EnsureInfrastructure         Drain
//	(nothing) ───────────────────► running ─────► drained ──RemoveReleases──► (nothing)
//	                                  ▲              │
//	                                  └──────────────┘ EnsureInfrastructure
//
// Invariants:
//
//   - One Driver at a time has the data directory (a lock on <dir>/platform.lock).
//   - The state file comes first and goes last: whatever exists of a tenant has
//     one, so that a half-made or half-removed tenant is found again.
//   - Under root every tenant runs as a user of its own, whose number is not given
//     out twice. Without root all run as the same user, and only Postgres and
//     Redis keep tenants apart.
//   - An instance is in DNS only while its agent runs: it enters after the start
//     and leaves before the end; and while others serve, only if it serves.
//   - There are never fewer instances of a running tenant than its least, nor more
//     than its most; in between, as many as its load asks for (see gauge).
//   - A restore is done at the moment its keys are put in place: one that ends
//     before, however it ends, is undone by settle.
//   - What a tenant can write is never followed by the driver: it opens nothing
//     in a tenant's own directories through a link.
//
// A changed program: DNS and edge are started anew by Open, one after the other. A
// running agent is left as it is, for its restart would cost requests; it
// changes with its instance's next start.
package local
