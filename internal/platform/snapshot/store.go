package snapshot

import (
	"context"
	"io"
	"time"

	"github.com/gitopsd/gitopsd/internal/release"
)

// Store keeps the files of snapshots.
type Store interface {
	// List returns a tenant's snapshots, the oldest first.
	List(ctx context.Context, tenant string) ([]Kept, error)
	// Create begins one, and throws away what one that was never committed left.
	Create(ctx context.Context, tenant, name string) (Writer, error)
	// Open opens one; fs.ErrNotExist if there is nothing of the name.
	Open(ctx context.Context, tenant, name string) (Files, error)
	// Use has one count as used now.
	Use(ctx context.Context, tenant, name string) error
	Remove(ctx context.Context, tenant, name string) error
	RemoveAll(ctx context.Context, tenant string) error
}

// Kept is a snapshot that is kept.
type Kept struct {
	Name string
	Used time.Time
}

// Writer takes the files of one snapshot. Paths are slash-separated.
type Writer interface {
	// Put keeps what is in the file at source, which does not change. Several may be
	// put at a time.
	Put(ctx context.Context, f release.File, source string) error
	// Commit keeps the manifest, when everything else is safe.
	Commit(ctx context.Context, manifest []byte) error
}

// Files are those of one snapshot.
type Files interface {
	// List returns the paths of all there are.
	List(ctx context.Context) ([]string, error)
	// Open opens one: fs.ErrNotExist if it is not there, fault.Invalid if it is no
	// file. An *os.File is one that nobody changes.
	Open(ctx context.Context, path string) (io.ReadCloser, error)
	Close() error
}
