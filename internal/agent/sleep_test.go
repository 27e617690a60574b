package agent_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/agent"
)

// idle has the app stopped after so long without a request.
func idle(after time.Duration) option {
	return func(c *agent.Config) { c.IdleAfter = agent.Duration(after) }
}

func (in *instance) awaitPhase(phase string) agent.Report {
	in.t.Helper()
	var r agent.Report
	eventually(in.t, phase, func() bool { r = in.report(); return r.Phase == phase })
	return r
}

// starts returns how often the app was started, by what it printed.
func (in *instance) starts() int {
	in.t.Helper()
	b, err := os.ReadFile(filepath.Join(in.cfg.Local, "app.log"))
	if err != nil {
		in.t.Fatal(err)
	}
	return strings.Count(string(b), " starting ")
}

// An idle app stops; many requests at once start it once, and all are answered.
func TestSleepsAndWakesOnce(t *testing.T) {
	t.Parallel()
	in := newInstance(t, idle(300*time.Millisecond)).start()
	p, _ := in.deploy(map[string]string{"VERSION": "v1", "DELAY": "200ms"})
	pid := in.appState().PID
	r := in.awaitPhase(agent.Asleep)
	if r.Release != p.SHA256 || r.Seq != p.Seq || r.Commit != p.Commit || r.Restarts != 0 || r.Failure != "" {
		t.Errorf("asleep: %+v", r)
	}
	eventually(t, "the app is gone", func() bool { return !alive(pid) })
	before := in.starts()
	const requests = 300
	var wg sync.WaitGroup
	for range requests {
		wg.Go(func() {
			if err := echo(http.DefaultClient, in.url, "x"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := in.starts() - before; n != 1 {
		t.Errorf("%d starts for %d requests at once", n, requests)
	}
	if r := in.report(); r.Phase != agent.Serving || r.Seq != p.Seq || r.Restarts != 0 || r.Wakes != 1 {
		t.Errorf("awake: %+v", r)
	}
	in.awaitPhase(agent.Asleep) // and again
}

// What a client waits for keeps the app awake, however long it says nothing.
func TestOpenStreamKeepsAwake(t *testing.T) {
	t.Parallel()
	in := newInstance(t, idle(100*time.Millisecond)).start()
	in.deploy(map[string]string{"VERSION": "v1"})
	s := openSocket(t, in.url)
	// The time is what is tested: nothing must happen in it.
	for until := time.Now().Add(600 * time.Millisecond); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if r := in.report(); r.Phase != agent.Serving {
			t.Fatalf("with an open socket: %+v", r)
		}
	}
	if line := s.say("hello"); line != "v1 hello" {
		t.Errorf("socket: %q", line)
	}
	s.conn.Close()
	in.awaitPhase(agent.Asleep)
}

// A release that comes while the app sleeps is checked before it counts.
func TestDeployWhileAsleep(t *testing.T) {
	t.Parallel()
	in := newInstance(t, idle(150*time.Millisecond)).start()
	first, _ := in.deploy(map[string]string{"VERSION": "v1"})
	in.awaitPhase(agent.Asleep)

	bad, r := in.deploy(map[string]string{"MODE": "exit"})
	if r.FailedSeq != bad.Seq || r.Phase != agent.Asleep || r.Seq != first.Seq || r.Release != first.SHA256 {
		t.Errorf("after a bad release: %+v", r)
	}
	in.mustServe("v1")
	in.awaitPhase(agent.Asleep)

	good, r := in.deploy(map[string]string{"VERSION": "v2"})
	if r.Seq != good.Seq || r.Release != good.SHA256 || !strings.Contains(in.log(), good.SHA256[:12]+" starting v2") {
		t.Errorf("after a good release: %+v", r)
	}
	in.awaitPhase(agent.Asleep)
	starts := in.starts()
	again, err := in.vol.Publish(good.SHA256, "again")
	if err != nil {
		t.Fatal(err)
	}
	if r := in.await(again.Seq); r.Seq != again.Seq || r.Phase != agent.Asleep || in.starts() != starts {
		t.Errorf("the same release again: %+v, %d starts", r, in.starts()-starts)
	}
	in.mustServe("v2")
}

// ready says whether an app of mode "once" may start.
func (in *instance) ready(ready bool) {
	in.t.Helper()
	path := filepath.Join(in.cfg.Local, "home", "ready")
	err := os.Remove(path)
	if ready {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			err = os.WriteFile(path, nil, 0o600)
		}
	}
	if err != nil {
		in.t.Fatal(err)
	}
}

func (in *instance) log() string {
	in.t.Helper()
	b, err := os.ReadFile(filepath.Join(in.cfg.Local, "app.log"))
	if err != nil {
		in.t.Fatal(err)
	}
	return string(b)
}

// An app that does not get up again fails like any other, and comes back.
func TestDoesNotWake(t *testing.T) {
	t.Parallel()
	in := newInstance(t, idle(100*time.Millisecond)).start()
	in.ready(true)
	in.deploy(map[string]string{"MODE": "once", "VERSION": "v1"})
	in.awaitPhase(agent.Asleep)
	in.ready(false)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", in.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("X-Gitopsd-Agent") != agent.Failing {
		t.Errorf("answered %s %v", res.Status, res.Header)
	}
	if r := in.report(); r.Phase != agent.Failing || r.Release != "" || !strings.Contains(r.Failure, "exited with status 4") {
		t.Errorf("report: %+v", r)
	}
	in.ready(true)
	eventually(t, "it is back", func() bool { return in.report().Release != "" })
	in.mustServe("v1")
}

// Requests that come as the app goes to sleep are answered, one way or the other.
func TestNoRequestIsLostToSleep(t *testing.T) {
	t.Parallel()
	const after = 15 * time.Millisecond
	in := newInstance(t, idle(after)).start()
	in.deploy(map[string]string{"VERSION": "v1"})
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	pause := after - 5*time.Millisecond
	for n := 0; in.starts() < 15; n++ {
		if n == 2000 {
			t.Fatalf("only %d starts", in.starts())
		}
		if err := echo(client, in.url, "x"); err != nil {
			t.Fatalf("request %d: %v", n, err)
		}
		<-time.After(pause + time.Duration(n%20)*500*time.Microsecond)
	}
}
