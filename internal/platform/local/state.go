package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"sync"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/platform/durable"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

type phase string

const (
	running phase = "running" // its instances are to run
	drained phase = "drained" // stopped; its data are kept
)

// state is what the driver keeps of one tenant.
type state struct {
	Tenant   string          `json:"tenant"`
	UID      int             `json:"uid"` // and gid; 0: the driver's own user
	Config   platform.Config `json:"config"`
	Phase    phase           `json:"phase"`
	Static   string          `json:"static,omitempty"`   // release whose assets are served
	Serial   uint64          `json:"serial"`             // of the route; grows
	Replicas int             `json:"replicas,omitempty"` // instances that its load asked for
	// Leaving: its data are being destroyed, and only the last snapshot has all of them.
	Leaving bool `json:"leaving,omitempty"`
}

// owner is who the tenant's processes run as.
func (s *state) owner() durable.Owner { return durable.Owner{UID: s.UID, GID: s.UID} }

// group is root with the tenant's group: what the tenant may read.
func (s *state) group() durable.Owner { return durable.Owner{GID: s.UID} }

// count is the number of instances to run.
func (s *state) count() int {
	least := max(1, s.Config.Compute.Scale.Min)
	return min(max(s.Replicas, least), max(least, s.Config.Compute.Scale.Max))
}

func checkTenant(name string) error {
	if len(name) > tenant.MaxName || !regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`).MatchString(name) {
		return fault.Errorf(fault.Invalid, "tenant %q: want a DNS label of at most %d bytes", name, tenant.MaxName)
	}
	return nil
}

// load returns the tenant's state, or nil.
func (d *Driver) load(tenant string) (*state, error) {
	if err := checkTenant(tenant); err != nil {
		return nil, err
	}
	var s state
	there, err := durable.ReadJSON(d.stateFile(tenant), &s)
	if err != nil || !there {
		return nil, err
	}
	return &s, nil
}

// known returns the tenant's state, which must be there.
func (d *Driver) known(tenant string) (*state, error) {
	s, err := d.load(tenant)
	if err == nil && s == nil {
		err = fault.Errorf(fault.NotFound, "tenant %s has no infrastructure", tenant)
	}
	return s, err
}

func (d *Driver) save(s *state) error {
	d.scaler.note(s)
	return durable.WriteJSON(d.stateFile(s.Tenant), s, 0o600, durable.Owner{})
}

// adopt returns the tenant's state with c as its configuration, made if it is not there.
func (d *Driver) adopt(c platform.Config) (*state, error) {
	s, err := d.load(c.Tenant)
	if err != nil {
		return nil, err
	}
	if s == nil {
		uid, err := d.uids.next()
		if err != nil {
			return nil, err
		}
		s = &state{Tenant: c.Tenant, UID: uid, Phase: running}
	}
	s.Config = c
	return s, d.save(s)
}

// forget removes the tenant's secrets and, last, its state, if that is all there
// is of it: whichever part goes last takes them along.
func (d *Driver) forget(tenant string) error {
	for _, path := range []string{d.volume(tenant), d.bucket(tenant), d.instances(tenant), d.routeFile(tenant)} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	s, err := d.loadSecrets(tenant)
	if err != nil || s.Database != "" || s.Cache != "" {
		return err
	}
	if err := durable.Remove(d.secretsFile(tenant)); err != nil {
		return err
	}
	return durable.Remove(d.stateFile(tenant))
}

// tenants returns the names of all that have a state.
func (d *Driver) tenants() ([]string, error) {
	entries, err := os.ReadDir(d.path("tenants"))
	if err != nil {
		return nil, fmt.Errorf("list tenants: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	return names, nil
}

// uids gives out user ids.
type uids struct {
	mu   sync.Mutex
	file string
	dir  string
}

// next returns a user id that was never given out here before. The counter is
// written first: a crash wastes a number and never gives one twice.
func (u *uids) next() (int, error) {
	if os.Geteuid() != 0 {
		return 0, nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	var counter struct {
		Next int `json:"next"`
	}
	if _, err := durable.ReadJSON(u.file, &counter); err != nil {
		return 0, fmt.Errorf("allocate a user id: %w", err)
	}
	if counter.Next == 0 {
		counter.Next = firstUID(u.dir)
	}
	uid := counter.Next
	counter.Next++
	if err := durable.WriteJSON(u.file, counter, 0o600, durable.Owner{}); err != nil {
		return 0, fmt.Errorf("allocate a user id: %w", err)
	}
	return uid, nil
}

// firstUID returns where a data directory's user ids begin: from 100000 up, and
// for each data directory elsewhere, so that the tenants of two on one machine
// are strangers too. Where the kernel knows fewer numbers, from 30000.
func firstUID(dir string) int {
	const first, width = 100_000, 65_536
	if !mapped(first + width) {
		return 30_000
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(dir))
	start := first + int(h.Sum32()%20_000)*width
	if !mapped(start + width) {
		return first
	}
	return start
}

// mapped reports whether a user id means anything in this user namespace.
func mapped(uid int) bool {
	f, err := os.Open("/proc/self/uid_map")
	if err != nil {
		return true // no such thing here
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var inside, outside, count int64
		if _, err := fmt.Sscan(lines.Text(), &inside, &outside, &count); err == nil &&
			int64(uid) >= inside && int64(uid) < inside+count {
			return true
		}
	}
	return false
}

// locks serialise what changes one tenant.
type locks struct {
	mu   sync.Mutex
	held map[string]*tenantLock
}

type tenantLock struct {
	slot  chan struct{}
	users int
}

// lock waits for the tenant's turn, or ctx, and returns what ends the turn.
func (l *locks) lock(ctx context.Context, tenant string) (func(), error) {
	l.mu.Lock()
	t := l.held[tenant]
	if t == nil {
		t = &tenantLock{slot: make(chan struct{}, 1)}
		l.held[tenant] = t
	}
	t.users++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(l.held, tenant)
		}
	}
	select {
	case t.slot <- struct{}{}:
		return func() { <-t.slot; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, fmt.Errorf("wait for another change of %s: %w", tenant, ctx.Err())
	}
}
