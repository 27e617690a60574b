// Package tenantkeys looks after tenants' keys in a Redis: what a tenant may do
// there, removing its keys, saving them and having them back. Every platform with
// a Redis does it this way; how users are made differs.
//
// Invariants:
//
//   - What a tenant is allowed sees the keys and channels that start with
//     "<tenant>:" and no other, nor their names or number, nor what other clients
//     do; and it can change nothing that others share (scripts, functions, settings).
//   - A restore writes beside a tenant's keys, and takes their place in one
//     transaction: there are all of them, or those of before.
package tenantkeys
