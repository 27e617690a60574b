package awstest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"path"
	"strconv"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// ecsTask is a task of a service, with its one container. Its fields are ECS'
// lock's; life, in a goroutine of its own, changes them.
//
//	PROVISIONING ► PENDING ► RUNNING ► DEACTIVATING ► STOPPING ► STOPPED
type ecsTask struct {
	types.Task
	service    *ecsService
	forced     int // of the service, when it began; so are the registries
	registries []types.ServiceRegistry
	spec       Spec
	well       bool          // it was seen to be
	told       chan struct{} // closed: it is to end
	ended      bool          // told is closed
	killed     chan struct{} // closed: at once
	gone       bool          // killed is closed
}

// keptTasks is how long a task that stopped is still described. Source: ListTasks,
// "Recently stopped tasks might appear": an hour, as a rule.
const keptTasks = time.Hour

// start makes a task and has it live.
func (e *ECS) start(s *ecsService) *ecsTask {
	d, _ := e.definition(*s.TaskDefinition)
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	now := time.Now()
	t := &ecsTask{service: s, forced: s.forced, registries: s.ServiceRegistries, told: make(chan struct{}), killed: make(chan struct{}), Task: types.Task{
		TaskArn: awssdk.String(arnOf("ecs", "task/"+*s.cluster.ClusterName+"/"+hex.EncodeToString(id))), ClusterArn: s.ClusterArn,
		TaskDefinitionArn: s.TaskDefinition, DesiredStatus: awssdk.String("RUNNING"), LastStatus: awssdk.String("PROVISIONING"),
		CreatedAt: &now, Group: awssdk.String("service:" + *s.ServiceName), HealthStatus: types.HealthStatusUnknown,
		Containers: []types.Container{{Name: d.ContainerDefinitions[0].Name, LastStatus: awssdk.String("PENDING"), HealthStatus: types.HealthStatusUnknown}},
	}}
	t.spec = Spec{Task: hex.EncodeToString(id), Definition: *d, Container: d.ContainerDefinitions[0]}
	s.cluster.tasks[*t.TaskArn] = t
	if s.PropagateTags == types.PropagateTagsService {
		e.setTags(*t.TaskArn, e.tags[*s.ServiceArn])
	}
	e.tasks.Go(func() { e.live(t) })
	return t
}

// end has a task stop in order.
func (t *ecsTask) end(why string) {
	if t.ended {
		return
	}
	t.ended = true
	t.DesiredStatus, t.StoppedReason = awssdk.String("STOPPED"), awssdk.String(why)
	close(t.told)
}

func (t *ecsTask) kill() {
	t.end("The cluster ends.")
	if !t.gone {
		t.gone = true
		close(t.killed)
	}
}

// live is a task's life.
func (e *ECS) live(t *ecsTask) {
	failure := e.run(t)
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	t.ended = true // nobody needs to tell it any more
	t.LastStatus, t.DesiredStatus, t.StoppedAt = awssdk.String("STOPPED"), awssdk.String("STOPPED"), &now
	t.Containers[0].LastStatus = awssdk.String("STOPPED")
	if failure != "" {
		t.StopCode, t.StoppedReason = types.TaskStopCodeEssentialContainerExited, awssdk.String(failure)
		e.failed(t.service, failure)
	}
	cluster := t.service.cluster
	time.AfterFunc(keptTasks, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(cluster.tasks, *t.TaskArn)
		delete(e.tags, *t.TaskArn)
	})
	e.reconcile(t.service)
}

// wait waits, and reports whether the task is still to run.
func (t *ecsTask) wait(d time.Duration) bool {
	if d <= 0 {
		select {
		case <-t.told:
			return false
		default:
			return true
		}
	}
	select {
	case <-t.told:
		return false
	case <-time.After(d):
		return true
	}
}

func (e *ECS) become(t *ecsTask, status string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t.LastStatus = awssdk.String(status)
	t.Containers[0].LastStatus = awssdk.String(status)
}

// run has the task's container run to its end. It returns why it ended, unless
// it was told to or was well before.
func (e *ECS) run(t *ecsTask) (failure string) {
	if !t.wait(e.Delays.Place) {
		return ""
	}
	e.become(t, "PENDING")
	c, err := e.host.Start(context.Background(), t.spec)
	if err != nil {
		return err.Error()
	}
	e.running(t, c)
	if e.discovery != nil {
		for _, r := range t.registries {
			e.discovery.register(*r.RegistryArn, t.spec.Task, t.attributes(c, r), t.told)
		}
	}
	exited := e.watch(t, c)
	e.mu.Lock()
	well := t.well
	e.mu.Unlock()
	e.become(t, "DEACTIVATING")
	if e.discovery != nil { // before the container hears of its end
		for _, r := range t.registries {
			e.discovery.deregister(*r.RegistryArn, t.spec.Task)
		}
	}
	e.become(t, "STOPPING")
	code := c.Stop(t.grace(), t.killed)
	e.mu.Lock()
	defer e.mu.Unlock()
	t.Containers[0].ExitCode = awssdk.Int32(int32(code)) //nolint:gosec // an exit code
	switch {
	case exited != "" && !well:
		return exited
	case exited != "":
		t.StoppedReason = awssdk.String(exited)
		t.service.restart = time.Now().Add(e.Delays.Restart)
	}
	return ""
}

// grace is how long the container gets to end. Source: ContainerDefinition,
// stopTimeout: 30 s unless it is given.
func (t *ecsTask) grace() time.Duration {
	if s := t.spec.Container.StopTimeout; s != nil {
		return time.Duration(*s) * time.Second
	}
	return 30 * time.Second
}

func (e *ECS) running(t *ecsTask, c Container) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	t.LastStatus, t.StartedAt = awssdk.String("RUNNING"), &now
	t.Containers[0].LastStatus = awssdk.String("RUNNING")
	for _, p := range t.spec.Container.PortMappings {
		t.Containers[0].NetworkBindings = append(t.Containers[0].NetworkBindings, types.NetworkBinding{
			BindIP: awssdk.String("0.0.0.0"), ContainerPort: p.ContainerPort, HostPort: awssdk.Int32(int32(c.Ports()[int(*p.ContainerPort)])), Protocol: types.TransportProtocolTcp, //nolint:gosec // a port
		})
	}
	if t.spec.Container.HealthCheck == nil {
		t.well = true
		e.reconcile(t.service)
	}
}

// attributes are what Cloud Map knows of a task.
func (t *ecsTask) attributes(c Container, r types.ServiceRegistry) map[string]string {
	return map[string]string{
		"AWS_INSTANCE_IPV4": c.Host(), "AWS_INSTANCE_PORT": strconv.Itoa(c.Ports()[int(awssdk.ToInt32(r.ContainerPort))]),
		"ECS_CLUSTER_NAME": *t.service.cluster.ClusterName, "ECS_SERVICE_NAME": *t.service.ServiceName,
		"ECS_TASK_DEFINITION_FAMILY": *t.spec.Definition.Family, "REGION": Region, "AVAILABILITY_ZONE": Region + "a",
	}
}

// watch looks at the container's health until the task is told to end, "", or
// the container has exited or is not well, which is why.
func (e *ECS) watch(t *ecsTask, c Container) string {
	tick := time.NewTicker(max(e.Delays.Health, time.Millisecond))
	defer tick.Stop()
	check := t.spec.Container.HealthCheck
	bad, begin := 0, time.Now()
	for {
		select {
		case <-t.told:
			return ""
		case <-c.Exited():
			return "Essential container in task exited"
		case <-tick.C:
		}
		if check == nil {
			continue
		}
		switch {
		case c.Healthy():
			bad = 0
			if e.healthy(t) {
				tick.Reset(max(e.Delays.Health*10, time.Second))
			}
		case time.Since(begin) > time.Duration(awssdk.ToInt32(check.StartPeriod))*time.Second:
			if bad++; bad >= int(awssdk.ToInt32(check.Retries)) {
				return "Task failed container health checks"
			}
		}
	}
}

// healthy takes over that a task is well, and reports whether that is news.
func (e *ECS) healthy(t *ecsTask) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.well {
		return false
	}
	t.well, t.HealthStatus = true, types.HealthStatusHealthy
	t.Containers[0].HealthStatus = types.HealthStatusHealthy
	if e.discovery != nil {
		for _, r := range t.registries {
			e.discovery.healthy(*r.RegistryArn, path.Base(*t.TaskArn))
		}
	}
	e.reconcile(t.service)
	return true
}
