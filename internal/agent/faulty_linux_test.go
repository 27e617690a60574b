package agent_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/gitopsd/gitopsd/internal/release"
)

// faulty is a file system that shows a directory, wrongly now and then, as a
// network file system does to those who are on another host.
type faulty struct {
	mu     sync.Mutex
	faults []*fault
	asked  map[string]int // "op name" → how often the server was asked
}

// fault is what an operation on files of a name does instead, so many times.
type fault struct {
	op    string // lookup, getattr, open, read
	name  string // of the file; "" for the top
	times int    // left; negative for ever
	errno syscall.Errno
	until int64  // read: the file ends there
	bytes []byte // read: the file's content
	hang  chan struct{}
}

// mount shows dir, and returns where. Attributes are cached for as long as given.
func mount(t *testing.T, dir string, cached time.Duration) (string, *faulty) {
	t.Helper()
	f := &faulty{asked: make(map[string]int)}
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	root := &fs.LoopbackRoot{Path: dir, Dev: st.Dev}
	root.RootNode = &faultyNode{LoopbackNode: fs.LoopbackNode{RootData: root}, f: f}
	root.NewNode = func(data *fs.LoopbackRoot, _ *fs.Inode, name string, _ *syscall.Stat_t) fs.InodeEmbedder { //nolint:staticcheck // its successor gives no name
		return &faultyNode{LoopbackNode: fs.LoopbackNode{RootData: data}, f: f, name: name}
	}
	point := t.TempDir()
	none := time.Duration(0)
	server, err := fs.Mount(point, root.RootNode, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMount: true, AllowOther: true, FsName: "faulty", Name: "faulty"},
		EntryTimeout: &none, AttrTimeout: &cached,
	})
	if err != nil {
		t.Skip("no FUSE here: ", err)
	}
	t.Cleanup(func() {
		f.heal()
		if err := server.Unmount(); err != nil {
			_ = syscall.Unmount(point, syscall.MNT_DETACH)
		}
	})
	return point, f
}

func (f *faulty) inject(faults ...*fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, faults...)
}

// heal ends all faults.
func (f *faulty) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.faults {
		if one.hang != nil {
			close(one.hang)
		}
	}
	f.faults = nil
}

// left returns how many of the faults with a number are still to come.
func (f *faulty) left() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.faults {
		n += max(0, one.times)
	}
	return n
}

func (f *faulty) count(op, name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[op+" "+name]
}

// next counts an operation and returns the fault it is to have, if any.
func (f *faulty) next(op, name string) *fault {
	f.mu.Lock()
	f.asked[op+" "+name]++
	var found *fault
	for _, one := range f.faults {
		if one.op == op && one.name == name && one.times != 0 {
			one.times--
			found = one
			break
		}
	}
	f.mu.Unlock()
	if found != nil && found.hang != nil {
		<-found.hang
		return nil
	}
	return found
}

type faultyNode struct {
	fs.LoopbackNode
	f    *faulty
	name string
}

func (n *faultyNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if one := n.f.next("lookup", name); one != nil {
		return nil, one.errno
	}
	return n.LoopbackNode.Lookup(ctx, name, out)
}

func (n *faultyNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	if one := n.f.next("getattr", n.name); one != nil {
		return one.errno
	}
	return n.LoopbackNode.Getattr(ctx, nil, out)
}

func (n *faultyNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if one := n.f.next("open", n.name); one != nil {
		return nil, 0, one.errno
	}
	fh, _, errno := n.LoopbackNode.Open(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return &faultyFile{LoopbackFile: fh.(*fs.LoopbackFile), n: n}, fuse.FOPEN_DIRECT_IO, 0
}

type faultyFile struct {
	*fs.LoopbackFile
	n *faultyNode
}

func (f *faultyFile) Read(ctx context.Context, buf []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	one := f.n.f.next("read", f.n.name)
	switch {
	case one == nil:
	case one.errno != 0:
		return nil, one.errno
	case one.bytes != nil:
		return fuse.ReadResultData(one.bytes[min(off, int64(len(one.bytes))):]), 0
	default:
		buf = buf[:max(0, min(int64(len(buf)), one.until-off))]
	}
	return f.LoopbackFile.Read(ctx, buf, off)
}

// PassthroughFd says that there is none: each read is to come here.
func (f *faultyFile) PassthroughFd() (int, bool) { return -1, false }

// Whatever a volume shows for a while, the release that serves goes on, and the
// one that was published serves as soon as it can be seen.
func TestFaultyVolume(t *testing.T) {
	t.Parallel()
	const short = 5 // times a fault is met; a look that meets ESTALE looks again 5 times
	cases := map[string]func(digest string) []*fault{
		"stale pointer": func(string) []*fault {
			return []*fault{{op: "open", name: "current", times: short, errno: syscall.ESTALE}}
		},
		"stale directory": func(string) []*fault {
			return []*fault{{op: "lookup", name: "releases", times: 3 * short, errno: syscall.ESTALE}}
		},
		"half a pointer": func(string) []*fault { return []*fault{{op: "read", name: "current", times: 1, until: 17}} },
		"pointer garbage": func(string) []*fault {
			return []*fault{{op: "read", name: "current", times: 1, bytes: []byte("\x00\x00\x00garbage{")}}
		},
		"no pointer yet": func(string) []*fault {
			return []*fault{{op: "lookup", name: "current", times: short, errno: syscall.ENOENT}}
		},
		"release not seen yet": func(d string) []*fault {
			return []*fault{{op: "lookup", name: d, times: short, errno: syscall.ENOENT}}
		},
		"half a manifest": func(string) []*fault { return []*fault{{op: "read", name: "manifest.json", times: 1, until: 40}} },
		"stale manifest": func(string) []*fault {
			return []*fault{{op: "read", name: "manifest.json", times: short, errno: syscall.ESTALE}}
		},
		"half a binary": func(string) []*fault { return []*fault{{op: "read", name: "app", times: 60, until: 1 << 20}} },
		"stale binary":  func(string) []*fault { return []*fault{{op: "read", name: "app", times: short, errno: syscall.ESTALE}} },
		"wrong bytes": func(string) []*fault {
			return []*fault{{op: "read", name: "app", times: 1, bytes: []byte(strings.Repeat("\x7fELF", 1<<10))}}
		},
		"unreadable": func(string) []*fault { return []*fault{{op: "read", name: "app", times: short, errno: syscall.EIO}} },
		"all at once": func(d string) []*fault {
			return []*fault{
				{op: "open", name: "current", times: 2, errno: syscall.ESTALE},
				{op: "lookup", name: d, times: 2, errno: syscall.ENOENT},
				{op: "read", name: "manifest.json", times: 1, until: 3},
				{op: "read", name: "app", times: 3, errno: syscall.EIO},
			}
		},
	}
	for name, faults := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newInstance(t)
			digests := []string{in.stage(map[string]string{"VERSION": "v1"}), in.stage(map[string]string{"VERSION": "v2"})}
			point, f := mount(t, in.cfg.Volume, 0)
			in.cfg.Volume = point
			in.process()
			in.await(in.publish(digests[0]).Seq)

			f.inject(faults(digests[1])...)
			p := in.publish(digests[1])
			for in.report().Seq != p.Seq {
				if code, body := in.get("/"); code != 200 || body != "v1" && body != "v2" {
					t.Fatalf("GET /: %d %q", code, body)
				}
				if r := in.report(); r.FailedSeq != 0 {
					t.Fatalf("gave up: %+v", r)
				}
				if t.Context().Err() != nil {
					return
				}
			}
			in.mustServe("v2")
			if n := f.left(); n > 0 {
				t.Errorf("%d faults were not met: the test shows less than it says", n)
			}
		})
	}
}

// A volume that hangs holds up nothing but news: no crash, no request, no end.
func TestHangingVolume(t *testing.T) {
	t.Parallel()
	in := newInstance(t, idle(200*time.Millisecond))
	point, f := mount(t, in.cfg.Volume, 0)
	digest, next := in.stage(map[string]string{"VERSION": "v1"}), in.stage(map[string]string{"VERSION": "v2"})
	in.cfg.Volume = point
	in.process()
	t.Cleanup(f.heal) // before the agent is killed: one that waits for an answer does not die
	first := in.publish(digest)
	in.await(first.Seq)

	f.inject(&fault{op: "read", name: "app", times: -1, hang: make(chan struct{})})
	p := in.publish(next)
	eventually(t, "it hangs in the copy", func() bool { return f.hanging() })
	f.inject(&fault{op: "getattr", name: "", times: -1, hang: make(chan struct{})}, &fault{op: "lookup", name: "current", times: -1, hang: make(chan struct{})})
	in.mustServe("v1")
	in.crash("/crash")
	eventually(t, "the app is back", func() bool { return in.report().Restarts == 1 && in.report().Release != "" })
	in.mustServe("v1")
	in.awaitPhase("asleep")
	in.mustServe("v1") // awake
	f.heal()
	if r := in.await(p.Seq); r.Seq != p.Seq {
		t.Errorf("after it came back: %+v", r)
	}
	in.mustServe("v2")
}

// hanging reports whether a fault that hangs was met.
func (f *faulty) hanging() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.faults {
		if one.hang != nil && one.times < -1 {
			return true
		}
	}
	return false
}

// The looks at the pointer ask the server, whatever this host has cached.
func TestLooksAreForcedFresh(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.publish(in.stage(nil))
	point, f := mount(t, in.cfg.Volume, time.Hour)
	vol := release.Open(point)
	if _, err := vol.Stamp(); err != nil {
		t.Fatal(err)
	}
	// What is cached: another look by ordinary means asks nobody.
	asked := f.count("getattr", "")
	var st syscall.Stat_t
	for range 3 {
		if err := syscall.Stat(point, &st); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.count("getattr", "") - asked; n != 0 {
		t.Skipf("the attributes are not cached: %d questions", n)
	}
	for _, file := range []string{"", "current"} {
		asked := f.count("getattr", file)
		for range 3 {
			if _, err := vol.Stamp(); err != nil {
				t.Fatal(err)
			}
		}
		if n := f.count("getattr", file) - asked; n < 3 {
			t.Errorf("3 looks asked %d times for the attributes of %q", n, filepath.Join(point, file))
		}
	}
	// A change by another host, behind the cache.
	before, err := vol.Stamp()
	if err != nil {
		t.Fatal(err)
	}
	in.publish(in.stage(map[string]string{"VERSION": "v2"}))
	if after, err := vol.Stamp(); err != nil || after == before {
		t.Errorf("the stamp did not change: %+v, %v", after, err)
	}
}
