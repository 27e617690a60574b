package main

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"gopkg.in/yaml.v3"

	"github.com/gitopsd/gitopsd/internal/github/githubtest"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/postgres/postgrestest"
)

// syncWorld is a cell whose control plane is functions: a forge, Postgres, and a played
// AWS.
type syncWorld struct {
	*testing.T
	aws    *playedAWS
	server *postgrestest.Server
	forge  *githubtest.Server
	ledger *postgres.Ledger
}

const webhookSecret = "a-secret-that-the-forge-knows-too"

func newSyncWorld(t *testing.T) *syncWorld {
	t.Helper()
	server, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	w := &syncWorld{T: t, aws: playAWS(t), server: server}
	w.forge = githubtest.Start(t, githubtest.Options{Violation: func(err error) { t.Errorf("GitHub's description: %v", err) }})
	control, err := yaml.Marshal(map[string]any{"repo": w.forge.CloneURL(), "github": map[string]any{"apiURL": w.forge.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	o := w.aws.cell(t, server, string(control))
	w.aws.secrets[o.Credentials] = `{"GITOPSD_GITHUB_TOKEN":"` + githubtest.Token + `","GITOPSD_WEBHOOK_SECRET":"` + webhookSecret + `"}`
	return w
}

// add commits files of tenants.
func (w *syncWorld) add(names ...string) string {
	w.Helper()
	files := map[string]string{}
	for _, name := range names {
		files["tenants/"+name+".yaml"] = "apiVersion: gitopsd.dev/v1\nkind: Tenant\nmetadata:\n  name: " + name +
			"\nspec:\n  app:\n    git: {url: https://example.com/app, ref: v1}\n"
	}
	return must(w.forge.Commit("main", githubtest.Commit{Message: "Add " + strings.Join(names, ", "), Files: files}))(w.T)
}

// function starts the sync function.
func (w *syncWorld) function(name string) *playedLambda {
	w.Helper()
	l := playLambda(w.T)
	c := exec.Command("gitopsd", "sync", "lambda")
	c.Env = append(os.Environ(), w.aws.environment()...)
	c.Env = append(c.Env, "AWS_LAMBDA_RUNTIME_API="+strings.TrimPrefix(l.server.URL, "http://"), "GITOPSD_CELL_SECRET="+configurationARN, "TMPDIR="+w.TempDir())
	log := logFile(w.T, name)
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait() // how it ends does not matter
	})
	return l
}

// poll has a function take the schedule's turn.
func (w *syncWorld) poll(l *playedLambda) Turned {
	w.Helper()
	answer, failure := l.invoke(w.T, `{"poll":true}`)
	var turned Turned
	if failure != nil || json.Unmarshal(answer, &turned) != nil {
		w.Fatalf("a turn fails: %s%s", answer, failure)
	}
	return turned
}

// url is the function's URL: what Lambda makes of requests.
func (w *syncWorld) url(l *playedLambda) string {
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what is missing of it has another signature
		e := events.LambdaFunctionURLRequest{
			Version: "2.0", RawPath: r.URL.Path, IsBase64Encoded: true, Body: base64.StdEncoding.EncodeToString(body), Headers: map[string]string{},
		}
		for name := range r.Header {
			e.Headers[strings.ToLower(name)] = r.Header.Get(name)
		}
		e.RequestContext.HTTP.Method, e.RequestContext.DomainName = r.Method, "abc.lambda-url.eu-west-1.on.aws"
		raw, _ := json.Marshal(e) // always possible
		answer, failure := l.invoke(w.T, string(raw))
		var res events.LambdaFunctionURLResponse
		if failure != nil || json.Unmarshal(answer, &res) != nil {
			w.Errorf("a request fails: %s%s", answer, failure)
			res.StatusCode = http.StatusBadGateway
		}
		for name, value := range res.Headers {
			out.Header().Set(name, value)
		}
		out.WriteHeader(res.StatusCode)
		_, _ = io.WriteString(out, res.Body)
	}))
	w.Cleanup(server.Close)
	return server.URL
}

// open looks into the ledger.
func (w *syncWorld) open() *postgres.Ledger {
	w.Helper()
	if w.ledger == nil {
		w.ledger = must(postgres.Open(w.Context(), w.server.URL("gitopsd")))(w.T)
		w.Cleanup(w.ledger.Close)
	}
	return w.ledger
}

// shown returns the status that the forge shows last.
func (w *syncWorld) shown(commit string) string {
	all := w.forge.Statuses(commit)
	if len(all) == 0 {
		return ""
	}
	last := all[len(all)-1]
	return last.State + ": " + last.Description
}

func (w *syncWorld) startedOnce(want int) {
	w.Helper()
	all := w.aws.started()
	if len(all) != want {
		w.Errorf("%d executions, want %d: %v", len(all), want, all)
	}
	for arn, n := range all {
		if n != 1 {
			w.Errorf("%s was started %d times", arn, n)
		}
	}
}

// TestSyncFunction takes turns as Lambda has them taken.
func TestSyncFunction(t *testing.T) {
	t.Parallel()
	w := newSyncWorld(t)
	first := w.add("acme")
	f := w.function("sync")
	if turned := w.poll(f); turned.Head != first || turned.Busy != "" {
		t.Fatalf("the first turn: %+v", turned)
	}
	w.startedOnce(1)
	if s := w.shown(first); s != "pending: 1 provision: in progress" {
		t.Errorf("status of the first commit: %q", s)
	}
	w.aws.end("SUCCEEDED")
	w.poll(f)
	if s := w.shown(first); s != "success: 1 provision: done" {
		t.Errorf("status of the first commit in the end: %q", s)
	}

	url := w.url(f)
	if res := must(http.Post(url, "application/json", strings.NewReader(`{}`)))(t); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("what is not signed is answered %s", res.Status)
	}
	w.forge.SendWebhooks(url, webhookSecret)
	second := w.add("beta")
	for deadline := time.Now().Add(30 * time.Second); len(w.aws.started()) < 2; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no webhook makes for a turn")
		}
	}
	w.forge.SendWebhooks("", "")
	w.poll(f)
	w.startedOnce(2)
	if s := w.shown(second); s != "pending: 1 provision: in progress" {
		t.Errorf("status of the second commit: %q", s)
	}
	for _, d := range w.forge.Deliveries() {
		if d.Status != http.StatusAccepted && d.Event != "ping" {
			t.Errorf("webhook %s was answered %d", d.Event, d.Status)
		}
	}
	raw, _ := f.invoke(t, `{"version":"2.0","isBase64Encoded":true,"body":"%","requestContext":{"http":{"method":"POST"}}}`)
	if !strings.Contains(string(raw), `"statusCode":400`) {
		t.Errorf("what is no base64 is answered %s", raw)
	}

	end := w.forge.Fail(githubtest.Fault{Kind: githubtest.ServerError, Match: func(r *http.Request) bool { return strings.Contains(r.URL.Path, ".git/") }})
	if _, failure := f.invoke(t, `{"poll":true}`); !strings.Contains(string(failure), "cannot follow the repository") {
		t.Errorf("without a repository it answers %s", failure)
	}
	end()
	w.poll(f)
}

// Two functions, and one beside a daemon: none starts what another has started.
func TestTwoSyncFunctions(t *testing.T) {
	t.Parallel()
	w := newSyncWorld(t)
	w.add("a", "b", "c")
	one, two := w.function("one"), w.function("two")
	w.poll(one)
	w.poll(two)
	for i := range 6 {
		head := w.add("more-" + string(rune('a'+i)))
		ended := make(chan Turned, 2)
		for _, f := range []*playedLambda{one, two} {
			go func() {
				answer, _ := f.invoke(t, `{"poll":true}`)
				var turned Turned
				_ = json.Unmarshal(answer, &turned) // then it is empty, and said so below
				ended <- turned
			}()
		}
		for range 2 {
			if turned := <-ended; turned.Head != head && turned.Busy == "" {
				t.Errorf("a turn: %+v, want head %s", turned, head)
			}
		}
		w.aws.end("SUCCEEDED")
	}
	w.poll(one)
	w.startedOnce(9)
	ledger := w.open()
	if left := must(ledger.Running(t.Context()))(t); len(left) != 0 {
		t.Errorf("runs that are not over: %v", left)
	}

	if err := ledger.Acquire(t.Context(), "a-daemon"); err != nil {
		t.Fatal(err)
	}
	w.add("late")
	began := time.Now()
	if turned := w.poll(two); turned.Busy != "a-daemon" || time.Since(began) > 2*leaseWait {
		t.Errorf("beside a daemon, after %s: %+v", time.Since(began), turned)
	}
	w.startedOnce(9)
	if err := ledger.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	daemon := daemonHolder + "host/1" // who has it for good is not waited for
	if err := ledger.Acquire(t.Context(), daemon); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	if turned := w.poll(two); turned.Busy != daemon || time.Since(began) > leaseWait {
		t.Errorf("beside a daemon that says so, after %s: %+v", time.Since(began), turned)
	}
	if err := ledger.Renew(t.Context()); err != nil {
		t.Errorf("the daemon's lease: %v", err)
	}
	if err := ledger.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.poll(two)
	w.startedOnce(10)
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
