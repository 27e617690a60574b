package asl_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/pipeline/asl"
)

func updating() bool { return flag.Lookup("update").Value.String() == "true" }

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the documents anew")
	flag.Parse()
	os.Exit(m.Run())
}

// targets are those of an account of examples.
func targets() asl.Targets {
	const place = "eu-central-1:123456789012:"
	return asl.Targets{
		Function: "arn:aws:lambda:" + place + "function:gitopsd-task", Compiler: "arn:aws:lambda:" + place + "function:gitopsd-compile",
		StateMachine: func(name string, version int) string {
			return "arn:aws:states:" + place + "stateMachine:gitopsd-" + name + "-v" + string(rune('0'+version))
		},
		Cluster:        "arn:aws:ecs:" + place + "cluster/gitopsd",
		TaskDefinition: "arn:aws:ecs:" + place + "task-definition/gitopsd-task:1", Container: "task",
		CapacityProvider: "FARGATE", Subnets: []string{"subnet-0a", "subnet-0b"}, SecurityGroups: []string{"sg-0a"},
	}
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	machines := pipeline.Machines()
	for _, m := range machines {
		got, err := asl.Document(m, machines, targets())
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", m.Name+".asl.json")
		if updating() {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is not what the machine says; write it anew with: go generate ./internal/pipeline/asl\n(-file +machine):\n%s", file, diff)
		}
	}
}

func TestWhatCannotBeSaidIsRefused(t *testing.T) {
	t.Parallel()
	task := func(name string) pipeline.State {
		return pipeline.State{Name: name, Task: "Any", Timeout: time.Second}
	}
	inner := pipeline.Machine{Name: "inner", Version: 1, Start: "Any", States: []pipeline.State{task("Any")}}
	for name, tt := range map[string]struct {
		states []pipeline.State
		says   string
	}{
		"a name that is no path":    {[]pipeline.State{task("No.Path")}, `"No.Path" cannot name a state`},
		"a name that is too long":   {[]pipeline.State{task(strings.Repeat("x", 33))}, "cannot name a state"},
		"a caught machine":          {[]pipeline.State{{Name: "Nest", Machine: "inner", Catch: "Mend"}, task("Mend")}, "loses what its states put out"},
		"a machine that is unknown": {[]pipeline.State{{Name: "Nest", Machine: "none"}}, "there is no machine none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := pipeline.Machine{Name: "outer", Version: 1, Start: tt.states[0].Name, States: tt.states}
			_, err := asl.Document(m, []pipeline.Machine{m, inner}, targets())
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error is %v", err)
			}
		})
	}
}
