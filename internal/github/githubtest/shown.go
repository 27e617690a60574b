package githubtest

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxDescription = 140 // characters
	maxAnnotations = 50  // of a request
	maxStatuses    = 1000
)

var wholeSHA = regexp.MustCompile(`^[0-9a-f]{40}$`)

// Status is a commit status as it was created.
type Status struct {
	ID                                   int64
	Context, State, Description, URL, By string
	At                                   time.Time
}

type status struct {
	Status
	sha string
}

// Statuses returns the statuses of a commit, oldest first.
func (s *Server) Statuses(sha string) []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Status
	for _, one := range s.statuses {
		if one.sha == sha {
			list = append(list, one.Status)
		}
	}
	return list
}

func (s *Server) createStatus(c *call) answer {
	var in struct {
		State       string `json:"state"`
		URL         string `json:"target_url"`
		Description string `json:"description"`
		Context     string `json:"context"`
	}
	sha := c.PathValue("sha")
	switch {
	case !c.decode(&in) || !slices.Contains([]string{"error", "failure", "pending", "success"}, in.State):
		return invalid("Status", "state", "state is not included in the list")
	case utf8.RuneCountInString(in.Description) > maxDescription:
		return invalid("Status", "description", "description is too long (maximum is 140 characters)")
	case in.URL != "" && !strings.HasPrefix(in.URL, "http://") && !strings.HasPrefix(in.URL, "https://"):
		return invalid("Status", "target_url", "target_url must use http(s) scheme")
	case !wholeSHA.MatchString(sha) || !s.commit(c.Context(), sha):
		return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+sha)
	}
	if in.Context == "" {
		in.Context = "default"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	most, n := s.options.StatusesOfContext, 0
	if most == 0 {
		most = maxStatuses
	}
	for _, one := range s.statuses {
		if one.sha == sha && one.Context == in.Context {
			n++
		}
	}
	if n >= most {
		return invalid("Status", "base", "This SHA and context has reached the maximum number of statuses.")
	}
	made := &status{sha: sha, Status: Status{
		ID: s.nextID(), Context: in.Context, State: in.State, Description: in.Description, URL: in.URL, By: c.who.Login, At: second(),
	}}
	s.statuses = append(s.statuses, made)
	return created(s.statusObject(made))
}

func (s *Server) statusObject(one *status) object {
	var target any
	if one.URL != "" {
		target = one.URL
	}
	return object{
		"url": s.api("/statuses/%s", one.sha), "avatar_url": s.URL() + "/avatar", "id": one.ID, "node_id": node("Status", one.ID),
		"state": one.State, "description": one.Description, "target_url": target, "context": one.Context,
		"created_at": stamp(one.At), "updated_at": stamp(one.At), "creator": s.user(one.By),
	}
}

func (s *Server) statusesOf(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []object{}
	for _, one := range s.statuses {
		if one.sha == c.PathValue("ref") {
			list = append(list, s.statusObject(one))
		}
	}
	slices.Reverse(list) // the newest is the first
	return listOf(list)
}

// Annotation is a remark on a line.
type Annotation struct {
	Path      string `json:"path"`
	Line      int    `json:"start_line"`
	EndLine   int    `json:"end_line"`
	Column    int    `json:"start_column"`
	EndColumn int    `json:"end_column"`
	Level     string `json:"annotation_level"`
	Message   string `json:"message"`
}

// Check is a check run.
type Check struct {
	ID                         int64
	SHA, Name, ExternalID, URL string
	Status, Conclusion         string
	Title, Summary             string
	Annotations                []Annotation
	started, completed         time.Time
}

type checkRun struct{ Check }

// Checks returns the check runs of a commit, oldest first.
func (s *Server) Checks(sha string) []Check {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Check
	for _, one := range s.checks {
		if one.SHA == sha {
			shown := one.Check
			shown.Annotations = slices.Clone(one.Annotations)
			list = append(list, shown)
		}
	}
	return list
}

// Recheck asks for a check run to be made again, in somebody's name.
func (s *Server) Recheck(id int64, by string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.checks {
		if one.ID == id {
			s.hooks.recheck(one, by)
		}
	}
}

// checkInput is what creates or updates a check run.
type checkInput struct {
	Name        string     `json:"name"`
	SHA         string     `json:"head_sha"`
	URL         *string    `json:"details_url"`
	ExternalID  *string    `json:"external_id"`
	Status      *string    `json:"status"`
	Conclusion  *string    `json:"conclusion"`
	CompletedAt *time.Time `json:"completed_at"`
	Output      *struct {
		Title       *string      `json:"title"`
		Summary     *string      `json:"summary"`
		Annotations []Annotation `json:"annotations"`
	} `json:"output"`
}

func (in checkInput) refused() *answer {
	var a answer
	switch {
	case in.Output != nil && (in.Output.Title == nil || in.Output.Summary == nil):
		a = invalid("CheckRun", "output", "title and summary are required")
	case in.Output != nil && len(*in.Output.Summary) > 65535:
		a = invalid("CheckRun", "summary", "summary exceeds a maximum bytesize of 65535")
	case in.Output != nil && len(in.Output.Annotations) > maxAnnotations:
		a = invalid("CheckRun", "annotations", "no more than 50 annotations")
	case in.Status != nil && *in.Status == "completed" && in.Conclusion == nil:
		a = invalid("CheckRun", "conclusion", "a completed run needs a conclusion")
	default:
		return nil
	}
	return &a
}

// apply changes the run as the input says; annotations are added to those there.
func (one *checkRun) apply(in checkInput) {
	for to, from := range map[*string]*string{
		&one.URL: in.URL, &one.ExternalID: in.ExternalID, &one.Status: in.Status, &one.Conclusion: in.Conclusion,
	} {
		if from != nil {
			*to = *from
		}
	}
	if in.Conclusion != nil {
		one.Status, one.completed = "completed", second()
	}
	if in.Output != nil {
		one.Title, one.Summary = *in.Output.Title, *in.Output.Summary
		one.Annotations = append(one.Annotations, in.Output.Annotations...)
	}
}

func (s *Server) createCheck(c *call) answer {
	var in checkInput
	if !c.decode(&in) || in.Name == "" {
		return invalid("CheckRun", "name", "name can't be blank")
	}
	if refused := in.refused(); refused != nil {
		return *refused
	}
	if !s.commit(c.Context(), in.SHA) {
		return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+in.SHA)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	one := &checkRun{Check{ID: s.nextID(), SHA: in.SHA, Name: in.Name, Status: "queued", URL: s.options.App.home(s), started: second()}}
	one.apply(in)
	s.checks = append(s.checks, one)
	return created(s.checkObject(one))
}

func (s *Server) checkByID(id int64) *checkRun {
	for _, one := range s.checks {
		if one.ID == id {
			return one
		}
	}
	return nil
}

func (s *Server) updateCheck(c *call) answer {
	var in checkInput
	if !c.decode(&in) {
		return problem(http.StatusBadRequest, "Problems parsing JSON")
	}
	if refused := in.refused(); refused != nil {
		return *refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.checkByID(c.number("id"))
	if one == nil {
		return notFound()
	}
	one.apply(in)
	return ok(s.checkObject(one))
}

func (s *Server) getCheck(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.checkByID(c.number("id")); one != nil {
		return ok(s.checkObject(one))
	}
	return notFound()
}

func (s *Server) checksOf(c *call) answer {
	query := c.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	latest := map[string]*checkRun{}
	var found []*checkRun
	for _, one := range s.checks {
		if one.SHA != c.PathValue("ref") || (query.Get("check_name") != "" && query.Get("check_name") != one.Name) {
			continue
		}
		if before := latest[one.Name]; before != nil && query.Get("filter") != "all" {
			found = slices.DeleteFunc(found, func(other *checkRun) bool { return other == before })
		}
		latest[one.Name] = one
		found = append(found, one)
	}
	list := []object{}
	for _, one := range found {
		list = append(list, s.checkObject(one))
	}
	page, _ := s.page(c.Request, list)
	return ok(object{"total_count": len(list), "check_runs": page})
}

func (s *Server) checkObject(one *checkRun) object {
	var conclusion any
	if one.Conclusion != "" {
		conclusion = one.Conclusion
	}
	orNil := func(text string) any {
		if text == "" {
			return nil
		}
		return text
	}
	api := s.api("/check-runs/%d", one.ID)
	pulls := []object{}
	return object{
		"id": one.ID, "head_sha": one.SHA, "node_id": node("CheckRun", one.ID), "external_id": one.ExternalID, "url": api,
		"html_url": s.web("/runs/%d", one.ID), "details_url": one.URL, "status": one.Status, "conclusion": conclusion,
		"started_at": stamp(one.started), "completed_at": stamp(one.completed),
		"output": object{
			"title": orNil(one.Title), "summary": orNil(one.Summary), "text": nil, "annotations_count": len(one.Annotations),
			"annotations_url": api + "/annotations",
		},
		"name": one.Name, "check_suite": object{"id": numberOf(one.SHA)}, "app": s.appObject(), "pull_requests": pulls,
	}
}
