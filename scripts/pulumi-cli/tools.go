//go:build tools

// Package tools names the program that this module is for.
package tools

import _ "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
