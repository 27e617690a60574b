package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	// The modules that the configuration names.
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode/gzip"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode/zstd"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/caddypki"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Run serves until ctx ends, then lets what is under way finish, for at most
// 10 s. An address that is taken is fault.Conflict. One process runs one edge.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	// The status endpoint is bound first and by nobody else, so two edges of
	// one configuration cannot share the port of the requests: Caddy would.
	admin, err := listen(cfg.Admin)
	if err != nil {
		return err
	}
	defer func() { _ = admin.Close() }()
	addrs := []string{cfg.Addr}
	if cfg.TLS != nil {
		addrs = append(addrs, cfg.TLS.Addr)
	}
	for _, addr := range addrs {
		probe, err := listen(addr)
		if err != nil {
			return err
		}
		_ = probe.Close()
	}

	if os.Getenv("GOGC") == "" {
		// The table lives as long as the process and requests leave only young
		// garbage: collecting less often takes a tenth off a request's cost and
		// adds some tens of MB.
		defer debug.SetGCPercent(debug.SetGCPercent(400))
	}
	a, err := start(cfg)
	if err != nil {
		return err
	}
	status := a.status()
	failed := make(chan error, 1)
	go func() { failed <- status.Serve(admin) }()
	tenants, ready := a.table.size()
	a.log.Info("edge is serving", "addr", cfg.Addr, "admin", cfg.Admin, "tenants", tenants, "instances", ready)

	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("edge status endpoint: %w", err)
	}
	if stopErr := caddy.Stop(); stopErr != nil { // closes the listener and idle connections, and waits for nothing
		err = errors.Join(err, fmt.Errorf("stop edge: %w", stopErr))
	}
	if late := a.connections.drained(drainTimeout); late != nil {
		a.log.Warn("edge stops before all is answered", "error", late)
	}
	_ = status.Close()
	a.close()
	return err
}

// start loads the configuration into the process's Caddy.
func start(cfg Config) (*app, error) {
	register()
	if a, err := running(); err != nil || a != nil {
		return nil, fault.Errorf(fault.Conflict, "this process already runs an edge")
	}
	raw, err := caddyConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("edge configuration: %w", err)
	}
	if err := caddy.Load(raw, true); err != nil {
		return nil, fmt.Errorf("start edge: %w", err)
	}
	a, err := running()
	if err != nil {
		return nil, fmt.Errorf("start edge: %w", err)
	}
	if a == nil {
		return nil, errors.New("start edge: another configuration took its place")
	}
	return a, nil
}

// running returns the process's edge, or nil.
func running() (*app, error) {
	ctx := caddy.ActiveContext()
	if ctx.Context == nil {
		return nil, nil
	}
	v, err := ctx.AppIfConfigured("gitopsd")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return v.(*app), nil
}

func listen(addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fault.Errorf(fault.Conflict, "edge: %s is taken by another process: %w", addr, err).
			WithHint("stop what listens on %s, or choose another address", addr)
	}
	if err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	return ln, nil
}
