package process

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/durable"
)

// Runner keeps the processes of one directory.
type Runner struct {
	run, logs string
	mark      string // of our children: "GITOPSD_PROCESS=<digest of the directory>/"
	log       *slog.Logger

	mu       sync.Mutex
	entries  map[string]*entry
	reserved map[int]string // port → name
	watching map[int]bool   // pids somebody waits for
	dead     map[string]bool
	wake     chan struct{} // a name was added to dead

	closed chan struct{}
	once   sync.Once
}

// entry is one name. Its mutex serialises everything that starts or ends the process.
type entry struct {
	mu       sync.Mutex
	service  *Service // nil: not to be restarted
	failures int      // quick deaths in a row
}

// New returns a Runner for the directories run (records) and logs, which must
// exist and be the caller's alone. It starts nothing.
func New(run, logs string, log *slog.Logger) (*Runner, error) {
	sum := sha256.Sum256([]byte(run))
	r := &Runner{
		run: run, logs: logs, log: log,
		mark:     "GITOPSD_PROCESS=" + hex.EncodeToString(sum[:8]) + "/",
		entries:  make(map[string]*entry),
		reserved: make(map[int]string),
		watching: make(map[int]bool),
		dead:     make(map[string]bool),
		wake:     make(chan struct{}, 1),
		closed:   make(chan struct{}),
	}
	names, err := r.Names("")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		for _, p := range r.read(name).Ports {
			r.reserved[p] = name
		}
	}
	return r, nil
}

// Close stops watching. What runs goes on running.
func (r *Runner) Close() { r.once.Do(func() { close(r.closed) }) }

// Names returns the recorded names that start with prefix, sorted.
func (r *Runner) Names(prefix string) ([]string, error) {
	entries, err := os.ReadDir(r.run)
	if err != nil {
		return nil, fmt.Errorf("list process records: %w", err)
	}
	var names []string
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if ok && strings.HasPrefix(name, prefix) && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	return names, nil
}

// Live returns the names with the given prefix under which something runs,
// by what the kernel says and not by the records.
func (r *Runner) Live(prefix string) (map[string][]int, error) {
	pids, err := marked(r.mark + prefix)
	if err != nil {
		return nil, err
	}
	live := make(map[string][]int)
	for pid, entry := range pids {
		name := strings.TrimPrefix(entry, r.mark)
		live[name] = append(live[name], pid)
	}
	return live, nil
}

// Status says how a name is; a name nobody knows is not running.
func (r *Runner) Status(name string) Status {
	rec := r.read(name)
	s := rec.status()
	s.Name, s.Running = name, rec.alive()
	return s
}

// Ended returns an error, with the last of its output as detail, if the named
// process does not run: for those who wait for it to answer.
func (r *Runner) Ended(name string) error {
	if r.Status(name).Running {
		return nil
	}
	return fault.Errorf(fault.Transient, "%s ended right after its start", name).WithDetail(r.Tail(name))
}

// Tail returns the last lines of a name's output.
func (r *Runner) Tail(name string) string {
	b, err := os.ReadFile(r.LogFile(name)) // bounded, see boundLog
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b[max(0, len(b)-8<<10):])), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// LogFile returns where a name's output goes.
func (r *Runner) LogFile(name string) string { return filepath.Join(r.logs, name+".log") }

// Ensure has the service running as it is described now: it adopts the process
// it finds, replaces one that was started otherwise, or starts one.
func (r *Runner) Ensure(ctx context.Context, s Service) (Status, error) {
	if err := checkName(s.Name); err != nil {
		return Status{}, err
	}
	e := r.entry(s.Name)
	e.mu.Lock()
	defer e.mu.Unlock()
	status, err := r.ensure(ctx, &s)
	if err != nil {
		return status, fmt.Errorf("process %s: %w", s.Name, err)
	}
	e.service = &s
	if status.Started {
		e.failures = 0
	}
	return status, nil
}

func (r *Runner) ensure(ctx context.Context, s *Service) (Status, error) {
	rec := r.read(s.Name)
	if rec.alive() && rec.Ports.complete(s.Ports) {
		cmd, err := s.Prepare(rec.Ports)
		if err != nil {
			return rec.status(), err
		}
		if cmd.digest() == rec.Digest {
			if r.claimWatch(rec.PID) {
				go r.watch(s.Name, rec, nil)
			}
			status := rec.status()
			status.Running = true
			return status, nil
		}
	}
	if err := r.halt(ctx, rec, s.grace()); err != nil {
		return rec.status(), err
	}
	return r.start(s, rec)
}

// Stop ends the process of that name, within the grace, and keeps its ports.
// Nothing running is no error.
func (r *Runner) Stop(ctx context.Context, name string, grace time.Duration) error {
	if err := checkName(name); err != nil {
		return err
	}
	e := r.entry(name)
	e.mu.Lock()
	defer e.mu.Unlock()
	return r.stop(ctx, e, name, grace)
}

func (r *Runner) stop(ctx context.Context, e *entry, name string, grace time.Duration) error {
	e.service = nil
	rec, known := r.lookUp(name)
	if !known {
		return nil
	}
	if err := r.halt(ctx, rec, grace); err != nil {
		return fmt.Errorf("stop %s: %w", name, err)
	}
	if rec.PID == 0 {
		return nil
	}
	rec.PID, rec.Start = 0, 0
	return r.write(rec)
}

// Remove is Stop, and forgets the name: its ports, its record and its log.
func (r *Runner) Remove(ctx context.Context, name string, grace time.Duration) error {
	if err := checkName(name); err != nil {
		return err
	}
	e := r.entry(name)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := r.stop(ctx, e, name, grace); err != nil {
		return err
	}
	for _, path := range []string{r.LogFile(name), r.LogFile(name) + ".1", r.recordFile(name)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget process %s: %w", name, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for p, owner := range r.reserved {
		if owner == name {
			delete(r.reserved, p)
		}
	}
	delete(r.dead, name)
	return nil
}

// halt ends what the record names, and whatever else carries the name's mark:
// what somebody started and was killed before recording, and what a dead
// process left behind. A name without a record never had a process.
func (r *Runner) halt(ctx context.Context, rec record, grace time.Duration) error {
	if rec.alive() {
		sig := rec.Signal
		if sig == 0 {
			sig = syscall.SIGTERM
		}
		if err := end(ctx, rec.PID, rec.Start, sig, grace); err != nil {
			return err
		}
	}
	if rec.Since.IsZero() {
		return nil
	}
	return r.endStrays(ctx, rec.Name)
}

// Mark is an entry for the environment of a program that the caller runs
// himself, under a name that no service has: see EndStrays.
func (r *Runner) Mark(name string) string { return r.mark + name }

// EndStrays ends what carries a name's mark: programs, and their children, whose
// caller was killed before they ended.
func (r *Runner) EndStrays(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return r.endStrays(ctx, name)
}

func (r *Runner) endStrays(ctx context.Context, name string) error {
	pids, err := marked(r.mark + name)
	if err != nil {
		return err
	}
	for pid, mark := range pids {
		if mark != r.mark+name { // another name that starts alike
			continue
		}
		_, start, alive := look(pid)
		if !alive {
			continue
		}
		r.log.Warn("ending a stray process", "process", name, "pid", pid)
		if err := end(ctx, pid, start, syscall.SIGKILL, 5*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// claimWatch reports whether nobody waits for the process's end yet; the caller then does.
func (r *Runner) claimWatch(pid int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watching[pid] {
		return false
	}
	r.watching[pid] = true
	return true
}

func (s *Service) grace() time.Duration {
	if s.Grace == 0 {
		return 10 * time.Second
	}
	return s.Grace
}

func (r *Runner) entry(name string) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[name]
	if e == nil {
		e = new(entry)
		r.entries[name] = e
	}
	return e
}

func (r *Runner) recordFile(name string) string { return filepath.Join(r.run, name+".json") }

// lookUp returns a name's record. One that cannot be read, as a power failure
// may leave it, counts as one of a process that may or may not have started.
func (r *Runner) lookUp(name string) (record, bool) {
	var rec record
	known, err := durable.ReadJSON(r.recordFile(name), &rec)
	if err != nil {
		rec = record{Since: time.Unix(1, 0)}
	}
	rec.Name = name
	return rec, known || err != nil
}

func (r *Runner) read(name string) record {
	rec, _ := r.lookUp(name)
	return rec
}

// write needs no disk: after a power failure no recorded process runs.
func (r *Runner) write(rec record) error {
	if err := durable.ReplaceJSON(r.recordFile(rec.Name), rec, 0o600, durable.Owner{}); err != nil {
		return fmt.Errorf("record process %s: %w", rec.Name, err)
	}
	return nil
}

func (rec record) alive() bool {
	if rec.PID == 0 || rec.Boot != boot() {
		return false
	}
	_, start, alive := look(rec.PID)
	return alive && start == rec.Start
}
