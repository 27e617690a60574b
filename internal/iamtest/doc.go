// Package iamtest holds what our parts call of AWS's API against what their roles
// allow: each call that can be made is allowed, and nothing is allowed that is
// never called. It has tests only.
package iamtest
