package review_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/github/githubtest"
	"github.com/gitopsd/gitopsd/internal/review"
)

// TestBigPulls: pull requests with very many files get a right status, and a
// comment that fits, with what is lost in it.
func TestBigPulls(t *testing.T) {
	t.Parallel()
	for _, size := range []int{300, 3000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, []string{"zzz"}, asApp)
			files := map[string]string{path("zzz"): ""}
			for i := range size {
				name := fmt.Sprintf("t%04d", i)
				files[path(name)] = file(name, "hello")
			}
			begin := time.Now()
			n, head := w.open("many", files)
			pushed := time.Now()
			w.look()
			t.Logf("%d files: pushed in %s, shown in %s", size, pushed.Sub(begin), time.Since(pushed))
			w.want(head, "success", fmt.Sprintf("%d provision, 1 deprovision: deletes data of zzz", size))
			c := w.said(n, "<details open><summary><b>zzz</b>: deprovision", "more: [the whole plan](https://console.example/pulls/1)")
			if len(c.Body) > review.MaxComment || strings.Count(c.Body, "<details") != strings.Count(c.Body, "</details>") {
				t.Errorf("the comment has %d bytes", len(c.Body))
			}
			if checks := w.hub.Checks(head); len(checks) != 1 || checks[0].Conclusion != "success" {
				t.Errorf("checks %+v", checks)
			}
			w.nothing(func() { w.look(); w.restart(); w.look() })
		})
	}
}

// BenchmarkPulls is what a start costs with very many open pull requests: the
// first one ever, and another.
func BenchmarkPulls(b *testing.B) {
	const pulls = 1000
	for range b.N {
		b.StopTimer()
		w := newWorld(b, names(100))
		for i := range pulls {
			branch := fmt.Sprintf("b%d", i)
			w.push(branch, map[string]string{path(branch): file(branch, "hello")})
			w.pull(githubtest.Pull{Branch: branch})
		}
		b.StartTimer()
		begin := time.Now()
		w.must(w.review.Turn(w.ctx, nil, true))
		b.ReportMetric(time.Since(begin).Seconds(), "s/first")
		b.StopTimer()
		w.must(w.review.Deliver(w.ctx))
		w.restart()
		b.StartTimer()
		begin = time.Now()
		w.must(w.review.Turn(w.ctx, nil, true))
		b.ReportMetric(time.Since(begin).Seconds(), "s/restart")
		begin = time.Now()
		w.must(w.review.Turn(w.ctx, nil, true))
		b.ReportMetric(1000*time.Since(begin).Seconds(), "ms/idle")
		_, head := w.open("last", map[string]string{path("last"): file("last", "hello")})
		begin = time.Now()
		w.must(w.review.Turn(w.ctx, []review.Hint{{Kind: review.HintPull, Pull: pulls + 1}}, false))
		b.ReportMetric(1000*time.Since(begin).Seconds(), "ms/opened")
		w.must(w.review.Deliver(w.ctx))
		w.want(head, "success", "1 provision")
	}
}
