package build_test

import (
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/pipeline"
)

// guestbookRepository has the example at the place where its tenant wants it.
func guestbookRepository(t testing.TB) (*repository, string) {
	t.Helper()
	repo := newRepository(t)
	if err := os.MkdirAll(filepath.Join(repo.dir, "apps"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-r", filepath.Join(root, "apps", "guestbook"), filepath.Join(repo.dir, "apps")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return repo, repo.commit(nil)
}

func TestGuestbook(t *testing.T) {
	t.Parallel()
	repo, commit := guestbookRepository(t)
	b := newBuilder(t, repo, warm(t))
	spec := example(t, "guestbook")
	in := pipeline.Build{Run: "r", Commit: commit, Volume: t.TempDir(), Tenant: spec}
	const prefix = "guestbook:"
	app := start(t, b, in, newDatabase(t), "REDIS_URL="+redisServer(t), "REDIS_PREFIX="+prefix, "GREETING=<Hi>")

	first := app.want(200, "GET", "/api/entries", nil)
	if first["visits"] != 1.0 || first["greeting"] != "<Hi>" {
		t.Errorf("got %v", first)
	}
	post := func(author, message string) int {
		t.Helper()
		response, err := http.PostForm(app.url+"/entries", url.Values{"author": {author}, "message": {message}})
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	if got := post("Ann", "<script>alert(1)</script>"); got != 200 { // after the redirect
		t.Errorf("signing: %d", got)
	}
	for _, wrong := range [][2]string{{"", "x"}, {"x", ""}, {"x", "a\x00b"}, {"x", "\xff"}, {strings.Repeat("x", 81), "x"}} {
		if got := post(wrong[0], wrong[1]); got != 422 {
			t.Errorf("signing with %q: %d, want 422", wrong, got)
		}
	}
	page, _ := app.want(200, "GET", "/", nil)["raw"].(string)
	for _, want := range []string{"&lt;script&gt;alert(1)&lt;/script&gt;", "&lt;Hi&gt;", "visit number <b>3</b>", "guestbook of <b>x</b>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s:\n%s", want, page)
		}
	}
	if strings.Contains(page, "{{") {
		t.Errorf("the page has a hole:\n%s", page)
	}
	app.want(200, "GET", "/style.css", nil)
	app.want(404, "GET", "/nothing", nil)
	request, _ := http.NewRequest("POST", app.url+"/entries", strings.NewReader("author=x&message=y"))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Sec-Fetch-Site", "cross-site")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("another site may post: %d", response.StatusCode)
	}
	if err := app.stop(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}
