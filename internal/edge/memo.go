package edge

import (
	"hash/maphash"
	"net/http"
	"slices"
	"strconv"
	"sync"
)

// memo remembers a function's outcomes. A run costs about ten times what the
// rest of the edge adds to a request, and nearly all requests are, to the
// function, the same few.
//
// An outcome is remembered only if the run looked at nothing but what the key
// holds (the request's method, host and header names; the response's status and
// header names) and the key-value store, whose answers are asked again on every
// use. The function can see nothing else that varies, so the remembered outcome
// is the one it would give. A function that starts to look at more is, for
// those requests, simply run each time.
type memo struct {
	fn     *Function
	seed   maphash.Seed
	shards [memoShards]memoShard
}

const (
	memoShards  = 16
	memoEntries = 4096 // of one shard
	memoNames   = 48   // headers; requests with more are run
	memoKey     = 2048 // bytes
)

type memoShard struct {
	mu      sync.RWMutex
	entries map[string]*memoEntry
	_       [64]byte // shards do not share a cache line
}

type memoEntry struct {
	outcome *Outcome
	lookups []lookup
}

func newMemo(fn *Function) *memo {
	m := &memo{fn: fn, seed: maphash.MakeSeed()}
	for i := range m.shards {
		m.shards[i].entries = map[string]*memoEntry{}
	}
	return m
}

// request returns the outcome of a viewer-request function for r.
func (m *memo) request(r *http.Request) (*Outcome, error) {
	var buf [512]byte
	key := append(buf[:0], r.Method...)
	key = append(key, 0)
	key = append(key, r.Host...)
	key, ok := appendNames(key, r.Header)
	return m.outcome(key, ok, func() *Event { return requestEvent(r) })
}

// response returns the outcome of a viewer-response function for a response.
func (m *memo) response(r *http.Request, status int, h http.Header) (*Outcome, error) {
	var buf [512]byte
	key, ok := appendNames(strconv.AppendInt(buf[:0], int64(status), 10), h)
	return m.outcome(key, ok, func() *Event { return responseEvent(r, status, h) })
}

// appendNames appends the names of the headers a function sees, in order. It
// reports false if they are too many for a key.
func appendNames(key []byte, h http.Header) ([]byte, bool) {
	var buf [memoNames]string
	names := buf[:0]
	for name, vs := range h {
		if len(vs) == 0 || hidden(name) {
			continue
		}
		if len(names) == memoNames {
			return key, false
		}
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		key = append(key, 0) // in no header's name, no host and no method
		key = append(key, name...)
	}
	return key, len(key) <= memoKey
}

func (m *memo) outcome(key []byte, usable bool, event func() *Event) (*Outcome, error) {
	if !usable {
		out, _, err := m.fn.run(event())
		return out, err
	}
	shard := &m.shards[maphash.Bytes(m.seed, key)%memoShards]
	shard.mu.RLock()
	e := shard.entries[string(key)]
	shard.mu.RUnlock()
	if e != nil && e.holds(m.fn.store) {
		return e.outcome, nil
	}
	out, c, err := m.fn.run(event())
	if err != nil {
		return nil, err
	}
	if !c.broad && c.worthKeeping() {
		shard.put(string(key), &memoEntry{outcome: out, lookups: c.lookups})
	}
	return out, nil
}

// worthKeeping is false for what anyone can ask for without end, such as hosts
// that no tenant has.
func (c *call) worthKeeping() bool {
	for _, l := range c.lookups {
		if !l.ok {
			return false
		}
	}
	return true
}

// holds reports whether the store still answers as it did.
func (e *memoEntry) holds(store Store) bool {
	for _, l := range e.lookups {
		if value, ok := store(l.key); ok != l.ok || value != l.value {
			return false
		}
	}
	return true
}

func (s *memoShard) put(key string, e *memoEntry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.entries) >= memoEntries {
		drop := memoEntries / 4 // whichever come first: a map's order is random enough
		for k := range s.entries {
			if drop == 0 {
				break
			}
			delete(s.entries, k)
			drop--
		}
	}
	s.entries[key] = e
}

// size returns how many outcomes are remembered.
func (m *memo) size() int {
	n := 0
	for i := range m.shards {
		m.shards[i].mu.RLock()
		n += len(m.shards[i].entries)
		m.shards[i].mu.RUnlock()
	}
	return n
}
