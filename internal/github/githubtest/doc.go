// Package githubtest is a GitHub of one repository, over HTTP: its REST API, its
// Git side and its webhooks, as far as gitopsd uses them. It enforces what GitHub
// enforces: permissions, rate limits with their headers, at most 1,000 statuses
// of a commit and context, descriptions of 140 characters, comments of 65,536,
// 50 annotations at once, tokens of Apps that expire.
//
// What it is asked, what it answers and the webhooks it sends are held against
// GitHub's own description of them (scripts/openapi fetches it), so that neither
// our requests nor this stand-in drift from GitHub.
//
// Its Git repository is a real one, on disk: what is merged here is merged by git.
package githubtest
