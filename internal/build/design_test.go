package build_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/build/design"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

func TestGeneratedAPI(t *testing.T) {
	t.Parallel()
	b := newBuilder(t, newRepository(t), warm(t))
	every := []tenant.Field{
		{Name: "title", Type: tenant.FieldString, Required: true, Unique: true},
		{Name: "note", Type: tenant.FieldText},
		{Name: "count", Type: tenant.FieldInt, Default: 7.0},
		{Name: "ratio", Type: tenant.FieldFloat},
		{Name: "done", Type: tenant.FieldBool},
		{Name: "due", Type: tenant.FieldDate},
		{Name: "at", Type: tenant.FieldTime},
		{Name: "key", Type: tenant.FieldUUID},
		{Name: "extra", Type: tenant.FieldJSON},
		{Name: "owner", Type: tenant.FieldRef, Ref: "person"},
	}
	app := start(t, b, designApp(t, "api", &tenant.Design{Title: "API", Models: []tenant.Model{
		{Name: "thing", Fields: every},
		{Name: "person", Fields: []tenant.Field{{Name: "name", Type: tenant.FieldString, Required: true}}},
	}}), newDatabase(t))

	person := app.want(201, "POST", "/api/persons", map[string]any{"name": "Ann"})
	full := map[string]any{
		"title": "a", "note": "line\n\"two\"", "ratio": 0.5, "done": true, "due": "2024-02-29", "at": "2024-01-02T03:04:05Z",
		"key": "01234567-89AB-cdef-0123-456789abcdef", "extra": map[string]any{"x": []any{1.0, nil}}, "owner": person["id"],
	}
	made := app.want(201, "POST", "/api/things", full)
	for field, want := range full {
		if field == "key" {
			want = strings.ToLower(want.(string))
		}
		if fmt.Sprint(made[field]) != fmt.Sprint(want) && field != "at" {
			t.Errorf("%s is %v, want %v", field, made[field], want)
		}
	}
	if made["count"] != 7.0 || made["created_at"] == nil {
		t.Errorf("made %v", made)
	}
	id := fmt.Sprint(made["id"])

	t.Run("one record", func(t *testing.T) {
		app := &running{t: t, url: app.url}
		if got := app.want(200, "GET", "/api/things/"+id, nil); got["title"] != "a" {
			t.Errorf("got %v", got)
		}
		if got := app.want(200, "PATCH", "/api/things/"+id, map[string]any{"note": nil, "count": 9}); got["note"] != nil || got["count"] != 9.0 || got["title"] != "a" {
			t.Errorf("patched %v", got)
		}
		if got := app.want(200, "PUT", "/api/things/"+id, map[string]any{"title": "b", "id": 99, "created_at": "x"}); got["count"] != 7.0 || got["due"] != nil || fmt.Sprint(got["id"]) != id {
			t.Errorf("replaced %v", got)
		}
		app.want(404, "GET", "/api/things/999", nil)
		app.want(404, "GET", "/api/things/x", nil)
		app.want(404, "PATCH", "/api/things/999", map[string]any{})
		app.want(404, "PUT", "/api/things/999", map[string]any{"title": "z"})
		app.want(404, "DELETE", "/api/things/999", nil)
		app.want(404, "GET", "/api/nothings", nil)
		app.want(404, "GET", "/etc/passwd", nil)
		if status, _, header := app.call("DELETE", "/api/things", nil); status != 405 || header.Get("Allow") != "GET, POST" {
			t.Errorf("DELETE of a list: %d %v", status, header)
		}
		app.want(405, "POST", "/api/things/"+id, map[string]any{})
	})
	t.Run("wrong input", func(t *testing.T) {
		app := &running{t: t, url: app.url}
		for field, value := range map[string]any{
			"title": "", "note": 1, "count": 1.5, "ratio": "x", "done": "yes", "due": "2024-02-30", "at": "yesterday",
			"key": "x", "owner": 999, "nonsense": 1,
		} {
			in := map[string]any{"title": "wrong " + field, field: value}
			fields, _ := app.want(422, "POST", "/api/things", in)["fields"].(map[string]any)
			if len(fields) != 1 || fields[field] == nil {
				t.Errorf("%s=%v: %v", field, value, fields)
			}
		}
		fields := app.want(422, "POST", "/api/things", map[string]any{"count": "x", "done": 3})["fields"].(map[string]any)
		if len(fields) != 3 {
			t.Errorf("not every wrong field is named: %v", fields)
		}
		for _, body := range []string{`{"title": "` + strings.Repeat("x", 1001) + `"}`, `{"title": "a\u0000b"}`, `{"title": "j", "extra": "\u0000"}`, `{"title": "k", "count": 9223372036854775808}`} {
			app.want(422, "POST", "/api/things", body)
		}
		for _, body := range []string{"", "[]", "null", "{", `{"title": }`} {
			app.want(400, "POST", "/api/things", body)
		}
		app.want(413, "POST", "/api/things", `{"title": "`+strings.Repeat("x", 2<<20)+`"}`)
		app.want(409, "POST", "/api/things", map[string]any{"title": "b"})
		app.want(201, "POST", "/api/things", map[string]any{"title": strings.Repeat("ä", 1000)})
		request, _ := http.NewRequest("POST", app.url+"/api/persons", strings.NewReader(`{"name": "form"}`))
		request.Header.Set("Content-Type", "text/plain") // as a form of another site could
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != 415 {
			t.Errorf("a text was taken: %d", response.StatusCode)
		}
	})
	t.Run("refs", func(t *testing.T) {
		app := &running{t: t, url: app.url}
		owner := app.want(201, "POST", "/api/persons", map[string]any{"name": "Bob"})
		app.want(201, "POST", "/api/things", map[string]any{"title": "owned", "owner": owner["id"]})
		app.want(409, "DELETE", fmt.Sprintf("/api/persons/%v", owner["id"]), nil)
		app.want(204, "DELETE", "/api/things/"+id, nil)
		app.want(404, "DELETE", "/api/things/"+id, nil)
	})
	if err := app.stop(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

func TestGeneratedLists(t *testing.T) {
	t.Parallel()
	b := newBuilder(t, newRepository(t), warm(t))
	app := start(t, b, designApp(t, "lists", &tenant.Design{Models: []tenant.Model{{Name: "item", Fields: []tenant.Field{
		{Name: "name", Type: tenant.FieldString, Required: true}, {Name: "rank", Type: tenant.FieldInt}, {Name: "on", Type: tenant.FieldDate},
	}}}}), newDatabase(t))
	for _, item := range []map[string]any{
		{"name": "a", "rank": 3}, {"name": "b"}, {"name": "c", "rank": 1, "on": "2024-01-01"}, {"name": "d", "rank": 3}, {"name": "e"}, {"name": "f", "rank": 2},
	} {
		app.want(201, "POST", "/api/items", item)
	}
	for query, want := range map[string]string{
		"": "a b c d e f", "limit=2": "a b", "sort=-id": "f e d c b a", "sort=name": "a b c d e f", "sort=-name": "f e d c b a",
		"sort=rank": "c f a d b e", "sort=-rank": "d a f c e b", "rank=3": "a d", "rank=": "b e", "name=c": "c", "on=2024-01-01": "c",
		"rank=3&name=d": "d", "sort=on": "c a b d e f", "name=x' OR '1'='1": "",
	} {
		if got := titles(app.want(200, "GET", "/api/items?"+strings.NewReplacer(" ", "%20", "'", "%27").Replace(query), nil), "name"); got != want {
			t.Errorf("?%s: %q, want %q", query, got, want)
		}
	}
	for _, sort := range []string{"id", "-id", "rank", "-rank", "name", "on", "created_at"} {
		want := titles(app.want(200, "GET", "/api/items?sort="+sort, nil), "name")
		var pages []string
		after := ""
		for range 10 {
			page := app.want(200, "GET", "/api/items?limit=2&sort="+sort+after, nil)
			pages = append(pages, titles(page, "name"))
			if page["next"] == nil {
				break
			}
			after = fmt.Sprintf("&after=%v", page["next"])
		}
		if got := strings.Join(pages, " "); got != want || len(pages) != 3 {
			t.Errorf("pages sorted by %s: %q, want %q", sort, pages, want)
		}
	}
	for _, query := range []string{"limit=0", "limit=501", "limit=x", "after=x", "sort=nope", "sort=name;drop", "nope=1", "rank=x", "on=x"} {
		app.want(422, "GET", "/api/items?"+strings.ReplaceAll(query, ";", "%3B"), nil)
	}
}

// Whatever a design's texts are, they stay texts.
func TestNastyDesign(t *testing.T) {
	t.Parallel()
	const nasty = "\"`\\'</script><script>alert(1)</script>{{.}}\n*/ $1 %s; DROP TABLE tasks; -- é\u2028"
	d := &tenant.Design{Title: nasty, Models: []tenant.Model{
		{Name: "select", Fields: []tenant.Field{
			{Name: "type", Type: tenant.FieldString, Default: nasty},
			{Name: "func", Type: tenant.FieldText, Required: true, Default: `\'; x`},
			{Name: "limit", Type: tenant.FieldInt},
			{Name: "r", Type: tenant.FieldBool},
			{Name: "err", Type: tenant.FieldJSON, Default: nasty},
			{Name: "a_b", Type: tenant.FieldInt},
			{Name: "ab", Type: tenant.FieldInt},
			{Name: "a__b", Type: tenant.FieldInt},
			{Name: "i_d", Type: tenant.FieldInt},
			{Name: "model", Type: tenant.FieldInt},
			{Name: "fields", Type: tenant.FieldInt},
			{Name: "order", Type: tenant.FieldTime, Required: true, Default: "2020-01-02T03:04:05.000000006+07:00"},
		}},
		{Name: "new_select", Fields: []tenant.Field{{Name: "x", Type: tenant.FieldString}}},
		{Name: "select_a_p_i", Fields: []tenant.Field{{Name: "x", Type: tenant.FieldString}}},
		{Name: "main", Fields: []tenant.Field{{Name: "x", Type: tenant.FieldRef, Ref: "select"}}},
		{Name: "x_test", Fields: []tenant.Field{{Name: "x", Type: tenant.FieldString}}},
		{Name: "x_windows", Fields: []tenant.Field{{Name: "x", Type: tenant.FieldString}}},
		{Name: "kit", Fields: []tenant.Field{{Name: "kit", Type: tenant.FieldUUID, Required: true, Unique: true}}},
		{Name: strings.Repeat("m", 62), Fields: []tenant.Field{{Name: strings.Repeat("f", 63), Type: tenant.FieldInt, Unique: true}, {Name: strings.Repeat("f", 62) + "g", Type: tenant.FieldRef, Ref: "main"}}},
	}}
	b := newBuilder(t, newRepository(t), warm(t))
	in := designApp(t, "nasty", d)
	url := newDatabase(t)
	app := start(t, b, in, url)
	made := app.want(201, "POST", "/api/selects", map[string]any{})
	if made["type"] != nasty || made["func"] != `\'; x` || made["err"] != nasty || !strings.HasPrefix(fmt.Sprint(made["order"]), "2020-01-0") {
		t.Errorf("defaults are %v", made)
	}
	execute(t, url, "INSERT INTO selects DEFAULT VALUES")
	if got := query[string](t, url, `SELECT "type" FROM selects WHERE id = 2`); got[0] != nasty {
		t.Errorf("the database's default is %q", got[0])
	}
	for range 2 {
		app.want(201, "POST", "/api/"+strings.Repeat("m", 62)+"s", map[string]any{})
	}
	app.want(201, "POST", "/api/"+strings.Repeat("m", 62)+"s", map[string]any{strings.Repeat("f", 63): 1})
	clash := app.want(409, "POST", "/api/"+strings.Repeat("m", 62)+"s", map[string]any{strings.Repeat("f", 63): 1})
	if fields, _ := clash["fields"].(map[string]any); fields[strings.Repeat("f", 63)] == nil {
		t.Errorf("the field that is not unique is not named: %v", clash)
	}
	app.want(201, "POST", "/api/x_tests", map[string]any{"x": nasty})

	response, err := http.Get(app.url + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(page), "<script>alert") || !strings.Contains(string(page), "&lt;script&gt;") {
		t.Errorf("the title is not escaped:\n%s", page)
	}
	if csp := response.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("the policy is %q", csp)
	}

	src := filepath.Join(warm(t), "work", "nasty", "src")
	if out, err := exec.Command("gofmt", "-l", src).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("gofmt: %v %s", err, out)
	}
	vet := exec.Command("go", "vet", "./...")
	vet.Dir, vet.Env = src, append(os.Environ(), "GOWORK=off", "GOPROXY=off", "GOFLAGS=-mod=readonly")
	if out, err := vet.CombinedOutput(); err != nil {
		t.Errorf("go vet: %v\n%s", err, out)
	}
}

// A design's page is served from the release, too: by the edge.
func TestDesignHasAssets(t *testing.T) {
	t.Parallel()
	b := newBuilder(t, newRepository(t), warm(t))
	in := designApp(t, "assets", example(t, "tasks").App.Design)
	app := start(t, b, in, newDatabase(t))
	files, err := filepath.Glob(filepath.Join(in.Volume, "releases", "*", "static", "_app", "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("assets %v, %v", files, err)
	}
	for _, f := range files {
		want, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.Get(app.url + "/_app/" + filepath.Base(f))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || string(got) != string(want) || response.StatusCode != 200 {
			t.Errorf("the app's own %s differs from the release's: %d, %v", filepath.Base(f), response.StatusCode, err)
		}
	}
}

// schemaOf returns what Bundle puts into the manifest.
func schemaOf(t testing.TB, d *tenant.Design) json.RawMessage {
	t.Helper()
	tables, err := design.Schema(d)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(tables)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
