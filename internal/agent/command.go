package agent

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// Main runs an agent as a process: until SIGTERM or SIGINT. Its configuration
// is a file's, or else that of its environment.
func Main(args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("gitopsd-agent", flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("config", "", "`file` with the configuration (JSON, mode 0600); without one, it is in the environment")
	checking := flags.Bool("check", false, "ask the agent that runs whether it is well, and end")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case flags.NArg() > 0:
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	load := func() (Config, error) { return FromEnvironment(os.Environ()) }
	if *path != "" {
		load = func() (Config, error) { return Load(*path) }
	}
	cfg, err := load()
	if err != nil {
		return err
	}
	if *checking {
		return check(cfg.Control)
	}
	cfg.alone = true
	if cfg.hidden {
		if err := hide(); err != nil {
			return fmt.Errorf("keep the environment from the app: %w", err)
		}
	}
	// Whoever reads stderr may go away; that is no reason for the agent to. Not
	// ignored but caught: the app must not inherit it.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	a, err := New(cfg, slog.New(slog.NewTextHandler(stderr, nil)))
	if err != nil {
		return err
	}
	return a.Run(ctx)
}
