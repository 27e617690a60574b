package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// upCmd runs the whole platform on this machine, for the repository around it.
type upCmd struct {
	Repo        string `help:"Repository to follow: a path or a URL." default:"."`
	Branch      string `help:"Branch to follow." default:"main"`
	Data        string `help:"Directory for everything that is kept." default:".gitopsd" type:"path"`
	Domain      string `help:"Domain under which each tenant has a host." default:"localhost"`
	EdgeAddr    string `help:"Address that serves the tenants." default:"127.0.0.1:8080"`
	EdgeTLSAddr string `help:"Address that serves the tenants by TLS; none by default." name:"edge-tls-addr" placeholder:"HOST:PORT"`
	ConsoleAddr string `help:"Address of the console and API." default:"127.0.0.1:8090"`
	BuildCache  string `help:"Directory for compiled packages, to share one; below the data directory by default." type:"path" placeholder:"DIR"`
	AllowFile   bool   `help:"Let every tenant's file name repositories of this machine (file:///…)." name:"allow-file-sources"`
	Verbose     bool   `help:"Show the log, not only progress." short:"v"`
}

// Run works until it is interrupted, then stops all it started.
func (u *upCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := defaults()
	c.Repo, c.Branch, c.Data, c.Domain = u.Repo, u.Branch, u.Data, u.Domain
	c.EdgeAddr, c.ConsoleAddr, c.BuildCache = u.EdgeAddr, u.ConsoleAddr, u.BuildCache
	c.EdgeTLS.Addr, c.AllowFileSources = u.EdgeTLSAddr, u.AllowFile
	log, closeLog, err := u.logger(c.Data)
	if err != nil {
		return err
	}
	defer closeLog()
	view := &progressView{out: os.Stderr, config: c, since: time.Now(), shown: map[string]string{}}
	begin := time.Now()
	served := answers(c.EdgeAddr)
	d := newDaemon(c, log)
	defer d.Close()
	if err = d.open(ctx, view.line); err == nil {
		view.started(time.Since(begin), d.mirror.Repository(), d.console.URL())
		go view.follow(ctx, d)
		err = d.Run(ctx)
		if served = err != nil && ctx.Err() == nil; served {
			view.line("tenants go on being served; gitopsd up takes them up again")
		}
	}
	stop() // a second interrupt ends the program at once
	if served {
		return err // what is left serving goes on
	}
	view.line("stopping")
	down, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if stopErr := d.shutdown(down, view.line); err == nil {
		err = stopErr
	}
	return err
}

// answers reports whether something listens on the address.
func answers(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// logger writes the daemon's log to a file in the data directory, and with
// --verbose to the terminal.
func (u *upCmd) logger(data string) (*slog.Logger, func(), error) {
	if u.Verbose {
		return slog.New(slog.NewTextHandler(os.Stderr, nil)), func() {}, nil
	}
	dir := filepath.Join(data, "logs")
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, nil, fmt.Errorf("make log directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "gitopsd.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open log: %w", err)
	}
	return slog.New(slog.NewJSONHandler(f, nil)), func() { f.Close() }, nil
}

// progressView tells the person at the terminal what happens.
type progressView struct {
	out    io.Writer
	config config
	since  time.Time         // what was over before is not shown
	shown  map[string]string // commit, or commit and tenant → last line about it
}

func (v *progressView) line(text string) { fmt.Fprintln(v.out, "  "+text) }

func (v *progressView) started(took time.Duration, repo, consoleURL string) {
	fmt.Fprintf(v.out, "gitopsd is up (%.1f s): tenants at http://<name>.%s%s/, API at %s\n",
		took.Seconds(), v.config.Domain, port(v.config.EdgeAddr), consoleURL)
	fmt.Fprintf(v.out, "every commit to %s of %s that touches tenants/ is made real; Ctrl-C stops it all\n", v.config.Branch, repo)
}
