package git

import (
	"bytes"
	"container/list"
	"fmt"
	"io/fs"
	"sort"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// entry is one line of a tree.
type entry struct {
	name string
	mode filemode.FileMode
	hash plumbing.Hash
}

func (e *entry) isTree() bool { return e.mode == filemode.Dir }

// fsMode translates git's modes; a submodule, whose content is not in this
// repository, is irregular.
func (e *entry) fsMode() fs.FileMode {
	switch e.mode {
	case filemode.Dir:
		return fs.ModeDir | 0o755
	case filemode.Symlink:
		return fs.ModeSymlink | 0o777
	case filemode.Submodule:
		return fs.ModeIrregular
	case filemode.Executable:
		return 0o755
	default:
		return 0o644
	}
}

// tree is a parsed tree object: immutable, in git's order (as if the names of
// sub-trees ended in a slash).
type tree []entry

// parseTree reads a tree object's content. Names that could not be one element
// of a path, and a wrong order, are errors: git refuses such trees as well.
func parseTree(content []byte) (tree, error) {
	entries := make(tree, 0, len(content)/36+1)
	text := string(content) // one allocation for all names
	for at := 0; at < len(text); {
		space := strings.IndexByte(text[at:], ' ')
		if space < 1 || space > 7 {
			return nil, fmt.Errorf("tree entry at byte %d: no mode", at)
		}
		var mode uint32
		for _, c := range []byte(text[at : at+space]) {
			if c < '0' || c > '7' {
				return nil, fmt.Errorf("tree entry at byte %d: bad mode", at)
			}
			mode = mode<<3 | uint32(c-'0')
		}
		at += space + 1
		end := strings.IndexByte(text[at:], 0)
		if end < 0 || len(text)-at-end-1 < 20 {
			return nil, fmt.Errorf("tree entry at byte %d: cut short", at)
		}
		e := entry{name: text[at : at+end], mode: entryMode(mode)}
		at += end + 1
		copy(e.hash[:], content[at:at+20])
		at += 20
		if e.name == "" || e.name == "." || e.name == ".." || strings.IndexByte(e.name, '/') >= 0 {
			return nil, fmt.Errorf("tree entry with the name %q", e.name)
		}
		if n := len(entries); n > 0 && compareEntries(&entries[n-1], &e) >= 0 {
			return nil, fmt.Errorf("tree entries out of order at %q", e.name)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// entryMode reduces a mode as git does: by its type and, for files, by whether
// the owner may execute them.
func entryMode(mode uint32) filemode.FileMode {
	switch mode & 0o170000 {
	case 0o040000:
		return filemode.Dir
	case 0o120000:
		return filemode.Symlink
	case 0o160000:
		return filemode.Submodule
	default:
		if mode&0o100 != 0 {
			return filemode.Executable
		}
		return filemode.Regular
	}
}

// compareEntries is git's order of tree entries.
func compareEntries(a, b *entry) int {
	n := min(len(a.name), len(b.name))
	if c := strings.Compare(a.name[:n], b.name[:n]); c != 0 {
		return c
	}
	return int(a.byteAt(n)) - int(b.byteAt(n))
}

// byteAt returns the name's byte at i ≤ len(name), with a sub-tree's slash.
func (e *entry) byteAt(i int) byte {
	switch {
	case i < len(e.name):
		return e.name[i]
	case e.isTree():
		return '/'
	default:
		return 0
	}
}

// find returns the entry with the name, or nil.
func (t tree) find(name string) *entry {
	for _, probe := range [2]entry{{name: name}, {name: name, mode: filemode.Dir}} {
		i := sort.Search(len(t), func(i int) bool { return compareEntries(&t[i], &probe) >= 0 })
		if i < len(t) && t[i].name == name {
			return &t[i]
		}
	}
	return nil
}

// treeCache keeps parsed trees, the least recently used out first.
type treeCache struct {
	mu      sync.Mutex
	entries int
	order   *list.List // of cachedTree
	byHash  map[plumbing.Hash]*list.Element
}

type cachedTree struct {
	hash plumbing.Hash
	tree tree
}

// maxCachedEntries bounds the cache: about 100 bytes an entry.
const maxCachedEntries = 300_000

func newTreeCache() *treeCache {
	return &treeCache{order: list.New(), byHash: map[plumbing.Hash]*list.Element{}}
}

func (c *treeCache) get(h plumbing.Hash) (tree, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.byHash[h]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(el)
	return el.Value.(cachedTree).tree, true
}

func (c *treeCache) put(h plumbing.Hash, t tree) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byHash[h]; ok {
		return
	}
	c.byHash[h] = c.order.PushFront(cachedTree{h, t})
	c.entries += len(t) + 1
	for c.entries > maxCachedEntries && c.order.Len() > 1 {
		last := c.order.Remove(c.order.Back()).(cachedTree)
		delete(c.byHash, last.hash)
		c.entries -= len(last.tree) + 1
	}
}

// readTree reads and parses a tree of a store, through the cache. Trees are
// immutable and named by their content, so one cache serves several stores.
func readTree(s *store, c *treeCache, h plumbing.Hash) (tree, error) {
	if t, ok := c.get(h); ok {
		return t, nil
	}
	typ, content, err := s.read(h)
	if err != nil {
		return nil, err
	}
	if typ != plumbing.TreeObject {
		return nil, malformed("object %s is a %s where a tree is named", h, typ)
	}
	t, err := parseTree(content)
	if err != nil {
		return nil, malformed("tree %s: %w", h, err)
	}
	c.put(h, t)
	return t, nil
}

// commitInfo is what walks need of a commit.
type commitInfo struct {
	hash    plumbing.Hash
	tree    plumbing.Hash
	parents []plumbing.Hash
	when    int64 // committer's time, in Unix seconds
}

// parseCommit reads the headers of a commit object.
func parseCommit(h plumbing.Hash, content []byte) (*commitInfo, error) {
	c := &commitInfo{hash: h}
	for len(content) > 0 {
		line, rest, _ := bytes.Cut(content, []byte{'\n'})
		if len(line) == 0 {
			break
		}
		content = rest
		key, value, _ := bytes.Cut(line, []byte{' '})
		switch string(key) {
		case "tree", "parent":
			if !plumbing.IsHash(string(value)) {
				return nil, malformed("commit %s: bad %s line", h, key)
			}
			if string(key) == "tree" {
				c.tree = plumbing.NewHash(string(value))
			} else {
				c.parents = append(c.parents, plumbing.NewHash(string(value)))
			}
		case "committer":
			c.when = signatureTime(value)
		}
	}
	if c.tree.IsZero() {
		return nil, malformed("commit %s names no tree", h)
	}
	return c, nil
}

// signatureTime returns the seconds of "Name <mail> 1700000000 +0100"; 0 if
// there are none, since the time only steers the order of walks.
func signatureTime(sig []byte) int64 {
	fields := bytes.Fields(sig[bytes.LastIndexByte(sig, '>')+1:])
	if len(fields) == 0 {
		return 0
	}
	var n int64
	for _, c := range fields[0] {
		if c < '0' || c > '9' || n > 1<<50 {
			return 0
		}
		n = n*10 + int64(c-'0')
	}
	return n
}
