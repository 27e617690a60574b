package githubtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// repository is a bare Git repository on this machine.
type repository struct {
	dir string
	tmp string // where worktrees may be
}

// forkRefs are where the branches of forks are: GitHub keeps a fork's objects
// beside those of its origin, and shows its branches to nobody.
const forkRefs = "refs/forks/"

func (g repository) create(branch string) error {
	if err := os.MkdirAll(g.dir, 0o755); err != nil {
		return err
	}
	if _, err := g.run(context.Background(), nil, "init", "--quiet", "--bare", "--initial-branch="+branch); err != nil {
		return err
	}
	for _, setting := range [][2]string{
		{"http.receivepack", "true"},
		{"uploadpack.allowAnySHA1InWant", "true"},
		{"uploadpack.allowFilter", "true"},
		{"transfer.hideRefs", strings.TrimSuffix(forkRefs, "/")},
		{"gc.auto", "0"},
		{"receive.autogc", "false"},
	} {
		if _, err := g.run(context.Background(), nil, "config", setting[0], setting[1]); err != nil {
			return err
		}
	}
	return nil
}

// environment is git's, without the settings of this machine.
func environment() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "LC_ALL=C",
		"GIT_AUTHOR_NAME=Octocat", "GIT_AUTHOR_EMAIL=octocat@example.com",
		"GIT_COMMITTER_NAME=GitHub", "GIT_COMMITTER_EMAIL=noreply@github.example",
	}
}

func (g repository) run(ctx context.Context, stdin []byte, args ...string) (string, error) {
	return g.in(ctx, g.dir, stdin, args...)
}

func (g repository) in(ctx context.Context, dir string, stdin []byte, args ...string) (string, error) {
	c := exec.CommandContext(ctx, "git", args...)
	c.Dir, c.Env = dir, environment()
	c.Stdin = bytes.NewReader(stdin)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s%s", args[0], err, errs.String(), out.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// kind returns what an object is, "" if it is not there.
func (g repository) kind(ctx context.Context, sha string) string {
	out, err := g.run(ctx, nil, "cat-file", "-t", sha)
	if err != nil {
		return ""
	}
	return out
}

// refs returns the commits of all branches, of forks too, by ref.
func (g repository) refs(ctx context.Context) (map[string]string, error) {
	out, err := g.run(ctx, nil, "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags", strings.TrimSuffix(forkRefs, "/"))
	if err != nil {
		return nil, err
	}
	refs := map[string]string{}
	for line := range strings.Lines(out) {
		if sha, ref, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			refs[ref] = sha
		}
	}
	return refs, nil
}

// Commit is a commit to make.
type Commit struct {
	Message string            // "" means "Change tenants"
	Files   map[string]string // content by path
	Remove  []string          // paths
	// From is where a new branch begins, or where an old one is forced to: a branch
	// or commit. "" means at the branch, or, if it is new, at the default one.
	From string
}

// Commit makes a commit on a branch and tells it like a push. A branch
// "login:name" is one of login's fork.
func (s *Server) Commit(branch string, c Commit) (sha string, err error) {
	ctx := context.Background()
	ref := branchRef(branch)
	var in bytes.Buffer
	if c.Message == "" {
		c.Message = "Change tenants"
	}
	from := c.From
	for _, start := range []string{ref, "refs/heads/" + s.options.Branch} {
		if from == "" && s.git.kind(ctx, start) != "" {
			from = start
		}
	}
	fmt.Fprintf(&in, "commit %s\ncommitter Octocat <octocat@example.com> %d +0000\ndata %d\n%s\n", ref, second().Unix(), len(c.Message), c.Message)
	if from != "" {
		start, err := s.git.run(ctx, nil, "rev-parse", "--verify", from+"^{commit}")
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&in, "from %s\n", start)
	}
	for _, path := range c.Remove {
		fmt.Fprintf(&in, "D %s\n", path)
	}
	for _, path := range slices.Sorted(maps.Keys(c.Files)) {
		fmt.Fprintf(&in, "M 100644 inline %s\ndata %d\n%s\n", path, len(c.Files[path]), c.Files[path])
	}
	if _, err := s.git.run(ctx, in.Bytes(), "fast-import", "--quiet", "--force"); err != nil {
		return "", err
	}
	if sha, err = s.git.run(ctx, nil, "rev-parse", ref); err != nil {
		return "", err
	}
	return sha, s.Refresh()
}

func branchRef(branch string) string {
	if login, name, ok := strings.Cut(branch, ":"); ok {
		return forkRefs + login + "/" + name
	}
	return "refs/heads/" + branch
}

// Head returns the commit of a branch, "" if there is none.
func (s *Server) Head(branch string) string {
	out, err := s.git.run(context.Background(), nil, "rev-parse", "--verify", "--quiet", branchRef(branch))
	if err != nil {
		return ""
	}
	return out
}

// isGit reports whether a request is git's.
func isGit(r *http.Request) bool { return strings.Contains(r.URL.Path, ".git/") }

// serveGit speaks git's smart HTTP with those who have a token.
func (s *Server) serveGit(w http.ResponseWriter, r *http.Request) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/"+s.options.Repository+".git/")
	if !ok {
		http.NotFound(w, r)
		return
	}
	who, err := s.identify(r)
	writes := rest == "git-receive-pack" || r.URL.Query().Get("service") == "git-receive-pack"
	switch {
	case err != nil || who == nil:
		w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
		http.Error(w, "Repository not found.", http.StatusUnauthorized)
		return
	case writes && !who.may(Contents):
		http.Error(w, "Write access to repository not granted.", http.StatusForbidden)
		return
	}
	git, err := exec.LookPath("git")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	backend := cgi.Handler{
		Path: git, Args: []string{"http-backend"}, Dir: s.git.dir, Root: "/",
		Env:    append(environment(), "GIT_PROJECT_ROOT="+filepath.Dir(filepath.Dir(s.git.dir)), "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER="+who.Login),
		Stderr: bytes.NewBuffer(nil),
	}
	r = r.Clone(r.Context())
	r.Header.Del("Authorization") // git need not know
	backend.ServeHTTP(w, r)
	if rest == "git-receive-pack" {
		if err := s.Refresh(); err != nil {
			s.options.Log.Error("a push is not told", "error", err)
		}
	}
}

// A Method is a way to merge.
type Method string

// The ways to merge.
const (
	MergeCommit Method = "merge"
	Squash      Method = "squash"
	Rebase      Method = "rebase"
)

// merge makes the commit of base that has the head, by git.
func (g repository) merge(ctx context.Context, method Method, base, head, message string) (string, error) {
	if method == Rebase {
		return g.rebase(ctx, base, head)
	}
	tree, err := g.run(ctx, nil, "merge-tree", "--write-tree", base, head)
	if err != nil {
		return "", fmt.Errorf("merge conflict: %w", err)
	}
	args := []string{"commit-tree", tree, "-p", base, "-m", message}
	if method == MergeCommit {
		args = append(args, "-p", head)
	}
	return g.run(ctx, nil, args...)
}

func (g repository) rebase(ctx context.Context, base, head string) (sha string, err error) {
	work, err := os.MkdirTemp(g.tmp, "rebase")
	if err != nil {
		return "", err
	}
	defer func() {
		_, gone := g.run(ctx, nil, "worktree", "remove", "--force", work)
		err = errors.Join(err, gone)
	}()
	if _, err := g.run(ctx, nil, "worktree", "add", "--quiet", "--detach", work, head); err != nil {
		return "", err
	}
	if _, err := g.in(ctx, work, nil, "rebase", "--quiet", base); err != nil {
		return "", fmt.Errorf("merge conflict: %w", err)
	}
	return g.in(ctx, work, nil, "rev-parse", "HEAD")
}
