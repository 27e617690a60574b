package edge_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/edge"
)

var (
	digestA = strings.Repeat("a", 64)
	digestB = strings.Repeat("b", 64)
)

// bucket writes a release's static tree and returns the route that serves it.
func (f *fixture) bucket(tenant, digest string, serial uint64, files map[string]string) edge.Route {
	f.t.Helper()
	r := f.routeOf(tenant, serial)
	r.Static = digest
	for name, content := range files {
		write(f.t, filepath.Join(r.Bucket, digest, name), content)
	}
	return r
}

func (f *fixture) awaitStatic(tenant, digest string) {
	f.t.Helper()
	f.eventually("the static tree of "+tenant, func() bool {
		s := f.state(tenant)
		return s != nil && s.Static == digest
	})
}

func TestStatic(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.tenant("acme", echo("app"))
	r := f.bucket("acme", digestA, 2, map[string]string{
		"index.html": "<h1>home</h1>", "app.3f9a1c2b.js": "let a", "assets/index-DiwrgTda2.css": "p{}", "assets/index-Di3rgTda.css": "b{}",
		"deadbeef.js": "word", "docs/index.html": "docs", ".env": "SECRET", ".git/config": "SECRET", "a/.hidden": "SECRET",
		"with space.txt": "space", "unknown.zzz": "bytes", "data.json": "{}",
	})
	write(t, filepath.Join(r.Bucket, "outside.txt"), "SECRET")
	write(t, filepath.Join(f.dir, "outside.txt"), "SECRET")
	write(t, filepath.Join(r.Bucket, digestB, "other.txt"), "SECRET")
	for link, target := range map[string]string{"link.txt": "../outside.txt", "abs.txt": filepath.Join(f.dir, "outside.txt"), "updir": ".."} {
		if err := os.Symlink(target, filepath.Join(r.Bucket, digestA, link)); err != nil {
			t.Fatal(err)
		}
	}
	f.route(r)
	f.awaitStatic("acme", digestA)

	const immutable, check = "public, max-age=31536000, immutable", "no-cache"
	for _, c := range []struct{ path, body, kind, cache string }{
		{"/", "<h1>home</h1>", "text/html; charset=utf-8", check},
		{"/?q=1", "<h1>home</h1>", "text/html; charset=utf-8", check},
		{"/index.html", "<h1>home</h1>", "text/html; charset=utf-8", check},
		{"/app.3f9a1c2b.js", "let a", "text/javascript; charset=utf-8", immutable},
		{"/assets/index-Di3rgTda.css", "b{}", "text/css; charset=utf-8", immutable},
		{"/assets/index-DiwrgTda2.css", "p{}", "text/css; charset=utf-8", check},
		{"/deadbeef.js", "word", "text/javascript; charset=utf-8", check},
		{"/with%20space.txt", "space", "text/plain; charset=utf-8", check},
		{"/unknown.zzz", "bytes", "application/octet-stream", check},
		{"/data.json", "{}", "application/json", check},
	} {
		res := f.get("acme.localhost", c.path)
		if res.StatusCode != 200 || res.body != c.body || res.Header.Get("Content-Type") != c.kind || res.Header.Get("Cache-Control") != c.cache {
			t.Errorf("%s: %d %q %q %q", c.path, res.StatusCode, res.body, res.Header.Get("Content-Type"), res.Header.Get("Cache-Control"))
		}
		if res.Header.Get("X-Content-Type-Options") != "nosniff" || len(res.Header.Get("Etag")) != 34 {
			t.Errorf("%s: headers %v", c.path, res.Header)
		}
		if head := f.do("HEAD", "acme.localhost", c.path, nil); head.StatusCode != 200 || head.body != "" || head.Header.Get("Etag") != res.Header.Get("Etag") {
			t.Errorf("HEAD %s: %d %v", c.path, head.StatusCode, head.Header)
		}
	}
	// All else is the app's to answer, and nothing outside the tree is seen.
	for _, path := range []string{
		"/docs", "/docs/", "/.env", "/.git/config", "/a/.hidden", "/nothing", "/link.txt", "/abs.txt", "/updir/outside.txt", "/updir/" + digestB + "/other.txt",
		"/../outside.txt", "/..%2foutside.txt", "/%2e%2e/outside.txt", "/docs/../../outside.txt", "/./index.html", "//index.html", "/docs%2findex.html",
		"/index.html/", "/index.html%00", `/docs\index.html`, "/docs/..%5c..%5coutside.txt", "/index.html%2f..",
	} {
		got := f.raw("GET " + path + " HTTP/1.1\r\nHost: acme.localhost\r\nConnection: close\r\n\r\n")
		if strings.Contains(got, "SECRET") || !strings.Contains(got, `"Instance":"app"`) {
			t.Errorf("%s: %.300q", path, got)
		}
	}
	if in := f.do("POST", "acme.localhost", "/index.html", nil).seen(t).Instance; in != "app" {
		t.Errorf("POST reached %q", in)
	}
}

// A release with a fallback has it sent to browsers for pages the app does not
// know, and nothing else.
func TestFallback(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/known":
			_, _ = io.WriteString(w, "the app's")
		case "/broken":
			http.Error(w, "broken", http.StatusInternalServerError)
		default:
			w.Header().Set("X-App", "1")
			w.Header().Set("Content-Length", "9")
			http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "not found")
		}
	})
	for _, name := range []string{"spa", "plain"} {
		f.tenant(name, app)
		files := map[string]string{"index.html": "home"}
		if name == "spa" {
			files["200.html"] = "<script>routes</script>"
		}
		f.route(f.bucket(name, digestA, 2, files))
		f.awaitStatic(name, digestA)
	}
	for name, c := range map[string]struct {
		method, host, path, accept string
		status                     int
		body                       string
	}{
		"a page":              {"GET", "spa", "/customers/7", "text/html,*/*", 200, "<script>routes</script>"},
		"its head":            {"HEAD", "spa", "/customers/7", "text/html", 200, ""},
		"data":                {"GET", "spa", "/customers/7", "application/json", 404, "not found"},
		"anything":            {"GET", "spa", "/customers/7", "*/*", 404, "not found"},
		"a form":              {"POST", "spa", "/customers/7", "text/html", 404, "not found"},
		"a page of the app":   {"GET", "spa", "/known", "text/html", 200, "the app's"},
		"an error of the app": {"GET", "spa", "/broken", "text/html", 500, "broken\n"},
		"a file":              {"GET", "spa", "/", "text/html", 200, "home"},
		"no fallback":         {"GET", "plain", "/customers/7", "text/html", 404, "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			res := f.do(c.method, c.host+".localhost", c.path, func(r *http.Request) { r.Header.Set("Accept", c.accept) })
			if res.StatusCode != c.status || res.body != c.body {
				t.Errorf("%d %q, want %d %q", res.StatusCode, res.body, c.status, c.body)
			}
			if name == "a page" && (res.Header.Get("Content-Type") != "text/html; charset=utf-8" || res.Header.Get("Cache-Control") != "no-cache" ||
				res.Header.Get("X-App") != "" || res.Header.Get("Set-Cookie") == "") {
				t.Errorf("headers %v", res.Header)
			}
		})
	}
}

// What can be compressed is, by the edge and not twice; what a cache knows it by
// goes along.
func TestCompression(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	text := strings.Repeat("the same again, ", 1000)
	f.tenant("acme", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.URL.Query().Get("type"))
		if r.URL.Path == "/encoded" {
			w.Header().Set("Content-Encoding", "br")
		}
		_, _ = io.WriteString(w, text)
	}))
	f.route(f.bucket("acme", digestA, 2, map[string]string{"app.js": text}))
	f.awaitStatic("acme", digestA)
	for name, c := range map[string]struct{ path, accept, encoding string }{
		"a page":                {"/?type=text/html", "gzip, deflate, br", "gzip"},
		"better":                {"/?type=text/html", "gzip, zstd", "zstd"},
		"not asked for":         {"/?type=text/html", "identity", ""},
		"an image":              {"/?type=image/png", "gzip", ""},
		"compressed by the app": {"/encoded?type=text/html", "gzip", "br"},
		"a file":                {"/app.js", "gzip", "gzip"},
	} {
		t.Run(name, func(t *testing.T) {
			res := f.do("GET", "acme.localhost", c.path, func(r *http.Request) { r.Header.Set("Accept-Encoding", c.accept) })
			if res.StatusCode != 200 || res.Header.Get("Content-Encoding") != c.encoding {
				t.Fatalf("%d %v", res.StatusCode, res.Header)
			}
			if small := len(res.body) < len(text)/10; small != (c.encoding == "gzip" || c.encoding == "zstd") {
				t.Errorf("%d of %d bytes", len(res.body), len(text))
			}
			etag := res.Header.Get("Etag")
			if etag == "" {
				return
			}
			again := f.do("GET", "acme.localhost", c.path, func(r *http.Request) {
				r.Header.Set("Accept-Encoding", c.accept)
				r.Header.Set("If-None-Match", etag)
			})
			if again.StatusCode != http.StatusNotModified {
				t.Errorf("asked again with %s: %d", etag, again.StatusCode)
			}
		})
	}
	res := f.do("GET", "acme.localhost", "/app.js", func(r *http.Request) {
		r.Header.Set("Accept-Encoding", "gzip")
		r.Header.Set("Range", "bytes=0-99")
	})
	if res.StatusCode != http.StatusPartialContent || res.body != text[:100] {
		t.Errorf("a range: %d, %d bytes", res.StatusCode, len(res.body))
	}
}

func TestStaticRangesAndConditions(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.tenant("acme", echo("app"))
	f.route(f.bucket("acme", digestA, 2, map[string]string{"file.txt": "0123456789", "video.mp4": strings.Repeat("v", 3<<20)}))
	f.awaitStatic("acme", digestA)
	etag := f.get("acme.localhost", "/file.txt").Header.Get("Etag")
	for _, c := range []struct {
		name, value string
		status      int
		body        string
	}{
		{"If-None-Match", etag, 304, ""},
		{"If-None-Match", `"other"`, 200, "0123456789"},
		{"If-Modified-Since", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), 304, ""},
		{"Range", "bytes=2-4", 206, "234"},
		{"Range", "bytes=-3", 206, "789"},
		{"Range", "bytes=50-", 416, ""},
		{"If-Match", `"other"`, 412, ""},
	} {
		res := f.do("GET", "acme.localhost", "/file.txt", func(r *http.Request) { r.Header.Set(c.name, c.value) })
		if res.StatusCode != c.status || c.status < 400 && res.body != c.body {
			t.Errorf("%s: %s: %d %q", c.name, c.value, res.StatusCode, res.body)
		}
	}
	if res := f.get("acme.localhost", "/video.mp4"); len(res.body) != 3<<20 {
		t.Errorf("%d bytes of a large file", len(res.body))
	}
}

// A new release's tree is served at once; a page of the release before still
// gets its own assets; a file that did not change keeps its ETag.
func TestStaticReplaced(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.tenant("acme", echo("app"))
	f.route(f.bucket("acme", digestA, 2, map[string]string{"index.html": "old", "app.0000000a.js": "old js", "plain.js": "old plain", "same.css": "p{}"}))
	f.awaitStatic("acme", digestA)
	same := f.get("acme.localhost", "/same.css").Header.Get("Etag")
	old := f.get("acme.localhost", "/").Header.Get("Etag")
	f.route(f.bucket("acme", digestB, 3, map[string]string{"index.html": "new", "app.0000000b.js": "new js", "same.css": "p{}"}))
	f.awaitStatic("acme", digestB)
	if res := f.get("acme.localhost", "/"); res.body != "new" || res.Header.Get("Etag") == old {
		t.Errorf("index: %q %s", res.body, res.Header.Get("Etag"))
	}
	if res := f.get("acme.localhost", "/app.0000000a.js"); res.body != "old js" {
		t.Errorf("asset of the release before: %d %q", res.StatusCode, res.body)
	}
	if in := f.get("acme.localhost", "/plain.js").seen(t).Instance; in != "app" {
		t.Errorf("a plain file of the release before is still served, by %q", in)
	}
	if res := f.get("acme.localhost", "/same.css"); res.Header.Get("Etag") != same {
		t.Errorf("ETag of the same content: %s, was %s", res.Header.Get("Etag"), same)
	}
	f.route(f.routeOf("acme", 4)) // no static tree any more
	f.awaitStatic("acme", "")
	if in := f.get("acme.localhost", "/").seen(t).Instance; in != "app" {
		t.Errorf("without a tree, / came from %q", in)
	}
}
