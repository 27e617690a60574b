package githubtest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// zeroSHA stands for no commit, before a branch was made or after it is gone.
const zeroSHA = "0000000000000000000000000000000000000000"

// Delivery is a webhook that was sent, or is about to be.
type Delivery struct {
	ID      string
	Event   string
	Action  string
	Payload []byte
	Status  int // of the last answer; 0 if there was none
	Lost    bool
}

// hookSender sends webhooks, one after another, as GitHub does: each once, and
// never again by itself.
type hookSender struct {
	server *Server
	client *http.Client
	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{}
	more   chan struct{}

	mu      sync.Mutex
	url     string
	secret  []byte
	queue   []*Delivery
	all     []*Delivery
	lose    int // this many are lost; -1 means all
	started bool
}

func newHookSender(s *Server) *hookSender {
	ctx, cancel := context.WithCancel(context.Background())
	return &hookSender{
		server: s, client: &http.Client{Timeout: 10 * time.Second}, ctx: ctx, cancel: cancel,
		ended: make(chan struct{}), more: make(chan struct{}, 1),
	}
}

func (h *hookSender) stop() {
	h.cancel()
	h.mu.Lock()
	started := h.started
	h.mu.Unlock()
	if started {
		<-h.ended
	}
}

// SendWebhooks has everything that happens from now on told to an URL, signed with
// the secret; a ping is the first. The URL "" ends it.
func (s *Server) SendWebhooks(url, secret string) {
	h := s.hooks
	h.mu.Lock()
	h.url, h.secret = url, []byte(secret)
	if !h.started {
		h.started = true
		go h.work()
	}
	h.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	h.send("ping", object{
		"zen": "Keep it logically awesome.", "hook_id": 1,
		"hook": object{
			"type": "Repository", "id": 1, "name": "web", "active": true, "events": []string{"*"},
			"config":     object{"content_type": "json", "insecure_ssl": "0", "url": url},
			"updated_at": stamp(second()), "created_at": stamp(second()), "url": s.api("/hooks/1"),
			"ping_url": s.api("/hooks/1/pings"), "deliveries_url": s.api("/hooks/1/deliveries"), "test_url": s.api("/hooks/1/test"),
			"last_response": object{"code": nil, "status": "unused", "message": nil},
		},
		"repository": s.repositoryObject(s.owner), "sender": s.user(s.owner),
	})
}

// LoseWebhooks has the next n webhooks get lost, all if n is negative, none if it
// is 0.
func (s *Server) LoseWebhooks(n int) {
	s.hooks.mu.Lock()
	defer s.hooks.mu.Unlock()
	s.hooks.lose = n
}

// Deliveries returns what was sent, oldest first.
func (s *Server) Deliveries() []Delivery {
	s.hooks.mu.Lock()
	defer s.hooks.mu.Unlock()
	var list []Delivery
	for _, d := range s.hooks.all {
		list = append(list, *d)
	}
	return list
}

// Redeliver sends a webhook again, as somebody who presses the button on GitHub's
// page: with the same ID and the same body.
func (s *Server) Redeliver(id string) error {
	h := s.hooks
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.all, func(d *Delivery) bool { return d.ID == id })
	if i < 0 {
		return fmt.Errorf("there is no delivery %s", id)
	}
	h.all[i].Status, h.all[i].Lost = 0, false
	h.enqueue(h.all[i])
	return nil
}

// send builds a webhook, if anybody wants it.
func (h *hookSender) send(event string, payload object) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.url == "" {
		return
	}
	body, err := json.Marshal(payload)
	if err != nil {
		h.server.options.Log.Error("a webhook is not built", "error", err)
		return
	}
	if v := h.server.validator; v != nil {
		if err := v.Webhook(event, body); err != nil {
			v.violate(err)
		}
	}
	action, _ := payload["action"].(string)
	d := &Delivery{ID: guid(), Event: event, Action: action, Payload: body}
	h.all = append(h.all, d)
	if h.lose != 0 {
		h.lose--
		d.Lost = true
		return
	}
	h.enqueue(d)
}

func (h *hookSender) enqueue(d *Delivery) {
	h.queue = append(h.queue, d)
	select {
	case h.more <- struct{}{}:
	default:
	}
}

func guid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (h *hookSender) work() {
	defer close(h.ended)
	for {
		h.mu.Lock()
		var next *Delivery
		url, secret := h.url, h.secret
		if len(h.queue) > 0 {
			next, h.queue = h.queue[0], h.queue[1:]
		}
		h.mu.Unlock()
		if next == nil {
			select {
			case <-h.more:
				continue
			case <-h.ctx.Done():
				return
			}
		}
		status := h.deliver(url, secret, next)
		h.mu.Lock()
		next.Status = status
		h.mu.Unlock()
		if h.ctx.Err() != nil {
			return
		}
	}
}

// deliver posts a webhook and returns the status of the answer.
func (h *hookSender) deliver(url string, secret []byte, d *Delivery) int {
	r, err := http.NewRequestWithContext(h.ctx, http.MethodPost, url, bytes.NewReader(d.Payload))
	if err != nil {
		return 0
	}
	Sign(r, secret, d.Payload)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "GitHub-Hookshot/044aadd")
	r.Header.Set("X-GitHub-Event", d.Event)
	r.Header.Set("X-GitHub-Delivery", d.ID)
	r.Header.Set("X-GitHub-Hook-ID", "1")
	resp, err := h.client.Do(r)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close() // the status says all
	return resp.StatusCode
}

// Sign signs a webhook's body as GitHub does.
func Sign(r *http.Request, secret, body []byte) {
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	r.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
}

// The following are called with Server.mu held.

func (h *hookSender) pull(p *pull, action, by string, extra object) {
	s := h.server
	payload := object{
		"action": action, "number": p.number, "pull_request": s.wholePull(p), "repository": s.repositoryObject(s.owner), "sender": s.user(by),
	}
	for name, value := range extra {
		payload[name] = value
	}
	h.send("pull_request", payload)
}

func (h *hookSender) comment(c *comment, action string) {
	s := h.server
	p := s.pulls[c.number]
	if p == nil {
		return
	}
	payload := object{
		"action": action, "issue": s.issueObject(p), "comment": s.commentObject(c), "repository": s.repositoryObject(s.owner), "sender": s.user(c.by),
	}
	if action == "edited" {
		payload["changes"] = object{"body": object{"from": "before"}}
	}
	h.send("issue_comment", payload)
}

func (h *hookSender) push(ref, before, after string) {
	s := h.server
	created, deleted := before == "", after == ""
	var head any
	commits := []object{}
	if created {
		before = zeroSHA
	}
	if deleted {
		after = zeroSHA
	} else {
		one := s.commitObject(after)
		head, commits = one, []object{one}
	}
	repo := s.repositoryObject(s.owner)
	repo["created_at"], repo["pushed_at"] = 1704067200, second().Unix()
	h.send("push", object{
		"ref": ref, "before": before, "after": after, "base_ref": nil, "created": created, "deleted": deleted, "forced": false,
		"compare": s.web("/compare/%s...%s", before[:12], after[:12]), "commits": commits, "head_commit": head,
		"pusher": object{"name": s.owner, "email": s.owner + "@example.com"}, "repository": repo, "sender": s.user(s.owner),
	})
}

func (s *Server) commitObject(sha string) object {
	out, err := s.git.run(context.Background(), nil, "show", "--no-patch", "--format=%T%n%aI%n%an%n%ae%n%s", sha+"^{commit}")
	lines := strings.SplitN(out, "\n", 5)
	if err != nil || len(lines) < 5 {
		return nil
	}
	person := object{"name": lines[2], "email": lines[3], "username": "octocat"}
	return object{
		"id": sha, "tree_id": lines[0], "distinct": true, "message": lines[4], "timestamp": lines[1], "url": s.web("/commit/%s", sha),
		"author": person, "committer": person, "added": []string{}, "removed": []string{}, "modified": []string{},
	}
}

func (h *hookSender) recheck(one *checkRun, by string) {
	s := h.server
	run := s.checkObject(one)
	suite := object{
		"id": numberOf(one.SHA), "node_id": node("CheckSuite", numberOf(one.SHA)), "head_branch": s.options.Branch, "head_sha": one.SHA,
		"status": "completed", "conclusion": "failure", "url": s.api("/check-suites/%d", numberOf(one.SHA)), "before": zeroSHA, "after": one.SHA,
		"pull_requests": []object{}, "app": s.appObject(), "created_at": stamp(one.started), "updated_at": stamp(second()),
	}
	run["check_suite"] = suite
	pulls := []object{}
	for _, p := range s.pulls {
		if p.head == one.SHA && p.open {
			pulls = append(pulls, s.pullReference(p))
		}
	}
	run["pull_requests"] = pulls
	h.send("check_run", object{"action": "rerequested", "check_run": run, "repository": s.repositoryObject(s.owner), "sender": s.user(by)})
}

// pullReference is a pull request as check runs name it.
func (s *Server) pullReference(p *pull) object {
	owner, branch := p.label(s.owner)
	end := func(owner, ref, sha string) object {
		full := owner + "/" + s.name
		return object{"ref": ref, "sha": sha, "repo": object{"id": numberOf(full), "url": s.URL() + "/repos/" + full, "name": s.name}}
	}
	return object{
		"url": s.api("/pulls/%d", p.number), "id": p.id, "number": p.number,
		"head": end(owner, branch, p.head), "base": end(s.owner, p.base, p.baseSHA),
	}
}
