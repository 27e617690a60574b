package agent_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/agent"
)

// A release that failed is not tried again while another serves, however often
// the agent looks; and it is that other one that a crash brings back.
func TestFailedReleaseIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	in := newInstance(t).start()
	first, _ := in.deploy(map[string]string{"VERSION": "good"})
	bad, r := in.deploy(map[string]string{"MODE": "exit", "VERSION": "bad"})
	if r.FailedSeq != bad.Seq {
		t.Fatalf("report: %+v", r)
	}
	tried := func() int { return strings.Count(in.log(), "starting bad\n") }
	if n := tried(); n != 1 {
		t.Fatalf("%d starts of the bad release", n)
	}
	for range 5 {
		in.ring()
		in.mustServe("good")
	}
	in.crash("/crash")
	eventually(t, "the good release is back", func() bool { r = in.report(); return r.Restarts == 1 && r.Phase == agent.Serving })
	if r.Seq != first.Seq || r.Release != first.SHA256 || r.FailedSeq != bad.Seq || tried() != 1 {
		t.Errorf("report: %+v, %d starts of the bad release", r, tried())
	}
	in.mustServe("good")
	// Who publishes it anew asks for it to be tried anew.
	again, err := in.vol.Renew(bad.SHA256, "again")
	if err != nil {
		t.Fatal(err)
	}
	if r := in.await(again.Seq); r.FailedSeq != again.Seq || tried() != 2 {
		t.Errorf("report: %+v, %d starts of the bad release", r, tried())
	}
}

// A release that served, and then crashes again and again, is what there is: it
// is started again, ever more slowly, and the report says that it fails.
func TestLoopAfterServing(t *testing.T) {
	t.Parallel()
	in := newInstance(t).start()
	before, _ := in.deploy(map[string]string{"VERSION": "v1"})
	p, r := in.deploy(map[string]string{"VERSION": "v2", "MODE": "crashloop"})
	if r.Seq != p.Seq {
		t.Fatalf("report: %+v", r)
	}
	begin := time.Now()
	eventually(t, "five restarts", func() bool { r = in.report(); return r.Restarts >= 5 })
	if took := time.Since(begin); took < 300*time.Millisecond { // 0, 50, 100, 200 ms at least
		t.Errorf("five restarts within %s", took)
	}
	eventually(t, "failing", func() bool { r = in.report(); return r.Phase == agent.Failing })
	if r.Release != "" || !strings.Contains(r.Failure, "exited with status 7") ||
		!strings.HasPrefix(r.Health, "runtime healthy, app failing: app exited with status 7") {
		t.Errorf("report: %+v", r)
	}
	if code := get(in.ctl + "/-/runtime"); code != http.StatusOK {
		t.Errorf("the runtime is not healthy: %d", code)
	}
	// To go back is the control plane's to decide.
	back, err := in.vol.Publish(before.SHA256, before.Commit)
	if err != nil {
		t.Fatal(err)
	}
	if r := in.await(back.Seq); r.Seq != back.Seq || r.Health != "runtime healthy, app serving" {
		t.Errorf("report: %+v", r)
	}
	in.mustServe("v1")
}

// Requests wait through a crash though the first restarts fail, but not for ever.
func TestRequestsWaitThroughFailedRestarts(t *testing.T) {
	t.Parallel()
	in := newInstance(t, func(c *agent.Config) { c.Hold = agent.Duration(5 * time.Second) }).start()
	in.ready(true)
	in.deploy(map[string]string{"MODE": "once", "VERSION": "v1"})
	in.ready(false)
	in.crash("/crash")
	eventually(t, "the crash is noticed", func() bool { return in.report().Phase != agent.Serving })
	answered := make(chan int, 1)
	go func() { answered <- get(in.url + "/") }()
	eventually(t, "a start failed", func() bool { return strings.Contains(in.log(), "not ready yet") })
	in.ready(true)
	if code := <-answered; code != http.StatusOK {
		t.Errorf("the request that waited got %d", code)
	}
	in.ready(false)
	in.crash("/crash")
	eventually(t, "turned away at once", func() bool {
		begin := time.Now()
		return get(in.url+"/") == http.StatusServiceUnavailable && time.Since(begin) < time.Second
	})
}
