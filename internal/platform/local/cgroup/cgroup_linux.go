package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Root is where the groups of one data directory are.
type Root struct {
	Unified string            `json:"unified,omitempty"` // version 2: the directory of all instances
	Split   map[string]string `json:"split,omitempty"`   // version 1: the same, by controller
}

// Exists reports whether the root is still there, as a process found it earlier:
// instances that outlived that process are in it.
func (r *Root) Exists() bool {
	for _, dir := range r.bases() {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return false
		}
	}
	return os.Geteuid() == 0 && len(r.bases()) > 0
}

func (r *Root) bases() []string {
	if r.Unified != "" {
		return []string{r.Unified}
	}
	return slices.Sorted(maps.Values(r.Split))
}

// controllers are those that are used, the needed ones first.
var controllers = []string{"memory", "pids", "cpu"}

const needed = 2

// Find returns the root of the groups named after id, and makes it. The error
// says why this process can have none.
func Find(id string) (*Root, error) {
	if err := checkName(id); err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("only root makes control groups")
	}
	mounts, err := readMounts()
	if err != nil {
		return nil, err
	}
	root, err := unified(mounts, id)
	if err == nil {
		return root, nil
	}
	root, err1 := split(mounts, id)
	if err1 != nil {
		return nil, errors.Join(err, err1)
	}
	return root, nil
}

// mounts are the hierarchies: where this process's own group is in each, and
// where the hierarchy begins, by controller; "" is version 2.
type mounts map[string]struct{ own, top string }

// readMounts joins what the kernel says of mounts with what it says of groups.
func readMounts() (mounts, error) {
	own := make(map[string]string)
	err := eachLine("/proc/self/cgroup", func(line string) {
		if _, rest, ok := strings.Cut(line, ":"); ok { // hierarchy:controllers:path
			names, path, _ := strings.Cut(rest, ":")
			for name := range strings.SplitSeq(names, ",") {
				own[name] = path
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("find control groups: %w", err)
	}
	found := make(mounts)
	err = eachLine("/proc/self/mountinfo", func(line string) {
		// id parent major:minor root point options fields - type source options
		before, after, ok := strings.Cut(line, " - ")
		head, tail := strings.Fields(before), strings.Fields(after)
		if !ok || len(head) < 5 || len(tail) < 3 {
			return
		}
		names := []string{""}
		switch tail[0] {
		case "cgroup2":
		case "cgroup":
			names = strings.Split(tail[2], ",")
		default:
			return
		}
		for _, name := range names {
			path, known := own[name]
			below, inside := strings.CutPrefix(path, strings.TrimSuffix(head[3], "/"))
			if known && inside {
				found[name] = struct{ own, top string }{filepath.Join(head[4], below), head[4]}
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("find control groups: %w", err)
	}
	return found, nil
}

func eachLine(path string, each func(string)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		each(lines.Text())
	}
	return lines.Err()
}

// unified makes the root in version 2. A group with processes cannot share its
// controllers out, so it is this process's own group only if that is the top;
// else the next one above it that can, as a service manager's does already.
func unified(m mounts, id string) (*Root, error) {
	at, ok := m[""]
	if !ok {
		return nil, errors.New("control groups of version 2 are not mounted")
	}
	var errs []error
	for base := at.own; base == at.top || strings.HasPrefix(base, at.top+"/"); base = filepath.Dir(base) {
		dir := filepath.Join(base, "gitopsd-"+id)
		err := share(base)
		if err == nil {
			err = makeGroup(dir)
		}
		if err == nil {
			err = share(dir)
		}
		if err == nil {
			return &Root{Unified: dir}, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// share has the groups below dir have the controllers.
func share(dir string) error {
	has := func() ([]string, error) {
		b, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
		return strings.Fields(string(b)), err
	}
	have, err := has()
	if err != nil {
		return fmt.Errorf("share controllers: %w", err)
	}
	for n, name := range controllers {
		if slices.Contains(have, name) {
			continue
		}
		err := write(dir, "cgroup.subtree_control", "+"+name)
		if err != nil && n < needed {
			return fmt.Errorf("share controller %s: %w", name, err)
		}
	}
	return nil
}

// split makes the root in version 1.
func split(m mounts, id string) (*Root, error) {
	r := &Root{Split: make(map[string]string)}
	for n, name := range controllers {
		at, ok := m[name]
		err := errors.New("not mounted")
		if ok {
			r.Split[name] = filepath.Join(at.own, "gitopsd-"+id)
			err = makeGroup(r.Split[name])
		}
		if err != nil && n < needed {
			return nil, fmt.Errorf("control groups of version 1, %s: %w", name, err)
		}
		if err != nil {
			delete(r.Split, name)
		}
	}
	return r, nil
}

func makeGroup(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// write writes to a file of a group, which is there or not.
func write(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err
}

// Ensure has the groups of an instance, with these limits, and lets the owner put
// processes into those of the app.
func (r *Root) Ensure(instance string, l Limits, owner Owner) (Group, error) {
	if err := checkName(instance); err != nil {
		return Group{}, err
	}
	ensure := r.ensureSplit
	if r.Unified != "" {
		ensure = r.ensureUnified
	}
	g, err := ensure(instance, l, owner)
	if err != nil {
		return Group{}, fmt.Errorf("control groups of %s: %w", instance, err)
	}
	return g, nil
}

func (r *Root) ensureUnified(instance string, l Limits, owner Owner) (Group, error) {
	dir := filepath.Join(r.Unified, instance)
	agent, app := filepath.Join(dir, "agent"), filepath.Join(dir, "app")
	if err := makeGroup(dir); err != nil {
		return Group{}, err
	}
	if err := share(dir); err != nil {
		return Group{}, err
	}
	if err := errors.Join(makeGroup(agent), makeGroup(app)); err != nil {
		return Group{}, err
	}
	if err := errors.Join(
		write(app, "memory.max", number(l.Memory, "max")),
		write(app, "pids.max", number(int64(l.Processes), "max")),
		optional(write(app, "memory.swap.max", "0")),
		optional(write(dir, "cpu.weight", strconv.Itoa(weight(l.Shares)))),
		optional(write(app, "cpu.max", fmt.Sprintf("%s %d", number(quota(l.Shares), "max"), period))),
	); err != nil {
		return Group{}, err
	}
	// To move a process takes the right to do so at both groups' common ancestor,
	// which itself can hold none.
	for _, path := range []string{filepath.Join(dir, "cgroup.procs"), filepath.Join(app, "cgroup.procs")} {
		if err := os.Chown(path, owner.UID, owner.GID); err != nil {
			return Group{}, err
		}
	}
	return Group{Agent: agent, Apps: []string{app}}, nil
}

func (r *Root) ensureSplit(instance string, l Limits, owner Owner) (Group, error) {
	var g Group
	for _, name := range controllers {
		base, ok := r.Split[name]
		if !ok {
			continue
		}
		dir := filepath.Join(base, instance)
		app := filepath.Join(dir, "app")
		if err := errors.Join(makeGroup(dir), makeGroup(app)); err != nil {
			return Group{}, err
		}
		var err error
		switch name {
		case "memory":
			err = limitMemory(app, number(l.Memory, "-1"))
		case "pids":
			err = write(app, "pids.max", number(int64(l.Processes), "max"))
		case "cpu":
			err = errors.Join(
				write(dir, "cpu.shares", strconv.Itoa(max(2, l.Shares))),
				write(app, "cpu.cfs_period_us", strconv.Itoa(period)),
				write(app, "cpu.cfs_quota_us", number(quota(l.Shares), "-1")))
		}
		if err != nil {
			return Group{}, err
		}
		if err := os.Chown(filepath.Join(app, "cgroup.procs"), owner.UID, owner.GID); err != nil {
			return Group{}, err
		}
		g.Apps = append(g.Apps, app)
	}
	return g, nil
}

// limitMemory bounds memory, and memory with swap. The one can never be above
// the other, so which comes first depends on which way they go.
func limitMemory(dir, value string) error {
	const plain, both = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
	if _, err := os.Stat(filepath.Join(dir, both)); err != nil {
		return write(dir, plain, value)
	}
	if err := write(dir, both, value); err == nil {
		return write(dir, plain, value)
	}
	if err := write(dir, plain, value); err != nil {
		return err
	}
	return write(dir, both, value)
}

const period = 100_000 // µs

// quota is the processor time of a period, in µs; 0 for no bound.
func quota(shares int) int64 {
	if shares <= 0 {
		return 0
	}
	return int64(max(shares, 1024)) * period / 1024
}

// weight turns shares, of which 1024 are one processor, into version 2's weight.
func weight(shares int) int {
	return min(max(shares*100/1024, 1), 10_000)
}

func number(n int64, none string) string {
	if n <= 0 {
		return none
	}
	return strconv.FormatInt(n, 10)
}

// optional forgives what a kernel without swap accounting, or a hierarchy without
// the controller of processors, does not have.
func optional(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Remove removes the groups of an instance whose agent has ended, with what its
// app may have left running. Those that are not there are no error.
func (r *Root) Remove(instance string) error {
	if err := checkName(instance); err != nil {
		return err
	}
	var errs []error
	for _, base := range r.bases() {
		dir := filepath.Join(base, instance)
		for _, group := range []string{filepath.Join(dir, "app"), filepath.Join(dir, "agent"), dir} {
			if err := removeGroup(group); err != nil {
				errs = append(errs, fmt.Errorf("remove control group: %w", err))
			}
		}
	}
	return errors.Join(errs...)
}

// RemoveAll removes the root, unless there is an instance in it.
func (r *Root) RemoveAll() {
	for _, base := range r.bases() {
		_ = syscall.Rmdir(base)
	}
}

// removeGroup ends what still runs in a group and removes it. A process that
// ended holds it for another moment.
func removeGroup(dir string) error {
	const tries, pause = 100, 10 * time.Millisecond
	for try := 1; ; try++ {
		err := syscall.Rmdir(dir)
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist):
			return nil
		case !errors.Is(err, syscall.EBUSY) || try == tries:
			return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
		}
		_ = eachLine(filepath.Join(dir, "cgroup.procs"), func(line string) {
			if pid, err := strconv.Atoi(line); err == nil && pid > 1 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		})
		time.Sleep(pause)
	}
}
