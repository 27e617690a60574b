// Package dns answers for the zone gitopsd.internal: which instances a tenant
// has and where they listen, as SRV records.
//
// The driver writes one file a tenant (Write, Remove); the server, a process
// of its own, watches the directory. So names go on being answered while the
// control plane is down.
//
//	acme.tenants.gitopsd.internal.         SRV  0 10 20411 acme-0.acme.tenants.gitopsd.internal.
//	acme-0.acme.tenants.gitopsd.internal.  A    127.0.0.1
//
// Invariants:
//
//   - A file that cannot be read as records changes nothing: the tenant's last
//     good records stay. Only a file that is gone takes them away.
//   - A name that is not there is NXDOMAIN; one that is there, without records
//     of the type asked for, NODATA. Both may be cached for a second only.
package dns
