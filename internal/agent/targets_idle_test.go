package agent_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/agent"
)

// idleAgent: the memory of one that has nothing to do.
func idleAgent(t *testing.T) []row {
	in := newInstance(t, func(c *agent.Config) { c.Poll = agent.Duration(time.Second) })
	in.publish(in.stage(nil))
	cmd := in.process()
	in.await(1)
	for range 2000 {
		in.mustServe("")
	}
	time.Sleep(45 * time.Second) // what it used for the requests is given back
	mb := float64(statusKB(t, cmd.Process.Pid, "VmRSS:")) / 1024
	return []row{{"idle agent, resident after 2,000 requests and 45 s of rest", fmt.Sprintf("%.1f MB", mb), "an app of the tests: " + appMemory(in), "–", "≤ 8 MB", mb <= 8}}
}

func appMemory(in *instance) string {
	return fmt.Sprintf("%.1f MB", float64(in.report().Memory)/(1<<20))
}

// statusKB returns a value of /proc/<pid>/status.
func statusKB(t testing.TB, pid int, key string) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(b), key)
	if !found {
		t.Fatalf("process %d has ended", pid)
	}
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// proportional returns a process's share of the memory it has resident, in KB.
func proportional(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	_, rest, _ := strings.Cut(string(b), "\nPss:")
	if f := strings.Fields(rest); len(f) > 0 {
		n, _ := strconv.Atoi(f[0])
		return n
	}
	return 0
}

// fleet is many tenants with an agent each.
type fleet struct {
	t         *testing.T
	instances []*instance
	pids      []int
}

// each does a thing for every tenant, several at a time.
func (f *fleet) each(do func(n int, in *instance)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range 8 {
		wg.Go(func() {
			for n := range next {
				do(n, f.instances[n])
			}
		})
	}
	for n := range f.instances {
		next <- n
	}
	close(next)
	wg.Wait()
}

// newFleet starts tenants whose apps are idle: they sleep by the time it returns.
func newFleet(t *testing.T, size int) *fleet {
	f := &fleet{t: t, instances: make([]*instance, size), pids: make([]int, size)}
	// Of so many ports chosen at random, some would be chosen by an app, too, before
	// their agent takes them: these are below those that the kernel gives.
	port := 20_000
	addr := func() string {
		for ; ; port++ {
			at := fmt.Sprintf("127.0.0.1:%d", port)
			if l, err := net.Listen("tcp", at); err == nil {
				l.Close()
				port++
				return at
			}
		}
	}
	for n := range f.instances {
		listen, control := addr(), addr()
		f.instances[n] = newInstance(t, idle(500*time.Millisecond), func(c *agent.Config) {
			c.Poll, c.Tenant = agent.Duration(time.Second), "t"+strconv.Itoa(n)
			c.Listen, c.Control = listen, control
		})
	}
	f.each(func(n int, in *instance) {
		in.publish(in.stage(map[string]string{"VERSION": "v1"}))
		f.pids[n] = in.process().Process.Pid
		in.await(1)
	})
	f.each(func(_ int, in *instance) { in.awaitPhase(agent.Asleep) })
	return f
}

// cores returns the share of a processor that all agents take.
func (f *fleet) cores(during time.Duration) float64 {
	used := func() (sum int64) {
		for _, pid := range f.pids {
			threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
			for _, path := range threads {
				b, _ := os.ReadFile(path)
				if v := bytes.Fields(b); len(v) > 0 {
					ns, _ := strconv.ParseInt(string(v[0]), 10, 64)
					sum += ns
				}
			}
		}
		return sum
	}
	before := used()
	begin := time.Now()
	time.Sleep(during)
	took := time.Since(begin)
	return float64(used()-before) / float64(took.Nanoseconds())
}

// idleTenants: 1,000 tenants whose apps sleep, each with its agent.
func idleTenants(t *testing.T) []row {
	f := newFleet(t, some(1000))
	scale := 1000 / float64(len(f.instances))
	time.Sleep(55 * time.Second) // what they did to start is over, and they rest
	polling := f.cores(20*time.Second) * scale
	// The same release again, announced: from then on the doorbell is trusted.
	f.each(func(_ int, in *instance) {
		digests, err := in.vol.List()
		if err != nil || len(digests) != 1 {
			f.t.Error(digests, err)
			return
		}
		p, err := in.vol.Publish(digests[0], "announced")
		if err != nil {
			f.t.Error(err)
			return
		}
		in.ring()
		in.await(p.Seq)
	})
	ringing := f.cores(20*time.Second) * scale
	resident, share := 0, 0
	for _, pid := range f.pids {
		resident += statusKB(t, pid, "VmRSS:")
		share += proportional(pid)
	}
	var wakes []time.Duration
	for n := range some(200) {
		in := f.instances[n*len(f.instances)/some(200)]
		begin := time.Now()
		in.mustServe("v1")
		wakes = append(wakes, time.Since(begin))
	}
	all := float64(len(f.instances))
	return []row{
		{"1,000 idle agents, processor, poll of 1 s", fmt.Sprintf("%.3f cores", polling), "–", "–", "≤ 0.1", polling <= .1},
		{"1,000 idle agents, processor, doorbell and poll of 5 s", fmt.Sprintf("%.3f cores", ringing), "–", "–", "≤ 0.03", ringing <= .03},
		{
			fmt.Sprintf("%d idle tenants and their agents on this machine, memory", len(f.instances)),
			fmt.Sprintf("%.1f GB (%.1f MB each, of which %.1f MB are its own)", float64(share)/(1<<20), float64(resident)/1024/all, float64(share)/1024/all),
			"–", "–", "", false,
		},
		{"the same, wake from zero to the answer", times(wakes), "–", "–", "", false},
	}
}
