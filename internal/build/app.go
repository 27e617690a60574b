package build

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/gitopsd/gitopsd/internal/build/design"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// flags are what every compile gets. They are part of the key; and unless they
// are always the same, the build cache is useless. Without its symbol table a
// binary links in two thirds of the time.
var flags = [...]string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w"}

// app is a tenant's app at a commit, found but not yet fetched.
type app struct {
	tenant string

	// of a path or git app
	src    Source
	commit string
	dir    string   // of the app, in its repository
	module string   // directory of its module
	paths  []string // that it is built from

	// of a design
	files  []design.File
	schema json.RawMessage

	digest     string // of the source
	compileKey string // of the executable
	key        string // of the release
}

// resolve finds out what to build, without fetching it.
func (b *Builder) resolve(ctx context.Context, build pipeline.Build) (*app, error) {
	t := build.Tenant
	if b.goBin == "" {
		return nil, fault.Errorf(fault.Stalled, "app of %s: there is no go command here", t.Name).
			WithHint("build where it is: the image of the compile function has it")
	}
	var a *app
	var err error
	if t.App.Design != nil {
		a, err = resolveDesign(t)
	} else {
		a, err = b.resolveSource(ctx, build.Commit, t)
	}
	if err != nil {
		return nil, fmt.Errorf("app of %s: %w", t.Name, err)
	}
	a.tenant = t.Name
	m := b.env
	a.compileKey = digestOf("executable 1", m.GOVERSION, m.GOOS, m.GOARCH, m.GOAMD64, m.GOARM64, fmt.Sprint(flags), a.module, a.dir, a.digest)
	parts := []string{"release 1", t.Name, a.compileKey, string(a.schema), t.App.Health}
	for _, k := range slices.Sorted(maps.Keys(t.App.Env)) {
		parts = append(parts, "env", k, t.App.Env[k])
	}
	for _, s := range slices.Sorted(slices.Values(t.App.Secrets)) {
		parts = append(parts, "secret", s)
	}
	a.key = digestOf(parts...)
	return a, nil
}

func resolveDesign(t *tenant.Tenant) (*app, error) {
	d := *t.App.Design
	d.Title = cmp.Or(d.Title, t.Name)
	files, err := design.Generate(&d)
	if err != nil {
		return nil, err
	}
	tables, err := design.Schema(&d)
	if err != nil {
		return nil, err
	}
	schema, err := json.Marshal(tables)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%q %d\n%s", f.Path, len(f.Data), f.Data)
	}
	return &app{files: files, schema: schema, digest: hex.EncodeToString(h.Sum(nil)), dir: ".", module: "."}, nil
}

func (b *Builder) resolveSource(ctx context.Context, commit string, t *tenant.Tenant) (*app, error) {
	a := &app{src: b.source, commit: commit, dir: t.App.Path}
	if g := t.App.Git; g != nil {
		if b.remote == nil {
			return nil, fault.Errorf(fault.Invalid, "apps from other repositories (app.git) are not enabled here").
				WithHint("use app.path, with the code in this repository, or app.design")
		}
		var err error
		if a.src, a.commit, err = b.remote(ctx, *g); err != nil {
			return nil, fmt.Errorf("repository %s at %s: %w", g.URL, g.Ref, err)
		}
		if a.dir = path.Clean(g.Path); g.Path == "" {
			a.dir = "."
		}
	}
	var err error
	if a.module, a.paths, err = locate(a.src.FS(a.commit), a.dir); err != nil {
		return nil, err
	}
	a.digest, err = SourceDigest(a.src, a.commit, a.paths)
	return a, err
}

// digestOf returns the SHA-256 over strings, which it keeps apart.
func digestOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s\n", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}
