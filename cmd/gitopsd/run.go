package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// runCmd is the daemon for a service manager: configured by a file, logging
// JSON. When it stops, what it started goes on serving.
type runCmd struct {
	Config string `help:"Configuration file (YAML); what runs in a cell needs none." short:"c" type:"existingfile" env:"GITOPSD_CONFIG"`
}

// Run works until it is told to stop.
func (r *runCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := configure(ctx, r.Config)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	d := newDaemon(c, log)
	defer d.Close()
	if err := d.open(ctx, func(text string) { log.Info("starting", "progress", text) }); err != nil {
		return err
	}
	log.Info("up", "repo", c.Repo, "branch", c.Branch, "edge", c.EdgeAddr, "console", d.console.URL())
	return d.Run(ctx)
}
