package githubtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// object is a JSON object.
type object map[string]any

// call is a request for the API, by somebody who may read.
type call struct {
	*http.Request
	who  identity
	body []byte
}

// number reads a number from the path, 0 if it is none.
func (c *call) number(name string) int64 {
	n, err := strconv.ParseInt(c.PathValue(name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// answer is what a call is answered. A list is cut to the page that was asked for.
type answer struct {
	status int
	body   any
	list   []object
	listed bool
	header http.Header
}

func ok(body any) answer { return answer{status: http.StatusOK, body: body} }

func created(body any) answer { return answer{status: http.StatusCreated, body: body} }

func listOf(list []object) answer { return answer{status: http.StatusOK, list: list, listed: true} }

func problem(status int, message string) answer {
	return answer{status: status, body: object{
		"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status),
	}}
}

func notFound() answer { return problem(http.StatusNotFound, "Not Found") }

// invalid is the answer to a request that GitHub understands and does not want.
func invalid(resource, field, message string) answer {
	a := problem(http.StatusUnprocessableEntity, "Validation Failed")
	a.body.(object)["errors"] = []object{{"resource": resource, "field": field, "code": "custom", "message": message}}
	return a
}

const repoPath = "/repos/{owner}/{repo}"

func (s *Server) routes() http.Handler {
	var all table
	open := func(pattern string, handle func(*call) answer) {
		method, path, _ := strings.Cut(pattern, " ")
		all = append(all, operation{method: method, path: path, handle: handle})
	}
	read := func(pattern string, handle func(*call) answer) {
		method, path, _ := strings.Cut(pattern, " ")
		open(method+" "+repoPath+path, s.repositoryIs(handle))
	}
	write := func(pattern string, scope Scope, handle func(*call) answer) {
		read(pattern, func(c *call) answer {
			switch {
			case c.who.may(scope):
				return handle(c)
			case c.who.Classic:
				return notFound()
			case c.who.app:
				return problem(http.StatusForbidden, "Resource not accessible by integration")
			default:
				return problem(http.StatusForbidden, "Resource not accessible by personal access token")
			}
		})
	}
	open("GET /user", s.whoAmI)
	open("POST /app/installations/{installation_id}/access_tokens", s.createToken)
	open("GET "+repoPath+"/installation", s.findInstallation)
	read("GET ", func(*call) answer { return ok(s.fullRepository()) })
	read("GET /pulls", s.listPulls)
	read("GET /pulls/{number}", s.getPull)
	read("GET /issues/comments", s.listComments)
	read("GET /issues/comments/{id}", s.getComment)
	write("PATCH /issues/comments/{id}", Pulls, s.editComment)
	write("POST /issues/comments/{id}/reactions", Pulls, s.react)
	read("GET /issues/{number}/comments", s.commentsOf)
	write("POST /issues/{number}/comments", Pulls, s.createComment)
	read("GET /issues/{number}/events", s.eventsOf)
	write("DELETE /issues/{number}/labels/{label}", Pulls, s.removeLabel)
	read("GET /collaborators/{login}/permission", s.permissionOf)
	write("POST /statuses/{sha}", Statuses, s.createStatus)
	read("GET /commits/{ref}/statuses", s.statusesOf)
	read("GET /commits/{ref}/check-runs", s.checksOf)
	write("POST /check-runs", Checks, s.createCheck)
	read("GET /check-runs/{id}", s.getCheck)
	write("PATCH /check-runs/{id}", Checks, s.updateCheck)
	read("GET /deployments", s.listDeployments)
	write("POST /deployments", Deployments, s.createDeployment)
	read("GET /deployments/{id}", s.getDeployment)
	read("GET /deployments/{id}/statuses", s.deploymentStatuses)
	write("POST /deployments/{id}/statuses", Deployments, s.createDeploymentStatus)

	handler := s.dispatch(all)
	if s.validator != nil {
		handler = s.validator.Handler(handler)
	}
	return s.failing(handler)
}

// operation is one of the API. Its path is written as GitHub's description has it.
type operation struct {
	method, path string
	handle       func(*call) answer
}

// table is all operations. A ServeMux would not take them: GitHub's paths overlap,
// and the fixed one wins (/issues/comments is not /issues/{number}).
type table []operation

// find returns the operation of a request, nil if there is none, with the values
// from its path.
func (t table) find(method, escaped string) (op *operation, values map[string]string) {
	segments := strings.Split(escaped, "/")
	best := -1
	for i := range t {
		params, fixed, ok := matches(strings.Split(t[i].path, "/"), segments)
		if ok && t[i].method == method && fixed > best {
			op, values, best = &t[i], params, fixed
		}
	}
	return op, values
}

// dispatch hands a request, below an Enterprise Server's prefix or not, to its
// operation, and counts it.
func (s *Server) dispatch(all table) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isGit(r) {
			s.count("git")
			s.serveGit(w, r)
			return
		}
		op, values := all.find(r.Method, strings.TrimPrefix(r.URL.EscapedPath(), enterprisePrefix))
		if op == nil {
			s.count("unknown")
			s.serve(w, r, func(*call) answer { return notFound() })
			return
		}
		s.count(op.method + " " + op.path)
		for name, value := range values {
			if plain, err := url.PathUnescape(value); err == nil {
				value = plain
			}
			r.SetPathValue(name, value)
		}
		s.serve(w, r, op.handle)
	})
}

func (s *Server) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[what]++
}

// repositoryIs answers 404 for every repository but ours, and for those who may
// not see it.
func (s *Server) repositoryIs(handle func(*call) answer) func(*call) answer {
	return func(c *call) answer {
		if !strings.EqualFold(c.PathValue("owner")+"/"+c.PathValue("repo"), s.options.Repository) {
			return notFound()
		}
		if c.who.Login == "" { // the App itself, and not an installation of it
			return problem(http.StatusUnauthorized, "Bad credentials")
		}
		return handle(c)
	}
}

// serve answers a call: who asks, may they, is it bounded, and what has changed.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, handle func(*call) answer) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	who, err := s.identify(r)
	if err != nil && s.isApp(r) {
		who, err = &identity{app: true}, nil
	}
	var a answer
	account := "nobody"
	switch {
	case err != nil:
		a = problem(http.StatusUnauthorized, err.Error())
	case who == nil: // this stand-in is shy: GitHub lets anybody read a public one
		a = problem(http.StatusUnauthorized, "Requires authentication")
	default:
		account = who.Login
		if refused := s.limited(account, r.Method); refused != nil {
			a = *refused
			break
		}
		a = handle(&call{Request: r, who: *who, body: body})
	}
	s.write(w, r, account, a)
}

func (s *Server) write(w http.ResponseWriter, r *http.Request, account string, a answer) {
	if a.listed {
		page, link := s.page(r, a.list)
		a.body = page
		if link != "" {
			w.Header().Set("Link", link)
		}
	}
	var b []byte
	if a.body != nil {
		b, _ = json.Marshal(a.body) // made of maps and texts
	}
	if r.Method == http.MethodGet && a.status == http.StatusOK {
		tag := fmt.Sprintf(`W/"%x"`, sha256.Sum256(append([]byte(account+"\n"+w.Header().Get("Link")+"\n"), b...)))
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			a.status, b = http.StatusNotModified, nil
		}
	}
	s.account(w, account, a.status)
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if len(b) > 0 {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(b) // who does not wait for the answer does not miss it
}

// page cuts a list to the page that is asked for, and says where the others are.
func (s *Server) page(r *http.Request, list []object) (page []object, link string) {
	query := r.URL.Query()
	size, number := atLeastOne(query.Get("per_page"), 30), atLeastOne(query.Get("page"), 1)
	size = min(size, 100)
	last := max((len(list)+size-1)/size, 1)
	at := func(n int, rel string) string {
		u := url.URL{Path: r.URL.Path}
		q := r.URL.Query()
		q.Set("page", strconv.Itoa(n))
		u.RawQuery = q.Encode()
		return fmt.Sprintf(`<%s%s>; rel="%s"`, s.URL(), u.String(), rel)
	}
	var links []string
	if number > 1 {
		links = append(links, at(number-1, "prev"), at(1, "first"))
	}
	if number < last {
		links = append(links, at(number+1, "next"), at(last, "last"))
	}
	start := min((number-1)*size, len(list))
	page = append([]object{}, list[start:min(start+size, len(list))]...)
	return page, strings.Join(links, ", ")
}

func atLeastOne(s string, otherwise int) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return otherwise
	}
	return n
}

// decode reads a call's body.
func (c *call) decode(into any) bool {
	dec := json.NewDecoder(bytes.NewReader(c.body))
	return dec.Decode(into) == nil
}
