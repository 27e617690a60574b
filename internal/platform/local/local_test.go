package local_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/edge"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/platform/local"
	"github.com/gitopsd/gitopsd/internal/platform/local/dns"
	"github.com/gitopsd/gitopsd/internal/platform/platformtest"
)

// TestMain is also the program with the subcommands dns and edge, and a
// control plane of its own: drive.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		if err := subcommand(os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func subcommand(name string, args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if name == "drive" {
		return drive(ctx, args)
	}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	dir, addr, config := flags.String("dir", "", ""), flags.String("addr", "", ""), flags.String("config", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if name == "dns" {
		return dns.Serve(ctx, dns.Config{Dir: *dir, Addr: *addr})
	}
	c, err := edge.LoadConfig(*config)
	if err != nil {
		return err
	}
	return edge.Run(ctx, c)
}

// place is one data directory and what runs on it.
type place struct {
	dir, edge, agent string
	secure           string   // where the edge listens for TLS
	self             string   // "": the test's own program
	log              *os.File // the driver's
	driver           *local.Driver
	cancel           context.CancelFunc
	supervised       chan struct{}
}

func newPlace(t *testing.T) *place {
	t.Helper()
	dir := newPassable(t)
	p := &place{dir: filepath.Join(dir, "data"), edge: freeAddr(t), secure: freeAddr(t), agent: filepath.Join(t.TempDir(), "gitopsd-agent")}
	build := exec.Command("go", "build", "-o", p.agent, "github.com/gitopsd/gitopsd/cmd/gitopsd-agent")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the agent: %v\n%s", err, out)
	}
	var err error
	if p.log, err = os.Create(filepath.Join(dir, "driver.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.shutdown(t)
		p.sweep()
		p.log.Close()
	})
	return p
}

// sweep ends what a test that failed left running.
func (p *place) sweep() {
	records, _ := filepath.Glob(filepath.Join(p.dir, "run", "*.json"))
	for _, path := range records {
		var record struct{ PID int }
		b, _ := os.ReadFile(path)
		if json.Unmarshal(b, &record) != nil || record.PID == 0 {
			continue
		}
		cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", record.PID))
		if err == nil && strings.HasPrefix(cwd, p.dir) {
			_ = syscall.Kill(record.PID, syscall.SIGKILL)
		}
	}
}

// newPassable returns a directory that other users can pass through, which
// t.TempDir is not. It is kept if the test fails.
func newPassable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gitopsd-local-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("kept:", dir)
			return
		}
		os.RemoveAll(dir)
	})
	return dir
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (p *place) config(t *testing.T) local.Config {
	t.Helper()
	if p.self == "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		p.self = self
	}
	return local.Config{
		Dir: p.dir, Domain: "localhost", EdgeAddr: p.edge, EdgeTLS: &local.EdgeTLS{Addr: p.secure}, Self: p.self, Agent: p.agent,
		Logger: slog.New(slog.NewTextHandler(p.log, nil)), Progress: func(string) {},
	}
}

// open lets go of the driver, as a death would, and opens the place anew.
func (p *place) open(t *testing.T) *local.Driver {
	t.Helper()
	p.leave(t)
	begin := time.Now()
	d, err := local.Open(context.Background(), p.config(t))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Logf("opened in %s", time.Since(begin).Round(time.Millisecond))
	ctx, cancel := context.WithCancel(context.Background())
	p.driver, p.cancel, p.supervised = d, cancel, make(chan struct{})
	go func() {
		defer close(p.supervised)
		_ = d.Supervise(ctx)
	}()
	return d
}

func (p *place) leave(t *testing.T) {
	t.Helper()
	if p.driver == nil {
		return
	}
	p.cancel()
	<-p.supervised
	if err := p.driver.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	p.driver = nil
}

func (p *place) shutdown(t *testing.T) {
	t.Helper()
	if p.driver == nil {
		return
	}
	p.cancel()
	<-p.supervised
	begin := time.Now()
	if err := p.driver.Shutdown(context.Background(), func(s string) { t.Log(s) }); err != nil {
		t.Errorf("shut down: %v", err)
	}
	t.Logf("shut down in %s", time.Since(begin).Round(time.Millisecond))
	p.driver = nil
}

func TestConformance(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	platformtest.Exercise(t, func(*testing.T) (platform.Platform, platformtest.Env) {
		d := p.open(t)
		return d, platformtest.Env{
			Domain: "localhost", Edge: p.edge, SetSecret: d.SetSecret,
			Obstruct: map[string]func(*testing.T, string) func(){
				"EnsureDatabase": p.foreignDatabase, "DropDatabase": p.foreignRole,
				"EnsureCacheUser": p.foreignUser, "DropCacheUser": p.foreignUser,
			},
			Damage: map[string]func(*testing.T, string, string) func(){
				"a changed byte in the dump":   p.flip("database.dump"),
				"a changed byte in the keys":   p.flip("cache.jsonl"),
				"a changed byte in the app":    p.flip("release/app"),
				"a changed byte in an asset":   p.flip("static/assets/index.txt"),
				"a file that is not there":     p.hide("cache.jsonl"),
				"no manifest":                  p.hide("manifest.json"),
				"a file that nobody listed":    p.intrude,
				"a link in the place of files": p.link("database.dump"),
			},
		}
	})
}
