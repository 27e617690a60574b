//go:build !linux

package local_test

import "testing"

func limited(t *testing.T, _ *world) { t.Skip("control groups are Linux's") }
