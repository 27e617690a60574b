package review_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
	"github.com/gitopsd/gitopsd/internal/github"
	"github.com/gitopsd/gitopsd/internal/github/githubtest"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/policy"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/postgres/postgrestest"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
)

var server *postgrestest.Server

func TestMain(m *testing.M) {
	flag.Parse()
	// The forge tells whole seconds, for which tests wait more than they work.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("16"); err != nil {
			panic(err)
		}
	}
	postgrestest.Main(m, func(s *postgrestest.Server) { server = s })
}

// The people of the tests: the owner may do everything, ann and bob write, rita
// reads, and nobody knows mallory.
const (
	owner   = "acme"
	ann     = "ann"
	bob     = "bob"
	rita    = "rita"
	mallory = "mallory"
)

// world is a forge with a repository, and what follows it: the loop that carries
// commits out and the one that reviews pull requests, on one ledger. Turns are
// taken by hand, and runs end when the test says so.
type world struct {
	t        testing.TB
	ctx      context.Context
	hub      *githubtest.Server
	app      []byte // key of the App that we act as, nil for a token
	url      string // that the mirror fetches from
	database string
	ledger   *postgres.Ledger
	mirror   *git.Mirror
	forge    *github.Client
	engine   *engine
	sync     *sync.Loop
	review   *review.Loop
	failing  []string // tenants whose runs fail
	tweak    func(*review.Config)
	client   func(*github.Config)
	ran      []pipeline.Run
	events   []string // what the engine made real, in order
}

type option func(*world, *githubtest.Options)

// asApp has us be an App, which may show check runs.
func asApp(w *world, o *githubtest.Options) {
	key, encoded := appKey()
	w.app = encoded
	o.App = &githubtest.App{ID: 4711, Installation: 99, Slug: "gitopsd", Key: &key.PublicKey, Scopes: githubtest.AllScopes()}
}

// overHTTP has the mirror fetch from the forge's address.
func overHTTP(w *world, _ *githubtest.Options) { w.url = "http" }

// with changes how reviews are set up.
func with(tweak func(*review.Config)) option {
	return func(w *world, _ *githubtest.Options) { w.tweak = tweak }
}

// appKey is made once: that takes a while.
var appKey = gosync.OnceValues(func() (*rsa.PrivateKey, []byte) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(fmt.Sprintf("make a key: %v", err))
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
})

// newWorld makes a world whose branch has some tenants that are carried out.
func newWorld(t testing.TB, tenants []string, options ...option) *world {
	t.Helper()
	w := &world{t: t, ctx: t.Context()}
	var o githubtest.Options
	for _, option := range options {
		option(w, &o)
	}
	w.hub = githubtest.Start(t, o)
	w.hub.SetPermission(ann, "write")
	w.hub.SetPermission(bob, "write")
	w.hub.SetPermission(rita, "read")
	files := map[string]string{"README.md": "Tenants.\n"}
	for _, name := range tenants {
		files[path(name)] = file(name, "one")
	}
	w.push("main", files)
	var err error
	w.database = server.Database(t)
	w.ledger, err = postgres.Open(w.ctx, w.database, postgres.WithLogger(slog.New(slog.DiscardHandler)))
	w.must(err)
	t.Cleanup(w.ledger.Close)
	w.must(w.ledger.Acquire(w.ctx, t.Name()))
	config := git.Config{URL: w.hub.GitDir(), Branch: "main", Dir: filepath.Join(t.TempDir(), "mirror.git"), Logger: slog.New(slog.DiscardHandler)}
	if w.url == "http" {
		config.URL, config.Token = w.hub.CloneURL(), githubtest.Token
	}
	w.mirror, err = git.Open(w.ctx, config)
	w.must(err)
	t.Cleanup(func() { _ = w.mirror.Close() })
	w.restart()
	w.done()
	return w
}

// restart makes new loops and a new client, as a daemon that starts does.
func (w *world) restart() {
	w.t.Helper()
	config := github.Config{
		Repository: w.hub.Repository(), APIURL: w.hub.URL(), Token: githubtest.Token, Log: slog.New(slog.DiscardHandler),
	}
	if w.app != nil {
		config.Token, config.App = "", &github.App{ID: 4711, Key: w.app}
	}
	if w.client != nil {
		w.client(&config)
	}
	var err error
	w.forge, err = github.Open(w.ctx, config)
	w.must(err)
	w.engine = &engine{}
	links := review.Links{
		Commit: func(sha string) string { return "https://console.example/commits/" + sha },
		Pull:   func(n int) string { return fmt.Sprintf("https://console.example/pulls/%d", n) },
		Tenant: func(name string) string { return "https://" + name + ".apps.example/" },
		Run:    func(name string) string { return "https://console.example/tenants/" + name },
	}
	w.sync = sync.New(sync.Config{
		Planner: sync.Planner{
			Tree: source{w.mirror}, Apps: designs{}, Dir: "tenants", Domain: "apps.example", Brake: plan.DefaultBrake,
			Policies: policy.New(w.mirror.FS, w.mirror.TreeID, plan.DefaultBrake),
		},
		Source: source{w.mirror}, Signatures: source{w.mirror}, Ledger: w.ledger, Engine: w.engine, Branch: "main", Runs: 50,
		Reporter: review.Reporter{Forge: w.forge, Ledger: w.ledger, Links: links}, Log: slog.New(slog.DiscardHandler),
	})
	w.must(w.sync.Load(w.ctx))
	rc := review.Config{
		Forge: w.forge, Ledger: w.ledger, Source: pulls{w.mirror}, Planner: w.sync, Migrations: migrations{},
		Links: links, Domain: "apps.example", Branch: "main", Interval: time.Hour,
		Changes: w.ledger.Changes, Log: slog.New(slog.DiscardHandler),
	}
	if w.tweak != nil {
		w.tweak(&rc)
	}
	w.review = review.New(rc)
	w.must(w.review.Load(w.ctx))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// path is where a tenant's file is.
func path(name string) string { return "tenants/" + name + ".yaml" }

// file is a tenant's file; more lines go below spec.
func file(name, greeting string, more ...string) string {
	text := "apiVersion: gitopsd.dev/v1\nkind: Tenant\nmetadata: {name: " + name + "}\nspec:\n  app:\n" +
		"    design: {models: [{name: task, fields: [{name: title, type: string}]}]}\n    env: {GREETING: " + greeting + "}\n"
	for _, line := range more {
		text += "  " + line + "\n"
	}
	return text
}

// push makes a commit that puts files; those without content it removes.
func (w *world) push(branch string, files map[string]string, from ...string) string {
	w.t.Helper()
	c := githubtest.Commit{Files: map[string]string{}, From: strings.Join(from, "")}
	for path, content := range files {
		if content == "" {
			c.Remove = append(c.Remove, path)
		} else {
			c.Files[path] = content
		}
	}
	sha, err := w.hub.Commit(branch, c)
	w.must(err)
	return sha
}

// open pushes a branch and opens a pull request of it.
func (w *world) open(branch string, files map[string]string) (number int, head string) {
	w.t.Helper()
	head = w.push(branch, files)
	return w.pull(githubtest.Pull{Branch: branch}), head
}

func (w *world) pull(p githubtest.Pull) int {
	w.t.Helper()
	if p.Author == "" {
		p.Author = ann
	}
	n, err := w.hub.OpenPull(p)
	w.must(err)
	return n
}

func (w *world) comment(pull int, by, body string) int64 {
	w.t.Helper()
	id, err := w.hub.Comment(pull, by, body)
	w.must(err)
	return id
}

// follow has the branch's loop take a turn, and says what it shows.
func (w *world) follow() {
	w.t.Helper()
	w.must(w.sync.Turn(w.ctx, true))
	w.must(w.sync.Deliver(w.ctx))
}

// look has the reviews take a turn that polls, and says what they show.
func (w *world) look(hints ...review.Hint) {
	w.t.Helper()
	w.must(w.review.Turn(w.ctx, hints, true))
	w.must(w.review.Deliver(w.ctx))
}

// hinted has the reviews take a turn for hints alone.
func (w *world) hinted(hints ...review.Hint) {
	w.t.Helper()
	for _, h := range hints {
		w.review.Hint(h)
	}
	w.must(w.review.Turn(w.ctx, hints, false))
	w.must(w.review.Deliver(w.ctx))
}

// finish ends the started runs as the machines would.
func (w *world) finish() {
	w.t.Helper()
	for _, run := range w.engine.take() {
		w.ran = append(w.ran, run)
		var cause *fault.Record
		if slices.Contains(w.failing, run.Tenant) {
			cause = fault.RecordOf(fault.Errorf(fault.Invalid, "main.go:1:1: it does not compile"))
		} else {
			w.made(run)
		}
		w.must(w.ledger.Finish(w.ctx, run.ID, cause))
	}
}

// made records what a run that ends well makes real.
func (w *world) made(run pipeline.Run) {
	w.t.Helper()
	w.events = append(w.events, fmt.Sprintf("%s %s", run.Operation, run.Tenant))
	switch run.Operation {
	case plan.Deprovision:
		if run.Spec.Deletion.Grace > 0 {
			w.must(w.ledger.RecordTombstone(w.ctx, run, pipeline.Tombstone{
				Tenant: run.Tenant, Commit: run.Commit, PurgeAfter: time.Now().Add(time.Hour),
			}))
			return
		}
		fallthrough
	case plan.Purge:
		w.must(w.ledger.RecordReceipt(w.ctx, run, pipeline.Receipt{Tenant: run.Tenant, Commit: run.Commit, Run: run.ID}))
	case plan.Provision, plan.Update:
		w.must(w.ledger.RecordInfrastructure(w.ctx, run))
		fallthrough
	default:
		w.must(w.ledger.RecordRelease(w.ctx, run, "release-of-"+run.Commit))
	}
}

// done follows the branch until nothing runs.
func (w *world) done() {
	w.t.Helper()
	w.follow()
	for len(w.engine.started()) > 0 {
		w.finish()
		w.follow()
	}
}

// all has everything come to rest.
func (w *world) all() {
	w.t.Helper()
	w.done()
	w.look()
	w.done()
	w.look()
}

// tick waits until the forge's clock, which tells seconds, moved on.
func (w *world) tick() {
	w.t.Helper()
	for begin := time.Now().Unix(); time.Now().Unix() == begin; {
		select {
		case <-w.ctx.Done():
			w.t.Fatal(w.ctx.Err())
		case <-time.After(time.Until(time.Unix(begin+1, 0))):
		}
	}
}

// statuses are those of a commit and context, oldest first.
func (w *world) statuses(sha, name string) []githubtest.Status {
	return slices.DeleteFunc(w.hub.Statuses(sha), func(s githubtest.Status) bool { return s.Context != name })
}

// status is the last plan's of a head.
func (w *world) status(sha string) githubtest.Status {
	w.t.Helper()
	all := w.statuses(sha, review.ContextPlan)
	if len(all) == 0 {
		w.t.Fatalf("%s has no status", sha[:7])
	}
	return all[len(all)-1]
}

// want checks a head's plan.
func (w *world) want(sha, state string, texts ...string) {
	w.t.Helper()
	s := w.status(sha)
	if n := len([]rune(s.Description)); s.State != state || n > 140 || n == 0 || !strings.HasPrefix(s.URL, "https://console.example/pulls/") {
		w.t.Errorf("the plan of %s is %+v, want %s", sha[:7], s, state)
	}
	for _, text := range texts {
		if !strings.Contains(s.Description, text) {
			w.t.Errorf("the plan of %s says %q, without %q", sha[:7], s.Description, text)
		}
	}
}

// wantSync checks the status of a commit of the branch.
func (w *world) wantSync(sha, state, text string) {
	w.t.Helper()
	all := w.statuses(sha, review.ContextSync)
	if len(all) == 0 {
		w.t.Fatalf("%s has no status", sha[:7])
	}
	if last := all[len(all)-1]; last.State != state || !strings.Contains(last.Description, text) {
		w.t.Errorf("the status of %s is %+v, want %s with %q", sha[:7], last, state, text)
	}
}

// ours are our comments on a pull request.
func (w *world) ours(pull int) []githubtest.Comment {
	return slices.DeleteFunc(w.hub.CommentsOf(pull), func(c githubtest.Comment) bool {
		return c.By != githubtest.Bot && c.By != "gitopsd[bot]"
	})
}

// said checks that there is one comment of ours, and what it says.
func (w *world) said(pull int, texts ...string) githubtest.Comment {
	w.t.Helper()
	list := w.ours(pull)
	if len(list) != 1 {
		w.t.Fatalf("pull request %d has %d comments of ours: %v", pull, len(list), list)
	}
	for _, text := range texts {
		if !strings.Contains(unjoined(list[0].Body), text) {
			w.t.Errorf("the comment on %d does not say %q:\n%s", pull, text, list[0].Body)
		}
	}
	return list[0]
}

// unjoined is a comment without what keeps it from being linked.
func unjoined(s string) string { return strings.ReplaceAll(s, "\u2060", "") }

// signs are the reactions to a comment.
func (w *world) signs(pull int, comment int64) string {
	w.t.Helper()
	for _, c := range w.hub.CommentsOf(pull) {
		if c.ID == comment {
			return strings.Join(c.Signs, " ")
		}
	}
	w.t.Fatalf("there is no comment %d", comment)
	return ""
}

// previews are those that are desired, by name.
func (w *world) previews() (names []string) {
	w.t.Helper()
	all, err := w.ledger.Previews(w.ctx)
	w.must(err)
	for _, p := range all {
		if !p.Ended {
			names = append(names, p.Tenant.Name)
		}
	}
	return names
}

// changes counts the requests that changed something, reads those that did not.
func (w *world) changes() (n int) {
	for what, times := range w.hub.Requests() {
		if what != "git" && !strings.HasPrefix(what, "GET ") && !strings.Contains(what, "access_tokens") {
			n += times
		}
	}
	return n
}
