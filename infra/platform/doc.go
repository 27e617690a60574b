// Package platform has the Pulumi program of a cell: what tenants share. A cell is
// a cluster, a database, a cache, a file system and an edge; when one of them is
// at its limit, the next tenants go to another cell.
//
//	internet ─► CloudFront ─► load balancer ─► Caddy ──SRV──► tenants' tasks ─► Aurora, cache, EFS
//	forge ─► sync or daemon ─► state machines ─► task, compile (functions), pulumi (ECS task)
//
// The first up has no images, for the repositories are its own; what runs them
// is made by the second.
//
// Invariants:
//
//   - Names that documents and the driver need are known before anything is made.
//   - No role allows a pattern of actions; what runs tenants' code reaches the
//     file system, as the publisher, and the cell's configuration, in which is no secret.
//   - Data are protected and outlive the program until it says Unprotected.
//   - What comes to the load balancer not from our distributions is refused.
package platform
