package local_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/platform/local"
	"github.com/gitopsd/gitopsd/internal/platform/platformtest"
	"github.com/gitopsd/gitopsd/internal/release"
)

// drive is a control plane of its own, to be killed or run as another user: it
// makes a tenant and unmakes it, so many times, and with -shutdown stops all. With
// -restore it restores a snapshot, over and over.
func drive(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("drive", flag.ContinueOnError)
	c := local.Config{Domain: "localhost", Logger: slog.New(slog.DiscardHandler), Progress: func(string) {}}
	flags.StringVar(&c.Dir, "dir", "", "")
	flags.StringVar(&c.EdgeAddr, "edge", "", "")
	flags.StringVar(&c.Self, "self", "", "")
	flags.StringVar(&c.Agent, "agent", "", "")
	restore := flags.String("restore", "", "")
	app, times, shutdown := flags.String("app", "", ""), flags.Int("times", 1, ""), flags.Bool("shutdown", false, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	d, err := local.Open(ctx, c)
	if err != nil {
		return err
	}
	fmt.Println("open")
	if *restore != "" {
		return restoreOften(ctx, d, *restore)
	}
	if *shutdown {
		defer func() { err = errors.Join(err, d.Shutdown(ctx, func(string) {})) }()
	}
	for range *times {
		if err := oneLife(ctx, d, c.EdgeAddr, *app); err != nil {
			return err
		}
	}
	return nil
}

func oneLife(ctx context.Context, d *local.Driver, edge, app string) error {
	c := config("driven")
	if err := errors.Join(d.EnsureInfrastructure(ctx, c), d.EnsureDatabase(ctx, c), d.EnsureCacheUser(ctx, c)); err != nil {
		return err
	}
	if app != "" {
		if err := deploy(ctx, d, edge, app); err != nil {
			return err
		}
	}
	if _, err := d.Snapshot(ctx, "driven"); err != nil {
		return err
	}
	return unmake(ctx, d)
}

func deploy(ctx context.Context, d *local.Driver, edge, app string) error {
	v, err := d.Volume(ctx, "driven")
	if err != nil {
		return err
	}
	digest, err := platformtest.Stage(v, release.Manifest{Tenant: "driven", Build: "1", Health: "/healthz"}, app, "asset")
	if err != nil {
		return err
	}
	p, err := v.Publish(digest, strings.Repeat("0", 40))
	if err != nil {
		return err
	}
	if err := errors.Join(
		d.UploadStatic(ctx, "driven", digest), d.AwaitRelease(ctx, "driven", p), d.ActivateStatic(ctx, "driven", digest),
	); err != nil {
		return err
	}
	for _, path := range []string{"/env", "/assets/index.txt"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+edge+path, nil)
		if err != nil {
			return err
		}
		req.Host = "driven.localhost"
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("GET %s: %s: %s", path, res.Status, b)
		}
	}
	return nil
}

func unmake(ctx context.Context, d *local.Driver) error {
	for _, do := range []func(context.Context, string) error{
		d.RemoveRoute, d.Drain, d.DestroyInfrastructure, d.DropCacheUser, d.DropDatabase, d.RemoveReleases,
	} {
		if err := do(ctx, "driven"); err != nil {
			return err
		}
	}
	inventory, err := d.Inventory(ctx, "driven")
	if err != nil {
		return err
	}
	for _, r := range inventory {
		if r.Present {
			err = errors.Join(err, fmt.Errorf("left: %s", r))
		}
	}
	return err
}

// TestKilledAnywhere kills the control plane at any moment, the very first
// start included, and goes on with what it left.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	c := p.config(t)
	for i := range 12 {
		cmd := exec.Command(c.Self, "drive", "-dir", p.dir, "-edge", p.edge, "-self", c.Self, "-agent", p.agent, "-times", "1000")
		var out bytes.Buffer
		cmd.Stderr = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		span := 1500 * time.Millisecond
		if i < 4 {
			span = 900 * time.Millisecond // of initdb and the servers' first start
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-time.After(rand.N(span)):
			_ = cmd.Process.Kill()
			t.Logf("round %d: killed: %v", i, <-ended)
		case err := <-ended:
			t.Fatalf("round %d: the control plane ended by itself: %v\n%s", i, err, out.String())
		}
	}
	d := p.open(t)
	if err := oneLife(t.Context(), d, p.edge, ""); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"postgres", "redis", "dns", "edge"} {
		if pids := p.processes(t, name); len(pids) != 1 {
			t.Errorf("%d processes are %s: %v", len(pids), name, pids)
		}
	}
	if pids := p.processes(t, "agent"); len(pids) != 0 {
		t.Errorf("agents are left: %v", pids)
	}
}

// processes returns those that carry the place's mark for a name, and whose
// parent does not: a server's own children do too.
func (p *place) processes(t *testing.T, name string) []string {
	t.Helper()
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil || len(environs) == 0 {
		t.Skip("no /proc here")
	}
	marked := make(map[string]bool)
	for _, path := range environs {
		b, _ := os.ReadFile(path)
		if strings.Contains(string(b), "GITOPSD_PROCESS=") && strings.Contains(string(b), "/"+name) && p.ours(path) {
			marked[strings.Split(path, "/")[2]] = true
		}
	}
	var roots []string
	for pid := range marked {
		b, _ := os.ReadFile("/proc/" + pid + "/stat")
		_, after, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(after); len(f) > 1 && !marked[f[1]] {
			roots = append(roots, pid)
		}
	}
	return roots
}

// ours reports whether a process works below the place's directory.
func (p *place) ours(environ string) bool {
	cwd, err := os.Readlink(filepath.Join(filepath.Dir(environ), "cwd"))
	return err == nil && strings.HasPrefix(cwd, p.dir)
}

// TestUnprivileged runs everything as an ordinary user.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the other tests are that already")
	}
	t.Parallel()
	p, app := newPlace(t), platformtest.Compile(t)
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	home := newPassable(t)
	if err := os.Chown(home, uid, gid); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{p.config(t).Self: "gitopsd", p.agent: "gitopsd-agent", app: "app"} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, to), b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self := filepath.Join(home, "gitopsd")
	cmd := exec.Command(self, "drive", "-dir", filepath.Join(home, "data"), "-edge", p.edge, "-self", self,
		"-agent", filepath.Join(home, "gitopsd-agent"), "-app", filepath.Join(home, "app"), "-shutdown")
	cmd.Dir, cmd.Env = home, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
