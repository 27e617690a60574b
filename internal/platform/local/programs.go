package local

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/durable"
)

// install copies a program into <dir>/bin, under a name that says its content,
// and returns the copy's path: building the program again changes nothing that runs.
func (d *Driver) install(program string) (string, error) {
	in, err := os.Open(program)
	if err != nil {
		return "", fault.Errorf(fault.Invalid, "program: %w", err)
	}
	defer in.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, in)
	if err != nil {
		return "", fmt.Errorf("read program %s: %w", program, err)
	}
	name := filepath.Base(program) + "-" + hex.EncodeToString(sum.Sum(nil)[:8])
	path := d.path("bin", name)
	if info, err := os.Stat(path); err == nil && info.Size() == size {
		return path, nil
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	if err := copyProgram(in, path); err != nil {
		return "", fmt.Errorf("install %s: %w", program, err)
	}
	return path, nil
}

func copyProgram(in io.Reader, path string) error {
	// A child forked while the file is open for writing would have it open too,
	// and the kernel refuses to run such a file ("text file busy").
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	temporary := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp")
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fd, err := syscall.Open(temporary, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL|syscall.O_CLOEXEC, 0o700)
	if err != nil { // os.OpenFile may want the lock that is held
		return &fs.PathError{Op: "open", Path: temporary, Err: err}
	}
	out := os.NewFile(uintptr(fd), temporary)
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := errors.Join(out.Chmod(0o755), out.Sync(), out.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// prunePrograms removes copies that nothing runs and nothing will.
func (d *Driver) prunePrograms() error {
	keep := map[string]bool{d.self: true, d.agent: true}
	names, err := d.runner.Names("")
	if err != nil {
		return err
	}
	for _, name := range names {
		keep[d.runner.Status(name).Path] = true
	}
	entries, err := os.ReadDir(d.path("bin"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if path := d.path("bin", e.Name()); !keep[path] && !strings.HasPrefix(e.Name(), ".") {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}
