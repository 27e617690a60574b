// Package redisd runs a private redis-server and makes tenants' users in it; their
// keys are tenantkeys'.
//
// Invariants:
//
//   - Nobody comes in without a password: the default user is off.
//   - A tenant's user may do what tenantkeys allows it, and no more.
//   - A user is this tenant's if its key pattern is this tenant's. Another user
//     of that name is a fault.Conflict, never changed and never removed.
//   - What a tenant may do survives a restart: every change is saved.
package redisd
