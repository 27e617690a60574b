package console

import (
	"context"
	"sync"
)

// changes passes the ledger's changes on to every request that waits, so that
// all of them cost one subscription.
type changes struct {
	mu   sync.Mutex
	wait chan struct{}
}

// next returns a channel that is closed at the next change.
func (c *changes) next() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wait == nil {
		c.wait = make(chan struct{})
	}
	return c.wait
}

func (c *changes) announce() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wait != nil {
		close(c.wait)
		c.wait = nil
	}
}

// follow announces what the ledger delivers until ctx ends.
func (c *changes) follow(ctx context.Context, ledger Ledger) {
	for range ledger.Changes(ctx) {
		c.announce()
	}
}
