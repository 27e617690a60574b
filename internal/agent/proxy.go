package agent

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"
)

const (
	edgeHeader   = "X-Gitopsd-Edge"  // carries the edge's key
	markerHeader = "X-Gitopsd-Agent" // on answers of the agent's own: its phase
)

// forwardedHeaders are the edge's to set.
var forwardedHeaders = [...]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}

// proxy is the public port.
type proxy struct {
	key     []byte
	router  *router
	traffic *traffic
	rest    *rest
	reverse httputil.ReverseProxy
}

// traffic is what came to the public port and was let in.
type traffic struct {
	requests atomic.Uint64 // so far
	inFlight atomic.Int64
	last     atomic.Int64 // when one ended, in ns since 1970
}

// idle returns for how long there was no request; 0 if one is in flight.
func (t *traffic) idle(now time.Time) time.Duration {
	// In this order: a request that ends in between was recent.
	if t.inFlight.Load() > 0 {
		return 0
	}
	return now.Sub(time.Unix(0, t.last.Load()))
}

func newProxy(edgeKey string, r *router, t *traffic, errorLog *log.Logger) *proxy {
	p := &proxy{key: []byte(edgeKey), router: r, traffic: t}
	p.reverse = httputil.ReverseProxy{
		Rewrite:      p.rewrite,
		Transport:    r,
		BufferPool:   &bufferPool{},
		ErrorHandler: p.fail,
		ErrorLog:     errorLog,
		ModifyResponse: func(res *http.Response) error {
			delete(res.Header, markerHeader) // never the app's to set
			closeEarly(res.Request, res.Header)
			return nil
		},
	}
	return p
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if len(p.key) > 0 {
		given := r.Header[edgeHeader]
		if len(given) != 1 || subtle.ConstantTimeCompare([]byte(given[0]), p.key) != 1 {
			http.Error(w, "this port is the edge's", http.StatusForbidden)
			return
		}
	}
	p.rest.end()
	p.traffic.requests.Add(1)
	p.traffic.inFlight.Add(1)
	defer func() {
		p.traffic.last.Store(time.Now().UnixNano())
		p.traffic.inFlight.Add(-1)
	}()
	if r.ContentLength >= 0 && r.ContentLength <= smallBody {
		p.reverse.ServeHTTP(w, r)
		return
	}
	p.serveLong(w, r)
}

// serveLong lets an app answer while the request's body still comes: a Go
// server otherwise reads all of it before it sends an answer.
func (p *proxy) serveLong(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex() // an answer then waits, which is no loss
	body := &clientBody{ReadCloser: r.Body}
	body.left.Store(r.ContentLength)
	r = r.WithContext(context.WithValue(r.Context(), clientBodyKey{}, body))
	r.Body = body
	p.reverse.ServeHTTP(w, r)
	if !body.ended.Load() {
		linger(rc, body)
	}
}

const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 64 << 20
)

// linger takes in what the client still sends after an early answer, for a
// while: a connection closed over unread data is reset, and a reset can reach
// the client before it read the answer.
func linger(rc *http.ResponseController, body io.Reader) {
	_ = rc.Flush()
	_ = rc.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, body, lingerBytes)
	_ = rc.SetReadDeadline(time.Now()) // ends a read that nobody waits for
}

// clientBody is a request's body that knows whether all of it was read. Closing
// it is left to the server: what is left of it may have to be taken in.
type clientBody struct {
	io.ReadCloser
	left  atomic.Int64 // bytes; negative if not known
	ended atomic.Bool
}

type clientBodyKey struct{}

func (b *clientBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	// Noted before the app gets the last bytes, hence before it can answer to them.
	if left := b.left.Load(); err == io.EOF || (left >= 0 && b.left.Add(-int64(n)) <= 0) {
		b.ended.Store(true)
	}
	return n, err
}

// Close leaves the body open.
func (b *clientBody) Close() error { return nil }

// closeEarly announces, on an answer that came before the request's end, that
// no other request can follow on the client's connection.
func closeEarly(r *http.Request, answer http.Header) {
	if b, ok := r.Context().Value(clientBodyKey{}).(*clientBody); ok && !b.ended.Load() {
		answer.Set("Connection", "close")
	}
}

// rewrite passes a request on as it came, but for the edge's key. What it says
// of the client is believed only from the edge.
func (p *proxy) rewrite(pr *httputil.ProxyRequest) {
	out := pr.Out
	out.URL.Scheme = "http"
	out.URL.Host = out.Host
	out.URL.RawQuery = pr.In.URL.RawQuery // also one that Go cannot parse
	delete(out.Header, edgeHeader)
	delete(out.Header, "Expect") // the server here tells the client to go on as the body is read
	if len(p.key) == 0 {
		pr.SetXForwarded()
		return
	}
	for _, name := range forwardedHeaders {
		if v, ok := pr.In.Header[name]; ok {
			out.Header[name] = v
		}
	}
}

func (p *proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	phase := p.router.now.Load().phase
	closeEarly(r, w.Header())
	switch {
	case errors.Is(err, context.Canceled) && r.Context().Err() != nil:
		w.WriteHeader(http.StatusBadGateway) // nobody reads it
		return
	case errors.Is(err, errNoApp), errors.Is(err, errRefused):
		switch phase {
		case Waiting:
		case Asleep: // on its way up, but not in time
			phase = Starting
		default:
			phase = Failing
		}
		w.Header().Set(markerHeader, phase)
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the app is not available right now", http.StatusServiceUnavailable)
	default:
		w.Header().Set(markerHeader, Failing)
		http.Error(w, "the app did not answer", http.StatusBadGateway)
	}
}

// bufferPool lends ReverseProxy its copy buffers.
type bufferPool struct{ pool sync.Pool }

const copyBuffer = 16 << 10 // bytes

func (b *bufferPool) Get() []byte {
	if p, ok := b.pool.Get().(*[copyBuffer]byte); ok {
		return p[:]
	}
	return new([copyBuffer]byte)[:]
}

func (b *bufferPool) Put(p []byte) {
	if len(p) == copyBuffer {
		b.pool.Put((*[copyBuffer]byte)(p))
	}
}

// discard is where a server's chatter about broken clients goes.
func discard() *log.Logger { return log.New(io.Discard, "", 0) }
