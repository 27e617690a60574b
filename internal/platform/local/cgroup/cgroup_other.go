//go:build !linux

package cgroup

import "errors"

// Root is where the groups of one data directory are.
type Root struct{}

// Find fails: there are control groups only on Linux.
func Find(string) (*Root, error) { return nil, errors.New("control groups are Linux's") }

// Exists reports that it is not there.
func (*Root) Exists() bool { return false }

// RemoveAll is never called.
func (*Root) RemoveAll() {}

// Ensure is never called.
func (*Root) Ensure(string, Limits, Owner) (Group, error) { return Group{}, nil }

// Remove is never called.
func (*Root) Remove(string) error { return nil }
