package kit

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// drain is how long requests in flight may take after SIGTERM: less than the
// 30 s after which the platform kills.
const drain = 25 * time.Second

type app struct {
	title  string
	pool   *pgxpool.Pool
	mux    *http.ServeMux
	models []*Model
	log    *slog.Logger
}

// New connects to DATABASE_URL and returns an app without models. Without a
// usable URL the process ends with a message.
//
//go:noinline
func New(title string) App {
	a := &app{title: title, mux: http.NewServeMux(), log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	url := os.Getenv("DATABASE_URL")
	if url == "" {
		a.fail("DATABASE_URL is not set: a design needs its tenant's database (spec.database.enabled: true)")
	}
	pool, err := connect(context.Background(), url)
	if err != nil {
		a.fail("DATABASE_URL cannot be used") // the error may quote the password
	}
	a.pool = pool
	a.mux.HandleFunc("GET /healthz", a.health)
	a.page()
	return a
}

func (a *app) fail(message string) {
	a.log.Error(message)
	os.Exit(1)
}

func (a *app) DB() DB { return database{a.pool} }

func (a *app) Add(r Resource) {
	m := r.Model()
	a.models = append(a.models, m)
	a.mux.Handle("/api/"+m.Table, a.endpoint(m, map[string]func(Call) error{
		http.MethodGet: r.List, http.MethodPost: r.Create,
	}))
	a.mux.Handle("/api/"+m.Table+"/{id}", a.endpoint(m, map[string]func(Call) error{
		http.MethodGet: r.Get, http.MethodPut: r.Replace, http.MethodPatch: r.Patch, http.MethodDelete: r.Delete,
	}))
}

func (a *app) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := a.pool.Ping(ctx); err != nil {
		write(w, http.StatusServiceUnavailable, &httpError{Message: "the database does not answer"})
		return
	}
	write(w, http.StatusOK, map[string]string{"status": "ok", "release": os.Getenv("RELEASE")})
}

func (a *app) Run() {
	port, err := strconv.ParseUint(os.Getenv("PORT"), 10, 16)
	if err != nil {
		a.fail("PORT is not set to a port number")
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.FormatUint(port, 10)))
	if err != nil {
		a.fail("listen: " + err.Error())
	}
	server := &http.Server{
		Handler:           headers(a.mux),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	a.log.Info("serving", "addr", listener.Addr().String())
	select {
	case err := <-ended:
		a.fail("serve: " + err.Error())
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil && !errors.Is(err, context.Canceled) {
		a.log.Warn("requests were cut off", "err", err)
	}
	a.pool.Close()
}

// headers adds what every answer has.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "+
			"base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}
