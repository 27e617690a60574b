package process

import "syscall"

// startIn has nothing to do: control groups are Linux's.
func startIn(*syscall.SysProcAttr, string) (done func(), err error) { return func() {}, nil }
