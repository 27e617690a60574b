// Package redisd runs a private redis-server and makes tenants' users in it.
//
// Invariants:
//
//   - Nobody comes in without a password: the default user is off.
//   - A tenant's user sees the keys and channels that start with "<tenant>:"
//     and no other, nor their names or number, nor what other clients do; and it
//     can change nothing that others share (scripts, functions, settings).
//   - A user is this tenant's if its key pattern is this tenant's. Another user
//     of that name is a fault.Conflict, never changed and never removed.
//   - What a tenant may do survives a restart: every change is saved.
package redisd
