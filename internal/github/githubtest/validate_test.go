package githubtest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/github/githubtest"
)

// TestDescriptionCatches plants errors that a client or the stand-in could make.
func TestDescriptionCatches(t *testing.T) {
	t.Parallel()
	const status = `{"url":"u","avatar_url":null,"id":1,"node_id":"n","state":"success","description":null,"target_url":null,
		"context":"c","created_at":"2024-01-01T00:00:00Z","updated_at":"2024-01-01T00:00:00Z","creator":null}`
	tests := map[string]struct {
		method, target, body string
		status               int
		answer               string
		want                 string // "" for no violation
	}{
		"all is well":           {"POST", "/repos/a/b/statuses/1234", `{"state":"success","context":"c"}`, 201, status, ""},
		"an error is allowed":   {"POST", "/repos/a/b/statuses/1234", `{"state":"success"}`, 403, `{"message":"no"}`, ""},
		"unknown operation":     {"GET", "/repos/a/b/statuses", "", 200, `[]`, "no such operation"},
		"state of its own":      {"POST", "/repos/a/b/statuses/1234", `{"state":"done"}`, 201, status, "state"},
		"number for a text":     {"POST", "/repos/a/b/statuses/1234", `{"state":"success","description":7}`, 201, status, "description"},
		"body forgotten":        {"POST", "/repos/a/b/statuses/1234", "", 201, status, "body"},
		"misspelt member":       {"POST", "/repos/a/b/statuses/1234", `{"state":"success","descriptions":"x"}`, 201, status, "descriptions"},
		"misspelt parameter":    {"GET", "/repos/a/b/pulls?sate=open", "", 200, `[]`, "sate"},
		"order of its own":      {"GET", "/repos/a/b/pulls?direction=up", "", 200, `[]`, "direction"},
		"answer lacks a member": {"POST", "/repos/a/b/statuses/1234", `{"state":"success"}`, 201, `{"id":1}`, "response"},
		"answer of wrong type":  {"POST", "/repos/a/b/statuses/1234", `{"state":"success"}`, 201, strings.Replace(status, `"id":1`, `"id":"1"`, 1), "id"},
		"answer's status":       {"POST", "/repos/a/b/statuses/1234", `{"state":"success"}`, 200, status, "200"},
		"list of wrong things":  {"GET", "/repos/a/b/pulls", "", 200, `[{"number":1}]`, "response"},
		"git is not the API":    {"GET", "/a/b.git/info/refs?service=git-upload-pack", "", 200, `not JSON`, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			v, err := githubtest.NewValidator(func(err error) { got = append(got, err.Error()) })
			if err != nil {
				if testing.Short() {
					t.Skip(err)
				}
				t.Fatal(err)
			}
			h := v.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json; charset=utf-8")
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.answer))
			}))
			r := httptest.NewRequest(test.method, test.target, strings.NewReader(test.body))
			r.Header.Set("Accept", "application/vnd.github+json")
			if test.body != "" {
				r.Header.Set("Content-Type", "application/json")
			}
			answer := httptest.NewRecorder()
			h.ServeHTTP(answer, r)
			if answer.Code != test.status || answer.Body.String() != test.answer {
				t.Errorf("the answer is changed on its way: %d %s", answer.Code, answer.Body)
			}
			switch all := strings.Join(got, "\n"); {
			case test.want == "" && len(got) > 0:
				t.Errorf("unexpected violation: %s", all)
			case test.want != "" && (len(got) != 1 || !strings.Contains(all, test.want)):
				t.Errorf("want a violation that names %q, got %q", test.want, all)
			}
		})
	}
}

func TestDescriptionCatchesWebhooks(t *testing.T) {
	t.Parallel()
	v, err := githubtest.NewValidator(func(err error) { t.Error(err) })
	if err != nil {
		if testing.Short() {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ event, payload string }{
		"half a push":       {"push", `{"ref":"refs/heads/main","after":"x"}`},
		"no such event":     {"pushed", `{}`},
		"no such action":    {"pull_request", `{"action":"reconsidered"}`},
		"half a label":      {"pull_request", `{"action":"labeled","number":1}`},
		"garbage":           {"push", `{`},
		"comment without a": {"issue_comment", `{"action":"created"}`},
	} {
		if err := v.Webhook(test.event, []byte(test.payload)); err == nil {
			t.Errorf("%s: is accepted", name)
		}
	}
}
