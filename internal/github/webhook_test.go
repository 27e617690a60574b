package github_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // an attacker's
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	gosync "sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/github"
	"github.com/gitopsd/gitopsd/internal/github/githubtest"
	"github.com/gitopsd/gitopsd/internal/review"
)

const secret = "0123456789abcdef"

// remembered keeps deliveries as the ledger does.
type remembered struct {
	mu   gosync.Mutex
	seen map[string]bool
	down bool
}

func (r *remembered) PutDelivery(_ context.Context, id, signature string, at time.Time) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.down:
		return false, errors.New("the ledger is away")
	case at.IsZero() || len(signature) != 64 || signature != strings.ToLower(signature):
		return false, fmt.Errorf("signature %q at %v", signature, at)
	}
	fresh := !r.seen["id "+id] && !r.seen["signature "+signature]
	if r.seen == nil {
		r.seen = map[string]bool{}
	}
	r.seen["id "+id], r.seen["signature "+signature] = true, true
	return fresh, nil
}

// hinted keeps hints as they come.
type hinted chan review.Hint

func (h hinted) next(t *testing.T, want review.Hint) {
	t.Helper()
	select {
	case got := <-h:
		near := cmpopts.EquateApproxTime(10 * time.Second)
		if diff := cmp.Diff(want, got, near); diff != "" {
			t.Errorf("hint (-want +got):\n%s", diff)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("no hint came; want %+v", want)
	}
}

func (h hinted) none(t *testing.T, what string) {
	t.Helper()
	select {
	case got := <-h:
		t.Errorf("%s: a hint %+v", what, got)
	default:
	}
}

type hook struct {
	http.Handler
	seen  *remembered
	hints hinted
}

func newHook(t testing.TB, forge *github.Client) hook {
	t.Helper()
	h := hook{seen: &remembered{}, hints: make(hinted, 1000)}
	var err error
	h.Handler, err = forge.Webhook([]byte(secret), h.seen, func(hint review.Hint) { h.hints <- hint })
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func quiet(t testing.TB) *github.Client {
	t.Helper()
	forge, err := github.Open(t.Context(), github.Config{Repository: "acme/tenants", Token: "x", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return forge
}

// request makes a signed delivery.
func request(event, id, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/webhook", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", event)
	r.Header.Set("X-GitHub-Delivery", id)
	githubtest.Sign(r, []byte(secret), []byte(body))
	return r
}

func answer(h http.Handler, r *http.Request) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, strings.TrimSpace(w.Body.String())
}

const pushed = `{"ref":"refs/heads/main","repository":{"full_name":"Acme/Tenants"}}`

func TestWebhookSecret(t *testing.T) {
	t.Parallel()
	forge := quiet(t)
	for _, secret := range []string{"", "short", secret[1:]} {
		_, err := forge.Webhook([]byte(secret), &remembered{}, func(review.Hint) {})
		if !fault.Is(err, fault.Invalid) || (secret != "" && strings.Contains(err.Error(), secret)) {
			t.Errorf("secret %q: %v", secret, err)
		}
	}
}

// TestWebhookOfGitHub plays what happens at GitHub, by its real payloads.
func TestWebhookOfGitHub(t *testing.T) {
	t.Parallel()
	o, app := asApp()
	w := start(t, o, app)
	h := newHook(t, w.forge)
	receiver := httptest.NewServer(h)
	defer receiver.Close()
	w.SendWebhooks(receiver.URL, secret)

	n, head := w.pull(t, "first")
	h.hints.next(t, review.Hint{Kind: review.HintPush})
	h.hints.next(t, review.Hint{Kind: review.HintPull, Pull: n})
	do(t, w.SetLabel(n, "preview", "ann"))
	h.hints.next(t, review.Hint{
		Kind: review.HintPull, Pull: n, Label: "preview", Labelled: &review.Labelling{By: "ann", At: time.Now(), Head: head},
	})
	do(t, w.TakeLabel(n, "preview", "ann"))
	h.hints.next(t, review.Hint{Kind: review.HintPull, Pull: n, Label: "preview"})
	_, err := w.Comment(n, "ann", "/gitopsd plan")
	do(t, err)
	h.hints.next(t, review.Hint{Kind: review.HintComment, Pull: n})
	w.deliver(t, notice(t, review.NoticeComment, review.PullComment{Pull: n, Body: review.Marker + "\nthe plan"})) // tells nothing
	for _, act := range []func() error{
		func() error { return w.SetDraft(n, true) },
		func() error { return w.SetDraft(n, false) },
		func() error { return w.SetBase(n, "release") },
		func() error { return w.ClosePull(n) },
		func() error { return w.Reopen(n) },
		func() error { return w.SetBase(n, "main") },
	} {
		do(t, act())
		h.hints.next(t, review.Hint{Kind: review.HintPull, Pull: n})
	}
	w.commit(t, "first", "more", "more")
	h.hints.next(t, review.Hint{Kind: review.HintPush})
	h.hints.next(t, review.Hint{Kind: review.HintPull, Pull: n})
	id := w.deliver(t, notice(t, review.NoticeCheck, review.Check{SHA: w.Head("first"), Name: "gitopsd/plan", State: "failure", Title: "t", Summary: "s"}))
	w.Recheck(id, "ann")
	h.hints.next(t, review.Hint{Kind: review.HintRecheck, Pull: n})
	_, err = w.Merge(n, githubtest.Squash)
	do(t, err)
	h.hints.next(t, review.Hint{Kind: review.HintPull, Pull: n})
	h.hints.next(t, review.Hint{Kind: review.HintPush})

	eventually(t, "everything is answered", func() bool {
		for _, d := range w.Deliveries() {
			if d.Event == "ping" && d.Status != http.StatusOK || d.Event != "ping" && d.Status != http.StatusAccepted {
				return false
			}
		}
		return true
	})
	all := w.Deliveries()
	last := len(all) - 1
	do(t, w.Redeliver(all[last].ID))
	eventually(t, "the delivery is answered that we had it", func() bool { return w.Deliveries()[last].Status == http.StatusOK })
	h.hints.none(t, "delivered again")

	w.LoseWebhooks(1)
	w.commit(t, "main", "lost", "x")
	w.commit(t, "main", "told", "x")
	h.hints.next(t, review.Hint{Kind: review.HintPush})
	h.hints.none(t, "a lost one")
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestWebhookAttacks(t *testing.T) {
	t.Parallel()
	signedAs := func(header, value string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Del("X-Hub-Signature-256")
			r.Header.Set(header, value)
		}
	}
	old := hmac.New(sha1.New, []byte(secret))
	old.Write([]byte(pushed))
	other := hmac.New(sha256.New, []byte(secret+"x"))
	other.Write([]byte(pushed))
	empty := hmac.New(sha256.New, nil)
	empty.Write([]byte(pushed))
	form := func(body string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			githubtest.Sign(r, []byte(secret), []byte(body))
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		}
	}
	signed := func(body string) func(*http.Request) {
		return func(r *http.Request) {
			githubtest.Sign(r, []byte(secret), []byte(body))
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		}
	}
	for name, test := range map[string]struct {
		change func(*http.Request)
		status int
		hints  int
	}{
		"none":                {func(*http.Request) {}, 202, 1},
		"in a form":           {form("payload=" + url.QueryEscape(pushed)), 202, 1},
		"in upper case":       {func(r *http.Request) { signedAs("X-Hub-Signature-256", upper(r))(r) }, 202, 1},
		"without a signature": {func(r *http.Request) { r.Header.Del("X-Hub-Signature-256") }, 401, 0},
		"empty signature":     {signedAs("X-Hub-Signature-256", "sha256="), 401, 0},
		"sha1 alone":          {signedAs("X-Hub-Signature", "sha1="+hex.EncodeToString(old.Sum(nil))), 401, 0},
		"sha1 as sha256":      {signedAs("X-Hub-Signature-256", "sha1="+hex.EncodeToString(old.Sum(nil))), 401, 0},
		"no hexadecimals":     {signedAs("X-Hub-Signature-256", "sha256="+strings.Repeat("z", 64)), 401, 0},
		"another secret":      {signedAs("X-Hub-Signature-256", "sha256="+hex.EncodeToString(other.Sum(nil))), 401, 0},
		"no secret":           {signedAs("X-Hub-Signature-256", "sha256="+hex.EncodeToString(empty.Sum(nil))), 401, 0},
		"another body": {func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(strings.Replace(pushed, "main", "evil", 1)))
		}, 401, 0},
		"read":                     {func(r *http.Request) { r.Method = http.MethodGet }, 405, 0},
		"as text":                  {func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 415, 0},
		"two payloads":             {form("payload=" + url.QueryEscape(pushed) + "&payload=" + url.QueryEscape(pushed)), 415, 0},
		"a form without a payload": {form("x=1"), 415, 0},
		"garbage, signed":          {signed("{"), 400, 0},
		"a list, signed":           {signed("[]"), 400, 0},
		"wrong types, signed":      {signed(`{"repository": 7}`), 400, 0},
		"nothing, signed":          {signed(""), 400, 0},
		"another repository":       {signed(`{"repository":{"full_name":"acme/others"}}`), 202, 0},
		"no repository":            {signed(`{}`), 202, 0},
		"another event":            {func(r *http.Request) { r.Header.Set("X-GitHub-Event", "star") }, 202, 0},
		"ping":                     {func(r *http.Request) { r.Header.Set("X-GitHub-Event", "ping") }, 200, 0},
		"no ID":                    {func(r *http.Request) { r.Header.Del("X-GitHub-Delivery") }, 400, 0},
		"a long ID":                {func(r *http.Request) { r.Header.Set("X-GitHub-Delivery", strings.Repeat("x", 1000)) }, 400, 0},
		"too long by its word":     {func(r *http.Request) { r.ContentLength = 25<<20 + 1 }, 413, 0},
		"too long": {func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(make([]byte, 25<<20+1))), -1
		}, 413, 0},
		"no pull request's number": {func(r *http.Request) {
			r.Header.Set("X-GitHub-Event", "pull_request")
			signed(`{"action":"opened","number":-1,"repository":{"full_name":"acme/tenants"}}`)(r)
		}, 202, 0},
		"a comment on an issue": {func(r *http.Request) {
			r.Header.Set("X-GitHub-Event", "issue_comment")
			signed(`{"action":"created","issue":{"number":1},"repository":{"full_name":"acme/tenants"}}`)(r)
		}, 202, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHook(t, quiet(t))
				r := request("push", "guid-1", pushed)
				test.change(r)
				status, text := answer(h, r)
				synctest.Wait()
				if status != test.status || len(h.hints) != test.hints || text == "" || strings.Contains(text, secret) {
					t.Errorf("answers %d %q with %d hints, want %d with %d", status, text, len(h.hints), test.status, test.hints)
				}
			})
		})
	}
}

// upper returns a request's signature in upper case.
func upper(r *http.Request) string {
	digits, _ := strings.CutPrefix(r.Header.Get("X-Hub-Signature-256"), "sha256=")
	return "sha256=" + strings.ToUpper(digits)
}

// TestWebhookReplay: the GUID is not signed, so a captured delivery can come with
// any, and its signature in any case.
func TestWebhookReplay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHook(t, quiet(t))
		replays := map[string]func(*http.Request){
			"same GUID":    func(*http.Request) {},
			"another GUID": func(r *http.Request) { r.Header.Set("X-GitHub-Delivery", "guid-2") },
			"another case": func(r *http.Request) {
				r.Header.Set("X-Hub-Signature-256", upper(r))
				r.Header.Set("X-GitHub-Delivery", "guid-3")
			},
			"another event": func(r *http.Request) {
				r.Header.Set("X-GitHub-Event", "push")
				r.Header.Set("X-GitHub-Delivery", "guid-4")
			},
			"at the same time": func(r *http.Request) { r.Header.Set("X-GitHub-Delivery", "guid-5") },
		}
		if status, text := answer(h, request("push", "guid-1", pushed)); status != http.StatusAccepted {
			t.Fatalf("first: %d %s", status, text)
		}
		synctest.Wait()
		<-h.hints
		for name, change := range replays {
			r := request("push", "guid-1", pushed)
			change(r)
			if status, text := answer(h, r); status != http.StatusOK || text != "already had" {
				t.Errorf("%s: %d %s", name, status, text)
			}
			synctest.Wait()
			h.hints.none(t, name)
		}
	})
}

// TestWebhookWithoutLedger: to look once more does no harm, but what is said of a
// label could be a replay.
func TestWebhookWithoutLedger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHook(t, quiet(t))
		h.seen.down = true
		body := `{"action":"labeled","number":7,"label":{"name":"preview"},"sender":{"login":"ann"},
			"pull_request":{"head":{"sha":"x"}},"repository":{"full_name":"acme/tenants"}}`
		if status, _ := answer(h, request("pull_request", "guid", body)); status != http.StatusServiceUnavailable {
			t.Errorf("answers %d", status)
		}
		synctest.Wait()
		if got := <-h.hints; got != (review.Hint{Kind: review.HintPull, Pull: 7}) {
			t.Errorf("hint %+v", got)
		}
		h.seen.down = false
		if status, _ := answer(h, request("pull_request", "guid", body)); status != http.StatusAccepted {
			t.Errorf("delivered again: %d", status)
		}
		synctest.Wait()
		if got := <-h.hints; got.Labelled == nil || got.Labelled.By != "ann" || got.Label != "preview" {
			t.Errorf("hint %+v", got)
		}
	})
}

// FuzzWebhook: whatever is signed, and whatever is not, is answered.
func FuzzWebhook(f *testing.F) {
	for _, event := range []string{"push", "pull_request", "issue_comment", "check_run", "check_suite", "ping", "star"} {
		f.Add(event, "application/json", `{"action":"labeled","number":1,"repository":{"full_name":"acme/tenants"},"issue":{"number":1,"pull_request":{}},"check_run":{"pull_requests":[{"number":1}]}}`, "", true)
	}
	f.Add("push", "application/x-www-form-urlencoded", "payload=%7B%7D", "", true)
	f.Add("push", "application/json; charset=x", pushed, "sha256=00", false)
	forge := quiet(f)
	f.Fuzz(func(t *testing.T, event, contentType, body, signature string, signed bool) {
		h, err := forge.Webhook([]byte(secret), &remembered{}, func(hint review.Hint) {
			if hint.Pull < 0 || hint.Kind == "" {
				t.Errorf("hint %+v", hint)
			}
		})
		do(t, err)
		r := request(event, "guid", body)
		r.Header.Set("Content-Type", contentType)
		if !signed {
			r.Header.Set("X-Hub-Signature-256", signature)
		}
		status, _ := answer(h, r)
		if !signed && status != http.StatusUnauthorized {
			mac := hmac.New(sha256.New, []byte(secret))
			mac.Write([]byte(body))
			if !strings.EqualFold(signature, "sha256="+hex.EncodeToString(mac.Sum(nil))) {
				t.Errorf("unsigned, and answered %d", status)
			}
		}
		switch status {
		case 200, 202, 400, 401, 415:
		default:
			t.Errorf("answered %d", status)
		}
	})
}
