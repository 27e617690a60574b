package edge

import (
	"container/heap"
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// resolver keeps each tenant's instances true to its SRV record: read at once
// when its route appears or changes serial, and again as its TTL says. While
// the server does not answer, the instances stay and the questions become
// fewer.
type resolver struct {
	servers []string // host:port
	log     *slog.Logger

	mu         sync.Mutex
	urgent     []*entry // first come, first served
	due        dueHeap
	refreshAt  time.Time     // not before then the next refresh
	complainAt time.Time     // not before then the next complaint
	pending    int           // entries never answered for yet
	idle       chan struct{} // closed once pending is 0
	wake       [2]chan struct{}

	queries, errors atomic.Uint64
}

// task is a tenant's place in the resolver, guarded by its mutex.
type task struct {
	queued   bool // in urgent
	running  bool
	again    bool // asked for while running: that answer may be too old
	answered bool
	failures int
	at       time.Time // when it is due
	pos      int       // in the heap, from 1; 0: not in it
}

const (
	urgentWorkers  = 4
	refreshWorkers = 4
	// refreshEvery spaces refreshes: at most 500 a second, however many tenants.
	refreshEvery  = 2 * time.Millisecond
	firstBackoff  = 500 * time.Millisecond
	maxBackoff    = 30 * time.Second
	complainEvery = 10 * time.Second
)

func newResolver(servers []string, log *slog.Logger) *resolver {
	r := &resolver{servers: servers, log: log, idle: make(chan struct{})}
	for i := range r.wake {
		r.wake[i] = make(chan struct{}, 1)
	}
	return r
}

// resolve asks for the entries' SRV records at once.
func (r *resolver) resolve(entries []*entry) {
	if len(entries) == 0 {
		return
	}
	r.mu.Lock()
	for _, e := range entries {
		t := &e.lookup
		if !t.answered && !t.queued && !t.running && t.pos == 0 {
			r.pending++
		}
		switch {
		case t.running:
			t.again = true
		case !t.queued:
			r.unschedule(e)
			t.queued = true
			r.urgent = append(r.urgent, e)
		}
	}
	r.mu.Unlock()
	r.notify(0)
}

// settled waits until each entry asked for so far was answered for or failed
// once, or until ctx ends.
func (r *resolver) settled(ctx context.Context) {
	r.mu.Lock()
	idle, pending := r.idle, r.pending
	r.mu.Unlock()
	if pending == 0 {
		return
	}
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// run works until ctx ends.
func (r *resolver) run(ctx context.Context) {
	var wg sync.WaitGroup
	for range urgentWorkers {
		wg.Go(func() { r.work(ctx, 0, r.takeUrgent) })
	}
	for range refreshWorkers {
		wg.Go(func() { r.work(ctx, 1, r.takeDue) })
	}
	wg.Wait()
}

func (r *resolver) notify(kind int) {
	select {
	case r.wake[kind] <- struct{}{}:
	default:
	}
}

// work takes entries and looks them up. take returns how long there is nothing
// to take, 0 for until woken.
func (r *resolver) work(ctx context.Context, kind int, take func() (*entry, time.Duration)) {
	a := &asker{servers: r.servers}
	defer a.close()
	for ctx.Err() == nil {
		e, wait := take()
		if e == nil {
			var timer <-chan time.Time
			if wait > 0 {
				timer = time.After(wait)
			}
			select {
			case <-ctx.Done():
			case <-timer:
			case <-r.wake[kind]:
			}
			continue
		}
		r.notify(kind) // there may be more for the others
		r.look(ctx, a, e)
	}
}

func (r *resolver) takeUrgent() (*entry, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.urgent) == 0 {
		r.urgent = nil
		return nil, 0
	}
	e := r.urgent[0]
	r.urgent = r.urgent[1:]
	e.lookup.queued, e.lookup.running = false, true
	return e, 0
}

func (r *resolver) takeDue() (*entry, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.due) == 0 {
		return nil, 0
	}
	now := time.Now()
	if wait := max(r.due[0].lookup.at.Sub(now), r.refreshAt.Sub(now)); wait > 0 {
		return nil, wait
	}
	r.refreshAt = now.Add(refreshEvery)
	e := heap.Pop(&r.due).(*entry)
	e.lookup.running = true
	return e, 0
}

// look asks for one entry's record and sets when to ask again.
func (r *resolver) look(ctx context.Context, a *asker, e *entry) {
	if e.gone.Load() {
		r.done(e, false, 0)
		return
	}
	r.queries.Add(1)
	srv := e.route.Load().SRV
	if srv == "" { // it serves no more
		r.done(e, true, maxTTL)
		return
	}
	found, ttl, err := a.instances(ctx, srv)
	if err != nil {
		if ctx.Err() == nil {
			r.errors.Add(1)
			r.done(e, false, 0)
			r.complain(e, err)
		}
		return
	}
	if was := e.instances.Load(); was == nil || !was.same(found) {
		e.instances.Store(found.keep(was))
	}
	r.done(e, true, ttl)
}

// complain logs a failure, unless one was logged a moment ago: a server that is
// down fails for every tenant.
func (r *resolver) complain(e *entry, err error) {
	r.mu.Lock()
	now := time.Now()
	quiet := now.Before(r.complainAt)
	if !quiet {
		r.complainAt = now.Add(complainEvery)
	}
	r.mu.Unlock()
	if !quiet {
		r.log.Warn("instances not resolved, the former ones stay", "tenant", e.tenant, "error", err)
	}
}

// done sets when an entry is looked up again.
func (r *resolver) done(e *entry, ok bool, ttl time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &e.lookup
	t.running = false
	if !t.answered {
		t.answered = true
		if r.pending--; r.pending == 0 {
			close(r.idle)
			r.idle = make(chan struct{})
		}
	}
	if e.gone.Load() {
		return
	}
	if ok {
		t.failures = 0
	} else {
		t.failures++
		ttl = min(firstBackoff<<min(t.failures-1, 10), maxBackoff)
	}
	if t.again {
		t.again, t.queued = false, true
		r.urgent = append(r.urgent, e)
		r.notify(0)
		return
	}
	// Within the last quarter of its time, so that what came at once does not
	// stay together.
	t.at = time.Now().Add(ttl - time.Duration(rand.Int64N(int64(ttl)/4+1)))
	heap.Push(&r.due, e)
	if t.pos == 1 {
		r.notify(1)
	}
}

func (r *resolver) unschedule(e *entry) {
	if e.lookup.pos > 0 {
		heap.Remove(&r.due, e.lookup.pos-1)
	}
}

// dueHeap has the entries by when they are due.
type dueHeap []*entry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].lookup.at.Before(h[j].lookup.at) }

func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].lookup.pos, h[j].lookup.pos = i+1, j+1
}

func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	*h = append(*h, e)
	e.lookup.pos = len(*h)
}

func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.lookup.pos = 0
	return e
}
