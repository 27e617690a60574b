//go:build !linux

package agent

// ownListener believes it: only Linux tells whose a listening port is.
func ownListener(string) bool { return true }
