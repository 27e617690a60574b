package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/gitopsd/gitopsd/internal/edge"
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

// edgeCmd serves the tenants, likewise as a process of its own.
type edgeCmd struct {
	Config string `help:"Configuration file (JSON)." required:"" type:"existingfile"`
}

// Run serves until it is told to stop.
func (e *edgeCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := edge.LoadConfig(e.Config)
	if err != nil {
		return err
	}
	return edge.Run(ctx, c)
}
