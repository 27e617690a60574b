package agent

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// restAfter is how long there was no request when an agent rests.
const restAfter = 10 * time.Second

// rest makes an agent cost little when traffic has stopped, whatever it carried
// before: its memory is given back, and one processor is enough, so that a look
// at the volume wakes no second thread. There are thousands of such agents.
type rest struct {
	traffic *traffic
	alone   bool        // nothing but the agent is in this process
	now     atomic.Bool // the agent rests
	worked  atomic.Bool // since run looked last
	ended   chan struct{}
}

func newRest(t *traffic, alone bool) *rest {
	return &rest{traffic: t, alone: alone, ended: make(chan struct{}, 1)}
}

// run looks for want of traffic until ctx ends.
func (r *rest) run(ctx context.Context) {
	defer r.end()
	tick := time.NewTicker(restAfter)
	defer tick.Stop()
	const times = 2 // what is pooled survives one collection
	seen, given := uint64(0), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch requests := r.traffic.requests.Load(); {
		case requests != seen, r.worked.Swap(false):
			seen, given = requests, 0
		case given < times:
			debug.FreeOSMemory()
			leaveText()
			given++
		case r.alone && r.traffic.inFlight.Load() == 0:
			tick.Stop()
			r.begin(ctx)
			tick.Reset(restAfter)
		}
	}
}

// begin rests until there is work.
func (r *rest) begin(ctx context.Context) {
	runtime.GOMAXPROCS(1)
	r.now.Store(true)
	select {
	case <-r.ended:
	case <-ctx.Done():
	}
}

// work is end for those who do more than answer a request.
func (r *rest) work() {
	r.worked.Store(true)
	r.end()
}

// end is called by whoever has work. It costs a look at a flag if there is no rest.
func (r *rest) end() {
	if r.now.Load() && r.now.CompareAndSwap(true, false) {
		runtime.SetDefaultGOMAXPROCS()
		select {
		case r.ended <- struct{}{}:
		default:
		}
	}
}
