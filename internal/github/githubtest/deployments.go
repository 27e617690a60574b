package githubtest

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"
)

// Deployment is a deployment with all that was said of it.
type Deployment struct {
	ID                    int64
	SHA, Environment      string
	Payload               json.RawMessage
	Transient, Production bool
	Statuses              []DeploymentStatus // oldest first
	description           string
	by                    string
	at                    time.Time
}

// DeploymentStatus is a word on a deployment.
type DeploymentStatus struct {
	ID                              int64
	State, Description, URL, LogURL string
	by                              string
	at                              time.Time
}

type deployment struct{ Deployment }

// Deployments returns all deployments, oldest first.
func (s *Server) Deployments() []Deployment {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Deployment
	for _, one := range s.deploys {
		shown := one.Deployment
		shown.Statuses = slices.Clone(one.Statuses)
		list = append(list, shown)
	}
	return list
}

func (s *Server) createDeployment(c *call) answer {
	var in struct {
		Ref         string          `json:"ref"`
		Environment string          `json:"environment"`
		Description string          `json:"description"`
		Payload     json.RawMessage `json:"payload"`
		AutoMerge   *bool           `json:"auto_merge"`
		Contexts    *[]string       `json:"required_contexts"`
		Transient   bool            `json:"transient_environment"`
		Production  *bool           `json:"production_environment"`
	}
	switch {
	case !c.decode(&in) || in.Ref == "":
		return invalid("Deployment", "ref", "ref can't be blank")
	case utf8.RuneCountInString(in.Description) > maxDescription:
		return invalid("Deployment", "description", "description is too long (maximum is 140 characters)")
	case !s.commit(c.Context(), in.Ref):
		return problem(http.StatusUnprocessableEntity, "No ref found for: "+in.Ref)
	case in.AutoMerge == nil || *in.AutoMerge:
		return problem(http.StatusConflict, "Conflict merging the default branch into "+in.Ref)
	case in.Contexts == nil || len(*in.Contexts) > 0:
		return problem(http.StatusConflict, "Conflict: Commit status checks failed for "+in.Ref)
	}
	if in.Environment == "" {
		in.Environment = "production"
	}
	production := in.Environment == "production"
	if in.Production != nil {
		production = *in.Production
	}
	if len(in.Payload) == 0 {
		in.Payload = json.RawMessage(`""`)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	one := &deployment{Deployment{
		ID: s.nextID(), SHA: in.Ref, Environment: in.Environment, Payload: in.Payload, Transient: in.Transient, Production: production,
		description: in.Description, by: c.who.Login, at: second(),
	}}
	s.deploys = append(s.deploys, one)
	return created(s.deploymentObject(one))
}

func (s *Server) deploymentByID(id int64) *deployment {
	for _, one := range s.deploys {
		if one.ID == id {
			return one
		}
	}
	return nil
}

func (s *Server) listDeployments(c *call) answer {
	query := c.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []object{}
	for _, one := range s.deploys {
		if (query.Get("sha") == "" || query.Get("sha") == one.SHA) && (query.Get("environment") == "" || query.Get("environment") == one.Environment) {
			list = append(list, s.deploymentObject(one))
		}
	}
	slices.Reverse(list)
	return listOf(list)
}

func (s *Server) getDeployment(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.deploymentByID(c.number("id")); one != nil {
		return ok(s.deploymentObject(one))
	}
	return notFound()
}

func (s *Server) deploymentStatuses(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.deploymentByID(c.number("id"))
	if one == nil {
		return notFound()
	}
	list := []object{}
	for _, st := range slices.Backward(one.Statuses) {
		list = append(list, s.deploymentStatusObject(one, st))
	}
	return listOf(list)
}

func (s *Server) createDeploymentStatus(c *call) answer {
	var in struct {
		State       string `json:"state"`
		Description string `json:"description"`
		URL         string `json:"environment_url"`
		LogURL      string `json:"log_url"`
	}
	states := []string{"error", "failure", "inactive", "in_progress", "queued", "pending", "success"}
	switch {
	case !c.decode(&in) || !slices.Contains(states, in.State):
		return invalid("DeploymentStatus", "state", "state is not included in the list")
	case utf8.RuneCountInString(in.Description) > maxDescription:
		return invalid("DeploymentStatus", "description", "description is too long (maximum is 140 characters)")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.deploymentByID(c.number("id"))
	if one == nil {
		return notFound()
	}
	say := func(to *deployment, state string) DeploymentStatus {
		st := DeploymentStatus{
			ID: s.nextID(), State: state, Description: in.Description, URL: in.URL, LogURL: in.LogURL, by: c.who.Login, at: second(),
		}
		to.Statuses = append(to.Statuses, st)
		return st
	}
	if in.State == "success" { // auto_inactive
		for _, older := range s.deploys {
			n := len(older.Statuses)
			if older.Environment == one.Environment && older.ID < one.ID && !older.Transient && !older.Production &&
				n > 0 && older.Statuses[n-1].State != "inactive" {
				say(older, "inactive")
			}
		}
	}
	return created(s.deploymentStatusObject(one, say(one, in.State)))
}

func (s *Server) deploymentObject(one *deployment) object {
	api := s.api("/deployments/%d", one.ID)
	return object{
		"url": api, "id": one.ID, "node_id": node("Deployment", one.ID), "sha": one.SHA, "ref": one.SHA, "task": "deploy",
		"payload": one.Payload, "original_environment": one.Environment, "environment": one.Environment, "description": one.description,
		"creator": s.user(one.by), "created_at": stamp(one.at), "updated_at": stamp(one.at), "statuses_url": api + "/statuses",
		"repository_url": s.api(""), "transient_environment": one.Transient, "production_environment": one.Production,
	}
}

func (s *Server) deploymentStatusObject(one *deployment, st DeploymentStatus) object {
	api := s.api("/deployments/%d", one.ID)
	return object{
		"url": api + "/statuses/" + node("", st.ID), "id": st.ID, "node_id": node("DeploymentStatus", st.ID), "state": st.State,
		"creator": s.user(st.by), "description": st.Description, "environment": one.Environment, "target_url": st.LogURL,
		"created_at": stamp(st.at), "updated_at": stamp(st.at), "deployment_url": api, "repository_url": s.api(""),
		"environment_url": st.URL, "log_url": st.LogURL,
	}
}
