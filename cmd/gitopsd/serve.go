package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/gitopsd/gitopsd/internal/edge"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/local/dns"
)

// dnsCmd serves the tenants' SRV records. The daemon starts it as a process of
// its own, so that it outlives the daemon.
type dnsCmd struct {
	Dir  string `help:"Directory of record files." required:""`
	Addr string `help:"Address to answer on." required:""`
}

// Run serves until it is told to stop.
func (d *dnsCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return dns.Serve(ctx, dns.Config{Dir: d.Dir, Addr: d.Addr})
}

// edgeCmd serves the tenants, likewise as a process of its own; without a file, as
// the edge of a cell of AWS, which its container's environment describes.
type edgeCmd struct {
	Config string `help:"Configuration file (JSON); a cell's edge needs none." type:"existingfile"`
}

// Run serves until it is told to stop.
func (e *edgeCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if e.Config == "" {
		c, err := cellEdge(os.LookupEnv)
		if err != nil {
			return err
		}
		return edge.Run(ctx, c)
	}
	c, err := edge.LoadConfig(e.Config)
	if err != nil {
		return err
	}
	return edge.Run(ctx, c)
}

// cellEdge returns the configuration of a cell's edge: behind CloudFront and a load
// balancer, with routes that the control plane writes to the cell's file system.
func cellEdge(lookup func(string) (string, bool)) (edge.Config, error) {
	values := map[string]string{envDomain: "", envVolumes: "", envOriginSecret: ""}
	for name := range values {
		value, _ := lookup(name)
		if value == "" {
			return edge.Config{}, fault.Errorf(fault.Invalid, "there is no %s", name).
				WithHint("a cell's edge is told by its container; any other needs a file: gitopsd edge --config")
		}
		values[name] = value
	}
	return edge.Config{
		Addr: ":8080", Admin: "127.0.0.1:8081", DNS: edge.SystemDNS, AccessLog: edge.Stdout, Domain: values[envDomain],
		Routes: filepath.Join(values[envVolumes], ".edge", "routes"), Secret: values[envOriginSecret], Origin: true, Remote: true,
	}, nil
}
