package githubtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// used are the operations of GitHub's API that gitopsd may use. The description
// is cut down to them before it is read: whole, it takes seconds and gigabytes.
var used = map[string][]string{
	"/user": {"get"},
	"/app/installations/{installation_id}/access_tokens":           {"post"},
	"/repos/{owner}/{repo}":                                        {"get"},
	"/repos/{owner}/{repo}/installation":                           {"get"},
	"/repos/{owner}/{repo}/pulls":                                  {"get"},
	"/repos/{owner}/{repo}/pulls/{pull_number}":                    {"get"},
	"/repos/{owner}/{repo}/issues/comments":                        {"get"},
	"/repos/{owner}/{repo}/issues/comments/{comment_id}":           {"get", "patch"},
	"/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions": {"post"},
	"/repos/{owner}/{repo}/issues/{issue_number}/comments":         {"get", "post"},
	"/repos/{owner}/{repo}/issues/{issue_number}/events":           {"get"},
	"/repos/{owner}/{repo}/issues/{issue_number}/labels/{name}":    {"delete"},
	"/repos/{owner}/{repo}/collaborators/{username}/permission":    {"get"},
	"/repos/{owner}/{repo}/statuses/{sha}":                         {"post"},
	"/repos/{owner}/{repo}/commits/{ref}/statuses":                 {"get"},
	"/repos/{owner}/{repo}/commits/{ref}/check-runs":               {"get"},
	"/repos/{owner}/{repo}/check-runs":                             {"post"},
	"/repos/{owner}/{repo}/check-runs/{check_run_id}":              {"get", "patch"},
	"/repos/{owner}/{repo}/deployments":                            {"get", "post"},
	"/repos/{owner}/{repo}/deployments/{deployment_id}":            {"get"},
	"/repos/{owner}/{repo}/deployments/{deployment_id}/statuses":   {"get", "post"},
}

// description is what GitHub says of its API and its webhooks.
type description struct {
	rest *openapi3.T

	mu    sync.Mutex
	hooks *jsonschema.Compiler
	ready map[string]*jsonschema.Schema
}

// errNotFetched says that GitHub's description is not on this machine.
var errNotFetched = errors.New("GitHub's description of its API is not here: run scripts/openapi")

// described reads GitHub's description once in a process: nothing changes it.
var described = sync.OnceValues(func() (*description, error) {
	dir, err := fetched()
	if err != nil {
		return nil, err
	}
	rest, err := loadREST(filepath.Join(dir, "rest.json"))
	if err != nil {
		return nil, err
	}
	hooks, err := loadHooks(filepath.Join(dir, "webhooks.json"))
	if err != nil {
		return nil, err
	}
	return &description{rest: rest, hooks: hooks, ready: map[string]*jsonschema.Schema{}}, nil
})

// fetched returns the directory that scripts/openapi fetches to.
func fetched() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			return "", fmt.Errorf("no go.mod above the working directory: %w", errNotFetched)
		}
		dir = filepath.Dir(dir)
	}
	dir = filepath.Join(dir, "bin", "openapi")
	for _, name := range []string{"rest.json", "webhooks.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
			return "", errNotFetched
		}
	}
	return dir, nil
}

// document is an OpenAPI description, read no deeper than to its components.
type document struct {
	OpenAPI    string                                `json:"openapi"`
	Info       json.RawMessage                       `json:"info"`
	Paths      map[string]map[string]json.RawMessage `json:"paths,omitempty"`
	Components map[string]map[string]json.RawMessage `json:"components"`
}

func readDocument(path string) (*document, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &d, nil
}

var componentRef = regexp.MustCompile(`"\$ref":\s*"#/components/([a-zA-Z]+)/([^"/]+)"`)

// cut leaves of the components what the parts refer to, directly or not.
func (d *document) cut(parts ...json.RawMessage) {
	kept := map[string]map[string]json.RawMessage{}
	for len(parts) > 0 {
		part := parts[0]
		parts = parts[1:]
		for _, m := range componentRef.FindAllSubmatch(part, -1) {
			kind, name := string(m[1]), string(m[2])
			if _, seen := kept[kind][name]; seen || kind == "examples" {
				continue
			}
			if kept[kind] == nil {
				kept[kind] = map[string]json.RawMessage{}
			}
			component := unexampled(d.Components[kind][name])
			kept[kind][name] = component
			parts = append(parts, component)
		}
	}
	d.Components = kept
}

// unexampled takes the examples out of a part: they are most of it.
func unexampled(part json.RawMessage) json.RawMessage {
	dec := json.NewDecoder(bytes.NewReader(part))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return part // the loader says what is wrong with it
	}
	strip(v, false)
	b, err := json.Marshal(v)
	if err != nil {
		return part
	}
	return b
}

// strip removes examples; below "properties", "examples" is a property's name.
func strip(v any, names bool) {
	switch v := v.(type) {
	case map[string]any:
		if !names {
			delete(v, "example")
			delete(v, "examples")
		}
		for key, inner := range v {
			strip(inner, !names && key == "properties")
		}
	case []any:
		for _, inner := range v {
			strip(inner, false)
		}
	}
}

func loadREST(path string) (*openapi3.T, error) {
	d, err := readDocument(path)
	if err != nil {
		return nil, err
	}
	var parts []json.RawMessage
	paths := map[string]map[string]json.RawMessage{}
	for _, p := range slices.Sorted(maps.Keys(used)) {
		paths[p] = map[string]json.RawMessage{}
		for _, method := range used[p] {
			operation, ok := d.Paths[p][method]
			if !ok {
				return nil, fmt.Errorf("%s does not describe %s %s", path, strings.ToUpper(method), p)
			}
			paths[p][method] = unexampled(operation)
			parts = append(parts, paths[p][method])
		}
	}
	d.Paths = paths
	d.cut(parts...)
	small, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	rest, err := openapi3.NewLoader().LoadFromData(small)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rest, nil
}

// hooksURL names the description of webhooks for the compiler.
const hooksURL = "github:///webhooks.json"

// hookEvents are the events that the stand-in sends, with their actions.
var hookEvents = []string{
	"push", "ping", "issue-comment-created", "issue-comment-edited", "check-run-rerequested", "check-suite-rerequested",
	"pull-request-opened", "pull-request-synchronize", "pull-request-reopened", "pull-request-closed", "pull-request-edited",
	"pull-request-labeled", "pull-request-unlabeled", "pull-request-ready-for-review", "pull-request-converted-to-draft",
}

func loadHooks(path string) (*jsonschema.Compiler, error) {
	d, err := readDocument(path)
	if err != nil {
		return nil, err
	}
	var wanted []json.RawMessage
	for _, name := range hookEvents {
		wanted = append(wanted, fmt.Appendf(nil, `{"$ref": "#/components/schemas/webhook-%s"}`, name))
	}
	d.cut(wanted...)
	small, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(small))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	// The library's own check of this format does not know {/name} and its like.
	compiler.RegisterFormat(&jsonschema.Format{Name: "uri-template", Validate: uriTemplate})
	if err := compiler.AddResource(hooksURL, value); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return compiler, nil
}

// schema returns what GitHub says of an event's payload.
func (d *description) schema(event, action string) (*jsonschema.Schema, error) {
	name := strings.ReplaceAll(event, "_", "-")
	if action != "" {
		name += "-" + strings.ReplaceAll(action, "_", "-")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, ok := d.ready[name]; ok {
		return s, nil
	}
	s, err := d.hooks.Compile(hooksURL + "#/components/schemas/webhook-" + name)
	if err != nil {
		return nil, fmt.Errorf("GitHub describes no webhook %s: %w", name, err)
	}
	d.ready[name] = s
	return s, nil
}

// template is an URI with expressions (RFC 6570).
var template = regexp.MustCompile(`^(?:[^\s{}]|\{[+#./;?&]?[a-z_]+(?:,[a-z_]+)*\})*$`)

func uriTemplate(v any) error {
	if s, ok := v.(string); ok && !template.MatchString(s) {
		return fmt.Errorf("%q is no URI template", s)
	}
	return nil
}
