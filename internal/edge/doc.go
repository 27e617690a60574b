// Package edge is what stands before the apps on one machine: the two CDN
// functions, the static origin, and Caddy, which takes a request's tenant
// header to one of the tenant's instances.
//
//	browser ─► gitopsd_front ───────────► gitopsd_gate ─► reverse_proxy ─► agent
//	           viewer-request.js          secret, tenant  upstreams.tenants
//	           bucket (GET, HEAD)         header, host
//	           viewer-response.js
//
// The part before the gate is the CDN's, the gate and the proxy are Caddy's, as
// on AWS, where a network lies between them: the gate trusts nothing but the
// shared secret. There (Config.Origin) CloudFront runs the functions, the front
// only counts and logs, and what comes without the secret is refused, but for
// a load balancer's question at HealthPath.
//
// Routes come as one file a tenant in a directory; instances come from each
// tenant's SRV record. Both end in a table:
//
//	routes/<tenant>.json ─► watcher ─┬─► table ◄── request (reads, never waits)
//	DNS ─► resolver ◄── serial, TTL ─┘
//
// Invariants:
//
//   - No request waits for DNS or for a file of routes; it reads the table.
//   - A client never names its tenant: the host does, through the function. The
//     gate takes exactly one tenant header, that the table knows, whose tenant
//     owns the request's host, with the CDN's secret; and passes none of it on.
//   - Caddy is configured once. A tenant comes, changes and goes by its file
//     alone, and no other tenant's request or connection notices.
//   - The last good state stays: a malformed file keeps the tenant's former
//     route, an unanswering DNS its former instances, an unreadable directory
//     everything.
//   - One tenant's flood, slow or oversized request is refused at its own limits;
//     no other tenant waits for it.
//   - What an instance may have seen is sent to another one only if it means the
//     same twice, and once.
//   - A certificate is got for a host that a tenant has, and for no other.
//   - A host has one owner. A host below the platform's domain belongs to the
//     tenant of that name; any other to whoever had it first, and a tenant that is
//     gone keeps none from another.
//
// One process runs one edge: Caddy's configuration is the process's.
package edge
