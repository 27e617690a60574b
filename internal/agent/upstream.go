package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"
)

const (
	// An idle connection is used again only if it was idle for less than this.
	// Apps close idle connections after seconds at the earliest, so a POST, which
	// must not be sent twice, never meets one that is being closed.
	maxIdle      = time.Second
	maxIdleConns = 64
	dialTimeout  = 5 * time.Second
	maxHeader    = 1 << 20  // bytes of a response's header
	smallBody    = 16 << 10 // bytes; fits the sockets' buffers, so writing it cannot block
)

// errRefused is an app that takes no connection: nothing of the request was
// sent, so it can go elsewhere.
var errRefused = errors.New("app refuses connections")

// upstream is the way to one app process. It speaks HTTP/1.1 from the caller's
// goroutine; net/http's Transport hands every request over to two others,
// which costs more than all the rest of the hop.
type upstream struct {
	addr string

	mu      sync.Mutex
	idle    []*conn // the last one was used last
	closed  bool
	janitor *time.Timer // armed while there are idle connections
}

func newUpstream(addr string) *upstream { return &upstream{addr: addr} }

// conn is a connection to the app, used by one request at a time.
type conn struct {
	net.Conn
	limited io.LimitedReader // between Conn and r: bounds a response's header
	r       *bufio.Reader
	w       *bufio.Writer
	since   time.Time // idle since
	reused  bool
}

// get returns an idle connection that is still good, or a new one.
func (u *upstream) get(ctx context.Context) (*conn, error) {
	for {
		u.mu.Lock()
		n := len(u.idle)
		if n == 0 {
			u.mu.Unlock()
			return u.dial(ctx)
		}
		c := u.idle[n-1]
		u.idle[n-1] = nil
		u.idle = u.idle[:n-1]
		u.mu.Unlock()
		if time.Since(c.since) < maxIdle && quiet(c.Conn) {
			c.reused = true
			return c, nil
		}
		c.Close()
	}
}

func (u *upstream) dial(ctx context.Context) (*conn, error) {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: -1}
	nc, err := d.DialContext(ctx, "tcp", u.addr)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	c := &conn{Conn: nc, w: bufio.NewWriterSize(nc, 4<<10)}
	c.limited = io.LimitedReader{R: nc}
	c.r = bufio.NewReaderSize(&c.limited, 4<<10)
	return c, nil
}

func (u *upstream) put(c *conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed || len(u.idle) >= maxIdleConns {
		c.Close()
		return
	}
	c.since = time.Now()
	u.idle = append(u.idle, c)
	if u.janitor == nil {
		u.janitor = time.AfterFunc(maxIdle, u.sweep)
	}
}

// sweep closes what was idle for too long, so that an idle app costs nothing.
func (u *upstream) sweep() {
	u.mu.Lock()
	defer u.mu.Unlock()
	stale := 0
	for stale < len(u.idle) && time.Since(u.idle[stale].since) >= maxIdle {
		u.idle[stale].Close()
		stale++
	}
	n := copy(u.idle, u.idle[stale:])
	clear(u.idle[n:])
	u.idle = u.idle[:n]
	if n == 0 || u.closed {
		u.idle, u.janitor = nil, nil
		return
	}
	u.janitor.Reset(maxIdle)
}

// close closes the idle connections, now and as they come back.
func (u *upstream) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	for _, c := range u.idle {
		c.Close()
	}
	u.idle = nil
}

// roundTrip sends a request and returns the response's head. done is called
// once nothing more of the exchange will come; on error it is not called.
func (u *upstream) roundTrip(req *http.Request, done func()) (*http.Response, error) {
	for {
		c, err := u.get(req.Context())
		if err != nil {
			return nil, err
		}
		x := &exchange{u: u, c: c, done: done}
		res, err := x.do(req)
		if err == nil {
			return res, nil
		}
		c.Close()
		// A request without effect may be sent again if the app closed an old
		// connection on it.
		if !c.reused || x.answered || req.Body != nil || !safe(req.Method) || req.Context().Err() != nil {
			return nil, err
		}
	}
}

func safe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// exchange is one request and its response on one connection.
type exchange struct {
	u        *upstream
	c        *conn
	done     func()
	stop     func() bool // ends the watch over the request's context
	sent     chan error  // the request's body was sent; nil if that is known already
	answered bool        // at least a byte of the response came
}

func (x *exchange) do(req *http.Request) (*http.Response, error) {
	c := x.c
	x.stop = context.AfterFunc(req.Context(), func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	res, err := x.send(req)
	if err != nil {
		x.stop()
		if req.Context().Err() != nil {
			err = req.Context().Err()
		}
		return nil, err
	}
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols:
		res.Body = &tunnel{x: x}
	case res.Body == http.NoBody:
		x.finish(!res.Close)
	default:
		res.Body = &responseBody{ReadCloser: res.Body, x: x, reusable: !res.Close}
	}
	return res, nil
}

// send writes the request and reads the response's head. A body that may be
// long is written from another goroutine: an app may answer before it read all.
func (x *exchange) send(req *http.Request) (*http.Response, error) {
	if req.Body != nil && (req.ContentLength < 0 || req.ContentLength > smallBody) {
		body := &sourceBody{ReadCloser: req.Body}
		out := *req
		out.Body = body
		x.sent = make(chan error, 1)
		go func() {
			err := x.write(&out)
			if body.err != nil { // the client went away: so does the request
				_ = x.c.SetDeadline(time.Unix(1, 0))
			}
			x.sent <- err
		}()
	} else if err := x.write(req); err != nil {
		return nil, err
	}
	for {
		x.c.limited.N = maxHeader
		if _, err := x.c.r.Peek(1); err != nil {
			return nil, fmt.Errorf("app closed the connection: %w", err)
		}
		x.answered = true
		res, err := http.ReadResponse(x.c.r, req)
		if err != nil {
			return nil, fmt.Errorf("app's response: %w", err)
		}
		x.c.limited.N = math.MaxInt64
		if res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols {
			return res, nil
		}
		if t := httptrace.ContextClientTrace(req.Context()); t != nil && t.Got1xxResponse != nil {
			if err := t.Got1xxResponse(res.StatusCode, map[string][]string(res.Header)); err != nil {
				return nil, err
			}
		}
	}
}

func (x *exchange) write(req *http.Request) error {
	if err := req.Write(x.c.w); err != nil {
		return err
	}
	return x.c.w.Flush()
}

// finish ends the exchange; a connection on which nothing is left may be used again.
func (x *exchange) finish(reusable bool) {
	if x.sent != nil {
		select {
		case err := <-x.sent:
			reusable = reusable && err == nil
		default:
			reusable = false
		}
	}
	if !x.stop() || x.c.r.Buffered() > 0 {
		reusable = false
	}
	if reusable {
		x.u.put(x.c)
	} else {
		x.c.Close()
	}
	x.done()
}

// responseBody ends the exchange with the response's last byte.
type responseBody struct {
	io.ReadCloser
	x        *exchange
	reusable bool
	ended    bool
}

func (b *responseBody) Read(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.ended = true
		b.x.finish(b.reusable && err == io.EOF)
	}
	return n, err
}

// Close gives up what was not read, with the connection.
func (b *responseBody) Close() error {
	if !b.ended {
		b.ended = true
		b.x.finish(false)
	}
	return nil
}

// tunnel is the connection after a protocol switch.
type tunnel struct {
	x    *exchange
	once sync.Once
}

func (t *tunnel) Read(p []byte) (int, error)  { return t.x.c.r.Read(p) }
func (t *tunnel) Write(p []byte) (int, error) { return t.x.c.Write(p) }

// CloseWrite passes on that one side has said all it had to say.
func (t *tunnel) CloseWrite() error {
	if c, ok := t.x.c.Conn.(*net.TCPConn); ok {
		return c.CloseWrite()
	}
	return nil
}

func (t *tunnel) Close() error {
	t.once.Do(func() { t.x.finish(false) })
	return nil
}

// sourceBody remembers that reading the client's body failed. That the server
// closed it, as it does once an answer is on its way, is no such failure.
type sourceBody struct {
	io.ReadCloser
	err error
}

func (b *sourceBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && !errors.Is(err, http.ErrBodyReadAfterClose) {
		b.err = err
	}
	return n, err
}
