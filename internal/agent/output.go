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
	maxLog   = 5 << 20 // bytes of app.log before it becomes app.log.1
	maxLine  = 8 << 10 // bytes; a longer line is cut into several
	tailSize = 20      // lines kept of each app for a failure's report
)

// logFile is app.log: what the apps print, one line each with time and
// release. Losing lines (a full disk) never stops an app.
type logFile struct {
	mu   sync.Mutex
	path string
	f    *os.File
	size int64
}

func openLog(path string) (*logFile, error) {
	l := &logFile{path: path}
	return l, l.open()
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
	if l.f == nil {
		return
	}
	b := time.Now().UTC().AppendFormat(make([]byte, 0, len(text)+48), "2006-01-02T15:04:05.000Z ")
	b = append(b, release[:min(12, len(release))]...)
	b = append(b, ' ')
	b = append(b, text...)
	n, _ := l.f.Write(append(b, '\n'))
	l.size += int64(n)
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
}

// tail keeps an app's last lines.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == tailSize {
		copy(t.lines, t.lines[1:])
		t.lines = t.lines[:tailSize-1]
	}
	t.lines = append(t.lines, line)
}

func (t *tail) snapshot() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.lines...)
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
