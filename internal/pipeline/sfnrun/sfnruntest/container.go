package sfnruntest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"testing"
)

// Container is what a container of an ECS task is started with: its command, the last
// of which is the task's name, and its environment.
type Container struct {
	Command     []string
	Environment map[string]string
}

// Task returns which task it is to carry out.
func (c Container) Task() string { return c.Command[len(c.Command)-1] }

// ReadContainer reads the input of a state that runs an ECS task.
func ReadContainer(tb testing.TB, input json.RawMessage) Container {
	tb.Helper()
	var in struct {
		Overrides struct {
			ContainerOverrides []struct {
				Command     []string
				Environment []struct{ Name, Value string }
			}
		}
	}
	must(tb, json.Unmarshal(input, &in))
	if raw, err := json.Marshal(in.Overrides); err != nil || len(raw) > 8192 {
		tb.Errorf("overrides of %d bytes: %v", len(raw), err)
	}
	o := in.Overrides.ContainerOverrides[0]
	c := Container{Command: o.Command, Environment: map[string]string{}}
	for _, e := range o.Environment {
		c.Environment[e.Name] = e.Value
	}
	return c
}

// Run runs a command as the task's only container, and calls started with its process.
func Run(tb testing.TB, command *exec.Cmd, of Container, started func(*exec.Cmd)) (any, *TaskError) {
	command.Args = append(command.Args, of.Command...)
	command.Env = command.Environ()
	for name, value := range of.Environment {
		command.Env = append(command.Env, name+"="+value)
	}
	if err := command.Start(); err != nil {
		tb.Error(err)
		return nil, Stopped(127)
	}
	started(command)
	err := command.Wait()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return nil, Stopped(exit.ExitCode())
	case err != nil:
		tb.Error(err)
	}
	return map[string]any{"LastStatus": "STOPPED", "Containers": []any{map[string]any{"ExitCode": 0}}}, nil
}

// Stopped is what Step Functions says of an ECS task that ended with a code.
func Stopped(code int) *TaskError {
	cause := fmt.Sprintf(`{"Containers":[{"ExitCode":%d,"Name":"task"}],"LastStatus":"STOPPED","StoppedReason":"Essential container in task exited"}`, code)
	return &TaskError{Type: "States.TaskFailed", Cause: &cause}
}
