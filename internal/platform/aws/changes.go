package aws

import (
	"maps"
	"slices"
	"time"

	pulumievents "github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// Change is what is done to one resource of a stack, or would be.
type Change struct {
	Operation string         `json:"operation"` // Pulumi's: create, update, replace, delete …
	Kind      string         `json:"kind"`      // such as aws:s3/bucket:Bucket
	Name      string         `json:"name"`      // in the program
	Keys      []string       `json:"keys,omitempty"`
	Done      bool           `json:"-"` // else it begins
	Outputs   map[string]any `json:"-"` // when it is done; secrets are left out by Pulumi
}

// lastEvents is how long the events are waited for that Pulumi sent before its end.
const lastEvents = 2 * time.Second

// watch returns a channel for Pulumi's events, whose changes progress is told, one
// after another. over waits for the last of them.
func watch(progress func(Change)) (to chan<- pulumievents.EngineEvent, over func()) {
	from, done := make(chan pulumievents.EngineEvent), make(chan struct{})
	go func() { // ends with Pulumi, which closes the channel if it began to send
		defer close(done)
		for e := range from {
			switch {
			case e.ResourcePreEvent != nil:
				tell(progress, e.ResourcePreEvent.Metadata, false)
			case e.ResOutputsEvent != nil:
				tell(progress, e.ResOutputsEvent.Metadata, true)
			}
		}
	}()
	return from, func() {
		select {
		case <-done:
		case <-time.After(lastEvents):
		}
	}
}

func tell(progress func(Change), m apitype.StepEventMetadata, done bool) {
	if m.Op == apitype.OpSame || m.Op == apitype.OpRead || m.Type == "pulumi:pulumi:Stack" {
		return
	}
	c := Change{Operation: string(m.Op), Kind: m.Type, Name: resource.URN(m.URN).Name(), Done: done}
	if c.Keys = m.Diffs; len(m.DetailedDiff) > 0 {
		c.Keys = slices.Sorted(maps.Keys(m.DetailedDiff))
	}
	if done && m.New != nil {
		c.Outputs = m.New.Outputs
	}
	progress(c)
}
