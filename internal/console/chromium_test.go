package console_test

import (
	"flag"
	"fmt"
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
	b.signIn(a, "/commits/"+fourth)
	for _, path := range []string{
		"/", "/?phase=Failed", "/commits/5" + fourth[1:], "/commits/" + fourth, "/commits/" + third, "/commits/" + second,
		"/tenants/acme", "/tenants/globex", "/tenants/hooli", "/tenants/umbrella", "/tenants/vandelay", "/pulls/12", "/pulls/11", "/login",
	} {
		b.visit(a.url + path)
		for _, c := range []struct {
			width  int
			scheme string
		}{{1200, "light"}, {1200, "dark"}, {390, "light"}, {320, "dark"}} {
			b.size(c.width, c.scheme)
			if wide := b.eval("document.documentElement.scrollWidth"); wide.(float64) > float64(c.width) {
				t.Errorf("%s is %v wide in a window of %d", path, wide, c.width)
			}
			if *pictures != "" {
				b.picture(*pictures, fmt.Sprintf("%s-%d-%s", strings.Trim(strings.NewReplacer("/", "_", "?", "_").Replace(path), "_"), c.width, c.scheme))
			}
		}
		for _, complaint := range b.complaints() {
			t.Errorf("%s: %s", path, complaint)
		}
	}
	b.eval("document.body.append(Object.assign(document.createElement('script'), {textContent: 'document.title = \"taken over\"'}))")
	if said := b.complaints(); len(said) == 0 || b.eval("document.title") == "taken over" {
		t.Error("an inline script ran, or its refusal would not be noticed here")
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
