package edge

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// register makes the edge's modules known to Caddy, whose registry is the
// process's: once.
var register = sync.OnceFunc(func() {
	for _, m := range []caddy.Module{&app{}, &frontHandler{}, &gateHandler{}, &upstreams{}, &again{}, &permission{}} {
		caddy.RegisterModule(m)
	}
})

// settleFor bounds how long the first answers of the DNS are waited for before
// the first request is taken.
const settleFor = 3 * time.Second

// app is the running edge, as the Caddy app that its handlers find: gitopsd.
type app struct {
	Config

	log         *slog.Logger
	table       *table
	resolver    *resolver
	watcher     *watcher
	access      *accessLog
	front       *front
	gate        *gate
	connections connections

	stop    context.CancelFunc
	work    sync.WaitGroup
	started bool
}

// CaddyModule returns the module's information.
func (*app) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "gitopsd", New: func() caddy.Module { return new(app) }}
}

// appOf returns the edge of a Caddy configuration.
func appOf(ctx caddy.Context) (*app, error) {
	a, err := ctx.App("gitopsd")
	if err != nil {
		return nil, err
	}
	return a.(*app), nil
}

// Provision reads the routes and their instances. It takes no request yet.
func (a *app) Provision(caddy.Context) error {
	if err := a.validate(); err != nil {
		return err
	}
	a.log = slog.Default()
	secret, err := a.readSecret()
	if err != nil {
		return err
	}
	a.table = newTable(a.Domain, a.Limits, a.log)
	servers, err := nameServers(a.DNS)
	if err != nil {
		return err
	}
	a.resolver = newResolver(servers, a.log)
	if a.access, err = openAccessLog(a.AccessLog, a.log); err != nil {
		return err
	}
	a.front = &front{table: a.table, access: a.access, log: a.log}
	if a.TLS != nil && a.TLS.Redirect {
		a.front.redirect = a.TLS.redirect
	}
	if !a.Origin {
		if a.front.cdn, err = newCDN(a.table, secret, a.log); err != nil {
			return err
		}
	}
	a.gate = newGate(a.table, secret, a.Origin)
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	a.work.Go(func() { a.resolver.run(ctx) })
	if a.watcher, err = newWatcher(a.Routes, a.Remote, a.table, a.resolver, a.log); err != nil {
		return err
	}
	a.work.Go(func() { a.watcher.run(ctx) })
	settle, cancel := context.WithTimeout(ctx, settleFor)
	defer cancel()
	a.resolver.settled(settle)
	return nil
}

// Start begins nothing that Provision did not: requests come by the server.
func (a *app) Start() error { a.started = true; return nil }

// Stop leaves all running: requests may still be on their way. Run closes.
func (a *app) Stop() error { return nil }

// Cleanup closes an edge that never started.
func (a *app) Cleanup() error {
	if !a.started {
		a.close()
	}
	return nil
}

func (a *app) close() {
	if a.stop != nil {
		a.stop()
	}
	a.work.Wait()
	if a.watcher != nil {
		a.watcher.close()
	}
	if a.access != nil {
		a.access.close()
	}
}

// connections knows the server's open connections, so that the process can
// wait until the last answer has left.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
}

func (c *connections) track(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew, http.StateClosed, http.StateHijacked:
	default:
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[net.Conn]struct{}{}
	}
	if state == http.StateNew {
		c.open[conn] = struct{}{}
	} else {
		delete(c.open, conn)
	}
}

func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// drained waits until all connections are closed, and says how many were not
// when the time was over.
func (c *connections) drained(limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for n := c.count(); n > 0; n = c.count() {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d connections still open after %s", n, limit)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}
