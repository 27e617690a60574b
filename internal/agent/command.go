package agent

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// Main runs an agent as a process: until SIGTERM or SIGINT.
func Main(args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("gitopsd-agent", flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("config", "", "`file` with the configuration (JSON, mode 0600)")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case *path == "":
		return errors.New("-config is needed")
	}
	cfg, err := Load(*path)
	if err != nil {
		return err
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
