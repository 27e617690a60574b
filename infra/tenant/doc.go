// Package tenant has the Pulumi programs of one tenant.
//
//	Program             service, scaling, bucket, edge, volume, logs; what is dedicated
//	CertificateProgram  the certificate of its domains: a stack and a phase of its own
//
//	                     ┌─ EdgeDedicated: own distribution ─┐
//	browser ── record ───┼─ EdgeTenant: the cell's, by host ─┼──► load balancer, Caddy ──SRV──► service
//	                     └─ EdgeWildcard: the cell's, *.…  ──┘└─► bucket (not with EdgeWildcard)
//
// Invariants:
//
//   - Equal configurations make equal resources; names are made of cell and tenant
//     alone, fit AWS's limits, and are no other tenant's and not the cell's own.
//   - A tenant's tasks have one right: to mount the tenant's directory, and to read.
//   - A domain is served once its certificate was issued; nothing waits for that.
//   - Data of its own are protected until the configuration says Withdrawn.
//   - What is shared and changes one at a time is left to the driver: users of
//     caches, hosts in the key-value store.
package tenant
