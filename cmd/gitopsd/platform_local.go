package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/local"
)

var (
	_ driver  = (*local.Driver)(nil)
	_ stopper = (*local.Driver)(nil)
)

// openLocal makes the platform on this machine; the ledger is in its Postgres.
func (d *daemon) openLocal(ctx context.Context, progress func(string)) (err error) {
	if d.Data, err = dataDir(d.Data, progress); err != nil {
		return err
	}
	self, agent, err := binaries()
	if err != nil {
		return err
	}
	secure, limits := d.localEdge()
	l, err := local.Open(ctx, local.Config{
		Dir: d.Data, Domain: d.Domain, EdgeAddr: d.EdgeAddr, EdgeTLS: secure, EdgeLimits: limits, Self: self, Agent: agent,
		Logger: d.log, Progress: progress,
	})
	if err != nil {
		return err
	}
	d.platform, d.database = l, database{url: l.LedgerURL()}
	return nil
}

// binaries returns this program and the agent, which is built beside it.
func binaries() (self, agent string, err error) {
	if self, err = os.Executable(); err != nil {
		return "", "", fmt.Errorf("find this program: %w", err)
	}
	agent = filepath.Join(filepath.Dir(self), "gitopsd-agent")
	if _, err := os.Stat(agent); err != nil {
		return "", "", fault.Errorf(fault.Invalid, "gitopsd-agent is not beside %s", self).
			WithHint("build both with: make build")
	}
	return self, agent, nil
}

// dataDir makes the data directory and returns where it really is.
func dataDir(dir string, progress func(string)) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find data directory: %w", err)
	}
	if abs, err = local.Place(abs, progress); err != nil {
		return "", fmt.Errorf("place data directory: %w", err)
	}
	if err := os.MkdirAll(abs, 0o711); err != nil {
		return "", fmt.Errorf("make data directory: %w", err)
	}
	return abs, nil
}
