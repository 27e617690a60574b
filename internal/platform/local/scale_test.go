package local_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/tenant"
)

// scaled: a tenant gets more instances when requests pile up, and fewer when they
// no longer do; no request fails, and there are never more or fewer than it says.
func scaled(t *testing.T, w *world) {
	c := config("left")
	c.Compute.Scale = tenant.Scale{Min: 1, Max: 3, TargetCPU: 60}
	if err := w.driver.EnsureInfrastructure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	w.driver.SetPace(500*time.Millisecond, 1500*time.Millisecond)
	count := func() int {
		instances, err := w.driver.Instances(t.Context(), "left")
		if err != nil || len(instances) < 1 || len(instances) > 3 {
			t.Fatalf("%d instances, %v", len(instances), err)
		}
		n := 0
		for _, i := range instances {
			if i.Running {
				n++
			}
		}
		return n
	}
	var clients atomic.Int64
	clients.Store(60)
	stop := make(chan struct{})
	var sent atomic.Int64
	var load sync.WaitGroup
	for i := range 60 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if int64(i) >= clients.Load() {
					time.Sleep(20 * time.Millisecond)
					continue
				}
				status, body, err := w.post(t.Context(), "left", "/slow", url.Values{"for": {"100ms"}})
				if err != nil || status != http.StatusOK {
					t.Errorf("a request while it was scaled: %d %.100s %v", status, body, err)
					return
				}
				sent.Add(1)
			}
		})
	}
	eventually(t, "the load gives it no more instances", func() bool { return count() == 3 })
	eventually(t, "the new instances get no requests", func() bool {
		instances, err := w.driver.Instances(t.Context(), "left")
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range instances {
			if i.Report.InFlight == 0 {
				return false
			}
		}
		return true
	})
	clients.Store(1)
	eventually(t, "without load the instances stay", func() bool { return count() == 1 })
	close(stop)
	load.Wait()
	t.Logf("%d requests, none failed", sent.Load())
	if err := w.driver.EnsureInfrastructure(t.Context(), config("left")); err != nil {
		t.Fatal(err)
	}
}

// unready: of two instances, the one whose app dies again and again gets no
// requests, and gets them again once it lives.
func unready(t *testing.T, w *world) {
	c := config("left")
	c.Compute.Scale = tenant.Scale{Min: 2, Max: 2}
	if err := w.driver.EnsureInfrastructure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	routed := func() int {
		var edge struct{ Ports map[string]int }
		w.readJSON(t, &edge, "run", "edge.json")
		res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/routes/left", edge.Ports["admin"]))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var route struct{ Instances []string }
		if err := json.NewDecoder(res.Body).Decode(&route); err != nil {
			t.Fatal(err)
		}
		return len(route.Instances)
	}
	eventually(t, "the second instance gets no requests", func() bool { return routed() == 2 })
	agent := strconv.Itoa(w.pid(t, "agent.left.1"))
	took := eventually(t, "an instance that does not serve gets requests", func() bool {
		out, _ := exec.Command("pgrep", "-P", agent).Output()
		for _, pid := range strings.Fields(string(out)) {
			if n, err := strconv.Atoi(pid); err == nil {
				_ = syscall.Kill(n, syscall.SIGKILL)
			}
		}
		return routed() == 1
	})
	t.Logf("out of traffic after %v", took)
	for range 20 {
		if !w.serves(t, "left") {
			t.Fatal("the other instance does not serve")
		}
	}
	eventually(t, "an instance that serves again gets no requests", func() bool { return routed() == 2 })
	if err := w.driver.EnsureInfrastructure(t.Context(), config("left")); err != nil {
		t.Fatal(err)
	}
}
