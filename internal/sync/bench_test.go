package sync_test

import (
	"fmt"
	"testing"
)

// A turn that finds nothing new, with many tenants applied.
func BenchmarkTurnWithoutChange(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprintf("tenants=%d", n), func(b *testing.B) {
			w := newWorld(b)
			for i := range n {
				w.put(fmt.Sprintf("t%05d", i), "hello")
			}
			w.commit("Add the fleet")
			w.turn()
			for len(w.engine.started()) > 0 {
				runs := w.engine.take()
				for _, run := range runs {
					w.made(run)
					w.must(w.ledger.Finish(w.ctx, run.ID, nil))
				}
				more, err := w.ledger.Claim(w.ctx, 1000)
				w.must(err)
				for _, run := range more {
					w.must(w.engine.Start(w.ctx, run))
				}
			}
			w.turn()
			for b.Loop() {
				w.turn()
			}
		})
	}
}
