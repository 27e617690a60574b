// Guestbook is an example of a hand-written app: entries in Postgres, a counter
// in Redis, a greeting from the tenant's file.
package main

import (
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"example.com/guestbook/store"
)

// The platform's edge serves static/ before it asks the app. With this the app
// also looks right where there is no edge.
//
//go:embed static
var static embed.FS

func main() {
	if err := run(); err != nil {
		slog.Error("guestbook ends", "err", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	data, err := store.New(ctx, store.Config{
		DatabaseURL: os.Getenv("DATABASE_URL"),
		RedisURL:    os.Getenv("REDIS_URL"),
		RedisPrefix: os.Getenv("REDIS_PREFIX"),
	})
	if err != nil {
		return err
	}
	defer data.Close()

	// Listen on PORT on the loopback address; the platform does the rest.
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", os.Getenv("PORT")))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: routes(data), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	slog.Info("guestbook serves", "addr", listener.Addr().String())
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	// SIGTERM: a new release has taken over. Finish what is in flight; after
	// 30 s the platform kills.
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}

type guestbook struct{ data store.Store }

func routes(data store.Store) http.Handler {
	g := guestbook{data: data}
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // the name is right
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", g.show)
	mux.HandleFunc("POST /entries", g.add)
	mux.HandleFunc("GET /api/entries", g.list)
	mux.HandleFunc("GET /healthz", g.health)
	mux.Handle("GET /", http.FileServerFS(files))
	return http.NewCrossOriginProtection().Handler(mux) // no other site may post here
}

// health answers 200 once the app can do its work; until then a new release
// gets no traffic.
func (g guestbook) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := g.data.Ping(ctx); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

// view is what the page and the API show.
type view struct {
	Greeting string        `json:"greeting"`
	Tenant   string        `json:"tenant"`
	Visits   int64         `json:"visits"`
	Entries  []store.Entry `json:"entries"`

	// What was sent and could not be taken, to be shown again.
	Problem string `json:"-"`
	Author  string `json:"-"`
	Message string `json:"-"`
}

func (g guestbook) view(ctx context.Context, visits int64) (view, error) {
	entries, err := g.data.Latest(ctx, 50)
	return view{
		Greeting: cmp.Or(os.Getenv("GREETING"), "Hello"), // spec.app.env of the tenant's file
		Tenant:   os.Getenv("TENANT"),
		Visits:   visits,
		Entries:  entries,
	}, err
}

func (g guestbook) show(w http.ResponseWriter, r *http.Request) {
	visits, err := g.data.Visit(r.Context())
	if err != nil {
		slog.Warn("visit is not counted", "err", err)
	}
	v, err := g.view(r.Context(), visits)
	if err != nil {
		fail(w, err)
		return
	}
	render(w, http.StatusOK, v)
}

func (g guestbook) list(w http.ResponseWriter, r *http.Request) {
	visits, err := g.data.Visit(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	v, err := g.view(r.Context(), visits)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client has gone
}

func (g guestbook) add(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return
	}
	author := strings.TrimSpace(r.FormValue("author"))
	message := strings.TrimSpace(r.FormValue("message"))
	if problem := check(author, message); problem != "" {
		v, err := g.view(r.Context(), 0)
		if err != nil {
			fail(w, err)
			return
		}
		v.Problem, v.Author, v.Message = problem, author, message
		render(w, http.StatusUnprocessableEntity, v)
		return
	}
	if err := g.data.Add(r.Context(), author, message); err != nil {
		fail(w, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func check(author, message string) string {
	switch {
	case author == "" || message == "":
		return "Please fill in your name and a message."
	case utf8.RuneCountInString(author) > 80 || utf8.RuneCountInString(message) > 1000:
		return "A name has at most 80 characters, a message 1,000."
	case !utf8.ValidString(author+message) || strings.ContainsRune(author+message, 0):
		return "That is not text."
	}
	return ""
}

func fail(w http.ResponseWriter, err error) {
	slog.Error("request failed", "err", err)
	http.Error(w, "something went wrong", http.StatusInternalServerError)
}
