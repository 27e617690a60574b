package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/build"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/release"
)

// Generate implements pipeline.Builder.
func (b *Builder) Generate(ctx context.Context, in pipeline.Build) (pipeline.Generated, error) {
	a, err := b.resolve(ctx, in)
	if err != nil {
		return pipeline.Generated{}, err
	}
	digest, ok, err := release.Open(in.Volume).FindBuild(a.key)
	if err != nil {
		return pipeline.Generated{}, fmt.Errorf("generate %s: %w", in.Tenant.Name, err)
	}
	out := pipeline.Generated{Key: a.key}
	if ok {
		out.Release = digest
		return out, nil
	}
	w, err := b.open(ctx, a.tenant)
	if err != nil {
		return out, err
	}
	defer w.release()
	if err := b.prepare(ctx, w, a); err != nil {
		return out, fmt.Errorf("generate %s: %w", in.Tenant.Name, err)
	}
	return out, nil
}

// Compile implements pipeline.Builder.
func (b *Builder) Compile(ctx context.Context, in pipeline.Build) (pipeline.Compiled, error) {
	a, err := b.resolve(ctx, in)
	if err != nil {
		return pipeline.Compiled{}, err
	}
	x, err := b.executable(ctx, a)
	if err != nil {
		return pipeline.Compiled{}, fmt.Errorf("compile %s: %w", in.Tenant.Name, err)
	}
	return pipeline.Compiled{SHA256: x.sha256, Size: x.size}, nil
}

// executable finds the app's executable, or compiles it.
func (b *Builder) executable(ctx context.Context, a *app) (executable, error) {
	if x, ok := b.find(a.compileKey); ok {
		return x, nil
	}
	w, err := b.open(ctx, a.tenant)
	if err != nil {
		return executable{}, err
	}
	defer w.release()
	if x, ok := b.find(a.compileKey); ok {
		return x, nil // it was being compiled while this call waited
	}
	if err := b.prepare(ctx, w, a); err != nil {
		return executable{}, err
	}
	if err := b.slots.Acquire(ctx, 1); err != nil {
		return executable{}, fmt.Errorf("wait for a build slot: %w", err)
	}
	defer b.slots.Release(1)
	tmp, err := os.MkdirTemp(filepath.Join(b.dir, "tmp"), "build-")
	if err != nil {
		return executable{}, err
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, "app")
	if err := b.link(ctx, w, a, tmp, out); err != nil {
		return executable{}, err
	}
	return b.keep(a.compileKey, out)
}

// link runs the compiler and the linker: offline first, since mostly every
// module is there; else once more after fetching what is missing.
func (b *Builder) link(ctx context.Context, w *workspace, a *app, tmp, out string) error {
	root := filepath.Join(w.src(), filepath.FromSlash(a.module))
	dir := filepath.Join(w.src(), filepath.FromSlash(a.dir))
	if err := b.checkMain(dir, a.dir); err != nil {
		return err
	}
	target, err := filepath.Rel(root, dir)
	if err != nil {
		return err
	}
	args := append(append([]string{"build"}, flags[:]...), "-o", out, "./"+filepath.ToSlash(target))
	modules, proxy := b.modules()
	output, err := b.run(ctx, root, tmp, b.env.GOMODCACHE, "off", args...)
	if err != nil && b.lacksModules(output) {
		b.log.InfoContext(ctx, "fetching modules", "tenant", a.tenant)
		if output, err = b.run(ctx, root, tmp, modules, proxy, "mod", "download"); err != nil {
			return downloadError(ctx, readable(output, w.src(), root), err)
		}
		output, err = b.run(ctx, root, tmp, modules, "off", args...)
	}
	if err != nil {
		return compileError(ctx, readable(output, w.src(), root), err, a)
	}
	return nil
}

// checkMain makes sure that there is a program: without, "go build -o" would
// write something that is none.
func (b *Builder) checkMain(dir, shown string) error {
	c := build.Default
	c.CgoEnabled, c.GOOS, c.GOARCH = false, b.env.GOOS, b.env.GOARCH
	if shown == "." {
		shown = "the app's directory"
	}
	p, err := c.ImportDir(dir, 0)
	var none *build.NoGoError
	switch {
	case errors.As(err, &none):
		return fault.Errorf(fault.Invalid, "%s has no Go files to build", shown).
			WithHint("put a package main with a func main there")
	case err != nil:
		return fault.Errorf(fault.Invalid, "the app does not compile").
			WithDetail(strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), ""))
	case p.Name != "main":
		return fault.Errorf(fault.Invalid, "%s is package %s, not package main: there is no program to build", shown, p.Name).
			WithHint("name the directory of the package main in app.path")
	}
	return nil
}

// run runs the go command and returns what it said. Its environment holds
// nothing of this process's own. When ctx ends, everything it started is killed.
func (b *Builder) run(ctx context.Context, dir, tmp, modules, proxy string, args ...string) (string, error) {
	if b.warm {
		if err := b.untrimmed(); err != nil {
			return "", err
		}
	}
	cmd := exec.CommandContext(ctx, b.goBin, args...)
	cmd.Dir = dir
	m, home := b.env, filepath.Join(b.dir, "home")
	cmd.Env = []string{
		"PATH=" + filepath.Dir(b.goBin) + ":/usr/bin:/bin",
		"HOME=" + home, "TMPDIR=" + tmp, "GOTMPDIR=" + tmp, // on the store's file system, so that a rename moves the result
		"GOPATH=" + filepath.Join(home, "go"), "GOMODCACHE=" + modules, "GOCACHE=" + b.cache,
		"GOENV=off", "GOFLAGS=-mod=readonly", "GOWORK=off", "GOTOOLCHAIN=local", "CGO_ENABLED=0",
		"GOOS=" + m.GOOS, "GOARCH=" + m.GOARCH,
		"GOPROXY=" + proxy, "GOSUMDB=" + m.GOSUMDB, "GONOSUMDB=" + m.GONOSUMDB, "GOPRIVATE=" + m.GOPRIVATE, "GONOPROXY=" + m.GONOPROXY,
		"GOVCS=*:off", // a module's address must not make this machine run git
		"LC_ALL=C",
	}
	if m.GOAMD64 != "" {
		cmd.Env = append(cmd.Env, "GOAMD64="+m.GOAMD64)
	}
	if m.GOARM64 != "" {
		cmd.Env = append(cmd.Env, "GOARM64="+m.GOARM64)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	output := &bounded{left: 1 << 20}
	cmd.Stdout, cmd.Stderr = output, output
	err := cmd.Run()
	return output.String(), err
}

// bounded keeps the first bytes of what is written to it.
type bounded struct {
	bytes.Buffer
	left int
}

func (w *bounded) Write(p []byte) (int, error) {
	n := min(len(p), w.left)
	w.left -= n
	w.Buffer.Write(p[:n])
	return len(p), nil
}
