package migration

import "testing"

// NewDatabase makes an empty database on the tests' server.
func NewDatabase(tb testing.TB) string { return server.Database(tb) }
