package githubtest

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// enterprisePrefix is what an Enterprise Server has before its API's paths. The
// stand-in answers with and without.
const enterprisePrefix = "/api/v3"

// Options say what kind of GitHub it is. The zero value is one repository
// acme/tenants with one token.
type Options struct {
	Repository string // owner/name; "" means acme/tenants
	Branch     string // the default branch; "" means main

	// Tokens are who may ask for what, by token; nil means that Token may do
	// everything that a user's token may.
	Tokens map[string]Account
	// App, if it is set, is installed on the repository.
	App *App

	Limit             int           // requests an hour and account; 0 means 5,000
	MutationsAMinute  int           // more meet the secondary limit; 0 means no such limit
	SecondaryWait     time.Duration // Retry-After of the secondary limit; 0 means it names none
	StatusesOfContext int           // of a commit and context; 0 means 1,000

	// Violation, if it is set, is told of each request, response and webhook that
	// violates GitHub's description.
	Violation func(error)
	Log       *slog.Logger // nil means none
}

// Token is the token there is without Options.Tokens.
const Token = "ghp_stand-in"

// Bot is the login behind Token.
const Bot = "gitopsd-bot"

// Account is who is behind a token, and what the token may do.
type Account struct {
	Login  string
	Scopes []Scope // beside reading
	// Classic tokens get 404 for what they may not do, others 403.
	Classic bool
	// Nameless tokens, such as a workflow's, are not told who they are.
	Nameless bool
}

// Scope is a permission to write.
type Scope string

// The scopes. Checks are for Apps only, whatever a token says.
const (
	Statuses    Scope = "statuses"
	Pulls       Scope = "pull_requests"
	Deployments Scope = "deployments"
	Checks      Scope = "checks"
	Contents    Scope = "contents"
)

// AllScopes are all scopes.
func AllScopes() []Scope { return []Scope{Statuses, Pulls, Deployments, Checks, Contents} }

// App is a GitHub App.
type App struct {
	ID           int64
	Installation int64
	Slug         string // its user is called <slug>[bot]
	Key          *rsa.PublicKey
	Scopes       []Scope
	TokenLife    time.Duration // 0 means an hour
}

// Server is the stand-in.
type Server struct {
	options     Options
	owner, name string
	git         repository
	validator   *Validator
	hooks       *hookSender
	limits      limits
	listener    net.Listener
	http        *http.Server
	handler     http.Handler

	faultsMu sync.Mutex
	faults   []*fault
	closing  chan struct{}

	mu        sync.Mutex
	requests  map[string]int
	lastID    int64
	installed map[string]issued // tokens of the App
	members   map[string]string // permission by login
	refs      map[string]string // as they were seen last
	pulls     map[int]*pull
	issues    int // numbers given away
	comments  []*comment
	events    []*issueEvent
	statuses  []*status
	checks    []*checkRun
	deploys   []*deployment
	reactions []reaction
	pushedAt  map[string]time.Time // by login of the repository's owner
}

// New makes a GitHub whose Git repository is below dir. It does not listen yet.
func New(dir string, o Options) (*Server, error) {
	if o.Repository == "" {
		o.Repository = "acme/tenants"
	}
	if o.Branch == "" {
		o.Branch = "main"
	}
	if o.Tokens == nil {
		o.Tokens = map[string]Account{Token: {Login: Bot, Scopes: AllScopes()}}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		options: o, closing: make(chan struct{}),
		requests: map[string]int{}, installed: map[string]issued{}, members: map[string]string{},
		refs: map[string]string{}, pulls: map[int]*pull{}, pushedAt: map[string]time.Time{},
		limits: limits{accounts: map[string]*window{}},
	}
	s.owner, s.name, _ = strings.Cut(o.Repository, "/")
	for _, a := range o.Tokens {
		s.members[strings.ToLower(a.Login)] = "write"
	}
	s.members[strings.ToLower(s.owner)] = "admin"
	if o.Violation != nil {
		v, err := NewValidator(o.Violation)
		if err != nil {
			return nil, err
		}
		s.validator = v
	}
	s.git = repository{dir: filepath.Join(dir, s.owner, s.name+".git"), tmp: dir}
	if err := s.git.create(o.Branch); err != nil {
		return nil, err
	}
	s.hooks = newHookSender(s)
	s.handler = s.routes()
	return s, nil
}

// Start makes a GitHub for a test, listening on a free port of 127.0.0.1 until the
// test ends. Every exchange is held against GitHub's description.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := Make(t, o)
	if err := s.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	return s
}

// Make is Start without a port, for a test that hands requests to the Handler.
func Make(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Violation == nil && validatorOf(t) != nil {
		o.Violation = func(err error) { t.Errorf("violates GitHub's description: %v", err) }
	}
	// Not t.TempDir: git may still write there when a test gives up.
	dir, err := os.MkdirTemp("", "githubtest")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(dir, o)
	if err != nil {
		_ = os.RemoveAll(dir) // it failed anyway
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		_ = os.RemoveAll(dir) // below the system's directory for such
	})
	return s
}

// Listen begins to answer on an address.
func (s *Server) Listen(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	s.listener = listener
	s.http = &http.Server{
		Handler: s.handler, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(s.options.Log.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.options.Log.Error("the stand-in ended", "error", err)
		}
	}()
	return nil
}

// Close ends it, with all connections and waiting webhooks.
func (s *Server) Close() {
	close(s.closing)
	s.hooks.stop()
	if s.http != nil {
		_ = s.http.Close() // nothing is to be saved
	}
}

// Handler is what answers, for those who do not want a port.
func (s *Server) Handler() http.Handler { return s.handler }

// URL is the API's address.
func (s *Server) URL() string {
	if s.listener == nil {
		return "http://localhost"
	}
	return "http://" + s.listener.Addr().String()
}

// CloneURL is the address of the repository, for git.
func (s *Server) CloneURL() string { return s.URL() + "/" + s.options.Repository + ".git" }

// GitDir is where the bare repository is on this machine.
func (s *Server) GitDir() string { return s.git.dir }

// Repository is owner/name.
func (s *Server) Repository() string { return s.options.Repository }

// Requests returns how often each operation was asked for, by method and path,
// such as "POST /repos/{owner}/{repo}/statuses/{sha}".
func (s *Server) Requests() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.requests)
}

// SetPermission says what a user may do: admin, write, read or none. "" makes the
// user unknown.
func (s *Server) SetPermission(login, permission string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if permission == "" {
		delete(s.members, strings.ToLower(login))
		return
	}
	s.members[strings.ToLower(login)] = permission
}

func (s *Server) nextID() int64 {
	s.lastID++
	return s.lastID
}

// api returns the API's address of a part of the repository.
func (s *Server) api(format string, args ...any) string {
	return s.URL() + "/repos/" + s.options.Repository + fmt.Sprintf(format, args...)
}

// web returns the address for people of a part of the repository.
func (s *Server) web(format string, args ...any) string {
	return s.URL() + "/" + s.options.Repository + fmt.Sprintf(format, args...)
}

// second is now, as GitHub tells times.
func second() time.Time { return time.Now().UTC().Truncate(time.Second) }

func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}

// commit reports whether the repository has a commit.
func (s *Server) commit(ctx context.Context, sha string) bool {
	return len(sha) == 40 && s.git.kind(ctx, sha) == "commit"
}
