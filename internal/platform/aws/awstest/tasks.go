package awstest

import (
	"encoding/json"
	"net"
	"net/http"
	"path"
	"slices"
	"strconv"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	sdtypes "github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"
)

// Tasks plays the tasks of one ECS service that run, and what Cloud Map says of
// them. Registered later than they run, as on AWS, if a test wants it so.
type Tasks struct {
	mu    sync.Mutex
	tasks []ecstypes.Task
	known map[string]string // host by task
}

// PlayTasks adds an ECS and a Cloud Map that know the tasks of one service.
func (s *Server) PlayTasks() *Tasks {
	t := &Tasks{known: make(map[string]string)}
	s.services["ecs"] = t
	s.services["servicediscovery"] = t
	return t
}

// Run has a task run. bindings are the container's ports and where each really is,
// all on one host.
func (t *Tasks) Run(id, container string, bindings map[int]string) {
	task := ecstypes.Task{
		TaskArn:    awssdk.String("arn:aws:ecs:" + Region + ":" + Account + ":task/cell1/" + id),
		LastStatus: awssdk.String("RUNNING"), DesiredStatus: awssdk.String("RUNNING"), StartedAt: awssdk.Time(time.Now()),
		Containers: []ecstypes.Container{{Name: awssdk.String(container)}},
	}
	for inside, at := range bindings {
		_, port, _ := net.SplitHostPort(at)
		n, _ := strconv.ParseInt(port, 10, 32)
		task.Containers[0].NetworkBindings = append(task.Containers[0].NetworkBindings, ecstypes.NetworkBinding{
			ContainerPort: awssdk.Int32(int32(inside)), HostPort: awssdk.Int32(int32(n)), Protocol: ecstypes.TransportProtocolTcp, //nolint:gosec // ports
		})
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tasks = append(t.tasks, task)
}

// Register has Cloud Map know a task's host.
func (t *Tasks) Register(id, host string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known[id] = host
}

// Stop has a task end, and Cloud Map forget it.
func (t *Tasks) Stop(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tasks = slices.DeleteFunc(t.tasks, func(one ecstypes.Task) bool { return path.Base(*one.TaskArn) == id })
	delete(t.known, id)
}

func (t *Tasks) operation(r *http.Request) string { return targetOf(r) }

func (t *Tasks) serve(operation string, w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch operation {
	case "ListTasks":
		var out ecs.ListTasksOutput
		for _, one := range t.tasks {
			out.TaskArns = append(out.TaskArns, *one.TaskArn)
		}
		writeJSON(w, out, lowerFirst)
	case "DescribeTasks":
		var in struct{ Tasks []string }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in.Tasks) > 100 {
			refuseJSON(w, "InvalidParameterException", "tasks")
			return
		}
		var out ecs.DescribeTasksOutput
		for _, one := range t.tasks {
			if slices.Contains(in.Tasks, *one.TaskArn) {
				out.Tasks = append(out.Tasks, one)
			}
		}
		writeJSON(w, out, lowerFirst)
	case "DiscoverInstances":
		var out servicediscovery.DiscoverInstancesOutput
		for id, host := range t.known {
			out.Instances = append(out.Instances, sdtypes.HttpInstanceSummary{
				InstanceId: awssdk.String(id), Attributes: map[string]string{"AWS_INSTANCE_IPV4": host},
			})
		}
		writeJSON(w, out, asIs)
	default:
		refuseJSON(w, "UnknownOperationException", operation)
	}
}
