package console

import (
	"bytes"
	"context"
	"embed"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
)

const (
	// pagePolicy lets a page use our own style and script and nothing else.
	pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

	maxWatching = 100                    // pages that wait for news at a time
	pageGap     = 250 * time.Millisecond // between two looks of one that waits alone

	// How soon a page without a script is asked for again.
	soon  = 5  // seconds, while something is under way
	later = 60 // seconds, while nothing is
)

//go:embed pages/*.html
var templates embed.FS

// pages are the templates and what they refer to.
type pages struct {
	templates *template.Template
	assets    map[string]asset
}

func loadPages() (*pages, error) {
	t, err := template.New("").Funcs(pageFuncs()).ParseFS(templates, "pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("read the templates of pages: %w", err)
	}
	assets, err := loadAssets()
	if err != nil {
		return nil, err
	}
	return &pages{t, assets}, nil
}

// page is what a request for a page comes to.
type page struct {
	Title    string
	Template string // of the part below the header
	Data     any
	// Refresh says after how many seconds a page without a script is asked for
	// again; 0 for one that stays as it is. Others wait for news then.
	Refresh int
}

// reader is who reads a page.
type reader struct {
	SignedIn bool // or has the token
}

// pager makes a page of what is recorded now.
type pager func(ctx context.Context, r *http.Request, who reader) (page, error)

// shown is what the template of a whole page gets.
type shown struct {
	page
	Style, Script string // paths
	Domain        string
	Path          string // of the page, below which its news are
	Login         string // where to sign in
	SignedIn      bool
	Tag           string
	Main          template.HTML // the page's own part, made by its template
}

// site answers what browsers ask for.
func (s *Server) site() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", s.watched(s.overview))
	mux.Handle("GET /commits/{sha}", s.watched(s.commitPage))
	mux.Handle("GET /tenants/{name}", s.watched(s.tenantPage))
	mux.Handle("GET /pulls/{number}", s.watched(s.pullPage))
	mux.Handle("GET /login", s.html(s.loginPage))
	mux.Handle("POST /login", s.html(s.login))
	mux.Handle("POST /logout", s.html(s.logout))
	mux.HandleFunc("GET /assets/{name}", s.asset)
	mux.Handle("/", s.html(unknown))
	return guarded(mux)
}

// guarded has browsers keep to what pages need, whatever a page says.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// html shows errors as a page, to who asks for pages.
func (s *Server) html(e endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := e(w, r)
		switch {
		case err == nil:
		case strings.Contains(r.Header.Get("Accept"), "text/html"):
			s.showFailure(w, r, err)
		default:
			refuse(w, codeOf(err), err)
		}
	})
}

// watched answers with a page to who may read it.
func (s *Server) watched(make pager) http.Handler {
	return s.html(func(w http.ResponseWriter, r *http.Request) error {
		who := reader{SignedIn: s.signedIn(r) || s.hasToken(r)}
		news := r.URL.Query().Get("news") != ""
		switch {
		case !who.SignedIn && !s.overTLS(r) && r.Header.Get("Sec-Fetch-Site") == "cross-site" && !news:
			return s.show(w, r, http.StatusOK, page{Title: "One moment", Template: "again", Data: r.URL.RequestURI()})
		case who.SignedIn || s.config.PublicRead:
		case news:
			w.WriteHeader(http.StatusUnauthorized)
			return nil
		default:
			seeOther(w, loginURL(r))
			return nil
		}
		if news {
			return s.news(w, r, make, who)
		}
		p, err := make(r.Context(), r, who)
		if err != nil {
			return err
		}
		return s.show(w, r, http.StatusOK, p)
	})
}

// news answers with the page's own part once it differs from what the client
// has, or that it does not when the time is over.
func (s *Server) news(w http.ResponseWriter, r *http.Request, make pager, who reader) error {
	wait, err := waitOf(r)
	if err != nil {
		return err
	}
	select {
	case s.watching <- struct{}{}:
		defer func() { <-s.watching }()
	default:
		wait = 0 // too many wait: this one looks again by itself
	}
	if wait > 0 {
		if err := extend(w, wait); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	for {
		looked, changed := time.Now(), s.changes.next() // before the look, so that nothing is missed
		p, err := make(r.Context(), r, who)
		if err != nil {
			return err
		}
		body, err := s.part(p)
		if err != nil {
			return err
		}
		if body.Tag != r.Header.Get("If-None-Match") {
			return s.send(w, http.StatusOK, "part", body)
		}
		if wait == 0 || !within(ctx, changed) || !pause(ctx, looked.Add(s.gap())) {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
}

// gap is the time between two looks of a page that waits: changes that come in
// quick succession do not cost a look each, the less so the more pages wait.
func (s *Server) gap() time.Duration { return pageGap * time.Duration(1+len(s.watching)/4) }

// pause waits until a time; false means that ctx ended before.
func pause(ctx context.Context, until time.Time) bool {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// part renders a page's own part.
func (s *Server) part(p page) (shown, error) {
	var b bytes.Buffer
	if err := s.pages.templates.ExecuteTemplate(&b, p.Template, p.Data); err != nil {
		return shown{}, fmt.Errorf("render %s: %w", p.Template, err)
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%d\x00%s", p.Title, p.Refresh, b.Bytes())
	return shown{page: p, Tag: `"` + hex.EncodeToString(h.Sum(nil)) + `"`, Main: template.HTML(b.String())}, nil
}

// show answers with a whole page.
func (s *Server) show(w http.ResponseWriter, r *http.Request, code int, p page) error {
	v, err := s.part(p)
	if err != nil {
		return err
	}
	v.Domain, v.Login, v.SignedIn = s.config.Domain, loginURL(r), s.signedIn(r)
	v.Style, v.Script = s.pages.path("console.css"), s.pages.path("console.js")
	return s.send(w, code, "page", v)
}

func (s *Server) send(w http.ResponseWriter, code int, name string, v shown) error {
	var b bytes.Buffer
	if err := s.pages.templates.ExecuteTemplate(&b, name, v); err != nil {
		return fmt.Errorf("render %s: %w", v.Template, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("ETag", v.Tag)
	w.WriteHeader(code)
	_, _ = b.WriteTo(w) // the client is gone if this fails
	return nil
}

// showFailure shows an error as a page. What failed inside says more than a
// stranger is to know.
func (s *Server) showFailure(w http.ResponseWriter, r *http.Request, err error) {
	code, f := codeOf(err), failureOf(fault.RecordOf(err), nil, &budget{})
	if code >= http.StatusInternalServerError {
		s.config.Log.Error("a page cannot be shown", "path", r.URL.Path, "error", err)
		if !s.signedIn(r) && !s.hasToken(r) {
			f = &failureShown{Message: "The page cannot be shown just now.", Hint: "Sign in to see why, or try again."}
		}
	}
	title := map[int]string{http.StatusNotFound: "Not found", http.StatusUnprocessableEntity: "Not understood"}[code]
	if title == "" {
		title = "Cannot be shown"
	}
	if err := s.show(w, r, code, page{Title: title, Template: "failure", Data: f}); err != nil {
		s.config.Log.Error("an error cannot be shown", "path", r.URL.Path, "error", err)
		w.WriteHeader(http.StatusInternalServerError)
	}
}
