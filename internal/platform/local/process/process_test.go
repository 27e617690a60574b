package process_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/local/process"
)

// TestMain is also the program that the tests keep running: it listens on its
// port, or does not mind signals, or ends at once.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 {
		os.Exit(m.Run())
	}
	switch os.Args[1] {
	case "listen":
		l, err := net.Listen("tcp", os.Args[2])
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("listening")
		for {
			if c, err := l.Accept(); err == nil {
				fmt.Fprint(c, os.Getpid())
				c.Close()
			}
		}
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		select {}
	case "end":
		os.Exit(1)
	default:
		os.Exit(m.Run())
	}
}

type fixture struct {
	*testing.T
	run, logs string
	r         *process.Runner
	cancel    func() // ends Supervise, and waits for that
}

func newFixture(t *testing.T) *fixture {
	t.Parallel()
	f := &fixture{T: t, run: t.TempDir(), logs: t.TempDir()}
	f.open()
	t.Cleanup(func() {
		f.cancel()
		names, err := f.r.Names("")
		if err != nil {
			t.Error(err)
		}
		for _, name := range names {
			if err := f.r.Remove(context.Background(), name, 0); err != nil {
				t.Error(err)
			}
		}
		f.r.Close()
	})
	return f
}

// open is what the next control plane does, after the one before was killed.
func (f *fixture) open() {
	f.Helper()
	if f.r != nil {
		f.cancel()
		f.r.Close()
	}
	r, err := process.New(f.run, f.logs, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	f.r, f.cancel = r, func() { cancel(); <-done }
	go func() {
		defer close(done)
		_ = r.Supervise(ctx)
	}()
}

func (f *fixture) service(name string) process.Service {
	return process.Service{
		Name: name, Ports: []string{"main"}, Grace: 2 * time.Second,
		Prepare: func(p process.Ports) (process.Command, error) {
			return process.Command{Path: self(f.T), Args: []string{"listen", p.Addr("main")}, Dir: "/"}, nil
		},
	}
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func (f *fixture) ensure(s process.Service) process.Status {
	f.Helper()
	status, err := f.r.Ensure(f.Context(), s)
	if err != nil {
		f.Fatal(err)
	}
	return status
}

// answer returns the pid that answers on a port, once one does.
func (f *fixture) answer(port int) int {
	f.Helper()
	pid := 0
	f.eventually("nobody answers", func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		defer c.Close()
		b := make([]byte, 20)
		n, _ := c.Read(b)
		pid, err = strconv.Atoi(string(b[:n]))
		return err == nil
	})
	return pid
}

func (f *fixture) eventually(complaint string, done func() bool) {
	f.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.Fatal(complaint)
		}
	}
}

// gone reports whether a process has ended, reaped or not.
func gone(pid int) bool {
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		_, after, _ := strings.Cut(string(b), ") ")
		return strings.HasPrefix(after, "Z")
	}
	return reaped(pid)
}

func reaped(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestAdoptsWhatRuns(t *testing.T) {
	f := newFixture(t)
	first := f.ensure(f.service("a"))
	if !first.Started || f.answer(first.Ports["main"]) != first.PID {
		t.Fatalf("first: %+v", first)
	}
	if again := f.ensure(f.service("a")); again.Started || again.PID != first.PID {
		t.Errorf("asked twice: %+v", again)
	}
	f.open()
	adopted := f.ensure(f.service("a"))
	if adopted.Started || adopted.PID != first.PID || adopted.Ports["main"] != first.Ports["main"] {
		t.Errorf("adopted: %+v, want %+v", adopted, first)
	}
}

func TestDetached(t *testing.T) {
	f := newFixture(t)
	s := f.ensure(f.service("a"))
	if sid, err := syscall.Getpgid(s.PID); err != nil || sid != s.PID {
		t.Errorf("group %d, %v, want its own", sid, err)
	}
}

func TestReplacesWhatIsAskedForOtherwise(t *testing.T) {
	f := newFixture(t)
	first := f.ensure(f.service("a"))
	f.answer(first.Ports["main"])
	other := f.service("a")
	prepare := other.Prepare
	other.Prepare = func(p process.Ports) (process.Command, error) {
		c, err := prepare(p)
		c.Env = []string{"NEW=1"}
		return c, err
	}
	second := f.ensure(other)
	if !second.Started || second.PID == first.PID || second.Ports["main"] != first.Ports["main"] {
		t.Errorf("second: %+v, first: %+v", second, first)
	}
	if !gone(first.PID) {
		t.Error("the first still runs")
	}
	f.answer(second.Ports["main"])
	// What the command declares to be the same is kept.
	same := other
	same.Prepare = func(p process.Ports) (process.Command, error) {
		c, err := prepare(p)
		c.Same = "same"
		return c, err
	}
	third := f.ensure(same)
	same.Prepare = func(p process.Ports) (process.Command, error) {
		c, err := prepare(p)
		c.Same, c.Path = "same", "/nowhere"
		return c, err
	}
	if fourth := f.ensure(same); fourth.PID != third.PID {
		t.Error("replaced though it is the same")
	}
}

// A control plane that is killed between fork and record leaves a process
// that no record names.
func TestEndsStrays(t *testing.T) {
	f := newFixture(t)
	first := f.ensure(f.service("a"))
	f.answer(first.Ports["main"])
	path := filepath.Join(f.run, "a.json")
	for name, damage := range map[string]func(map[string]any) []byte{
		"an intent alone": func(m map[string]any) []byte {
			delete(m, "pid")
			delete(m, "start")
			b, _ := json.Marshal(m)
			return b
		},
		"an unreadable record": func(map[string]any) []byte { return nil },
	} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		stray := int(m["pid"].(float64))
		f.open()
		if err := os.WriteFile(path, damage(m), 0o600); err != nil {
			t.Fatal(err)
		}
		s := f.ensure(f.service("a"))
		if !gone(stray) || s.PID == stray || !s.Started {
			t.Errorf("%s: stray %d gone: %v; %+v", name, stray, gone(stray), s)
		}
		live, err := f.r.Live("a")
		if err != nil || len(live["a"]) != 1 || live["a"][0] != s.PID {
			t.Errorf("%s: live: %v, %v", name, live, err)
		}
		f.answer(s.Ports["main"])
	}
}

// A pid of the record that has come to mean another process is not touched.
func TestLeavesStrangersAlone(t *testing.T) {
	f := newFixture(t)
	first := f.ensure(f.service("a"))
	f.answer(first.Ports["main"])
	stranger := exec.Command(self(t), "stubborn")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	path := filepath.Join(f.run, "a.json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f.open()
	b = []byte(strings.Replace(string(b), fmt.Sprintf(`"pid": %d`, first.PID), fmt.Sprintf(`"pid": %d`, stranger.Process.Pid), 1))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if s := f.ensure(f.service("a")); !s.Started {
		t.Errorf("adopted a stranger: %+v", s)
	}
	if err := f.r.Stop(t.Context(), "a", time.Second); err != nil {
		t.Error(err)
	}
	if gone(stranger.Process.Pid) {
		t.Error("the stranger was ended")
	}
	if !gone(first.PID) {
		t.Error("what carries the mark was not ended")
	}
}

func TestSuperviseRestarts(t *testing.T) {
	f := newFixture(t)
	restarted := make(chan process.Ports, 10)
	s := f.service("a")
	s.Restarted = func(p process.Ports) { restarted <- p }
	first := f.ensure(s)
	f.answer(first.Ports["main"])
	for _, reopen := range []bool{false, true} {
		name := "its own child"
		if reopen {
			name = "an adopted one"

			f.open()
			f.ensure(s)
		}
		before := f.r.Status("a")
		begin := time.Now()
		if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		select {
		case p := <-restarted:
			if p["main"] != first.Ports["main"] {
				t.Errorf("%s: other ports: %v", name, p)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: not restarted", name)
		}
		t.Logf("%s: restarted after %s", name, time.Since(begin).Round(time.Millisecond))
		if pid := f.answer(first.Ports["main"]); pid == before.PID || pid != f.r.Status("a").PID {
			t.Errorf("%s: %d answers, was %d", name, pid, before.PID)
		}
		if !reopen {
			f.eventually("a zombie is left", func() bool { return reaped(before.PID) })
		}
	}
}

// A Runner that is closed leaves the restart of what dies to the next: at no time
// do two start it, and it keeps its port.
func TestClosedRunnerStartsNothing(t *testing.T) {
	f := newFixture(t)
	port := f.ensure(f.service("a")).Ports["main"]
	for range 20 {
		pid := f.answer(port)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		f.open() // while the death is being noticed
		f.ensure(f.service("a"))
		var seen string
		alone := func() bool {
			live, err := f.r.Live("a")
			status := f.r.Status("a")
			seen = fmt.Sprintf("killed %d, live %v (%v), %+v, want port %d", pid, live, err, status, port)
			return err == nil && status.Running && status.PID != pid && status.Ports["main"] == port &&
				len(live["a"]) == 1 && live["a"][0] == status.PID
		}
		for deadline := time.Now().Add(10 * time.Second); !alone(); time.Sleep(2 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("it does not come back, alone and on its port: %s\n%s", seen, f.r.Tail("a"))
			}
		}
	}
}

func TestSuperviseBacksOff(t *testing.T) {
	f := newFixture(t)
	starts := make(chan time.Time, 100)
	_, err := f.r.Ensure(t.Context(), process.Service{Name: "a", Prepare: func(process.Ports) (process.Command, error) {
		starts <- time.Now()
		return process.Command{Path: self(t), Args: []string{"end"}}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	var times []time.Time
	for len(times) < 5 {
		select {
		case at := <-starts:
			times = append(times, at)
		case <-time.After(10 * time.Second):
			t.Fatalf("started %d times", len(times))
		}
	}
	// first → at once → 50–100 ms → 100–200 ms → 200–400 ms
	if first := times[1].Sub(times[0]); first > 500*time.Millisecond {
		t.Errorf("first restart after %s", first)
	}
	if last := times[4].Sub(times[3]); last < 200*time.Millisecond {
		t.Errorf("fourth restart after %s already", last)
	}
}

func TestStopKeepsPortsAndIsNotRestarted(t *testing.T) {
	f := newFixture(t)
	first := f.ensure(f.service("a"))
	f.answer(first.Ports["main"])
	for range 2 {
		if err := f.r.Stop(t.Context(), "a", time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if !gone(first.PID) || f.r.Status("a").Running {
		t.Error("it still runs")
	}
	f.open()
	if again := f.ensure(f.service("a")); again.Ports["main"] != first.Ports["main"] {
		t.Errorf("ports: %v, before %v", again.Ports, first.Ports)
	}
	if err := f.r.Remove(t.Context(), "a", time.Second); err != nil {
		t.Fatal(err)
	}
	if names, err := f.r.Names(""); err != nil || len(names) > 0 {
		t.Errorf("left: %v, %v", names, err)
	}
}

func TestStopKillsWhatDoesNotListen(t *testing.T) {
	f := newFixture(t)
	s, err := f.r.Ensure(t.Context(), process.Service{Name: "a", Prepare: func(process.Ports) (process.Command, error) {
		return process.Command{Path: self(t), Args: []string{"stubborn"}}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	f.eventually("it does not get ready", func() bool { return f.r.Tail("a") == "ready" })
	begin := time.Now()
	if err := f.r.Stop(t.Context(), "a", 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); !gone(s.PID) || took < 200*time.Millisecond || took > 5*time.Second {
		t.Errorf("gone: %v after %s", gone(s.PID), took)
	}
}

func TestTakenPort(t *testing.T) {
	f := newFixture(t)
	first := f.ensure(f.service("a"))
	f.answer(first.Ports["main"])
	if err := f.r.Stop(t.Context(), "a", time.Second); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", first.Ports.Addr("main"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if runtime.GOOS == "linux" {
		if pid, _ := process.Listener(strconv.Itoa(first.Ports["main"])); pid != os.Getpid() {
			t.Errorf("process %d listens, want this one, %d", pid, os.Getpid())
		}
	}
	second := f.ensure(f.service("a"))
	if second.Ports["main"] == first.Ports["main"] {
		t.Fatal("the port is another's")
	}
	f.answer(second.Ports["main"])
}

// Probing an address must not take it, even for a child that is forked meanwhile.
func TestProbeTakesNothing(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := process.Probe(addr); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("an address that is taken: %v", err)
	}
	l.Close()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = exec.Command(self(t), "end").Run()
			}
		}
	}()
	for range 2000 {
		if err := process.Probe(addr); err != nil {
			t.Errorf("a free address: %v", err)
			break
		}
	}
	close(stop)
	<-done
	for _, wide := range []string{":0", "[::1]:0", "0.0.0.0:0"} {
		if err := process.Probe(wide); err != nil && !errors.Is(err, syscall.EAFNOSUPPORT) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("%s: %v", wide, err)
		}
	}
}

func TestLogIsBounded(t *testing.T) {
	f := newFixture(t)
	path := filepath.Join(f.logs, "a.log")
	if err := os.WriteFile(path, make([]byte, 11<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s := f.ensure(f.service("a"))
	f.answer(s.Ports["main"])
	if info, err := os.Stat(path); err != nil || info.Size() > 1<<20 {
		t.Errorf("log: %v, %v", info.Size(), err)
	}
	if info, err := os.Stat(path + ".1"); err != nil || info.Size() != 10<<20 {
		t.Errorf("put aside: %v, %v", info, err)
	}
}

func TestRefusesNames(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"", "../a", "a/b", "A", ".a"} {
		if _, err := f.r.Ensure(t.Context(), f.service(name)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v, want Invalid", name, err)
		}
	}
}
