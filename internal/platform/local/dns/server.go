package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// rescan is how often the directory is read whole, for changes of which the
// watch did not tell.
const rescan = 2 * time.Second

// Config configures the server.
type Config struct {
	Dir    string       // of the tenants' records
	Addr   string       // host:port, for UDP and TCP
	Logger *slog.Logger // nil: slog's default
}

// Serve answers until ctx is done, which is no error.
func Serve(ctx context.Context, c Config) error {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	t := newTable(c.Dir, c.Logger)
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", c.Dir, err)
	}
	defer watcher.Close()
	if err := watcher.Add(c.Dir); err != nil { // before the scan, so that nothing is missed between
		return fmt.Errorf("watch %s: %w", c.Dir, err)
	}
	if err := t.scan(); err != nil {
		return err
	}
	listener, packets, err := listen(c.Addr)
	if err != nil {
		return err
	}
	handler := dns.HandlerFunc(t.answer)
	tcp := &dns.Server{Listener: listener, Handler: handler}
	udp := &dns.Server{PacketConn: packets, Handler: handler, UDPSize: 1232}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return served(ctx, tcp.ActivateAndServe()) })
	group.Go(func() error { return served(ctx, udp.ActivateAndServe()) })
	group.Go(func() error { return t.follow(ctx, watcher) })
	group.Go(func() error {
		<-ctx.Done()
		listener.Close()
		packets.Close()
		return nil
	})
	return group.Wait()
}

func listen(addr string) (net.Listener, net.PacketConn, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, nil, fault.Errorf(fault.Invalid, "listen on %s: %w", addr, err)
	}
	packets, err := net.ListenPacket("udp", listener.Addr().String())
	if err != nil {
		listener.Close()
		return nil, nil, fault.Errorf(fault.Invalid, "listen on %s: %w", addr, err)
	}
	return listener, packets, nil
}

func served(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// follow keeps the table as the directory is.
func (t *table) follow(ctx context.Context, watcher *fsnotify.Watcher) error {
	tick := time.NewTicker(rescan)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-watcher.Events:
			if !ok {
				return errors.New("the directory's watch ended")
			}
			name, isRecords := strings.CutSuffix(filepath.Base(e.Name), ".json")
			if isRecords && !strings.HasPrefix(name, ".") {
				t.load(name)
			}
		case err := <-watcher.Errors: // e.g. an overflow: read all of it
			t.log.Warn("watch of the records", "error", err)
			t.rescan()
		case <-tick.C:
			t.rescan()
		}
	}
}

func (t *table) rescan() {
	if err := t.scan(); err != nil {
		t.log.Error("records not read", "error", err)
	}
}
