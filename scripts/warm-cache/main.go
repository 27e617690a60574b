// Command warm-cache compiles the apps of tenant files into a cache for the go
// command, which an image takes along: the compile function then compiles no more
// than what is a tenant's own.
package main

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/gitopsd/gitopsd/internal/build"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

func main() {
	cache := flag.String("cache", "", "`directory` of the cache")
	flag.Parse()
	if err := warm(context.Background(), *cache, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "warm-cache:", err)
		os.Exit(1)
	}
}

func warm(ctx context.Context, cache string, files []string) error {
	if cache == "" || len(files) == 0 {
		return fmt.Errorf("usage: warm-cache -cache DIRECTORY TENANT.yaml ...")
	}
	work, err := os.MkdirTemp("", "warm-cache-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	b, err := build.New(build.Config{Source: here{}, Dir: work, Cache: cache, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		t, problems := tenant.Parse(file, text)
		if len(problems) > 0 {
			return fmt.Errorf("%v", problems[0])
		}
		in := pipeline.Build{Run: "warm", Tenant: t, Commit: "here", Volume: filepath.Join(work, "volume", t.Name)}
		if err := os.MkdirAll(in.Volume, 0o755); err != nil {
			return err
		}
		compiled, err := b.Compile(ctx, in)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		fmt.Printf("compiled %s: %d bytes\n", t.Name, compiled.Size)
	}
	return nil
}

// here is the working directory as a repository with one commit.
type here struct{}

// FS implements build.Source.
func (here) FS(string) fs.FS { return os.DirFS(".") }

// Export implements build.Source.
func (here) Export(_ context.Context, _, path, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.CopyFS(dir, os.DirFS(path))
}

// TreeID implements build.Source: the one commit has one of each path.
func (here) TreeID(_, path string) (string, error) {
	if _, err := os.Stat(path); err != nil {
		return "", nil // what is not there has none
	}
	return "here " + path, nil
}
