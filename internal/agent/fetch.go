package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/gitopsd/gitopsd/internal/release"
)

// binaries are the local, verified copies of releases' executables. A copy
// stays while someone holds it.
type binaries struct {
	dir string
	vol *release.Volume

	mu   sync.Mutex
	held map[string]int // by release digest

	copies atomic.Uint64
}

func newBinaries(dir string, vol *release.Volume) (*binaries, error) {
	if err := os.RemoveAll(dir); err != nil { // of an agent that is gone
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	return &binaries{dir: dir, vol: vol, held: map[string]int{}}, nil
}

// hold returns the path of a release's local copy, made if need be. The caller
// ends with drop. Nobody waits for the copying of another: a volume may hang.
func (b *binaries) hold(digest string, want release.File) (string, error) {
	if path, ok := b.keep(digest, ""); ok {
		return path, nil
	}
	temp := filepath.Join(b.dir, fmt.Sprintf(".copy-%d", b.copies.Add(1)))
	defer os.Remove(temp)
	if err := b.copy(temp, digest, want); err != nil {
		return "", err
	}
	path, ok := b.keep(digest, temp)
	if !ok {
		return "", fmt.Errorf("keep binary: no %s", path)
	}
	return path, nil
}

// keep counts one who holds the copy; false if there is none. If there is none,
// temp becomes it.
func (b *binaries) keep(digest, temp string) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	path := filepath.Join(b.dir, digest)
	if b.held[digest] == 0 && (temp == "" || os.Rename(temp, path) != nil) {
		return path, false
	}
	b.held[digest]++
	return path, true
}

func (b *binaries) drop(digest string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held[digest]--; b.held[digest] <= 0 {
		delete(b.held, digest)
		_ = os.Remove(filepath.Join(b.dir, digest))
	}
}

// copy brings the executable here and hashes what it wrote. It takes no lock: a
// volume that hangs would keep it, and an app could not be started again.
func (b *binaries) copy(path, digest string, want release.File) error {
	src, err := b.vol.OpenBinary(digest)
	if err != nil {
		return fmt.Errorf("copy binary: %w", err)
	}
	defer src.Close()
	dst, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o500)
	if err != nil {
		return fmt.Errorf("copy binary: %w", err)
	}
	h := sha256.New()
	// One byte more than it should be is enough to know that it is wrong.
	n, err := io.CopyBuffer(io.MultiWriter(dst, h), io.LimitReader(src, want.Size+1), make([]byte, 256<<10))
	if cerr := dst.Close(); err == nil {
		err = cerr
	}
	switch {
	case err != nil:
		return fmt.Errorf("copy binary: %w", err)
	case n < want.Size:
		return fmt.Errorf("binary is truncated: %d bytes, not %d", n, want.Size)
	case n > want.Size:
		return fmt.Errorf("binary is longer than its %d bytes", want.Size)
	case hex.EncodeToString(h.Sum(nil)) != want.SHA256:
		return fmt.Errorf("binary does not have its digest")
	}
	return nil
}
