package edge

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// Bounds of the access log: at most logKeep+1 files of about logFile bytes.
const (
	logFile   = 64 << 20
	logKeep   = 4
	logBuffer = 256 << 10 // written at the latest when so much has come together …
	logFlush  = 200 * time.Millisecond
	logHeld   = 8 << 20 // … and let go, counted, if the disk takes nothing for so long
)

// accessLog writes one JSON object a line. A request only appends to a buffer;
// one goroutine writes it out.
type accessLog struct {
	path  string
	limit int64
	log   *slog.Logger

	mu      sync.Mutex
	buf     []byte
	dropped uint64
	wake    chan struct{}

	out    sync.Mutex // held while writing
	file   *os.File
	size   int64
	failed bool
	spare  []byte
	stop   chan struct{}
	done   chan struct{}
}

func openAccessLog(path string, log *slog.Logger) (*accessLog, error) {
	l := &accessLog{
		path: path, limit: logFile, log: log,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if path == Stdout {
		l.file, l.limit = os.Stdout, math.MaxInt64 // whoever reads it bounds it
	} else if err := l.create(); err != nil {
		return nil, fmt.Errorf("access log: %w", err)
	}
	go l.run()
	return l, nil
}

func (l *accessLog) create() error {
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return err
	}
	return l.open()
}

func (l *accessLog) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return err
	}
	l.file, l.size = f, info.Size()
	return nil
}

// close writes out what is left.
func (l *accessLog) close() {
	close(l.stop)
	<-l.done
	l.out.Lock()
	defer l.out.Unlock()
	if l.file != nil && l.path != Stdout {
		_ = l.file.Close()
	}
}

func (l *accessLog) run() {
	defer close(l.done)
	tick := time.NewTicker(logFlush)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.wake:
		case <-l.stop:
			l.flush()
			return
		}
		l.flush()
	}
}

func (l *accessLog) flush() {
	l.out.Lock()
	defer l.out.Unlock()
	l.mu.Lock()
	if len(l.buf) == 0 {
		l.mu.Unlock()
		return
	}
	buf := l.buf
	l.buf = l.spare[:0]
	l.mu.Unlock()
	if err := l.write(buf); err != nil && !l.failed {
		l.failed = true
		l.log.Error("access log not written", "error", err)
	} else if err == nil {
		l.failed = false
	}
	if l.spare = buf; cap(buf) > 4*logBuffer {
		l.spare = nil
	}
}

func (l *accessLog) write(b []byte) error {
	if l.file == nil || l.size > 0 && l.size+int64(len(b)) > l.limit {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	n, err := l.file.Write(b)
	l.size += int64(n)
	return err
}

// rotate moves access.log to access.log.1, that to .2 and so on.
func (l *accessLog) rotate() error {
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
		for i := logKeep - 1; i >= 0; i-- {
			from := l.path
			if i > 0 {
				from += "." + strconv.Itoa(i)
			}
			if err := os.Rename(from, l.path+"."+strconv.Itoa(i+1)); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	return l.open()
}

// lost returns how many lines were let go.
func (l *accessLog) lost() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// access is one line. The query is not part of it: secrets travel there.
type access struct {
	at                                 time.Time
	took                               time.Duration
	tenant, method, host, path, remote string
	agent, referer                     string
	origin                             string // "static", "app" or "edge"
	upstream                           string // the instance, of origin "app"
	status                             int
	in, bytes                          int64 // of the bodies; in -1: not said beforehand
}

func (l *accessLog) add(a *access) {
	l.mu.Lock()
	if len(l.buf) > logHeld {
		l.dropped++
		l.mu.Unlock()
		return
	}
	l.buf = a.appendJSON(l.buf)
	full := len(l.buf) > logBuffer
	l.mu.Unlock()
	if full {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

func (a *access) appendJSON(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = a.at.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, '"')
	for _, f := range [...]struct{ key, value string }{
		{"tenant", a.tenant},
		{"method", a.method},
		{"host", a.host},
		{"path", a.path},
		{"remote", a.remote},
		{"origin", a.origin},
		{"upstream", a.upstream},
		{"agent", a.agent},
		{"referer", a.referer},
	} {
		if f.value != "" {
			b = append(b, `,"`...)
			b = append(b, f.key...)
			b = append(b, `":`...)
			b = appendString(b, f.value)
		}
	}
	b = strconv.AppendInt(append(b, `,"status":`...), int64(a.status), 10)
	b = strconv.AppendInt(append(b, `,"in":`...), a.in, 10)
	b = strconv.AppendInt(append(b, `,"bytes":`...), a.bytes, 10)
	b = strconv.AppendInt(append(b, `,"us":`...), a.took.Microseconds(), 10)
	return append(b, "}\n"...)
}

// maxLogged bounds a string in the log, in bytes.
const maxLogged = 1024

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	if len(s) > maxLogged {
		s = s[:maxLogged]
	}
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r) // a broken one becomes U+FFFD
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}
