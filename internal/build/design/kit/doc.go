// Package kit is the runtime of generated apps: HTTP server, database, JSON,
// paging and the page at /.
//
// Its source is copied as it is into every generated module, always under the
// same import path, so that the Go build cache compiles it once for all
// tenants. Two rules keep the compile of what imports it at some 10 ms, of the
// link's 300 ms:
//
//   - It exports interfaces, functions marked noinline and plain structs.
//     No type of a dependency can be reached from an exported one, else the
//     compiler makes every importer carry that type's method wrappers.
//   - It imports neither text/template nor html/template: their use of
//     reflection keeps the linker from dropping any exported method.
//
// It uses the standard library and pgx alone.
package kit
