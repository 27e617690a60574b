package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
)

const (
	requestTimeout = 30 * time.Second // of what neither waits nor streams
	shutdownGrace  = 5 * time.Second
	maxHeader      = 16 << 10 // bytes
)

// Config is what the console works with.
type Config struct {
	Ledger   Ledger
	Platform Platform
	Loop     Loop
	Secrets  Secrets
	Reviews  Reviews      // nil where there is no forge
	Webhook  http.Handler // of POST /webhooks/github, which has a check of its own; nil for none

	// PublicURL is what browsers and the forge call the console, such as
	// https://gitopsd.example.com; "" where only this machine reaches it.
	PublicURL string
	// PublicRead lets anybody read the pages, but not what apps and compilers
	// wrote.
	PublicRead bool

	Addr   string     // to listen on, host:port
	Data   string     // directory of the token, and of api.json for the command line
	Domain string     // the platform's
	Edge   string     // host:port at which the edge listens, for URLs; "" for https at its usual port
	Brake  plan.Brake // that plans are made with
	Log    *slog.Logger
}

// Server is the API. Make it with New, then Serve.
type Server struct {
	config   Config
	token    string
	public   *url.URL // nil if there is none
	sessions sessions
	wrong    wrongTokens
	pages    *pages
	handler  http.Handler
	listener net.Listener
	changes  changes
	watching chan struct{} // one of each page that waits for news
}

var _ http.Handler = (*Server)(nil)

// New listens, makes the token if there is none yet, and writes where the API
// is into the data directory. An address in use is fault.Conflict.
func New(c Config) (*Server, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{config: c, wrong: wrongTokens{waiting: map[string]int{}}, watching: make(chan struct{}, maxWatching)}
	var err error
	if s.public, err = parsePublic(c.PublicURL); err != nil {
		return nil, err
	}
	if s.token, err = loadToken(s.tokenFile()); err != nil {
		return nil, err
	}
	if s.sessions, err = newSessions(s.token); err != nil {
		return nil, err
	}
	if s.pages, err = loadPages(); err != nil {
		return nil, err
	}
	s.handler = s.routes()
	s.listener, err = net.Listen("tcp", c.Addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fault.Errorf(fault.Conflict, "something else listens on %s", c.Addr).
			WithHint("stop it, or choose another address with --console-addr")
	}
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "listen on %s: %w", c.Addr, err).
			WithHint("choose another address with --console-addr")
	}
	if err := writeEndpoint(c.Data, s.URL()); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Addr returns the address at which the server listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL returns the address of the API, such as http://127.0.0.1:8090.
func (s *Server) URL() string { return urlOf(s.Addr()) }

// Close stops listening, for a server that was never served.
func (s *Server) Close() { _ = s.listener.Close() }

// Serve answers requests until ctx ends; what waits or streams ends with it.
func (s *Server) Serve(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(s.config.Log.Handler(), slog.LevelDebug),
	}
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		s.changes.follow(ctx, s.config.Ledger)
	}()
	defer func() {
		stop()
		<-followed
	}()
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(s.listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve the API: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		_ = srv.Close()
	}
	return nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

func (s *Server) routes() http.Handler {
	api := http.NewServeMux()
	for pattern, e := range map[string]endpoint{
		"GET /api/v1/tenants":                      s.tenants,
		"GET /api/v1/tenants/{name}":               s.tenant,
		"GET /api/v1/tenants/{name}/logs":          s.logs,
		"POST /api/v1/tenants/{name}/retry":        s.retry,
		"GET /api/v1/tenants/{name}/snapshots":     s.snapshots,
		"DELETE /api/v1/tenants/{name}/snapshots":  s.removeSnapshots,
		"POST /api/v1/tenants/{name}/restore":      s.restore,
		"POST /api/v1/tenants/{name}/purge":        s.purge,
		"PUT /api/v1/tenants/{name}/secrets/{key}": s.setSecret,
		"GET /api/v1/commits":                      s.commits,
		"GET /api/v1/commits/{sha}":                s.commit,
		"POST /api/v1/commits/{sha}/approve":       s.approve,
		"GET /api/v1/pulls":                        s.pulls,
		"GET /api/v1/pulls/{number}":               s.pull,
		"GET /api/v1/applied":                      s.applied,
		"GET /api/v1/receipts":                     s.receipts,
		"GET /api/v1/tombstones":                   s.tombstones,
		"/api/":                                    unknown,
	} {
		api.Handle(pattern, e)
	}
	root := http.NewServeMux()
	root.Handle("GET /healthz", endpoint(s.health))
	root.Handle("/api/", s.authorised(api))
	root.Handle("/", s.site())
	if s.config.Webhook == nil {
		return s.atHome(s.sameOrigin(root))
	}
	outer := http.NewServeMux()
	outer.Handle("POST /webhooks/github", s.config.Webhook)
	outer.Handle("/", s.sameOrigin(root))
	return s.atHome(outer)
}

func unknown(_ http.ResponseWriter, r *http.Request) error {
	return fault.Errorf(fault.NotFound, "there is no %s %s", r.Method, r.URL.Path)
}

// Health is how the loop does. Anybody learns whether it does well; the rest is
// for those who have the token.
type Health struct {
	Status  string    `json:"status"` // ok or failing
	Head    string    `json:"head,omitempty"`
	Fetched time.Time `json:"fetched,omitzero"`
	Failing string    `json:"failing,omitempty"`
}

func (s *Server) health(w http.ResponseWriter, r *http.Request) error {
	h := s.config.Loop.Health()
	shown, code := Health{Status: "ok"}, http.StatusOK
	if h.Failing != "" {
		shown.Status, code = "failing", http.StatusServiceUnavailable
	}
	if s.hasToken(r) {
		shown.Head, shown.Fetched, shown.Failing = h.Head, h.Fetched, h.Failing
	}
	write(w, code, shown)
	return nil
}
