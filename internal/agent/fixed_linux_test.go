package agent_test

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/agent"
)

// An app that takes no notice of PORT is found where it listens, and replaced by
// stopping it first: requests wait for the next one, or for it to come back.
func TestAppThatIgnoresItsPort(t *testing.T) {
	t.Parallel()
	in := newInstance(t, func(c *agent.Config) { c.StartTimeout = agent.Duration(4 * time.Second) }).start()
	_, port, err := net.SplitHostPort(freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	p, r := in.deploy(map[string]string{"FIXED": port, "VERSION": "v1"})
	if r.Seq != p.Seq {
		t.Fatalf("report: %+v", r)
	}
	in.mustServe("v1")

	var failed atomic.Int64
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := echo(http.DefaultClient, in.url, "x"); err != nil && failed.Add(1) < 5 {
					t.Error(err)
				}
			}
		})
	}
	good, r := in.deploy(map[string]string{"FIXED": port, "VERSION": "v2"})
	if r.Seq != good.Seq {
		t.Errorf("report: %+v", r)
	}
	in.mustServe("v2")
	// One that fails even with the port to itself: the former comes back.
	bad, r := in.deploy(map[string]string{"FIXED": port, "MODE": "500", "VERSION": "v3"})
	if r.FailedSeq != bad.Seq {
		t.Errorf("report: %+v", r)
	}
	in.awaitPhase(agent.Serving)
	in.mustServe("v2")
	close(done)
	wg.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d requests failed", failed.Load())
	}
}
