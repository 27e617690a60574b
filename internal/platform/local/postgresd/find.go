package postgresd

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
)

const howToInstall = "apt-get install postgresql (on a Mac: brew install postgresql@17)"

// find returns the directory of Postgres' programs: of the version that made
// the data directory, or of the newest when there is none yet.
func find(data string) (string, error) {
	wanted, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	dirs := installed()
	if len(dirs) == 0 {
		return "", fault.Errorf(fault.Invalid, "postgres is not installed: no initdb on the PATH, "+
			"in /usr/lib/postgresql or in /opt/homebrew").WithHint(howToInstall)
	}
	major := strings.TrimSpace(string(wanted))
	for _, dir := range dirs {
		if major == "" || version(dir) == major {
			return dir, nil
		}
	}
	return "", fault.Errorf(fault.Invalid, "the data in %s were made by postgres %s, which is not installed any more", data, major).
		WithHint("apt-get install postgresql-%s", major)
}

// installed returns the directories that hold Postgres' programs: the PATH's,
// then others, newest first.
func installed() []string {
	var dirs []string
	if path, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	var others []string
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql@*/bin",
		"/usr/local/opt/postgresql@*/bin", "/usr/pgsql-*/bin",
	} {
		found, _ := filepath.Glob(pattern) // the patterns are well-formed
		others = append(others, found...)
	}
	slices.SortStableFunc(others, func(a, b string) int { return number(b) - number(a) })
	var complete []string
	for _, dir := range append(dirs, others...) {
		if executable(dir, "initdb") && executable(dir, "postgres") && executable(dir, "pg_dump") &&
			executable(dir, "pg_restore") && !slices.Contains(complete, dir) {
			complete = append(complete, dir)
		}
	}
	return complete
}

func executable(dir, name string) bool {
	info, err := os.Stat(filepath.Join(dir, name))
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// version returns the major version of the programs in dir.
func version(dir string) string {
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output() // "postgres (PostgreSQL) 15.8 (Debian …)"
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(out), "(PostgreSQL) ")
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	return rest[:end]
}

// number returns the version in a directory's name, to sort by.
func number(dir string) int {
	digits := strings.FieldsFunc(dir, func(r rune) bool { return r < '0' || r > '9' })
	if len(digits) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(digits[len(digits)-1])
	return n
}
