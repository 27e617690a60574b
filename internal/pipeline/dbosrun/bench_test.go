package dbosrun_test

import (
	"fmt"
	"testing"

	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/postgres/postgrestest"
)

// BenchmarkRun is what a run of seven states costs beyond its tasks, from Start
// to the ledger's end of it, on a Postgres that waits for the disk.
func BenchmarkRun(b *testing.B) {
	durable, err := postgrestest.Start("fsync=on")
	must(b, err)
	shared := server
	server = durable
	defer func() {
		server = shared
		durable.Stop()
	}()
	b.Run("", func(b *testing.B) {
		const states = 7
		tasks := map[string]pipeline.Task{}
		var all []pipeline.State
		for i := range states {
			next := ""
			if i+1 < states {
				next = fmt.Sprintf("S%d", i+1)
			}
			s := task(fmt.Sprintf("S%d", i), next)
			tasks[s.Name] = ok
			all = append(all, s)
		}
		w := setUp(b, tasks, machine(all...))
		w.run("warm")
		done := make(chan string, 1)
		w.config.Finished = func(run string) { done <- run }
		must(b, w.engine.Close(0))
		w.launch()
		b.ResetTimer()
		for b.Loop() {
			b.StopTimer()
			r := w.deploy("acme")
			b.StartTimer()
			must(b, w.engine.Start(b.Context(), r))
			<-done
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*states)/1000, "ms/state")
	})
}
