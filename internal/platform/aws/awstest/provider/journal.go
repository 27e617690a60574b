package provider

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Op is what the engine asks for.
type Op string

// The calls that change something, and the one that looks.
const (
	Create Op = "create"
	Read   Op = "read"
	Update Op = "update"
	Delete Op = "delete"
	// Vanished is no call: somebody else deleted it.
	Vanished Op = "vanished"
)

// Event is one call that did something.
type Event struct {
	Op             Op
	Token, ID, URN string
	Took           time.Duration
}

// Journal returns what happened, in the order in which it ended.
func (p *Provider) Journal() []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.journal)
}

// Counts returns how often each thing was done.
func (p *Provider) Counts() map[Op]int {
	out := make(map[Op]int)
	for _, e := range p.Journal() {
		out[e.Op]++
	}
	return out
}

// Duplicates returns the resources of programs that were made again while the one
// made before was still there and stayed: a replacement is followed by the end of
// what it replaces.
func (p *Provider) Duplicates() []string {
	there := make(map[string]int) // by URN
	for _, e := range p.Journal() {
		switch e.Op {
		case Create:
			there[e.URN]++
		case Delete, Vanished:
			there[e.URN]--
		case Read, Update:
		}
	}
	maps.DeleteFunc(there, func(_ string, n int) bool { return n <= 1 })
	return slices.Sorted(maps.Keys(there))
}

func (p *Provider) note(op Op, token, id, urn string, began time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.journal = append(p.journal, Event{Op: op, Token: token, ID: id, URN: urn, Took: time.Since(began)})
}

// Quiet waits until no call is under way. Unlike a real provider, this one does not
// die with its engine.
func (p *Provider) Quiet() { p.calls.Wait() }

// Moment is when in a call something happens.
type Moment string

// Before and After what is asked for was done. After a call that never answers,
// the engine does not know what there is.
const (
	Before Moment = "before"
	After  Moment = "after"
)

// Hold is a call that waits.
type Hold struct {
	// Reached is closed when the call has come that far.
	Reached chan struct{}

	op      Op
	token   string
	moment  Moment
	release chan struct{}
	once    sync.Once
	reached sync.Once
}

// Release lets the call go on.
func (h *Hold) Release() { h.once.Do(func() { close(h.release) }) }

// Hold has the next such call for the token wait until it is released.
func (p *Provider) Hold(op Op, token string, m Moment) *Hold {
	h := &Hold{Reached: make(chan struct{}), op: op, token: token, moment: m, release: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holds = append(p.holds, h)
	return h
}

func (p *Provider) releaseAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.holds {
		h.Release()
	}
}

// Fault is a failure that a test asked for.
type Fault struct {
	Op      Op
	Token   string // "" is any
	Moment  Moment
	After   int    // calls that succeed before
	Times   int    // calls that fail then
	Message string // what AWS says
}

// Fail has calls fail.
func (p *Provider) Fail(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, &f)
}

// pass is where calls wait and fail. A call whose engine died goes no further.
func (p *Provider) pass(ctx context.Context, op Op, token string, m Moment) error {
	p.mu.Lock()
	var held *Hold
	for i, h := range p.holds {
		if h.op == op && h.token == token && h.moment == m {
			held = h
			p.holds = slices.Delete(p.holds, i, i+1)
			break
		}
	}
	var failing error
	for _, f := range p.faults {
		if f.Op != op || f.Moment != m || f.Token != "" && f.Token != token {
			continue
		}
		if f.After > 0 {
			f.After--
		} else if f.Times > 0 {
			f.Times--
			failing = fmt.Errorf("%s %s: %s", op, strings.TrimPrefix(token, "aws:"), f.Message)
		}
	}
	p.mu.Unlock()
	if held != nil {
		held.reached.Do(func() { close(held.Reached) })
		select {
		case <-held.release:
		case <-ctx.Done():
		}
	}
	if m == Before && p.c.Latency > 0 && op != Read {
		select {
		case <-time.After(p.c.Latency):
		case <-ctx.Done():
		}
	}
	if m == Before && ctx.Err() != nil {
		return ctx.Err()
	}
	return failing
}
