package awstest

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
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

func (t *Tasks) operation(r *http.Request) string {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	return operation
}

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
		writeJSON(w, out, func(s string) string { return s })
	default:
		refuseJSON(w, "UnknownOperationException", operation)
	}
}

func lowerFirst(name string) string { return strings.ToLower(name[:1]) + name[1:] }

// writeJSON answers with one of the SDK's output types, its fields under the
// names that the service's protocol has for them.
func writeJSON(w http.ResponseWriter, output any, name func(string) string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(jsonOf(reflect.ValueOf(output), name))
}

func jsonOf(v reflect.Value, name func(string) string) any {
	if at, ok := v.Interface().(time.Time); ok {
		return float64(at.UnixMilli()) / 1000
	}
	switch v.Kind() {
	case reflect.Pointer:
		return jsonOf(v.Elem(), name)
	case reflect.Struct:
		fields := make(map[string]any)
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "ResultMetadata" && !v.Field(i).IsZero() {
				fields[name(f.Name)] = jsonOf(v.Field(i), name)
			}
		}
		return fields
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = jsonOf(v.Index(i), name)
		}
		return list
	default:
		return v.Interface()
	}
}

func refuseJSON(w http.ResponseWriter, code, message string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, `{"__type":%q,"message":%q}`, code, message)
}
