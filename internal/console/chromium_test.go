package console_test

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/console/consoletest"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/sync"
)

var pictures = flag.String("pictures", "", "directory for pictures of every page, in several sizes and colours")

// signIn fills the form in that it is led to.
func (b *browser) signIn(a *api, path string) {
	b.t.Helper()
	b.visit(a.url + path)
	b.until("location.pathname == '/login'")
	b.loading(func() {
		b.eval(fmt.Sprintf("document.getElementById('token').value = %q; document.querySelector('form.login').submit()", a.token))
	})
	b.until(fmt.Sprintf("location.pathname == %q", path))
}

func TestPagesInABrowser(t *testing.T) {
	t.Parallel()
	b := open(t)
	a := serve(t, everyState())
	b.visit(a.url + "/login?next=%2Fcommits%2F" + fourth)
	b.everySize("/login")
	b.signIn(a, "/commits/"+fourth)
	for _, path := range []string{
		"/", "/?phase=Failed", "/commits/5" + fourth[1:], "/commits/" + fourth, "/commits/" + third, "/commits/" + second,
		"/tenants/acme", "/tenants/globex", "/tenants/hooli", "/tenants/umbrella", "/tenants/vandelay", "/pulls/12", "/pulls/11", "/tenants/none",
	} {
		b.visit(a.url + path)
		b.everySize(path)
	}
	b.eval("document.body.append(Object.assign(document.createElement('script'), {textContent: 'document.title = \"taken over\"'}))")
	if said := b.complaints(); len(said) == 0 || b.eval("document.title") == "taken over" {
		t.Error("an inline script ran, or its refusal would not be noticed here")
	}
}

// tooFaint lists the texts whose contrast is below 4.5 to 1: WCAG 2.2, 1.4.3.
const tooFaint = `(() => {
  const parse = (c) => { const [r, g, b, a = 1] = c.match(/[\d.]+/g).map(Number); return { r, g, b, a }; };
  const light = ({ r, g, b }) => {
    const [x, y, z] = [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.a === 1) return c;
    }
    return parse('rgb(255, 255, 255)');
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), e = walker.currentNode.parentElement;
    if (!text || !e.checkVisibility()) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) found.push(text + ' has a contrast of ' + contrast.toFixed(2));
  }
  return found;
})()`

// everySize fails the test if a page does not fit a window or is hard to read in
// it, or if the browser complains.
func (b *browser) everySize(path string) {
	b.t.Helper()
	for _, c := range []struct {
		width  int
		scheme string
	}{{1200, "light"}, {1200, "dark"}, {390, "light"}, {320, "dark"}} {
		b.size(c.width, c.scheme)
		if wide := b.eval("document.documentElement.scrollWidth"); wide.(float64) > float64(c.width) {
			b.t.Errorf("%s is %v wide in a window of %d", path, wide, c.width)
		}
		for _, faint := range b.eval(tooFaint).([]any) {
			b.t.Errorf("%s, %s: %s", path, c.scheme, faint)
		}
		if *pictures != "" {
			name := strings.Trim(strings.NewReplacer("/", "_", "?", "_").Replace(path), "_")
			b.picture(*pictures, fmt.Sprintf("%s-%d-%s", name, c.width, c.scheme))
		}
	}
	for _, complaint := range b.complaints() {
		if path != "/tenants/none" || !strings.Contains(complaint, "404 (Not Found)") {
			b.t.Errorf("%s: %s", path, complaint)
		}
	}
}

func TestPageFollowsItsCommit(t *testing.T) {
	t.Parallel()
	b := open(t)
	a := serve(t, consoletest.State{Commits: []sync.Progress{deploying(first, pipeline.Running)}, Head: first})
	b.signIn(a, "/commits/"+first)
	b.until("document.querySelector('#state').innerText == 'pending'")
	b.eval("window.same = true")
	a.world.Update(func(s *consoletest.State) {
		c := deploying(first, pipeline.Running)
		c.Items[0].State = "Compile"
		s.Commits = []sync.Progress{c}
	})
	b.until("document.querySelector('tbody').innerText.includes('Compile')")
	a.world.Update(func(s *consoletest.State) { s.Commits = []sync.Progress{deploying(first, pipeline.Succeeded)} })
	b.until("document.querySelector('#state').innerText == 'success'")
	b.until("document.getElementById('news').textContent == 'success'")
	if b.eval("window.same") != true {
		t.Error("the page was loaded again")
	}
	b.until("!document.getElementById('part').dataset.live") // nothing more comes
	for _, complaint := range b.complaints() {
		t.Error(complaint)
	}
}

// Links from other sites lead to the page, though the session's cookie does not
// come along at first; and no tenant gets it.
func TestLinkFromAnotherSite(t *testing.T) {
	t.Parallel()
	b := open(t)
	a := serve(t, everyState())
	cookies := make(chan string, 10)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/take" {
			cookies <- r.Header.Get("Cookie")
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<title>app</title><a id="console" href="%s/commits/%s">console</a><a id="take" href="http://%s/take">take</a>`, a.url, third, r.Context().Value(http.LocalAddrContextKey))
	}))
	t.Cleanup(app.Close)
	_, port, err := net.SplitHostPort(app.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b.signIn(a, "/commits/"+first)
	b.visit("http://acme.localhost:" + port) // as tenants are reached
	b.click("#console")
	b.until("document.querySelector('h1')?.innerText.startsWith('Greet people')")
	if at := b.eval("location.href"); at != a.url+"/commits/"+third {
		t.Errorf("the link leads to %s", at)
	}
	b.visit("http://acme.localhost:" + port)
	b.click("#take")
	b.until("location.pathname == '/take'")
	if got := <-cookies; got != "" {
		t.Errorf("an app at another port of this machine gets the cookie %s", got)
	}
}
