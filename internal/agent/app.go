package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gitopsd/gitopsd/internal/release"
)

const (
	firstProbe   = 2 * time.Millisecond   // between the first two health checks
	slowestProbe = 250 * time.Millisecond // between two later ones
	probeTimeout = 5 * time.Second        // of one check
	portTries    = 3                      // when another process was faster to take the port
)

// build is a release as the agent needs it to run it.
type build struct {
	digest   string
	manifest release.Manifest
}

// app is one process of the tenant's app.
type app struct {
	build
	pointer  release.Pointer
	settings string // digest of the environment file it was started with
	proc     *process
	up       *upstream
	fixed    bool // it listens on a port of its own choice: no other can beside it
	out      *tail
	memory   int64    // its limit, in bytes; 0 for none
	oom      oomWatch // and what that counted before the start
	oomKills uint64
	drop     func() // gives up its directory and its copy of the binary

	inFlight atomic.Int64
	retired  atomic.Bool
	idle     chan struct{} // told when a retired app has nothing in flight
}

// leave is the end of a request to the app.
func (a *app) leave() {
	if a.inFlight.Add(-1) == 0 && a.retired.Load() {
		select {
		case a.idle <- struct{}{}:
		default:
		}
	}
}

// retire waits until a replaced app has nothing in flight (the deadline, or
// cut, ends the waiting), then stops it and removes what it left.
func (a *app) retire(drain, grace time.Duration, cut <-chan struct{}) {
	a.retired.Store(true)
	timer := time.NewTimer(drain)
	defer timer.Stop()
	for waiting := true; waiting && a.inFlight.Load() > 0; {
		select {
		case <-a.idle:
		case <-a.proc.exited:
			waiting = false
		case <-timer.C:
			waiting = false
		case <-cut:
			waiting = false
		}
	}
	a.up.close()
	a.proc.stop(grace)
	a.drop()
}

// launcher starts apps.
type launcher struct {
	cfg      Config
	vol      *release.Volume
	starter  *starter
	binaries *binaries
	log      *logFile
	oom      oomWatch
	rest     *rest
	serial   atomic.Uint64
}

// startError is a start that failed, with the app's last words.
type startError struct {
	err  error
	text string // of err, without secrets
	tail []string
}

func (e *startError) Error() string { return e.text }
func (e *startError) Unwrap() error { return e.err }

// errAnswer is a health check with another answer than 200.
var errAnswer = errors.New("it answered")

// errPortTaken is an app that lost its port before it could listen.
var errPortTaken = errors.New("port was taken")

// launch returns an app that answered its health check. b is what the pointer
// names if that is known already; else the volume is asked.
func (l *launcher) launch(ctx context.Context, p release.Pointer, b *build) (*app, error) {
	l.rest.work()
	b, path, err := l.fetch(ctx, p, b)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		a, err := l.try(ctx, p, *b, path)
		if err == nil {
			return a, nil
		}
		if !errors.Is(err, errPortTaken) || try == portTries {
			l.binaries.drop(b.digest)
			return nil, err
		}
	}
}

const (
	// fetchTime is how long a release is looked for: what another host wrote may
	// be here in part, or not yet, and a look may meet a rename.
	fetchTime  = 3 * time.Second
	firstFetch = 20 * time.Millisecond // between the first two tries
	lastFetch  = 500 * time.Millisecond
)

// fetch has a verified local copy of a release.
func (l *launcher) fetch(ctx context.Context, p release.Pointer, b *build) (*build, string, error) {
	deadline := time.Now().Add(fetchTime)
	for pause := firstFetch; ; pause = min(2*pause, lastFetch) {
		have, path, err := l.fetchOnce(p, b)
		if err == nil || time.Now().Add(pause).After(deadline) {
			return have, path, err
		}
		select {
		case <-ctx.Done():
			return nil, "", err
		case <-time.After(pause):
		}
	}
}

func (l *launcher) fetchOnce(p release.Pointer, b *build) (*build, string, error) {
	if b == nil {
		m, err := l.vol.Manifest(p.SHA256)
		if err != nil {
			return nil, "", err
		}
		b = &build{digest: p.SHA256, manifest: m}
	}
	path, err := l.binaries.hold(b.digest, b.manifest.Binary)
	return b, path, err
}

// try starts the app once and sees it healthy. The caller holds the binary.
func (l *launcher) try(ctx context.Context, p release.Pointer, b build, path string) (_ *app, err error) {
	dir := filepath.Join(l.cfg.Local, "run", strconv.FormatUint(l.serial.Add(1), 10))
	home, tmp := filepath.Join(l.cfg.Local, "home"), filepath.Join(dir, "tmp")
	for _, d := range []string{home, tmp} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("start app: %w", err)
		}
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	file, err := l.cfg.settings()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, fmt.Errorf("start app: %w", err)
	}
	env, err := environment(b.manifest, file, map[string]string{
		"PORT": port, "TENANT": l.cfg.Tenant, "RELEASE": b.digest, "COMMIT": p.Commit,
		"TMPDIR": tmp, "HOME": home, "PATH": searchPath,
	})
	if err != nil {
		return nil, err
	}
	a := &app{
		build: b, pointer: p, settings: file.digest, out: &tail{}, idle: make(chan struct{}, 1),
		up:     newUpstream(net.JoinHostPort("127.0.0.1", port)),
		memory: l.cfg.Limits.Memory, oom: l.oom, oomKills: l.oom.count(),
	}
	a.drop = sync.OnceFunc(func() {
		_ = os.RemoveAll(dir)
		l.binaries.drop(b.digest)
	})
	mask := maskOf(file.values)
	a.proc, err = l.starter.start(path, home, env, l.cfg.Limits, func(line string) {
		line = mask.Replace(line)
		a.out.add(line)
		l.log.line(b.digest, line)
	})
	if err != nil {
		return nil, fmt.Errorf("start app: %w", err)
	}
	if err := a.awaitHealthy(ctx, time.Duration(l.cfg.StartTimeout)); err != nil {
		a.up.close()
		a.proc.signal(syscall.SIGKILL)
		<-a.proc.exited
		// The reason may quote the app's own answer.
		return nil, &startError{err: err, text: mask.Replace(err.Error()), tail: a.out.snapshot()}
	}
	return a, nil
}

// freePort returns a port of 127.0.0.1 that nobody listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// awaitHealthy asks until the app answers 200, at growing intervals.
func (a *app) awaitHealthy(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	last := errors.New("it was not asked yet")
	for pause := firstProbe; ; pause = min(pause*5/4, slowestProbe) {
		timer := time.NewTimer(pause)
		select {
		case <-a.proc.exited:
			timer.Stop()
			return a.earlyExit()
		case <-ctx.Done():
			timer.Stop()
			return a.unhealthy(ctx, timeout, last)
		case <-timer.C:
		}
		err := a.probe(ctx)
		if err == nil {
			return a.confirm()
		}
		if pause == slowestProbe && errors.Is(err, errRefused) {
			a.follow()
		}
		// An answer, once there was one, tells more than that the time was over.
		if ctx.Err() == nil && !(errors.Is(last, errAnswer) && timedOut(err)) {
			last = err
		}
	}
}

// follow goes to where an app that takes no notice of PORT listens instead. An
// app with several ports is left alone: which is meant cannot be known.
func (a *app) follow() {
	ports := listensOn(a.proc.pid)
	if len(ports) != 1 {
		return
	}
	addr := net.JoinHostPort("127.0.0.1", ports[0])
	if addr == a.up.addr {
		return
	}
	a.up.close()
	a.up, a.fixed = newUpstream(addr), true
}

func timedOut(err error) bool {
	e := net.Error(nil)
	return errors.As(err, &e) && e.Timeout()
}

func (a *app) unhealthy(ctx context.Context, timeout time.Duration, last error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Canceled
	}
	return fmt.Errorf("GET %s did not answer 200 within %s: %w", a.healthPath(), timeout, last)
}

func (a *app) earlyExit() error {
	err := errors.New(a.ending("before it was healthy"))
	for _, line := range a.out.snapshot() {
		if strings.Contains(line, "address already in use") {
			return fmt.Errorf("%w: %w", err, errPortTaken)
		}
	}
	return err
}

// confirm makes sure that it was the app that answered: another process may
// have taken the port first.
func (a *app) confirm() error {
	select {
	case <-a.proc.exited:
		return a.earlyExit()
	default:
	}
	_, port, err := net.SplitHostPort(a.up.addr)
	if err != nil {
		return err
	}
	if !ownListener(port) {
		return fmt.Errorf("port %s is another user's: %w", port, errPortTaken)
	}
	return nil
}

func (a *app) healthPath() string {
	if a.manifest.Health == "" {
		return "/"
	}
	return a.manifest.Health
}

// probe asks once.
func (a *app) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	path, err := url.ParseRequestURI(a.healthPath())
	if err != nil {
		return fmt.Errorf("health path: %w", err)
	}
	req := (&http.Request{
		Method: http.MethodGet, URL: path, Host: a.up.addr, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": {"gitopsd-agent"}},
	}).WithContext(ctx)
	res, err := a.up.roundTrip(req, func() {})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%w %s", errAnswer, res.Status)
	}
	_, err = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
