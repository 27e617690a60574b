package asl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
)

// Targets says what the documents' tasks are.
type Targets struct {
	// Function is the ARN of the Lambda function behind tasks and outcomes.
	Function string
	// Compiler is the ARN of the function that has the go command, and does what
	// needs it; "" means Function.
	Compiler string
	// StateMachine returns the ARN of a version of a machine.
	StateMachine func(name string, version int) string

	Cluster        string // ARN of the ECS cluster
	TaskDefinition string // ARN, or family, of the ECS task
	Container      string // its container that takes the command
	// CapacityProvider places the ECS task; "" means the cluster's default.
	CapacityProvider string
	// Subnets and SecurityGroups are those of a task that has a network of its own
	// (awsvpc); none mean one that has its host's.
	Subnets        []string
	SecurityGroups []string
}

const (
	// lambdaMost is what of a Lambda function's 15 minutes a task may have; the rest
	// is for its start and its last words. Source: Lambda quotas.
	lambdaMost = 14 * time.Minute
	// margin is how much later than its worker a state ends.
	margin = 30 * time.Second
	// infrastructureMost bounds a task that must not be cut off: whoever waits longer
	// needs a person. Its worker is told to stop much earlier, and may take its time.
	infrastructureMost = 2 * time.Hour
	// containerStart is how long a container may take to start.
	containerStart = 10 * time.Minute
	// restart is the wait before a container that left no outcome is started again.
	restart = 15 * time.Second
	// settling is the wait before a container is started again that has done what
	// could be done: CloudFront, the slowest, takes a quarter of an hour.
	settling = 2 * time.Minute
)

// Contained reports whether a task state runs as an ECS task.
func Contained(s pipeline.State) bool {
	return s.Task != "" && (infrastructure(s.Task) || s.Timeout > lambdaMost)
}

// infrastructure reports whether the task runs a program (Pulumi) that leaves its
// lock and half of its work when it is killed.
func infrastructure(task string) bool {
	return task == "EnsureInfrastructure" || task == "DestroyInfrastructure"
}

// Builds reports whether a task needs the go command, and the sources that another
// such task has laid out.
func Builds(task string) bool {
	return task == "Generate" || task == "Compile" || task == "Bundle"
}

// function returns the ARN of the function behind a task.
func (t Targets) function(task string) string {
	if t.Compiler != "" && Builds(task) {
		return t.Compiler
	}
	return t.Function
}

// plainName is what a state may be called so that its name is part of a JSONPath
// and of an execution's name.
var plainName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,31}$`)

// Document returns the machine as a document, in JSONPath, for a Standard state
// machine. machines are all there are: a nested machine is the newest of its name.
// The machines must pass pipeline.Validate. The error is fault.Invalid for what
// cannot be said: a state's name that is not plain, and a nested machine that is
// caught, since what its states put out before they failed would be lost.
func Document(m pipeline.Machine, machines []pipeline.Machine, t Targets) ([]byte, error) {
	w := writer{machine: m, machines: machines, targets: t}
	for _, s := range m.States {
		if !plainName.MatchString(s.Name) {
			return nil, fault.Errorf(fault.Invalid, "machine %s: %q cannot name a state of Step Functions", m.Name, s.Name)
		}
		if err := w.state(s); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(document{
		Comment: fmt.Sprintf("%s, version %d. %s", m.Name, m.Version, m.Comment),
		StartAt: m.Start, States: w.states,
	})
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", m.Name, err)
	}
	return out.Bytes(), nil
}

// writer collects a document's states.
type writer struct {
	machine  pipeline.Machine
	machines []pipeline.Machine
	targets  Targets
	states   states
}

func (w *writer) add(name string, s state) {
	w.states = append(w.states, named{name, s})
}

func (w *writer) state(s pipeline.State) error {
	switch {
	case s.Fail:
		w.add(s.Name, state{Type: "Fail", Comment: s.Comment, ErrorPath: "$.cause.Error", CausePath: "$.cause.Cause"})
	case len(s.Choice) > 0:
		w.choice(s)
	case s.Machine != "":
		return w.nested(s)
	case Contained(s):
		w.container(s)
	default:
		w.lambda(s)
	}
	return nil
}

// lambda writes a task that is a Lambda function.
func (w *writer) lambda(s pipeline.State) {
	w.add(s.Name, leads(state{
		Type: "Task", Comment: s.Comment, Resource: w.targets.function(s.Task), Parameters: w.call(s, false),
		TimeoutSeconds: seconds(s.Timeout + margin), Retry: append(tries(s.Retry), calls()...),
		Catch: caught(s.Catch), ResultPath: path("$.doc." + s.Name),
	}, s.Next))
}

// call is what a worker is told.
func (w *writer) call(s pipeline.State, outcome bool) object {
	p := object{
		{"machine", w.machine.Name},
		{"version", w.machine.Version},
		{"state", s.Name},
		{"task", s.Task},
		{"run.$", "$.run"},
		{"path.$", "$.path"},
		{"doc.$", "$.doc"},
		{"cause.$", "$.cause"},
	}
	if outcome {
		p = append(p, member{"outcome", true})
	}
	return p
}

// container writes a task that is an ECS task, and what asks for its outcome.
func (w *writer) container(s pipeline.State) {
	outcome, wait, later := s.Name+" outcome", s.Name+" again", s.Name+" later"
	again := []catcher{{ErrorEquals: []string{"Repeat"}, ResultPath: discard, Next: wait}}
	if s.Waits {
		again = append(again, catcher{ErrorEquals: []string{"Later"}, ResultPath: discard, Next: later})
	}
	w.add(s.Name, state{
		Type: "Task", Comment: s.Comment, Resource: "arn:aws:states:::ecs:runTask.sync", Parameters: w.runTask(s),
		TimeoutSeconds: seconds(containerTime(s)), ResultPath: discard,
		Catch: []catcher{{ErrorEquals: []string{"States.ALL"}, ResultPath: discard, Next: outcome}}, Next: outcome,
	})
	w.add(outcome, leads(state{
		Type: "Task", Resource: w.targets.Function, Parameters: w.call(s, true),
		TimeoutSeconds: seconds(time.Minute + margin), Retry: calls(),
		Catch: append(again, caught(s.Catch)...),
		// The container's own try is recorded under the state's name.
		ResultPath: path("$.doc." + s.Name),
	}, s.Next))
	w.add(wait, state{Type: "Wait", Seconds: seconds(restart), Next: s.Name})
	if s.Waits {
		w.add(later, state{Type: "Wait", Seconds: seconds(settling), Next: s.Name})
	}
}

// containerTime bounds an ECS task: all its tries and the waits between them.
func containerTime(s pipeline.State) time.Duration {
	n := time.Duration(max(s.Retry.Attempts, 1))
	all := containerStart + n*s.Timeout + (n-1)*s.Retry.Cap
	if infrastructure(s.Task) {
		all = max(all, infrastructureMost)
	}
	return all
}

func (w *writer) runTask(s pipeline.State) object {
	t := w.targets
	p := object{{"Cluster", t.Cluster}, {"TaskDefinition", t.TaskDefinition}}
	if t.CapacityProvider != "" {
		p = append(p, member{"CapacityProviderStrategy", []object{{{"CapacityProvider", t.CapacityProvider}, {"Weight", 1}}}})
	}
	if len(t.Subnets) > 0 {
		p = append(p, member{"NetworkConfiguration", object{{"AwsvpcConfiguration", object{
			{"Subnets", t.Subnets}, {"SecurityGroups", t.SecurityGroups}, {"AssignPublicIp", "DISABLED"},
		}}}})
	}
	return append(p, member{"PropagateTags", "TASK_DEFINITION"}, member{"Overrides", object{{"ContainerOverrides", []object{{
		{"Name", t.Container},
		{"Command", []string{"task", "run", s.Task}},
		{"Environment", []object{
			{{"Name", "GITOPSD_TASK_MACHINE"}, {"Value", w.machine.Name}},
			{{"Name", "GITOPSD_TASK_VERSION"}, {"Value", strconv.Itoa(w.machine.Version)}},
			{{"Name", "GITOPSD_TASK_STATE"}, {"Value", s.Name}},
			{{"Name", "GITOPSD_TASK_RUN"}, {"Value.$", "States.JsonToString($.run)"}},
			{{"Name", "GITOPSD_TASK_PATH"}, {"Value.$", "$.path"}},
			{{"Name", "GITOPSD_TASK_ERROR"}, {"Value.$", "$.cause.Error"}},
		}},
	}}}}})
}

// choice writes a choice. A field that is absent or no boolean is false.
func (w *writer) choice(s pipeline.State) {
	c := state{Type: "Choice", Comment: s.Comment, Default: s.Next}
	for _, b := range s.Choice {
		field := fmt.Sprintf("$.doc.%s.%s", b.State, b.Field)
		is := []*rule{
			{Variable: field, IsPresent: true}, {Variable: field, IsBoolean: true}, {Variable: field, BooleanEquals: true},
		}
		r := rule{And: is, Next: b.Next}
		if !b.Equals {
			r = rule{Not: &rule{And: is}, Next: b.Next}
		}
		c.Choices = append(c.Choices, r)
	}
	if c.Default == "" {
		c.Default = s.Name + " ends"
		w.add(c.Default, state{Type: "Succeed"})
	}
	w.add(s.Name, c)
}

// nested writes a machine that runs to its end in this place, and takes over its
// document.
func (w *writer) nested(s pipeline.State) error {
	if s.Catch != "" {
		return fault.Errorf(fault.Invalid, "machine %s: state %s: a machine that is caught loses what its states put out", w.machine.Name, s.Name)
	}
	version := 0
	for _, m := range w.machines {
		if m.Name == s.Machine {
			version = max(version, m.Version)
		}
	}
	if version == 0 {
		return fault.Errorf(fault.Invalid, "machine %s: state %s: there is no machine %s", w.machine.Name, s.Name, s.Machine)
	}
	merge := s.Name + " done"
	w.add(s.Name, state{
		Type: "Task", Comment: s.Comment, Resource: "arn:aws:states:::states:startExecution.sync:2",
		Parameters: object{
			{"StateMachineArn", w.targets.StateMachine(s.Machine, version)},
			{"Name.$", "States.Format('{}-" + s.Name + "', $$.Execution.Name)"},
			{"Input", object{
				{"AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID.$", "$$.Execution.Id"},
				{"run.$", "$.run"},
				{"path.$", "States.Format('{}" + s.Name + "/', $.path)"},
				{"doc.$", "$.doc"},
				{"cause.$", "$.cause"},
			}},
		},
		ResultSelector: object{{"doc.$", "$.Output.doc"}}, ResultPath: path("$.nested"), Retry: starts(), Next: merge,
	})
	w.add(merge, leads(state{Type: "Pass", Parameters: object{
		{"run.$", "$.run"}, {"path.$", "$.path"}, {"doc.$", "$.nested.doc"}, {"cause.$", "$.cause"},
	}}, s.Next))
	return nil
}
