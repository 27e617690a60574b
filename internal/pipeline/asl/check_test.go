package asl_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/pipeline/asl"
)

// check returns what two programs that are not ours find wrong with each document.
func check(t *testing.T, documents []string) [][]string {
	t.Helper()
	dir, err := filepath.Abs("../../../bin/asl")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "installed.json")); err != nil {
		if os.Getenv("GITOPSD_TEST_AWS") != "" {
			t.Fatal("the checkers are not here: run scripts/asl")
		}
		t.Skip("the checkers are not here: run scripts/asl")
	}
	in, err := json.Marshal(documents)
	if err != nil {
		t.Fatal(err)
	}
	node := exec.Command("node", "testdata/check.js", dir)
	var errs bytes.Buffer
	node.Stdin, node.Stderr = bytes.NewReader(in), &errs
	out, err := node.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, &errs)
	}
	var findings [][]string
	if err := json.Unmarshal(out, &findings); err != nil || len(findings) != len(documents) {
		t.Fatalf("the checkers say %q: %v", out, err)
	}
	return findings
}

func TestCheckersFindNothing(t *testing.T) {
	t.Parallel()
	machines := pipeline.Machines()
	// What no machine of today has: a choice and a nested machine that end one, a
	// network of the host, no retry.
	more := pipeline.Machine{Name: "more", Version: 2, Start: "Which", States: []pipeline.State{
		{Name: "Which", Choice: []pipeline.Branch{{State: "Look", Field: "a", Equals: true, Next: "Look"}, {State: "Look", Field: "b", Next: "Nest"}}},
		{Name: "Look", Task: "Look", Timeout: 1},
		{Name: "Nest", Machine: "deploy", Next: "Large"},
		{Name: "Large", Task: "DestroyInfrastructure", Timeout: 1, Catch: "Sorry"},
		{Name: "Sorry", Fail: true},
	}}
	plain := targets()
	plain.CapacityProvider, plain.Subnets, plain.SecurityGroups = "", nil, nil
	machines = append(machines, more)
	var documents []string
	for _, m := range machines {
		for _, to := range []asl.Targets{targets(), plain} {
			d, err := asl.Document(m, machines, to)
			if err != nil {
				t.Fatal(err)
			}
			documents = append(documents, string(d))
		}
	}
	for i, found := range check(t, documents) {
		for _, f := range found {
			t.Errorf("%s: %s", machines[i/2].Name, f)
		}
	}
}

// The checkers do look: each error that is planted is found.
func TestCheckersFindPlantedErrors(t *testing.T) {
	t.Parallel()
	machines := pipeline.Machines()
	sound, err := asl.Document(machines[len(machines)-1], machines, targets())
	if err != nil {
		t.Fatal(err)
	}
	planted := [][2]string{
		{`"Next": "VerifySnapshot"`, `"Next": "VerifySnapshots"`},
		{`"StartAt": "Validate"`, `"StartAt": "Validation"`},
		{`"Type": "Wait"`, `"Type": "Waits"`},
		{`"TimeoutSeconds": 40`, `"TimeoutSeconds": -40`},
		{`"TimeoutSeconds": 40`, `"TimeoutSecond": 40`},
		{`"ResultPath": "$.doc.Validate"`, `"ResultPath": "$.doc[*]"`},
		{`"run.$": "$.run"`, `"run.$": "run"`},
		{`"JitterStrategy": "FULL"`, `"JitterStrategy": "SOME"`},
		{`"MaxAttempts": 4`, `"MaxAttempts": "4"`},
		{`"End": true`, `"End": false`},
		{`"Value.$": "States.JsonToString($.run)"`, `"Value.$": "States.JsonToText($.run)"`},
	}
	documents := make([]string, len(planted))
	for i, p := range planted {
		documents[i] = strings.Replace(string(sound), p[0], p[1], 1)
		if documents[i] == string(sound) {
			t.Fatalf("the document has no %s", p[0])
		}
	}
	for i, found := range check(t, documents) {
		if len(found) == 0 {
			t.Errorf("nobody finds %s", planted[i][1])
		}
	}
}
