package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/console/consoletest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gitopsd": main})
}

// TestScripts runs the command line as a user does. With -update, what the
// scripts compare with is written anew.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               func(e *testscript.Env) error { return isolate(e) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"daemon": startDaemon,
			"code":   wantCode,
		},
	})
}

var update = flag.Bool("update", false, "write the expected output anew")

// isolate keeps the scripts away from the user's own settings.
func isolate(e *testscript.Env) error {
	config := filepath.Join(e.WorkDir, ".gitconfig")
	e.Setenv("GIT_CONFIG_GLOBAL", config)
	e.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	e.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(e.WorkDir))
	e.Setenv("TZ", "UTC")
	return os.WriteFile(config, []byte("[user]\n\tname = Ann\n\temail = ann@example.com\n[init]\n\tdefaultBranch = main\n"), 0o600)
}

// wantCode runs gitopsd and wants an exit code: code 2 gitopsd validate.
func wantCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command [arguments]")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	if err != nil {
		_, code, _ = strings.Cut(err.Error(), "exit status ")
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s (%v)", code, args[0], err)
	}
}

// startDaemon serves the API in a named state, and lets the script find it as
// people do: by the data directory.
func startDaemon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || states()[args[0]] == nil {
		ts.Fatalf("usage: daemon state")
	}
	world := consoletest.New(states()[args[0]](time.Now()))
	stop, err := serveWorld(world, ts.MkAbs(".gitopsd"), "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(stop)
}

// serveWorld serves the API, with a loop that carries out what is approved.
func serveWorld(world *consoletest.World, data, addr string) (stop func(), err error) {
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, err
	}
	server, err := console.New(console.Config{
		Ledger: world, Platform: world, Loop: world, Secrets: world,
		Addr: addr, Data: data, Domain: "localhost", Edge: "127.0.0.1:8080", Brake: brake,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx) }()
	go carryOut(ctx, world)
	return func() {
		cancel()
		if err := <-done; err != nil {
			panic(err) // a server that was told to end does so
		}
	}, nil
}
