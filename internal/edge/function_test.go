package edge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gitopsd/gitopsd/infra/functions"
)

// hostsOfTest are the key-value store of these tests.
var hostsOfTest = map[string]string{"acme.localhost": "acme", "shop.example.com": "acme", "beta.localhost": "beta"}

func storeOfTest(key string) (string, bool) { v, ok := hostsOfTest[key]; return v, ok }

func newTestFunction(t testing.TB, name, source string) *Function {
	t.Helper()
	f, err := NewFunction(name, source, storeOfTest)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// verdict is what a function made of an event, in the event's own terms.
type verdict struct {
	Status  int               // of an answer; 0: the headers go on
	Headers map[string]Values // after the function
}

func verdictOf(ev *Event, o *Outcome) verdict {
	headers := map[string]Values{}
	if o.Answer != nil {
		for _, c := range o.Answer.Headers {
			headers[strings.ToLower(c.Name)] = valuesOf(c.Values)
		}
		return verdict{o.Answer.StatusCode, headers}
	}
	maps.Copy(headers, ev.Request.Headers)
	if ev.Response != nil {
		headers = maps.Clone(ev.Response.Headers)
	}
	for _, name := range o.Delete {
		delete(headers, strings.ToLower(name))
	}
	for _, c := range o.Set {
		headers[strings.ToLower(c.Name)] = valuesOf(c.Values)
	}
	return verdict{0, headers}
}

// requestCases are events of the documented shape and what becomes of them.
func requestCases() map[string]struct {
	request *http.Request
	tenant  string
	status  int
} {
	request := func(method, host string, headers ...string) *http.Request {
		r := httptest.NewRequest(method, "/p%20a/th?a=1&b=2&a=3", nil)
		r.Host = host
		for i := 0; i < len(headers); i += 2 {
			r.Header.Add(headers[i], headers[i+1])
		}
		return r
	}
	return map[string]struct {
		request *http.Request
		tenant  string
		status  int
	}{
		"plain":          {request("GET", "acme.localhost", "Accept", "*/*"), "acme", 0},
		"port":           {request("POST", "acme.localhost:8080"), "acme", 0},
		"upper, dot":     {request("GET", "ACME.Localhost.:8080"), "acme", 0},
		"custom domain":  {request("GET", "shop.example.com"), "acme", 0},
		"spoofed":        {request("GET", "acme.localhost", "X-Tenant", "beta", "X-Gitopsd-Edge", "k", "X-Gitopsd-Secret", "s", "X-Gitopsd-", "x"), "acme", 0},
		"spoofed twice":  {request("GET", "beta.localhost", "X-Tenant", "acme", "X-Tenant", "x"), "beta", 0},
		"alike":          {request("GET", "beta.localhost", "X-Tenants", "kept", "X-Gitops", "kept", "Tenant", "kept"), "beta", 0},
		"several values": {request("GET", "beta.localhost", "Accept", "a", "Accept", "b", "Cookie", "a=1; b=2"), "beta", 0},
		"unknown":        {request("GET", "nobody.localhost"), "", 404},
		"empty host":     {request("GET", ""), "", 404},
		"only a port":    {request("GET", ":80"), "", 404},
		"address 6":      {request("GET", "[::1]:80"), "", 404},
		"prototype":      {request("GET", "__proto__"), "", 404},
		"two dots":       {request("GET", "acme.localhost.."), "", 404},
		"trace":          {request("TRACE", "acme.localhost"), "", 405},
		"lower case":     {request("get", "acme.localhost"), "", 405},
		"every method":   {request("OPTIONS", "acme.localhost"), "acme", 0},
	}
}

func TestViewerRequest(t *testing.T) {
	f := newTestFunction(t, "viewer-request.js", functions.ViewerRequest)
	for name, c := range requestCases() {
		t.Run(name, func(t *testing.T) {
			ev := requestEvent(c.request)
			o, err := f.Call(ev)
			if err != nil {
				t.Fatal(err)
			}
			v := verdictOf(ev, o)
			if v.Status != c.status || c.status == 0 && v.Headers["x-tenant"].Value != c.tenant {
				t.Errorf("%+v", v)
			}
			for name := range v.Headers {
				if strings.HasPrefix(name, "x-gitopsd-") {
					t.Errorf("%s passed", name)
				}
			}
			for name := range ev.Request.Headers {
				_, kept := v.Headers[name]
				reserved := name == "x-tenant" || strings.HasPrefix(name, "x-gitopsd-")
				if c.status == 0 && !kept && !reserved {
					t.Errorf("%s was lost", name)
				}
			}
		})
	}
}

func responseCases() map[string]http.Header {
	return map[string]http.Header{
		"bare":     {},
		"revealed": {"Server": {"x"}, "X-Powered-By": {"y"}, "X-Gitopsd-Agent": {"z"}, "X-Runtime": {"1"}, "Content-Type": {"text/html"}},
		"own":      {"X-Content-Type-Options": {"own"}, "Referrer-Policy": {"own"}, "X-Frame-Options": {"DENY"}, "Strict-Transport-Security": {"max-age=1"}},
		"own csp":  {"Content-Security-Policy": {"frame-ancestors *"}},
		"cookies":  {"Set-Cookie": {"a=1", "b=2"}, "Vary": {"a", "b"}},
	}
}

func TestViewerResponse(t *testing.T) {
	f := newTestFunction(t, "viewer-response.js", functions.ViewerResponse)
	for name, h := range responseCases() {
		t.Run(name, func(t *testing.T) {
			o, err := f.Call(responseEvent(httptest.NewRequest("GET", "/", nil), 200, h))
			if err != nil {
				t.Fatal(err)
			}
			after := h.Clone()
			o.apply(after)
			// The policy, which stands alone from 400 on, adds nothing more.
			alone, both := h.Clone(), after.Clone()
			policy(both)
			if diff := cmp.Diff(after, both); diff != "" {
				t.Errorf("policy after function:\n%s", diff)
			}
			policy(alone)
			for n := range alone {
				if n == "X-Runtime" {
					delete(alone, n) // the function's alone to hide
				}
			}
			if diff := cmp.Diff(alone, after); diff != "" {
				t.Errorf("function and policy differ:\n%s", diff)
			}
			if v := h["Set-Cookie"]; !cmp.Equal(v, after["Set-Cookie"]) {
				t.Errorf("cookies %q became %q", v, after["Set-Cookie"])
			}
		})
	}
}

// Node runs the same bytes on the same events, with the same result.
func TestFunctionsInNode(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: the functions ran in goja alone")
	}
	var requests, responses []*Event
	for _, c := range requestCases() {
		requests = append(requests, requestEvent(c.request))
	}
	for _, h := range responseCases() {
		responses = append(responses, responseEvent(httptest.NewRequest("GET", "/", nil), 200, h))
	}
	for _, c := range []struct {
		name, source string
		events       []*Event
	}{{"viewer-request.js", functions.ViewerRequest, requests}, {"viewer-response.js", functions.ViewerResponse, responses}} {
		t.Run(c.name, func(t *testing.T) {
			f := newTestFunction(t, c.name, c.source)
			for i, got := range inNode(t, node, c.source, c.events) {
				o, err := f.Call(c.events[i])
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(got, verdictOf(c.events[i], o)); diff != "" {
					t.Errorf("node (-) and goja (+) differ for %+v:\n%s", c.events[i].Request, diff)
				}
			}
		})
	}
}

func inNode(t *testing.T, node, source string, events []*Event) []verdict {
	t.Helper()
	var verdicts []verdict
	runNode(t, node, source, events,
		`out.push({ Status: 'method' in result || event.response ? 0 : result.statusCode, Headers: result.headers || {} });`, &verdicts)
	if len(verdicts) != len(events) {
		t.Fatalf("%d verdicts of %d events", len(verdicts), len(events))
	}
	return verdicts
}

// runNode runs a function on events in Node, with a stand-in of CloudFront's module,
// and decodes what collect put out.
func runNode(t *testing.T, node, source string, events any, collect string, into any) {
	t.Helper()
	dir := t.TempDir()
	store, _ := json.Marshal(hostsOfTest)
	for name, content := range map[string]string{
		"function.mjs":                         source + "\nexport { handler };\n",
		"node_modules/cloudfront/package.json": `{"name": "cloudfront", "type": "module", "main": "index.js"}`,
		"node_modules/cloudfront/index.js": `const store = new Map(Object.entries(` + string(store) + `));
const get = async (key) => { if (!store.has(key)) throw new Error('no ' + key); return store.get(key); };
export default { kvs: () => ({ get, exists: async (key) => store.has(key), count: async () => store.size }) };`,
		"main.mjs": `import { handler } from './function.mjs';
import { readFileSync } from 'node:fs';
const out = [];
for (const event of JSON.parse(readFileSync(0))) {
  const result = await handler(event);
  ` + collect + `
}
console.log(JSON.stringify(out));`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, "main.mjs")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, &stderr)
	}
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatal(err)
	}
}

func TestFunctionSizes(t *testing.T) {
	for name, source := range map[string]string{"viewer-request.js": functions.ViewerRequest, "viewer-response.js": functions.ViewerResponse} {
		if len(source) > functions.MaxSize {
			t.Errorf("%s has %d bytes", name, len(source))
		}
	}
}

// What is remembered is what the function would say.
func TestMemoEqualsFunction(t *testing.T) {
	store := map[string]string{"acme.localhost": "acme", "beta.localhost": "beta"}
	lookup := func(k string) (string, bool) { v, ok := store[k]; return v, ok }
	request, err := NewFunction("viewer-request.js", functions.ViewerRequest, lookup)
	if err != nil {
		t.Fatal(err)
	}
	response := newTestFunction(t, "viewer-response.js", functions.ViewerResponse)
	names := []string{
		"Accept", "X-Tenant", "X-Gitopsd-Edge", "X-Gitopsd-Secret", "Cookie", "Server", "X-Powered-By", "X-Frame-Options",
		"Content-Security-Policy", "Referrer-Policy", "Connection", "X-Edge-Secret", "User-Agent", "X-Content-Type-Options",
	}
	for i := range 60 {
		names = append(names, fmt.Sprintf("X-Many-%d", i))
	}
	requests, responses := newMemo(request), newMemo(response)
	rapid.Check(t, func(t *rapid.T) {
		if rapid.IntRange(0, 9).Draw(t, "change the store") == 0 { // hosts move between tenants, come and go
			host := rapid.SampledFrom([]string{"acme.localhost", "beta.localhost", "new.localhost"}).Draw(t, "changed")
			if tenant := rapid.SampledFrom([]string{"", "acme", "beta", "new"}).Draw(t, "to"); tenant == "" {
				delete(store, host)
			} else {
				store[host] = tenant
			}
		}
		r := httptest.NewRequest(rapid.SampledFrom([]string{"GET", "POST", "TRACE"}).Draw(t, "method"), "/", nil)
		r.Host = rapid.SampledFrom([]string{"acme.localhost", "ACME.localhost:80", "beta.localhost", "new.localhost.", "none", ""}).Draw(t, "host")
		h := http.Header{}
		for _, n := range rapid.SliceOfN(rapid.SampledFrom(names), 0, 60).Draw(t, "headers") {
			h.Add(n, rapid.SampledFrom([]string{"1", "2"}).Draw(t, "value"))
		}
		r.Header = h
		got, err1 := requests.request(r)
		want, err2 := request.Call(requestEvent(r))
		if diff := cmp.Diff(want, got); diff != "" || err1 != nil || err2 != nil {
			t.Fatalf("%v %v\n%s", err1, err2, diff)
		}
		got, err1 = responses.response(r, 200, h)
		want, err2 = response.Call(responseEvent(r, 200, h))
		if diff := cmp.Diff(want, got); diff != "" || err1 != nil || err2 != nil {
			t.Fatalf("%v %v\n%s", err1, err2, diff)
		}
	})
	if requests.size() == 0 || responses.size() == 0 {
		t.Error("nothing was remembered")
	}
}

// Both functions look at no more than the memo goes by; one that does is not
// remembered.
func TestMemoKnowsWhatItMayKeep(t *testing.T) {
	r := httptest.NewRequest("GET", "/a?x=1", nil)
	r.Host = "acme.localhost"
	r.Header.Set("Accept", "a")
	const head = "import cf from 'cloudfront';\nconst kvs = cf.kvs();\nasync function handler(event) { const request = event.request, headers = request.headers; "
	for name, c := range map[string]struct {
		source string
		kept   bool
	}{
		"ours":           {functions.ViewerRequest, true},
		"method":         {head + "if (request.method === 'GET') headers.a = {value: 'b'}; return request; }", true},
		"names":          {head + "headers.n = {value: '' + Object.keys(headers).length}; return request; }", true},
		"store":          {head + "headers.t = {value: await kvs.get('beta.localhost')}; return request; }", true},
		"absent key":     {head + "try { await kvs.get('x') } catch (e) { headers.t = {value: 'x'} } return request; }", false},
		"a value":        {head + "headers.b = {value: headers.accept.value}; return request; }", false},
		"uri":            {head + "headers.b = {value: request.uri}; return request; }", false},
		"query":          {head + "headers.b = {value: request.querystring.x.value}; return request; }", false},
		"cookies":        {head + "headers.b = {value: '' + Object.keys(request.cookies).length}; return request; }", false},
		"viewer":         {head + "headers.b = {value: event.viewer.ip}; return request; }", false},
		"context":        {head + "headers.b = {value: event.context.requestId}; return request; }", false},
		"whole, as JSON": {head + "headers.b = {value: '' + JSON.stringify(event).length}; return request; }", false},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemo(newTestFunction(t, name, c.source))
			for range 2 {
				if _, err := m.request(r); err != nil {
					t.Fatal(err)
				}
			}
			if (m.size() == 1) != c.kept {
				t.Errorf("%d outcomes kept", m.size())
			}
		})
	}
}

func TestMemoIsBounded(t *testing.T) {
	m := newMemo(newTestFunction(t, "viewer-request.js", functions.ViewerRequest))
	s := &m.shards[0]
	for i := range 3 * memoEntries {
		s.put(fmt.Sprint(i), &memoEntry{})
	}
	if n := len(s.entries); n > memoEntries {
		t.Errorf("%d entries", n)
	}
}

func TestFunctionErrors(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	for name, c := range map[string]struct{ source, compile, run string }{
		"syntax":          {"function handler( {", "SyntaxError", ""},
		"no handler":      {"const x = 1;", "no function named handler", ""},
		"other import":    {"import fs from 'fs';\nfunction handler(e) { return e.request; }", "only", ""},
		"named import":    {"import { kvs } from 'cloudfront';\nfunction handler(e) { return e.request; }", "only", ""},
		"export":          {"export function handler(e) { return e.request; }", "only", ""},
		"throws":          {"function handler(e) { throw new Error('x'); }", "", "Error: x"},
		"rejects":         {"async function handler(e) { throw new Error('x'); }", "", "Error: x"},
		"never settles":   {"async function handler(e) { await new Promise(function () {}); }", "", "never comes"},
		"returns nothing": {"function handler(e) { }", "", "neither"},
		"other object":    {"function handler(e) { return {}; }", "", "another object"},
		"bad status":      {"function handler(e) { return {statusCode: 99}; }", "", "status 99"},
		"changes uri":     {"function handler(e) { e.request.uri = '/x'; return e.request; }", "", "request.uri"},
		"value a string":  {"function handler(e) { e.request.headers.a = 'b'; return e.request; }", "", "headers.a"},
		"splits headers":  {"function handler(e) { e.request.headers.a = {value: 'b\\r\\nc: d'}; return e.request; }", "", "headers.a"},
		"clock":           {"function handler(e) { return new Date(); }", "", "Date is not defined"},
		"chance":          {"function handler(e) { return Math.random(); }", "", "no member 'random'"},
		"file system":     {"function handler(e) { return require('fs'); }", "", "require is not defined"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := NewFunction(name, c.source, storeOfTest)
			if c.compile != "" {
				if err == nil || !strings.Contains(err.Error(), c.compile) {
					t.Errorf("compiled with %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // also with what the first call left behind
				if _, err := f.Call(requestEvent(r)); err == nil || !strings.Contains(err.Error(), c.run) {
					t.Errorf("ran with %v", err)
				}
			}
		})
	}
}

func benchmarkRequest() *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.Host = "acme.localhost:8080"
	for _, n := range []string{"User-Agent", "Accept", "Accept-Language", "Accept-Encoding", "Cookie", "Referer", "Sec-Fetch-Mode", "X-Tenant"} {
		r.Header.Set(n, "some value")
	}
	return r
}

func BenchmarkViewerRequest(b *testing.B) {
	f := newTestFunction(b, "viewer-request.js", functions.ViewerRequest)
	r := benchmarkRequest()
	b.Run("run", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := f.Call(requestEvent(r)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("remembered", func(b *testing.B) {
		b.ReportAllocs()
		m := newMemo(f)
		for b.Loop() {
			if _, err := m.request(r); err != nil {
				b.Fatal(err)
			}
		}
	})
}
