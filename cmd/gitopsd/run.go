package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"gopkg.in/yaml.v3"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// runCmd is the daemon for a service manager: configured by a file, logging
// JSON. When it stops, what it started goes on serving.
type runCmd struct {
	Config string `help:"Configuration file (YAML)." short:"c" required:"" type:"existingfile"`
}

// Run works until it is told to stop.
func (r *runCmd) Run() error {
	c, err := readConfig(r.Config)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	d := newDaemon(c, log)
	defer d.Close()
	if err := d.open(ctx, func(text string) { log.Info("starting", "progress", text) }); err != nil {
		return err
	}
	log.Info("up", "repo", c.Repo, "branch", c.Branch, "edge", c.EdgeAddr, "console", d.console.URL())
	return d.Run(ctx)
}

// unknownKey is what the YAML library says of a key that config has no field for.
var unknownKey = regexp.MustCompile(`field (\S+) not found in type \S+`)

// readConfig reads a configuration file over the defaults.
func readConfig(path string) (config, error) {
	c := defaults()
	f, err := os.Open(path)
	if err != nil {
		return c, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	decoder := yaml.NewDecoder(f)
	decoder.KnownFields(true)
	if err := decoder.Decode(&c); err != nil {
		var typeErr *yaml.TypeError
		if errors.As(err, &typeErr) {
			return c, fault.Errorf(fault.Invalid, "%s: %s", path, unknownKey.ReplaceAllString(typeErr.Errors[0], `unknown key "$1"`)).
				WithHint("docs/config.md lists the keys")
		}
		return c, fault.Errorf(fault.Invalid, "%s: %w", path, err)
	}
	return c, nil
}
