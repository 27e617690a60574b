package dns

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// table holds the last good records of every tenant.
type table struct {
	dir string
	log *slog.Logger

	mu      sync.RWMutex
	records map[string]Records
	seen    map[string]stamp // of the file that was read last, good or not
}

// stamp tells one version of a file from another: each is a new file.
type stamp struct {
	modified time.Time
	size     int64
}

func newTable(dir string, log *slog.Logger) *table {
	return &table{dir: dir, log: log, records: make(map[string]Records), seen: make(map[string]stamp)}
}

// scan takes over every file that changed since the last scan.
func (t *table) scan() error {
	names, err := tenants(t.dir)
	if err != nil {
		return fmt.Errorf("scan %s: %w", t.dir, err)
	}
	there := make(map[string]bool, len(names))
	for _, name := range names {
		there[name] = true
		info, err := os.Stat(file(t.dir, name))
		if err != nil {
			continue // gone between the two looks: the next one tells
		}
		t.mu.RLock()
		same := t.seen[name] == stamp{info.ModTime(), info.Size()}
		t.mu.RUnlock()
		if !same {
			t.load(name)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range t.seen {
		if !there[name] {
			delete(t.records, name)
			delete(t.seen, name)
		}
	}
	return nil
}

// load takes one tenant's file over.
func (t *table) load(tenant string) {
	info, statErr := os.Stat(file(t.dir, tenant))
	r, err := read(t.dir, tenant)
	t.mu.Lock()
	defer t.mu.Unlock()
	if statErr == nil {
		t.seen[tenant] = stamp{info.ModTime(), info.Size()}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		delete(t.records, tenant)
		delete(t.seen, tenant)
	case err != nil:
		t.log.Error("records not taken over, the last good ones stay", "tenant", tenant, "error", err)
	default:
		t.records[tenant] = r
	}
}

// tenant returns the records of a tenant.
func (t *table) tenant(name string) (Records, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	r, ok := t.records[strings.ToLower(name)]
	return r, ok
}
