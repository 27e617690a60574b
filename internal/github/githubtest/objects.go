package githubtest

import (
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"strings"
	"time"
)

// node is the ID that GitHub's other API uses.
func node(kind string, id int64) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s%d", kind, id))
}

// numberOf gives a name a number that stays.
func numberOf(name string) int64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(strings.ToLower(name))) // never fails
	return int64(h.Sum32())
}

func (s *Server) user(login string) object {
	kind := "User"
	if strings.HasSuffix(login, "[bot]") {
		kind = "Bot"
	}
	for _, a := range s.options.Tokens {
		if a.Login == login && a.Nameless {
			kind = "Bot"
		}
	}
	id, api := numberOf(login), s.URL()+"/users/"+strings.NewReplacer("[", "%5B", "]", "%5D").Replace(login)
	return object{
		"login": login, "id": id, "node_id": node("User", id), "avatar_url": s.URL() + "/avatars/" + fmt.Sprint(id), "gravatar_id": "",
		"url": api, "html_url": api, "followers_url": api + "/followers", "following_url": api + "/following{/other_user}",
		"gists_url": api + "/gists{/gist_id}", "starred_url": api + "/starred{/owner}{/repo}", "subscriptions_url": api + "/subscriptions",
		"organizations_url": api + "/orgs", "repos_url": api + "/repos", "events_url": api + "/events{/privacy}",
		"received_events_url": api + "/received_events", "type": kind, "site_admin": false,
	}
}

// repositoryObject is the repository, or a fork of it.
func (s *Server) repositoryObject(owner string) object {
	full := owner + "/" + s.name
	id, api, web := numberOf(full), s.URL()+"/repos/"+full, s.URL()+"/"+full
	pushed := s.pushedAt[owner]
	if pushed.IsZero() {
		pushed = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	o := object{
		"id": id, "node_id": node("Repository", id), "name": s.name, "full_name": full, "owner": s.user(owner), "private": false,
		"html_url": web, "description": nil, "fork": owner != s.owner, "url": api, "license": nil, "mirror_url": nil, "homepage": nil,
		"language": nil, "default_branch": s.options.Branch, "visibility": "public", "topics": []string{},
		"git_url": "git://" + strings.TrimPrefix(web, "http://") + ".git", "ssh_url": "git@localhost:" + full + ".git",
		"clone_url": web + ".git", "svn_url": web, "archived": false, "disabled": false,
		"created_at": "2024-01-01T00:00:00Z", "updated_at": stamp(pushed), "pushed_at": stamp(pushed),
	}
	for name, path := range map[string]string{
		"archive_url": "{archive_format}{/ref}", "assignees_url": "assignees{/user}", "blobs_url": "git/blobs{/sha}",
		"branches_url": "branches{/branch}", "collaborators_url": "collaborators{/collaborator}", "comments_url": "comments{/number}",
		"commits_url": "commits{/sha}", "compare_url": "compare/{base}...{head}", "contents_url": "contents/{+path}",
		"contributors_url": "contributors", "deployments_url": "deployments", "downloads_url": "downloads", "events_url": "events",
		"forks_url": "forks", "git_commits_url": "git/commits{/sha}", "git_refs_url": "git/refs{/sha}", "git_tags_url": "git/tags{/sha}",
		"hooks_url": "hooks", "issue_comment_url": "issues/comments{/number}", "issue_events_url": "issues/events{/number}",
		"issues_url": "issues{/number}", "keys_url": "keys{/key_id}", "labels_url": "labels{/name}", "languages_url": "languages",
		"merges_url": "merges", "milestones_url": "milestones{/number}", "notifications_url": "notifications{?since,all,participating}",
		"pulls_url": "pulls{/number}", "releases_url": "releases{/id}", "stargazers_url": "stargazers", "statuses_url": "statuses/{sha}",
		"subscribers_url": "subscribers", "subscription_url": "subscription", "tags_url": "tags", "teams_url": "teams",
		"trees_url": "git/trees{/sha}",
	} {
		o[name] = api + "/" + path
	}
	for _, name := range []string{"forks", "forks_count", "stargazers_count", "watchers", "watchers_count", "size", "open_issues", "open_issues_count"} {
		o[name] = 0
	}
	for _, name := range []string{"has_issues", "has_projects", "has_wiki", "has_pages", "has_downloads", "has_discussions"} {
		o[name] = name == "has_issues"
	}
	return o
}

func (s *Server) fullRepository() object {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.repositoryObject(s.owner)
	o["subscribers_count"], o["network_count"] = 0, 0
	return o
}

func (s *Server) labelObject(name string) object {
	id := numberOf("label " + name)
	return object{
		"id": id, "node_id": node("Label", id), "url": s.api("/labels/%s", pathEscape(name)), "name": name, "description": "",
		"color": "ededed", "default": false,
	}
}

func (s *Server) labels(names []string) []object {
	list := []object{}
	for _, name := range names {
		list = append(list, s.labelObject(name))
	}
	return list
}

// pullObject is a pull request as lists show it.
func (s *Server) pullObject(p *pull) object {
	state := "open"
	if !p.open {
		state = "closed"
	}
	var merged any
	if p.merged != "" {
		merged = p.merged
	}
	mergedAt := time.Time{}
	if p.merged != "" {
		mergedAt = p.closed
	}
	end := func(owner, ref, sha string) object {
		return object{"label": owner + ":" + ref, "ref": ref, "sha": sha, "user": s.user(owner), "repo": s.repositoryObject(owner)}
	}
	owner, branch := p.label(s.owner)
	api, issue := s.api("/pulls/%d", p.number), s.api("/issues/%d", p.number)
	web := s.web("/pull/%d", p.number)
	links := object{
		"self": api, "html": web, "issue": issue, "comments": issue + "/comments", "review_comments": api + "/comments",
		"review_comment": s.api("/pulls/comments{/number}"), "commits": api + "/commits", "statuses": s.api("/statuses/%s", p.head),
	}
	hrefs := object{}
	for name, href := range links {
		hrefs[name] = object{"href": href}
	}
	return object{
		"url": api, "id": p.id, "node_id": node("PullRequest", p.id), "html_url": web, "diff_url": web + ".diff", "patch_url": web + ".patch",
		"issue_url": issue, "commits_url": links["commits"], "review_comments_url": links["review_comments"],
		"review_comment_url": links["review_comment"], "comments_url": links["comments"], "statuses_url": links["statuses"],
		"number": p.number, "state": state, "locked": false, "title": p.title, "user": s.user(p.author), "body": nil,
		"labels": s.labels(p.labels), "milestone": nil, "active_lock_reason": nil, "created_at": stamp(p.created), "updated_at": stamp(p.updated),
		"closed_at": stamp(p.closed), "merged_at": stamp(mergedAt), "merge_commit_sha": merged, "assignee": nil, "assignees": []object{},
		"requested_reviewers": []object{}, "requested_teams": []object{}, "draft": p.draft,
		"head": end(owner, branch, p.head), "base": end(s.owner, p.base, p.baseSHA), "_links": hrefs,
		"author_association": "CONTRIBUTOR", "auto_merge": nil,
	}
}

// wholePull is a pull request by itself.
func (s *Server) wholePull(p *pull) object {
	o := s.pullObject(p)
	o["merged"], o["mergeable"], o["mergeable_state"], o["rebaseable"] = p.merged != "", nil, "unknown", nil
	o["merged_by"] = nil
	if p.mergedBy != "" {
		o["merged_by"] = s.user(p.mergedBy)
	}
	for _, name := range []string{"comments", "review_comments", "commits", "additions", "deletions", "changed_files"} {
		o[name] = 0
	}
	o["maintainer_can_modify"] = false
	return o
}

// appObject is the App that did something.
func (s *Server) appObject() any {
	app := s.options.App
	if app == nil {
		return nil
	}
	return object{
		"id": app.ID, "slug": app.Slug, "node_id": node("App", app.ID), "owner": s.user(s.owner), "name": app.Slug, "description": nil,
		"external_url": s.URL(), "html_url": s.URL() + "/apps/" + app.Slug, "created_at": "2024-01-01T00:00:00Z",
		"updated_at": "2024-01-01T00:00:00Z", "permissions": object{"statuses": "write"}, "events": []string{"push"},
	}
}
