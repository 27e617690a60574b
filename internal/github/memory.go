package github

import (
	"sync"
	"time"
)

// How many answers are remembered at least, each at most twice that.
const (
	pagesKept   = 128
	shownKept   = 2048
	writersKept = 256
)

// memory keeps the values that were put or asked for last, in two generations:
// when the young one is full it becomes the old one, whose rest is forgotten.
type memory[T any] struct {
	limit int

	mu         sync.Mutex
	young, old map[string]T
}

func newMemory[T any](limit int) *memory[T] {
	return &memory[T]{limit: limit, young: map[string]T{}}
}

func (m *memory[T]) get(key string) (T, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.young[key]; ok {
		return v, true
	}
	v, ok := m.old[key]
	if ok {
		m.keep(key, v)
	}
	return v, ok
}

func (m *memory[T]) put(key string, v T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keep(key, v)
}

func (m *memory[T]) keep(key string, v T) {
	if len(m.young) >= m.limit {
		m.old, m.young = m.young, map[string]T{}
	}
	m.young[key] = v
}

func (m *memory[T]) forget(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.young, key)
	delete(m.old, key)
}

// sightAge is how long what was seen at GitHub is relied on. Another process may
// take over in between, and say other things; that takes longer.
const sightAge = 5 * time.Second

// sight is what GitHub showed, and when.
type sight struct {
	what string
	at   time.Time
}

// saw returns what GitHub shows, if this process saw it just now.
func (c *Client) saw(subject string) (string, bool) {
	s, ok := c.shown.get(subject)
	return s.what, ok && time.Since(s.at) < sightAge
}

func (c *Client) see(subject, what string) {
	c.shown.put(subject, sight{what: what, at: time.Now()})
}
