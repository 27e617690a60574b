// Package cgroup bounds what a tenant's processes take of the machine, by the
// kernel's control groups. Only root may make them, and only where the kernel and
// whoever manages its groups let it: elsewhere there are none, and Find says why.
//
// One instance has this, with version 2 of the groups:
//
//	<own group, or one above it>/gitopsd-<id>/
//	    <instance>/          weight: its share of the processors
//	        agent/           the agent, unlimited: an app cannot take its place
//	        app/             memory, processes, processors: all of the app's processes
//
// and with version 1, in the hierarchy of each controller below this process's own
// group, gitopsd-<id>/<instance>/app.
//
// The limits are root's. The tenant's user may put processes into app, and from
// there nowhere else.
package cgroup

import (
	"regexp"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/durable"
)

// Limits bound the processes of an app. Zero bounds nothing.
type Limits struct {
	Memory    int64 // bytes, swap included
	Processes int   // and threads
	// Shares of the processors, 1024 for one: what the app gets when all are
	// busy. It may use one processor at most, or its shares if they are more.
	Shares int
}

// Group is where an instance's processes go.
type Group struct {
	Agent string   // directory to start the agent in; "" for where it would be anyway
	Apps  []string // directories that the agent puts the app into
}

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*$`)

func checkName(name string) error {
	if !nameForm.MatchString(name) {
		return fault.Errorf(fault.Invalid, "control group %q: want lower-case letters, digits, '.' and '-'", name)
	}
	return nil
}

// Owner is the user whose processes go into a group.
type Owner = durable.Owner
