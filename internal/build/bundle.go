package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitopsd/gitopsd/internal/build/design"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/release"
)

// Bounds of what a release holds beside its binary.
const (
	maxStaticFiles = 20_000
	maxStaticBytes = 1 << 30
)

// Bundle implements pipeline.Builder.
func (b *Builder) Bundle(ctx context.Context, in pipeline.Build) (pipeline.Bundled, error) {
	a, err := b.resolve(ctx, in)
	if err != nil {
		return pipeline.Bundled{}, err
	}
	digest, err := b.bundle(ctx, in, a)
	if err != nil {
		return pipeline.Bundled{}, fmt.Errorf("bundle %s: %w", in.Tenant.Name, err)
	}
	return pipeline.Bundled{Release: digest}, nil
}

func (b *Builder) bundle(ctx context.Context, in pipeline.Build, a *app) (string, error) {
	volume := release.Open(in.Volume)
	if digest, ok, err := volume.FindBuild(a.key); err != nil || ok {
		return digest, err
	}
	x, err := b.executable(ctx, a)
	if err != nil {
		return "", err
	}
	staging, err := volume.Stage()
	if err != nil {
		return "", err
	}
	defer staging.Abort()
	if err := staging.AddBinary(x.path); err != nil {
		return "", err
	}
	if a.files != nil {
		err = addAssets(staging)
	} else {
		err = b.addFiles(ctx, staging, a)
	}
	if err != nil {
		return "", err
	}
	t := in.Tenant
	return staging.Commit(release.Manifest{
		Tenant: t.Name, Build: a.key, Schema: a.schema, Health: t.App.Health,
		Env: t.App.Env, Secrets: slices.Sorted(slices.Values(t.App.Secrets)),
	})
}

// addAssets adds the page of a design.
func addAssets(s *release.Staging) error {
	assets := design.Assets()
	for _, name := range slices.Sorted(maps.Keys(assets)) {
		if err := s.Add(release.Static, name, strings.NewReader(assets[name])); err != nil {
			return err
		}
	}
	return nil
}

// addFiles adds static/ and migrations/ of the app's directory.
func (b *Builder) addFiles(ctx context.Context, s *release.Staging, a *app) error {
	w, err := b.open(ctx, a.tenant)
	if err != nil {
		return err
	}
	defer w.release()
	if err := b.prepare(ctx, w, a); err != nil {
		return err
	}
	dir := filepath.Join(w.src(), filepath.FromSlash(a.dir))
	if err := addStatic(s, filepath.Join(dir, "static")); err != nil {
		return err
	}
	return addMigrations(s, filepath.Join(dir, "migrations"))
}

func addStatic(s *release.Staging, dir string) error {
	files, size := 0, int64(0)
	return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && name == dir {
			return nil // an app without static assets
		}
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		files, size = files+1, size+info.Size()
		if files > maxStaticFiles || size > maxStaticBytes {
			return fault.Errorf(fault.Invalid, "static/ has more than %d files or %d MiB", maxStaticFiles, maxStaticBytes>>20)
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		return s.AddFile(release.Static, filepath.ToSlash(rel), name)
	})
}

// addMigrations adds the SQL files, after checking that goose will take them.
func addMigrations(s *release.Staging, dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	versions := map[int64]string{}
	for _, e := range entries {
		if e.IsDir() || filepath.Ext(e.Name()) != ".sql" {
			continue
		}
		if err := checkMigration(filepath.Join(dir, e.Name()), versions); err != nil {
			return err
		}
		if err := s.AddFile(release.Migrations, e.Name(), filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
