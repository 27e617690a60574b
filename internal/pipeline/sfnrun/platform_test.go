package sfnrun_test

import "github.com/gitopsd/gitopsd/internal/platform"

// noPlatform lets the names of tasks be asked for, and nothing else.
type noPlatform struct{ platform.Platform }
