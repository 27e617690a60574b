package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/pipeline/sfnrun"
	"github.com/gitopsd/gitopsd/internal/plan"
)

func TestTaskInput(t *testing.T) {
	t.Parallel()
	want := sfnrun.Call{
		Machine: "provision", Version: 2, State: "EnsureInfrastructure", Task: "EnsureInfrastructure", Path: "Outer/",
		Run:   sfnrun.Reference{ID: "acme-1", Tenant: "acme", Commit: "abc", Operation: plan.Update},
		Cause: sfnrun.Cause{Error: "Stalled"},
	}
	environment := map[string]string{
		"GITOPSD_TASK_MACHINE": "provision", "GITOPSD_TASK_VERSION": "2", "GITOPSD_TASK_STATE": "EnsureInfrastructure", "GITOPSD_TASK_PATH": "Outer/",
		"GITOPSD_TASK_RUN":   `{"id":"acme-1","tenant":"acme","commit":"abc","operation":"update"}`,
		"GITOPSD_TASK_ERROR": "Stalled",
	}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		task  string
		env   map[string]string
		stdin string
		says  string // "" if it is read
	}{
		"environment":        {"EnsureInfrastructure", environment, "", ""},
		"JSON":               {"EnsureInfrastructure", nil, string(text), ""},
		"another task":       {"Drain", nil, string(text), `is that of task "EnsureInfrastructure"`},
		"no JSON":            {"Drain", nil, "drain", "invalid character"},
		"nothing":            {"Drain", nil, "", "EOF"},
		"no number":          {"Drain", map[string]string{"GITOPSD_TASK_RUN": "{}", "GITOPSD_TASK_VERSION": "new"}, "", "invalid syntax"},
		"a run that is none": {"Drain", map[string]string{"GITOPSD_TASK_RUN": "acme-1", "GITOPSD_TASK_VERSION": "1"}, "", "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lookup := func(name string) (string, bool) { value, ok := tt.env[name]; return value, ok }
			got, err := (&taskRunCmd{Name: tt.task}).call(lookup, strings.NewReader(tt.stdin))
			if tt.says != "" {
				if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("error is %v, want one that says %q", err, tt.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tt.env == nil {
				got.Doc = pipeline.Document(nil) // JSON's null
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("call (-want +got):\n%s", diff)
			}
		})
	}
}

// What a state machine retries by is the error's type; what people read is short.
func TestErrorsOfAFunctionAreNamed(t *testing.T) {
	t.Parallel()
	record := fault.Record{Kind: fault.Conflict, Message: "held", Hint: "wait", Detail: strings.Repeat("x", 60<<10)}
	var got messages.InvokeResponse_Error
	if !errors.As(named(&sfnrun.Error{Name: "Conflict", Record: record}), &got) || got.Type != "Conflict" || got.Message != `{"kind":"Conflict","message":"held","hint":"wait"}` {
		t.Errorf("it is %#v", got)
	}
	if named(nil) != nil {
		t.Error("no error is named")
	}
}
