package local

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/durable"
)

// dataHome is where data go that unprivileged children could not reach otherwise.
const dataHome = "/var/lib/gitopsd"

// layout knows where everything is.
type layout struct{ dir string }

func (l layout) path(parts ...string) string {
	return filepath.Join(append([]string{l.dir}, parts...)...)
}

func (l layout) stateFile(tenant string) string { return l.path("tenants", tenant+".json") }
func (l layout) secretsFile(tenant string) string {
	return l.path("secrets", "tenants", tenant+".json")
}
func (l layout) routeFile(tenant string) string { return l.path("edge", "routes", tenant+".json") }
func (l layout) volume(tenant string) string    { return l.path("volume", tenant) }
func (l layout) bucket(tenant string) string    { return l.path("buckets", tenant) }
func (l layout) instances(tenant string) string { return l.path("instances", tenant) }
func (l layout) instance(tenant string, n int) string {
	return l.path("instances", tenant, strconv.Itoa(n))
}

// make makes the directories. Those that others than root enter can be passed
// through, and not listed.
func (l layout) make() error {
	for _, d := range []struct {
		path string
		mode fs.FileMode
	}{
		{".", 0o711},
		{"bin", 0o755},
		{"run", 0o700},
		{"logs", 0o700},
		{"tenants", 0o700},
		{"snapshots", 0o700},
		{"secrets", 0o700},
		{"secrets/tenants", 0o700},
		{"postgres", 0o711},
		{"redis", 0o711},
		{"dns", 0o700},
		{"edge", 0o700},
		{"edge/routes", 0o700},
		{"buckets", 0o700},
		{"volume", 0o711},
		{"instances", 0o711},
	} {
		path := l.path(d.path)
		if err := os.MkdirAll(path, d.mode); err != nil {
			return err
		}
		if err := os.Chmod(path, d.mode); err != nil { // the umask took from it
			return err
		}
	}
	return nil
}

// Place returns where the data of dir really are. Run by root below a directory
// that other users cannot pass through, such as /root, the unprivileged
// servers and apps would not reach them: then dir becomes a link to a directory in
// /var/lib/gitopsd, named after dir's path. progress is told so.
func Place(dir string, progress func(string)) (string, error) {
	if !filepath.IsAbs(dir) {
		return "", fault.Errorf(fault.Invalid, "data directory %s is not absolute", dir)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("data directory: %w", err)
	}
	if os.Geteuid() == 0 {
		if err := linkAway(dir, progress); err != nil {
			return "", fmt.Errorf("data directory: %w", err)
		}
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", fmt.Errorf("data directory: %w", err)
	}
	return filepath.EvalSymlinks(dir)
}

func linkAway(dir string, progress func(string)) error {
	info, err := os.Lstat(dir)
	switch {
	case err == nil && info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(dir)
		if err != nil {
			return err
		}
		if filepath.Dir(target) == dataHome { // ours: it may have been removed
			return makePassable(target)
		}
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	barrier, err := impassable(filepath.Dir(dir))
	if err != nil || barrier == "" {
		return err
	}
	sum := sha256.Sum256([]byte(dir))
	target := filepath.Join(dataHome, strings.TrimPrefix(filepath.Base(dir), ".")+"-"+hex.EncodeToString(sum[:4]))
	if err := makePassable(dataHome); err != nil {
		return err
	}
	if info != nil { // it moves as a whole: what is open in it stays open
		if err := os.Rename(dir, target); err != nil {
			return fault.Errorf(fault.Invalid, "%s cannot be reached by the unprivileged users that Postgres and the apps run as: "+
				"%s lets nobody pass; and it cannot be moved: %w", dir, barrier, err).
				WithHint("move it away, or choose another directory with --data")
		}
	}
	if err := makePassable(target); err != nil {
		return err
	}
	if err := os.Symlink(target, dir); err != nil {
		return err
	}
	progress(fmt.Sprintf("keeping data in %s, linked from %s: other users cannot pass through %s", target, dir, barrier))
	return nil
}

func makePassable(dir string) error {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	return os.Chmod(dir, 0o711) // the umask took from it
}

// impassable returns the first directory on the way to dir that others cannot
// pass through, or "".
func impassable(dir string) (string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	for at := real; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			return "", err
		}
		if info.Mode().Perm()&0o001 == 0 {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", nil
		}
	}
}

// keepDir has dir there with the given mode and owner.
func keepDir(dir string, mode fs.FileMode, owner durable.Owner) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fault.Errorf(fault.Conflict, "%s is no directory", dir)
	}
	if os.Geteuid() == 0 {
		if err := os.Lchown(dir, owner.UID, owner.GID); err != nil {
			return err
		}
	}
	if info.Mode().Perm() == mode {
		return nil
	}
	return os.Chmod(dir, mode)
}
