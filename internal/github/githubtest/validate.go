package githubtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Validator holds requests, responses and webhooks against GitHub's own
// description of them.
type Validator struct {
	github  *description
	violate func(error)
}

// NewValidator returns a validator that reports what violates the description, or
// an error if the description was not fetched.
func NewValidator(violation func(error)) (*Validator, error) {
	d, err := described()
	if err != nil {
		return nil, err
	}
	return &Validator{github: d, violate: violation}, nil
}

// Validated returns next, with violations of GitHub's description as errors of
// the test. Without the description the test fails, except in the short mode.
func Validated(t testing.TB, next http.Handler) http.Handler {
	t.Helper()
	v := validatorOf(t)
	if v == nil {
		return next
	}
	return v.Handler(next)
}

func validatorOf(t testing.TB) *Validator {
	t.Helper()
	v, err := NewValidator(func(err error) { t.Errorf("violates GitHub's description: %v", err) })
	switch {
	case err == nil:
		return v
	case errors.Is(err, errNotFetched) && testing.Short():
		return nil
	default:
		t.Fatal(err)
		return nil
	}
}

// Handler returns next, validated. What is not below the API (git's requests) is
// passed by.
func (v *Validator) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isGit(r) {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := &recorder{header: http.Header{}, status: http.StatusOK}
		next.ServeHTTP(answer, r)
		if err := v.exchange(r, body, answer); err != nil {
			v.violate(fmt.Errorf("%s %s: %w", r.Method, r.URL, err))
		}
		answer.copyTo(w)
	})
}

// recorder keeps an answer until it is validated.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

func (r *recorder) copyTo(w http.ResponseWriter) {
	for name, values := range r.header {
		w.Header()[name] = values
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body.Bytes()) // who does not wait for the answer does not miss it
}

// exchange validates a request and its response.
func (v *Validator) exchange(r *http.Request, body []byte, answer *recorder) error {
	route, params := v.route(r)
	if route == nil {
		return errors.New("GitHub has no such operation, or it is not among those that we use")
	}
	if accept := r.Header.Get("Accept"); accept != "" && !strings.Contains(accept, "json") && !strings.Contains(accept, "*/*") {
		return fmt.Errorf("the request accepts %q and no JSON", accept)
	}
	sent := r.Clone(r.Context())
	sent.Body = io.NopCloser(bytes.NewReader(body))
	if len(body) == 0 {
		sent.Body, sent.ContentLength = http.NoBody, 0
	}
	input := &openapi3filter.RequestValidationInput{
		Request: sent, PathParams: params, Route: route, QueryParams: r.URL.Query(),
		Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, MultiError: true, SkipSettingDefaults: true,
			RejectWhenRequestBodyNotSpecified: true,
		},
	}
	if err := openapi3filter.ValidateRequest(r.Context(), input); err != nil {
		return fmt.Errorf("request: %w\n%s", err, body)
	}
	if err := unknownInputs(route.Operation, r, body); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	if answer.status < http.StatusBadRequest && answer.status != http.StatusNotModified && route.Operation.Responses.Status(answer.status) == nil {
		return fmt.Errorf("response: GitHub does not answer %d", answer.status)
	}
	err := openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: answer.status, Header: answer.header,
		Body:    io.NopCloser(bytes.NewReader(answer.body.Bytes())),
		Options: &openapi3filter.Options{MultiError: true},
	})
	if err != nil {
		return fmt.Errorf("response %d: %w", answer.status, err)
	}
	return nil
}

// unknownInputs reports parameters and members that GitHub does not know, which it
// would ignore in silence: most likely they are misspelt.
func unknownInputs(op *openapi3.Operation, r *http.Request, body []byte) error {
	known := map[string]bool{}
	for _, p := range op.Parameters {
		if p.Value.In == openapi3.ParameterInQuery {
			known[p.Value.Name] = true
		}
	}
	for name := range r.URL.Query() {
		if !known[name] {
			return fmt.Errorf("GitHub does not know the parameter %s", name)
		}
	}
	if len(body) == 0 || op.RequestBody == nil {
		return nil
	}
	media := op.RequestBody.Value.Content.Get("application/json")
	if media == nil || media.Schema == nil || len(media.Schema.Value.Properties) == 0 {
		return nil
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil {
		return nil // not an object: GitHub's own schema allows that
	}
	for name := range members {
		if media.Schema.Value.Properties[name] == nil {
			return fmt.Errorf("GitHub does not know the member %s", name)
		}
	}
	return nil
}

// route finds the operation of a request.
func (v *Validator) route(r *http.Request) (*routers.Route, map[string]string) {
	segments := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), enterprisePrefix), "/")
	var best *routers.Route
	var values map[string]string
	fixed := -1
	for path, item := range v.github.rest.Paths.Map() {
		operation := item.GetOperation(r.Method)
		params, n, ok := matches(strings.Split(path, "/"), segments)
		if operation == nil || !ok || n <= fixed {
			continue
		}
		best = &routers.Route{Spec: v.github.rest, Path: path, PathItem: item, Method: r.Method, Operation: operation}
		values, fixed = params, n
	}
	return best, values
}

// matches compares a path with a template, and counts the segments that are
// fixed: /issues/comments is not /issues/{issue_number}.
func matches(template, path []string) (params map[string]string, fixed int, ok bool) {
	if len(template) != len(path) {
		return nil, 0, false
	}
	params = map[string]string{}
	for i, part := range template {
		name, isParam := strings.CutPrefix(part, "{")
		switch {
		case isParam && path[i] != "":
			params[strings.TrimSuffix(name, "}")] = path[i]
		case part != path[i]:
			return nil, 0, false
		default:
			fixed++
		}
	}
	return params, fixed, true
}

// Webhook validates the payload of an event.
func (v *Validator) Webhook(event string, payload []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
	if err != nil {
		return fmt.Errorf("webhook %s: %w", event, err)
	}
	members, _ := value.(map[string]any)
	action, _ := members["action"].(string)
	schema, err := v.github.schema(event, action)
	if err != nil {
		return err
	}
	if err := schema.Validate(value); err != nil {
		return fmt.Errorf("webhook %s %s: %w", event, action, err)
	}
	return nil
}
