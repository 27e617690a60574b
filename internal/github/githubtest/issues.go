package githubtest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
	"unicode/utf8"
)

const maxComment = 65536 // characters

// comment is a comment on a pull request, or on an issue.
type comment struct {
	id       int64
	number   int
	onIssue  bool
	by, body string
	viaApp   bool
	created  time.Time
	updated  time.Time
}

// issueEvent is a label that was set or taken off.
type issueEvent struct {
	id           int64
	number       int
	event, label string
	by           string
	at           time.Time
}

// reaction is a sign on a comment.
type reaction struct {
	id      int64
	comment int64
	by      string
	content string
	at      time.Time
}

func pathEscape(s string) string { return url.PathEscape(s) }

// note records what was done to a label, and tells it.
func (s *Server) note(p *pull, event, label, by string) {
	s.events = append(s.events, &issueEvent{id: s.nextID(), number: p.number, event: event, label: label, by: by, at: second()})
	s.hooks.pull(p, event, by, object{"label": s.labelObject(label)})
}

// Comment writes a comment on a pull request and returns its number.
func (s *Server) Comment(number int, by, body string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pulls[number] == nil {
		return 0, fmt.Errorf("there is no pull request %d", number)
	}
	return s.comment(number, by, body, false).id, nil
}

func (s *Server) comment(number int, by, body string, viaApp bool) *comment {
	now := second()
	c := &comment{id: s.nextID(), number: number, by: by, body: body, viaApp: viaApp, created: now, updated: now}
	s.comments = append(s.comments, c)
	s.hooks.comment(c, "created")
	return c
}

// CommentOnIssue opens an issue with a comment, which is on no pull request.
func (s *Server) CommentOnIssue(by, body string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issues++
	now := second()
	c := &comment{id: s.nextID(), number: s.issues, onIssue: true, by: by, body: body, created: now, updated: now}
	s.comments = append(s.comments, c)
	return c.id
}

// EditComment changes a comment's text.
func (s *Server) EditComment(id int64, body string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.commentByID(id)
	if c == nil {
		return fmt.Errorf("there is no comment %d", id)
	}
	c.body, c.updated = body, second()
	return nil
}

// DeleteComment deletes a comment.
func (s *Server) DeleteComment(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.comments = slices.DeleteFunc(s.comments, func(c *comment) bool { return c.id == id })
}

func (s *Server) commentByID(id int64) *comment {
	for _, c := range s.comments {
		if c.id == id {
			return c
		}
	}
	return nil
}

// Comment is a comment as it is shown.
type Comment struct {
	ID       int64
	By, Body string
	Signs    []string // reactions, in order
}

// CommentsOf returns the comments on a pull request, oldest first.
func (s *Server) CommentsOf(number int) []Comment {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Comment
	for _, c := range s.comments {
		if c.number != number {
			continue
		}
		shown := Comment{ID: c.id, By: c.by, Body: c.body}
		for _, r := range s.reactions {
			if r.comment == c.id {
				shown.Signs = append(shown.Signs, r.content)
			}
		}
		list = append(list, shown)
	}
	return list
}

// Labels returns the labels of a pull request.
func (s *Server) Labels(number int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pulls[number]; p != nil {
		return slices.Clone(p.labels)
	}
	return nil
}

func (s *Server) commentObject(c *comment) object {
	kind := "pull"
	if c.onIssue {
		kind = "issues"
	}
	var app any
	if c.viaApp {
		app = s.appObject()
	}
	api := s.api("/issues/comments/%d", c.id)
	return object{
		"id": c.id, "node_id": node("IssueComment", c.id), "url": api, "html_url": s.web("/%s/%d#issuecomment-%d", kind, c.number, c.id),
		"body": c.body, "user": s.user(c.by), "created_at": stamp(c.created), "updated_at": stamp(c.updated),
		"issue_url": s.api("/issues/%d", c.number), "author_association": "CONTRIBUTOR", "performed_via_github_app": app,
		"reactions": object{
			"url": api + "/reactions", "total_count": 0, "+1": 0, "-1": 0, "laugh": 0, "confused": 0, "heart": 0, "hooray": 0, "eyes": 0, "rocket": 0,
		},
	}
}

func (s *Server) listComments(c *call) answer {
	query := c.URL.Query()
	var since time.Time
	if text := query.Get("since"); text != "" {
		var err error
		if since, err = time.Parse(time.RFC3339, text); err != nil {
			return invalid("Comment", "since", "since is not a time")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*comment
	for _, one := range s.comments {
		if !one.updated.Before(since) {
			found = append(found, one)
		}
	}
	if query.Get("sort") == "updated" {
		slices.SortStableFunc(found, func(a, b *comment) int { return a.updated.Compare(b.updated) })
	}
	if query.Get("direction") == "desc" {
		slices.Reverse(found)
	}
	list := []object{}
	for _, one := range found {
		list = append(list, s.commentObject(one))
	}
	return listOf(list)
}

func (s *Server) commentsOf(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	number := int(c.number("number"))
	if s.pulls[number] == nil {
		return notFound()
	}
	list := []object{}
	for _, one := range s.comments {
		if one.number == number {
			list = append(list, s.commentObject(one))
		}
	}
	return listOf(list)
}

func (s *Server) getComment(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.commentByID(c.number("id")); one != nil {
		return ok(s.commentObject(one))
	}
	return notFound()
}

// text reads the body of a comment to write.
func (c *call) text() (string, *answer) {
	var in struct {
		Body string `json:"body"`
	}
	if !c.decode(&in) || in.Body == "" {
		a := invalid("IssueComment", "body", "body can't be blank")
		return "", &a
	}
	if utf8.RuneCountInString(in.Body) > maxComment {
		a := invalid("IssueComment", "body", "body is too long (maximum is 65536 characters)")
		return "", &a
	}
	return in.Body, nil
}

func (s *Server) createComment(c *call) answer {
	body, refused := c.text()
	if refused != nil {
		return *refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	number := int(c.number("number"))
	if s.pulls[number] == nil {
		return notFound()
	}
	return created(s.commentObject(s.comment(number, c.who.Login, body, c.who.app)))
}

func (s *Server) editComment(c *call) answer {
	body, refused := c.text()
	if refused != nil {
		return *refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.commentByID(c.number("id"))
	if one == nil {
		return notFound()
	}
	one.body, one.updated = body, second()
	s.hooks.comment(one, "edited")
	return ok(s.commentObject(one))
}

func (s *Server) react(c *call) answer {
	var in struct {
		Content string `json:"content"`
	}
	if !c.decode(&in) || !slices.Contains([]string{"+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"}, in.Content) {
		return invalid("Reaction", "content", "content is not a reaction")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := c.number("id")
	if s.commentByID(id) == nil {
		return notFound()
	}
	for _, r := range s.reactions {
		if r.comment == id && r.by == c.who.Login && r.content == in.Content {
			return ok(s.reactionObject(r))
		}
	}
	r := reaction{id: s.nextID(), comment: id, by: c.who.Login, content: in.Content, at: second()}
	s.reactions = append(s.reactions, r)
	return created(s.reactionObject(r))
}

func (s *Server) reactionObject(r reaction) object {
	return object{"id": r.id, "node_id": node("Reaction", r.id), "user": s.user(r.by), "content": r.content, "created_at": stamp(r.at)}
}

func (s *Server) eventsOf(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	number := int(c.number("number"))
	if s.pulls[number] == nil {
		return notFound()
	}
	list := []object{}
	for _, e := range s.events {
		if e.number == number {
			list = append(list, object{
				"id": e.id, "node_id": node("LabeledEvent", e.id), "url": s.api("/issues/events/%d", e.id), "actor": s.user(e.by),
				"event": e.event, "commit_id": nil, "commit_url": nil, "created_at": stamp(e.at), "performed_via_github_app": nil,
				"label": object{"name": e.label, "color": "ededed"},
			})
		}
	}
	return listOf(list)
}

func (s *Server) removeLabel(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pulls[int(c.number("number"))]
	if p == nil {
		return notFound()
	}
	if !s.take(p, c.PathValue("label"), c.who.Login) {
		return problem(http.StatusNotFound, "Label does not exist")
	}
	p.updated = second()
	return ok(s.labels(p.labels))
}

// issueObject is a pull request as the issue that it also is.
func (s *Server) issueObject(p *pull) object {
	api := s.api("/issues/%d", p.number)
	state := "open"
	if !p.open {
		state = "closed"
	}
	return object{
		"url": api, "repository_url": s.api(""), "labels_url": api + "/labels{/name}", "comments_url": api + "/comments",
		"events_url": api + "/events", "html_url": s.web("/pull/%d", p.number), "id": p.id, "node_id": node("PullRequest", p.id),
		"number": p.number, "title": p.title, "user": s.user(p.author), "labels": s.labels(p.labels), "state": state, "locked": false,
		"assignee": nil, "assignees": []object{}, "milestone": nil, "comments": 0, "created_at": stamp(p.created), "updated_at": stamp(p.updated),
		"closed_at": stamp(p.closed), "author_association": "CONTRIBUTOR", "active_lock_reason": nil, "body": nil, "draft": p.draft,
		"pull_request": object{
			"url": s.api("/pulls/%d", p.number), "html_url": s.web("/pull/%d", p.number), "diff_url": s.web("/pull/%d.diff", p.number),
			"patch_url": s.web("/pull/%d.patch", p.number), "merged_at": nil,
		},
		"reactions": object{
			"url": api + "/reactions", "total_count": 0, "+1": 0, "-1": 0, "laugh": 0, "confused": 0, "heart": 0, "hooray": 0, "eyes": 0, "rocket": 0,
		},
		"performed_via_github_app": nil, "state_reason": nil, "timeline_url": api + "/timeline",
	}
}
