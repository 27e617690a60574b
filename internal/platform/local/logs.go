package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
)

const (
	// logShown is how much of each instance's log is shown from the past, in bytes.
	logShown = 1 << 20
	// logPoll is how often a followed log is looked at.
	logPoll = 200 * time.Millisecond
)

// Logs implements platform.Platform. Lines begin with their time, by which the
// instances' are merged, and, where there are several, the instance.
func (d *Driver) Logs(ctx context.Context, tenant string, w io.Writer, follow bool) error {
	st, err := d.known(tenant)
	if err != nil {
		return err
	}
	tails := make([]*logTail, st.count())
	for n := range tails {
		tails[n] = &logTail{path: filepath.Join(d.instance(tenant, n), "local", "app.log"), uid: st.UID}
		if len(tails) > 1 {
			tails[n].prefix = instanceName(tenant, n) + " "
		}
	}
	tick := time.NewTicker(logPoll)
	defer tick.Stop()
	for {
		var lines []string
		for _, t := range tails {
			more, err := t.more()
			if err != nil {
				return fmt.Errorf("logs of %s: %w", tenant, err)
			}
			lines = append(lines, more...)
		}
		slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(stamp(a), stamp(b)) })
		for _, line := range lines {
			if _, err := io.WriteString(w, line+"\n"); err != nil {
				return err
			}
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// stamp returns a line's time, which an agent writes first.
func stamp(line string) string {
	first, _, _ := strings.Cut(line, " ")
	return first
}

// logTail reads one instance's log as it grows, over its rotation.
type logTail struct {
	path   string
	prefix string // put after a line's time
	uid    int    // the tenant's
	last   fs.FileInfo
	offset int64
}

// more returns the whole lines that came since the last call; at first, the
// last of those there are.
func (t *logTail) more() ([]string, error) {
	f, err := t.open(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var lines []string
	switch {
	case t.last == nil:
		if old, err := t.open(t.path + ".1"); err == nil && info.Size() < logShown {
			lines, _, err = t.read(old, max(0, size(old)-logShown+info.Size()))
			old.Close()
			if err != nil {
				return nil, err
			}
		}
		t.offset = max(0, info.Size()-logShown)
	case !os.SameFile(t.last, info): // rotated: first the rest of the one before
		if old, err := t.open(t.path + ".1"); err == nil {
			if before, err := old.Stat(); err == nil && os.SameFile(before, t.last) {
				lines, _, _ = t.read(old, t.offset)
			}
			old.Close()
		}
		t.offset = 0
	case info.Size() < t.offset: // cut
		t.offset = 0
	}
	t.last = info
	more, offset, err := t.read(f, t.offset)
	t.offset = offset
	return append(lines, more...), err
}

func size(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// open opens a file in a directory of the tenant's, which may have put anything
// there: a link to somebody else's file, a pipe, a device.
func (t *logTail) open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.Mode().IsRegular() || !ok || t.uid != 0 && (int(owner.Uid) != t.uid || owner.Nlink != 1) {
		f.Close()
		return nil, fault.Errorf(fault.Conflict, "%s is not the agent's log", path)
	}
	return f, nil
}

// read returns the whole lines from offset on, and where the next begins. A
// line that is cut off at the start, because of the offset, is left out.
func (t *logTail) read(f *os.File, offset int64) (lines []string, next int64, err error) {
	cut := false
	if offset > 0 {
		var before [1]byte
		if _, err := f.ReadAt(before[:], offset-1); err == nil && before[0] != '\n' {
			cut = true
		}
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, offset, err
	}
	r := bufio.NewReader(io.LimitReader(f, 4*logShown))
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return lines, offset, err
		}
		offset += int64(len(line))
		if cut {
			cut = false
			continue
		}
		at, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		lines = append(lines, at+" "+t.prefix+text)
	}
}
