package edge

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/infra/functions"
)

// eventCase is one line of the table: an event in the shape that CloudFront
// documents, and what the function returns, all of it.
// Source: CloudFront developer guide, "CloudFront Functions event structure".
type eventCase struct {
	Name, Function string
	Event          json.RawMessage
	Result         struct {
		StatusCode int               `json:"statusCode"`
		Method     string            `json:"method"`
		Headers    map[string]Values `json:"headers"`
	}
	Whole json.RawMessage `json:"-"`
}

func (c *eventCase) UnmarshalJSON(b []byte) error {
	type plain eventCase
	if err := json.Unmarshal(b, (*plain)(c)); err != nil {
		return err
	}
	var raw struct{ Result json.RawMessage }
	err := json.Unmarshal(b, &raw)
	c.Whole = raw.Result
	return err
}

func eventTable(t *testing.T) []eventCase {
	t.Helper()
	b, err := os.ReadFile("../../infra/functions/testdata/events.json")
	if err != nil {
		t.Fatal(err)
	}
	var table []eventCase
	if err := json.Unmarshal(b, &table); err != nil {
		t.Fatal(err)
	}
	return table
}

// TestEvents: both interpreters give what the table says for each event.
func TestEvents(t *testing.T) {
	sources := map[string]string{"viewer-request": functions.ViewerRequest, "viewer-response": functions.ViewerResponse}
	count := map[string]int{}
	byFunction := map[string][]eventCase{}
	for _, c := range eventTable(t) {
		byFunction[c.Function] = append(byFunction[c.Function], c)
	}
	for name, source := range sources {
		t.Run(name, func(t *testing.T) {
			f := newTestFunction(t, name, source)
			var raw []json.RawMessage
			for _, c := range byFunction[name] {
				raw = append(raw, c.Event)
				count[name]++
				t.Run(c.Name, func(t *testing.T) {
					var ev Event
					if err := json.Unmarshal(c.Event, &ev); err != nil {
						t.Fatal(err)
					}
					o, err := f.Call(&ev)
					if err != nil {
						t.Fatal(err)
					}
					want := verdict{Headers: c.Result.Headers}
					if c.Result.Method == "" && ev.Response == nil {
						want.Status = c.Result.StatusCode
					}
					if want.Headers == nil {
						want.Headers = map[string]Values{}
					}
					if diff := cmp.Diff(want, verdictOf(&ev, o)); diff != "" {
						t.Errorf("table (-) and goja (+):\n%s", diff)
					}
				})
			}
			node, err := exec.LookPath("node")
			switch {
			case err != nil && os.Getenv("GITOPSD_TEST_AWS") != "":
				t.Fatal("node is not installed")
			case err != nil:
				t.Log("node is not installed: the table ran in goja alone")
				return
			}
			var results []json.RawMessage
			runNode(t, node, source, raw, `out.push(result);`, &results)
			for i, c := range byFunction[name] {
				var want, got any
				if err := json.Unmarshal(c.Whole, &want); err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(results[i], &got); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: table (-) and node (+):\n%s", c.Name, diff)
				}
			}
		})
	}
	if count["viewer-request"] < 20 || count["viewer-response"] < 8 {
		t.Errorf("only %v events", count)
	}
}
