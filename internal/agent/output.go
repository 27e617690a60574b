package agent

import (
	"bufio"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

const (
	maxLog  = 5 << 20 // bytes of app.log before it becomes app.log.1
	maxLine = 8 << 10 // bytes; a longer line is cut into several
)

// logFile is app.log: what the apps print, one line each with time and
// release. Losing lines (a full disk) never stops an app.
type logFile struct {
	mu   sync.Mutex
	path string
	f    *os.File
	size int64
	also *forward // nil for none
}

// openLog opens app.log. Its lines go to also, too, unless that is nil.
func openLog(path string, also io.Writer) (*logFile, error) {
	l := &logFile{path: path}
	if err := l.open(); err != nil {
		return nil, err
	}
	if also != nil {
		l.also = newForward(also)
	}
	return l, nil
}

func (l *logFile) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.f, l.size = f, info.Size()
	return nil
}

func (l *logFile) line(release, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size >= maxLog {
		l.rotate()
	}
	b := time.Now().UTC().AppendFormat(make([]byte, 0, len(text)+48), "2006-01-02T15:04:05.000Z ")
	b = append(b, release[:min(12, len(release))]...)
	b = append(b, ' ')
	b = append(append(b, text...), '\n')
	if l.also != nil {
		l.also.line(b)
	}
	if l.f != nil {
		n, _ := l.f.Write(b)
		l.size += int64(n)
	}
}

func (l *logFile) rotate() {
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
	_ = os.Rename(l.path, l.path+".1")
	_ = l.open() // tried again with the next line
}

func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
	l.size = 0
	if l.also != nil {
		l.also.close()
		l.also = nil
	}
}

const (
	maxForwarded = 1024        // lines that wait for whoever reads them
	lastForward  = time.Second // for the last of them
)

// forward passes lines on to a writer that may block: what it cannot take is
// lost, for an app must not wait for the reader of its logs.
type forward struct {
	lines chan []byte
	ended chan struct{}
}

func newForward(w io.Writer) *forward {
	f := &forward{lines: make(chan []byte, maxForwarded), ended: make(chan struct{})}
	go func() {
		defer close(f.ended)
		for line := range f.lines {
			_, _ = w.Write(line)
		}
	}()
	return f
}

func (f *forward) line(b []byte) {
	select {
	case f.lines <- b:
	default:
	}
}

// close waits for the lines that are on their way, but not for long.
func (f *forward) close() {
	close(f.lines)
	select {
	case <-f.ended:
	case <-time.After(lastForward):
	}
}

// readLines calls each with every line of r, without its end, until r ends.
func readLines(r io.Reader, each func(string)) {
	br := bufio.NewReaderSize(r, maxLine)
	for {
		b, err := br.ReadSlice('\n')
		if n := len(b); n > 0 {
			if b[n-1] == '\n' {
				b = b[:n-1]
			}
			each(string(b))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}
