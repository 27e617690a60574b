// Package aws makes tenants real on AWS. Driver is the platform; each part is a type
// of its own: Pulumi (stacks), Database, Cache and Keys, Secrets, Static and Bucket,
// Agents, Distributions.
//
//	            EnsureInfrastructure       Drain              DestroyInfrastructure
//	(none) ───────────► running ─────────────► drained ──────────────► leaving ──► (none)
//	                       ▲                      │                       │
//	                       └──────────────────────┴───────────────────────┘ EnsureInfrastructure
//
// Where things are:
//
//	tenants/<tenant>.json in a bucket     its record: what the driver keeps of it
//	organization/gitopsd-tenant/<tenant>  a tenant's stack: see infra/tenant
//	t_<tenant>                            its role and database, its user in the cache
//	<tenant>:                             what its keys and channels begin with
//	gitopsd/<cell>/tenant/<tenant>        its secret: all credentials, one for each costs
//	live/, releases/ in its bucket        its assets: see Static
//	tenants/<tenant>/<time>/ in a bucket  its snapshots, which outlive it: see SnapshotStore
//
// Invariants:
//
//   - One at a time changes a tenant, under a lease of the cell's.
//   - The record is written before what it announces, only in the place of the one it
//     was made from, and goes last. It says where a tenant's things are, and proves
//     nothing: the inventory looks at AWS by the names that everything has.
//   - A stack is made again only if what it is made of has changed, or was not made whole.
//   - Nothing waits for who owns a domain, nor, in a task, for CloudFront.
//   - Tasks are given their secrets when they start: what changes starts them anew.
//   - A lease of ours (Locks) is held before Pulumi's own lock is looked at, and a
//     lock of Pulumi's is taken away only when its owner is proven dead.
//   - A run of Pulumi that has begun is not cut short, whoever stops waiting for it.
//   - What Pulumi was creating when it died is imported or forgotten before
//     anything is created: never made a second time.
//   - The user group of a cache is changed by one at a time, and only while it is
//     active; a group takes 98 tenants.
//   - A secret's version becomes the current one only in the place of the one
//     that it was made from: no writer loses another's change.
//   - What has a tenant's name and not its tags, or its mark, is a fault.Conflict:
//     neither changed nor removed.
//   - Passwords are in no error, log or tag.
package aws
