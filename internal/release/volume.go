package release

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// Names on the volume. A leading dot marks what is not finished.
const (
	releasesDir  = "releases"
	buildsDir    = "builds" // <build key> → digest, to find a release without reading every manifest
	pointerName  = "current"
	manifestName = "manifest.json"
	binaryName   = "app"
	lockName     = ".lock"
	tempPrefix   = ".tmp-"

	fileMode   = 0o640
	binaryMode = 0o750
	dirMode    = 0o750
)

var (
	// ErrDamaged is content that does not match its digest or its form.
	ErrDamaged = errors.New("damaged")
	// ErrInUse is an attempt to remove the release that the pointer names.
	ErrInUse = errors.New("release is the current one")
	// ErrLocked is another publisher that holds the volume for too long.
	ErrLocked = errors.New("volume is locked by another publisher")
)

var (
	digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
	keyForm    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$`)
)

// Volume is one tenant's directory on the shared volume.
//
// What is written belongs to the uid and gid of that directory (when root
// writes) and is readable by its group. Give it the publisher's uid and the
// tenant's gid: then an app can read its releases and change none of them.
//
// A Volume has no state of its own: any number may be open on one directory,
// in any number of processes and hosts.
type Volume struct{ dir string }

// Open returns the volume at dir, which must exist.
func Open(dir string) *Volume { return &Volume{dir: dir} }

// Dir returns the volume's directory.
func (v *Volume) Dir() string { return v.dir }

// Path returns the directory of a release, for those who read all of it.
func (v *Volume) Path(digest string) string {
	return filepath.Join(v.dir, releasesDir, digest)
}

// lockWait bounds how long a publisher waits for another one, which is done in
// milliseconds; a holder that hangs must not hang everyone else.
const lockWait = 10 * time.Second

// lock takes the volume's write lock, which a dying process gives back. The
// lock file is the publisher's alone: a tenant that could open it could hold it.
func (v *Volume) lock(root *os.Root) (unlock func(), err error) {
	f, err := root.OpenFile(lockName, os.O_RDWR|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	for deadline := time.Now().Add(lockWait); ; {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { f.Close() }, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			f.Close()
			return nil, fmt.Errorf("lock volume: %w", err)
		case time.Now().After(deadline):
			f.Close()
			return nil, ErrLocked
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// fresh runs read against the volume's present content. A network file system
// answers ESTALE to a reader that met a rename: the way in is looked up anew.
func (v *Volume) fresh(read func(*os.Root) error) error {
	const tries = 5
	for try := 1; ; try++ {
		forceSync(v.dir)
		err := func() error {
			root, err := os.OpenRoot(v.dir)
			if err != nil {
				return err
			}
			defer root.Close()
			return read(root)
		}()
		if !errors.Is(err, syscall.ESTALE) || try == tries {
			return err
		}
	}
}

// openRegular opens a file to read, and nothing that could block or lead
// elsewhere: a tenant may have put a pipe there.
func openRegular(root *os.Root, name string) (*os.File, int64, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is not a regular file", ErrDamaged, name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// readFile reads a file of at most limit bytes.
func readFile(root *os.Root, name string, limit int64) ([]byte, error) {
	f, size, err := openRegular(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > limit {
		return nil, fmt.Errorf("%w: %s has %d bytes, more than %d", ErrDamaged, name, size, limit)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// owner is who new entries are given to.
type owner struct {
	uid, gid int
	set      bool
}

func ownerOf(root *os.Root) (owner, error) {
	if os.Geteuid() != 0 {
		return owner{}, nil
	}
	info, err := root.Stat(".")
	if err != nil {
		return owner{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || (st.Uid == 0 && st.Gid == 0) {
		return owner{}, nil
	}
	return owner{uid: int(st.Uid), gid: int(st.Gid), set: true}, nil
}

// settle gives an open file or directory its final mode (whatever the umask
// was) and owner, and makes it durable. A directory that has its mode is left alone:
// it may hand its group on, which is how a tenant gets to read what a publisher
// makes who may give nothing away, and a change of the mode would end that.
func (o owner) settle(f *os.File, mode fs.FileMode) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.IsDir() || info.Mode().Perm() != mode {
		if err := f.Chmod(mode); err != nil {
			return err
		}
	}
	if o.set {
		if err := f.Chown(o.uid, o.gid); err != nil {
			return err
		}
	}
	return f.Sync()
}

// settleName does the same to a name.
func (o owner) settleName(root *os.Root, name string, mode fs.FileMode) error {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return o.settle(f, mode)
}

// ensureDir makes a directory of the volume's own, durably.
func ensureDir(root *os.Root, o owner, name string) error {
	switch err := root.Mkdir(name, dirMode); {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return err
	}
	if err := o.settleName(root, name, dirMode); err != nil {
		return err
	}
	return syncDir(root, ".")
}

// replace writes a small file so that a reader sees the old or the new content
// whole, and a crash leaves one of them.
func replace(root *os.Root, o owner, name string, content []byte) error {
	dir := filepath.Dir(name)
	temp := filepath.Join(dir, tempName())
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = o.settle(f, fileMode)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = root.Rename(temp, name)
	}
	if err != nil {
		_ = root.Remove(temp)
		return err
	}
	return syncDir(root, dir)
}

func syncDir(root *os.Root, name string) error {
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func tempName() string { return tempPrefix + strings.ToLower(rand.Text()[:16]) }
