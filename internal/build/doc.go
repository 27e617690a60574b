// Package build turns a tenant's app into a release, and migrates its database.
//
// Under its directory it keeps
//
//	cache/                 the Go build cache, shared by all tenants
//	bin/<key>.<sha256>     executables by compile key, the newest few
//	work/<tenant>/src/     an app's source as it was compiled last
//	work/<tenant>/lock     held while src is written or read
//	home/                  the go command's own, in place of the user's
//	tmp/                   what is being written; leftovers go at the next start
//
// All of it can be deleted at any time: every method makes what it lacks.
//
// Invariants:
//
//   - Everything from a tenant is data. Nothing of it is executed: no cgo, no
//     generators, no version control of modules, no toolchain of its choice, and
//     no file that is not below the repository's root is read for it.
//   - The network is used only to fetch modules that are not in the module cache,
//     and what comes is checked against go.sum. The compiler runs without it.
//   - The same input has the same key. What a key led to before is taken, not made
//     again; it was made whole, or not at all.
//   - An executable that an earlier process left is taken only if it still has
//     the digest in its name: it was not made durable when it was written.
package build
