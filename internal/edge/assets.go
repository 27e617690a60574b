package edge

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
)

// assets is the static tree of a release in a tenant's bucket. It never
// changes, so it is listed once: most requests are for what is not in it, and
// then cost no look at the disk.
type assets struct {
	dir  string  // <bucket>/<digest>, or <releases>/<digest>/static
	last *assets // of the release before: pages still open ask for its files

	mu     sync.Mutex
	listed atomic.Pointer[map[string]*asset] // by path below dir; nil: not listed yet
}

// asset is one file.
type asset struct {
	name string // slash-separated, below the tree
	size int64

	once sync.Once
	etag string
}

const (
	// maxListed bounds the files of a tree that are served.
	maxListed = 50_000
	// maxHashed is the size up to which a file's ETag is its hash, in bytes;
	// for larger ones it is the release, size and name.
	maxHashed = 16 << 20
)

// nextAssets returns the tree of a route, which is the one before if it is the
// same.
func nextAssets(was *assets, r *Route) *assets {
	if r.Static == "" || r.Bucket == "" {
		return nil
	}
	dir := filepath.Join(r.Bucket, r.Static)
	if was == nil {
		return &assets{dir: dir}
	}
	if was.dir == dir {
		return was
	}
	last := &assets{dir: was.dir}
	last.listed.Store(was.listed.Load())
	return &assets{dir: dir, last: last}
}

// find returns the tree and file that a request's path names, if any.
func (a *assets) find(r *http.Request) (*assets, *asset) {
	name, ok := assetName(r)
	if !ok {
		return nil, nil
	}
	if f := a.list()[name]; f != nil {
		return a, f
	}
	if a.last != nil && fingerprinted(name) {
		if f := a.last.list()[name]; f != nil {
			return a.last, f
		}
	}
	return nil, nil
}

// assetName returns the file a request's path may mean. Paths that are not
// clean, and those with a part that starts with a dot, mean none.
func assetName(r *http.Request) (string, bool) {
	p := r.URL.Path
	if p == "/" {
		return "index.html", true
	}
	if len(p) < 2 || p[0] != '/' || p[len(p)-1] == '/' || strings.ContainsAny(p, "\\\x00") || rawPathHasSlash(r.URL) {
		return "", false
	}
	if path.Clean(p) != p || strings.Contains(p, "/.") {
		return "", false
	}
	return p[1:], true
}

// list returns the tree's files. A tree that is not there (yet) is empty, and
// looked for again.
func (a *assets) list() map[string]*asset {
	if m := a.listed.Load(); m != nil {
		return *m
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := a.listed.Load(); m != nil {
		return *m
	}
	m := map[string]*asset{}
	err := filepath.WalkDir(a.dir, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case p == a.dir:
			return nil
		case strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !d.Type().IsRegular(): // a link could lead out of the bucket
			return nil
		case len(m) == maxListed:
			return fs.SkipAll
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(a.dir, p)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		m[name] = &asset{name: name, size: info.Size()}
		return nil
	})
	if err != nil {
		return nil
	}
	a.listed.Store(&m)
	return m
}

// serve answers a GET or HEAD with the file. It reports false, having done
// nothing, if the file is not to be had after all.
func (a *assets) serve(w http.ResponseWriter, r *http.Request, f *asset) bool {
	file, err := os.OpenInRoot(a.dir, filepath.FromSlash(f.name))
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() != f.size {
		return false
	}
	h := w.Header()
	h.Set("Content-Type", contentType(f.name))
	h.Set("Etag", f.tag(a, file))
	if fingerprinted(f.name) {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	http.ServeContent(w, r, "", info.ModTime(), file)
	return true
}

// tag returns the file's ETag, by its content: a release that did not change a
// file leaves it in browsers' caches.
func (f *asset) tag(a *assets, file *os.File) string {
	f.once.Do(func() {
		f.etag = fmt.Sprintf("\"%x-%x\"", f.size, sha256.Sum256([]byte(filepath.Join(a.dir, f.name))))
		if f.size > maxHashed {
			return
		}
		sum := sha256.New()
		if n, err := io.Copy(sum, io.NewSectionReader(file, 0, f.size)); err == nil && n == f.size {
			f.etag = `"` + hex.EncodeToString(sum.Sum(nil)[:16]) + `"`
		}
	})
	return f.etag
}

// A fingerprint is a hash before the extension: at least eight hex digits, a
// letter and a decimal one among them, or eight of base64's as bundlers write
// them, with a lower-case letter, an upper-case one and a digit; so that no word
// and no date is taken for one.
var (
	hexPrint    = regexp.MustCompile(`[.-]([0-9a-f]{8,64})\.[A-Za-z0-9.]+$`)
	base64Print = regexp.MustCompile(`[.-]([A-Za-z0-9_-]{8})\.[A-Za-z0-9.]+$`)
)

func fingerprinted(name string) bool {
	name = path.Base(name)
	if m := hexPrint.FindStringSubmatch(name); m != nil && strings.ContainsAny(m[1], "0123456789") && strings.ContainsAny(m[1], "abcdef") {
		return true
	}
	m := base64Print.FindStringSubmatch(name)
	return m != nil && strings.ContainsAny(m[1], "0123456789") &&
		strings.ToLower(m[1]) != m[1] && strings.ToUpper(m[1]) != m[1]
}

// contentType goes by the extension alone, the same on every machine.
func contentType(name string) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".html", ".htm":
		return "text/html; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".json", ".map":
		return "application/json"
	case ".webmanifest":
		return "application/manifest+json"
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	case ".jpg", ".jpeg":
		return "image/jpeg"
	case ".gif":
		return "image/gif"
	case ".webp":
		return "image/webp"
	case ".avif":
		return "image/avif"
	case ".ico":
		return "image/x-icon"
	case ".woff":
		return "font/woff"
	case ".woff2":
		return "font/woff2"
	case ".ttf":
		return "font/ttf"
	case ".otf":
		return "font/otf"
	case ".wasm":
		return "application/wasm"
	case ".txt":
		return "text/plain; charset=utf-8"
	case ".md":
		return "text/markdown; charset=utf-8"
	case ".csv":
		return "text/csv; charset=utf-8"
	case ".xml":
		return "application/xml"
	case ".pdf":
		return "application/pdf"
	case ".zip":
		return "application/zip"
	case ".mp4":
		return "video/mp4"
	case ".webm":
		return "video/webm"
	case ".mp3":
		return "audio/mpeg"
	}
	return "application/octet-stream"
}
