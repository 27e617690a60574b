package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gitopsd/gitopsd/internal/release"
)

const (
	headerTimeout = 30 * time.Second
	// idleTimeout of public connections is longer than the edge keeps them, so
	// that the edge, which knows what is in flight, is the one to close them.
	idleTimeout = 5 * time.Minute
	// lastAnswers is for the control port's clients, when all else has ended.
	lastAnswers = 2 * time.Second
)

// Agent is a tenant's reloader.
type Agent struct {
	cfg     Config
	log     *slog.Logger
	lock    *os.File // on the local directory
	output  *logFile
	starter *starter
	public  net.Listener
	private net.Listener
	super   *supervisor
	proxy   *proxy
	control *control
	rest    *rest
	ended   chan struct{}
}

// New claims the local directory and both ports. End the agent with Run.
func New(cfg Config, log *slog.Logger) (_ *Agent, err error) {
	if cfg, err = cfg.complete(); err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, log: log.With("tenant", cfg.Tenant, "instance", cfg.Instance), ended: make(chan struct{})}
	defer func() {
		if err != nil {
			a.release()
		}
	}()
	if a.lock, err = claim(cfg.Local); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(filepath.Join(cfg.Local, "run")); err != nil {
		return nil, fmt.Errorf("clear local directory: %w", err)
	}
	vol := release.Open(cfg.Volume)
	bin, err := newBinaries(filepath.Join(cfg.Local, "bin"), vol)
	if err != nil {
		return nil, fmt.Errorf("clear local directory: %w", err)
	}
	var also io.Writer
	if cfg.Stdout {
		also = os.Stdout
	}
	if a.output, err = openLog(filepath.Join(cfg.Local, "app.log"), also); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if a.public, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, fmt.Errorf("public port: %w", err)
	}
	if a.private, err = net.Listen("tcp", cfg.Control); err != nil {
		return nil, fmt.Errorf("control port: %w", err)
	}
	if a.starter, err = newStarter(); err != nil {
		return nil, err
	}
	ring := make(chan struct{}, 1)
	router, traffic := newRouter(time.Duration(cfg.Hold), time.Duration(cfg.StartTimeout)), &traffic{}
	a.rest = newRest(traffic, cfg.alone)
	a.super = &supervisor{
		cfg: cfg, vol: vol, router: router, traffic: traffic, board: newBoard(), ring: ring, log: a.log,
		launcher: &launcher{
			cfg: cfg, vol: vol, starter: a.starter, binaries: bin, log: a.output, rest: a.rest,
			oom: watchOOM(cfg.Limits.Groups, cfg.hidden),
		},
	}
	a.proxy = newProxy(cfg.EdgeKey, router, traffic, discard())
	a.proxy.rest = a.rest
	a.control = &control{
		key: []byte(cfg.ControlKey), board: a.super.board, ring: ring, ended: a.ended,
		inFlight: a.proxy.traffic.inFlight.Load,
	}
	return a, nil
}

// claim makes the local directory this agent's: two would delete each other's files.
func claim(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make local directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("claim local directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("claim local directory %s: another agent has it: %w", dir, err)
	}
	return f, nil
}

// Addr returns the address of the public port, Control that of the agent's own.
func (a *Agent) Addr() net.Addr { return a.public.Addr() }

// Control returns the address of the port with /-/runtime, /-/app and /-/ring.
func (a *Agent) Control() net.Addr { return a.private.Addr() }

// Run serves until ctx ends and some, if configured, then lets what is in flight
// finish and stops the app. It returns an error only if a port failed.
func (a *Agent) Run(ctx context.Context) error {
	defer a.release()
	told := ctx
	ctx, cancel := context.WithCancel(context.WithoutCancel(told))
	defer cancel()
	defer context.AfterFunc(told, func() {
		a.control.stopping.Store(true)
		time.AfterFunc(time.Duration(a.cfg.Linger), cancel)
	})()
	broken := make(chan error, 2)
	public := &http.Server{
		Handler: a.proxy, ErrorLog: discard(), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
	}
	private := &http.Server{
		Handler: a.control, ErrorLog: discard(), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
	}
	serve := func(s *http.Server, l net.Listener) {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			broken <- fmt.Errorf("serve %s: %w", l.Addr(), err)
			cancel()
		}
	}
	go serve(public, a.public)
	go serve(private, a.private)
	go a.starter.reapOrphans(ctx)
	go a.rest.run(ctx)
	a.log.Info("agent runs", "listen", a.public.Addr().String(), "control", a.private.Addr().String())

	a.super.run(ctx)

	a.control.stopping.Store(true)
	a.drain(public)
	a.super.stop()
	close(a.ended)
	last, done := context.WithTimeout(context.Background(), lastAnswers)
	defer done()
	if private.Shutdown(last) != nil {
		private.Close()
	}
	a.log.Info("agent stopped")
	select {
	case err := <-broken:
		return err
	default:
		return nil
	}
}

// drain closes the public port and waits, up to the deadline, until every
// request that came in has its answer.
func (a *Agent) drain(public *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(a.cfg.Drain))
	defer cancel()
	public.SetKeepAlivesEnabled(false)
	if public.Shutdown(ctx) != nil {
		a.log.Warn("requests outlasted the drain deadline", "inFlight", a.proxy.traffic.inFlight.Load())
	}
	// Shutdown does not wait for connections that switched protocols.
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for a.proxy.traffic.inFlight.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// release gives back what New claimed.
func (a *Agent) release() {
	if a.starter != nil {
		a.starter.close()
	}
	for _, l := range []net.Listener{a.public, a.private} {
		if l != nil {
			l.Close()
		}
	}
	if a.output != nil {
		a.output.close()
	}
	if a.lock != nil {
		a.lock.Close()
	}
}
