package awstest

import (
	"path"
	"slices"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// ecsService is a service and how far its deployment is.
type ecsService struct {
	types.Service
	cluster  *cluster
	visible  time.Time // when a description begins to know of it
	failures int       // tasks of this deployment that ended before they were well
	rollout  types.DeploymentRolloutState
	reason   string
	since    time.Time // of the deployment
	settled  string    // ARN of the definition that was last rolled out whole
	forced   int       // deployments of the definition there was
	restart  time.Time // no task is started before
	waiting  bool      // for that
}

func (e *ECS) createService(in *ecs.CreateServiceInput) (*ecs.CreateServiceOutput, *refusal) {
	c, no := e.cluster(in.Cluster)
	if no != nil {
		return nil, no
	}
	name := awssdk.ToString(in.ServiceName)
	d, no := e.definition(awssdk.ToString(in.TaskDefinition))
	if no != nil || d.Status != types.TaskDefinitionStatusActive {
		return nil, refuse("ClientException", "TaskDefinition not found.")
	}
	if no := e.checkService(c, d, in); no != nil {
		return nil, no
	}
	if was := c.services[name]; was != nil {
		switch *was.Status {
		case "ACTIVE":
			return nil, refuse("InvalidParameterException", "Creation of service was not idempotent.")
		case "DRAINING":
			return nil, refuse("InvalidParameterException", "Unable to Start a service that is still Draining.")
		}
	}
	s := &ecsService{cluster: c, visible: time.Now().Add(e.Delays.Visible), Service: types.Service{
		ServiceName: in.ServiceName, ServiceArn: awssdk.String(arnOf("ecs", "service/"+*c.ClusterName+"/"+name)), ClusterArn: c.ClusterArn,
		Status: awssdk.String("ACTIVE"), DesiredCount: awssdk.ToInt32(in.DesiredCount), TaskDefinition: d.TaskDefinitionArn,
		CreatedAt: awssdk.Time(time.Now()), CapacityProviderStrategy: in.CapacityProviderStrategy, LaunchType: in.LaunchType,
		DeploymentConfiguration: in.DeploymentConfiguration, DeploymentController: in.DeploymentController,
		PlacementStrategy: in.PlacementStrategy, PlacementConstraints: in.PlacementConstraints, ServiceRegistries: in.ServiceRegistries,
		LoadBalancers: in.LoadBalancers, NetworkConfiguration: in.NetworkConfiguration, EnableECSManagedTags: in.EnableECSManagedTags,
		PropagateTags: in.PropagateTags, EnableExecuteCommand: in.EnableExecuteCommand, SchedulingStrategy: types.SchedulingStrategyReplica,
		AvailabilityZoneRebalancing: in.AvailabilityZoneRebalancing, HealthCheckGracePeriodSeconds: in.HealthCheckGracePeriodSeconds,
		RoleArn: in.Role,
	}}
	c.services[name] = s
	delete(e.tags, *s.ServiceArn)
	e.setTags(*s.ServiceArn, in.Tags)
	s.deploy()
	e.reconcile(s)
	return &ecs.CreateServiceOutput{Service: ptr(e.serviceView(s, true))}, nil
}

func (e *ECS) checkService(c *cluster, d *types.TaskDefinition, in *ecs.CreateServiceInput) *refusal {
	active := 0
	for _, s := range c.services {
		if *s.Status == "ACTIVE" {
			active++
		}
	}
	switch {
	case !ecsName.MatchString(awssdk.ToString(in.ServiceName)):
		return refuse("InvalidParameterException", "service name %q", awssdk.ToString(in.ServiceName))
	case in.LaunchType != "" && len(in.CapacityProviderStrategy) > 0:
		return refuse("InvalidParameterException", "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.")
	case in.DesiredCount == nil:
		return refuse("InvalidParameterException", "Desired count must be specified.")
	case int(*in.DesiredCount) > e.Quotas.TasksPerService || *in.DesiredCount < 0:
		return refuse("InvalidParameterException", "desired count %d", *in.DesiredCount)
	case active >= e.Quotas.ServicesPerCluster:
		return refuse("LimitExceededException", "The services per cluster limit was reached.")
	case len(in.Tags) > 50:
		return refuse("InvalidParameterException", "Too many tags.")
	}
	for _, p := range in.CapacityProviderStrategy {
		if !slices.Contains(c.CapacityProviders, awssdk.ToString(p.CapacityProvider)) {
			return refuse("InvalidParameterException", "The specified capacity provider strategy contains a capacity provider that is not associated with the cluster: %s.", awssdk.ToString(p.CapacityProvider))
		}
	}
	for _, r := range in.ServiceRegistries {
		if d.NetworkMode != types.NetworkModeAwsvpc && (r.ContainerName == nil || r.ContainerPort == nil) {
			return refuse("InvalidParameterException", "When using the bridge or host network modes, serviceRegistries needs containerName and containerPort.")
		}
		if e.discovery != nil && !e.discovery.has(awssdk.ToString(r.RegistryArn)) {
			return refuse("InvalidParameterException", "The service registry %s does not exist.", awssdk.ToString(r.RegistryArn))
		}
	}
	return nil
}

// service returns the one that a name or ARN means.
func (e *ECS) service(clusterName, name *string) (*ecsService, *refusal) {
	c, no := e.cluster(clusterName)
	if no != nil {
		return nil, no
	}
	s := c.services[path.Base(awssdk.ToString(name))]
	if s == nil || *s.Status == "INACTIVE" {
		return nil, refuse("ServiceNotFoundException", "Service not found.")
	}
	return s, nil
}

func (e *ECS) describeServices(in *ecs.DescribeServicesInput) (*ecs.DescribeServicesOutput, *refusal) {
	c, no := e.cluster(in.Cluster)
	switch {
	case no != nil:
		return nil, no
	case len(in.Services) == 0 || len(in.Services) > 10:
		return nil, refuse("InvalidParameterException", "1 to 10 services.")
	}
	var out ecs.DescribeServicesOutput
	for _, name := range in.Services {
		s := c.services[path.Base(name)]
		if s == nil || time.Now().Before(s.visible) {
			out.Failures = append(out.Failures, types.Failure{
				Arn: awssdk.String(arnOf("ecs", "service/"+*c.ClusterName+"/"+path.Base(name))), Reason: awssdk.String("MISSING"),
			})
			continue
		}
		out.Services = append(out.Services, e.serviceView(s, slices.Contains(in.Include, types.ServiceFieldTags)))
	}
	return &out, nil
}

// serviceView returns what a description says of a service.
func (e *ECS) serviceView(s *ecsService, tags bool) types.Service {
	v := s.Service
	deployment := types.Deployment{
		Id: awssdk.String("ecs-svc/" + path.Base(*s.TaskDefinition)), Status: awssdk.String("PRIMARY"), TaskDefinition: s.TaskDefinition,
		DesiredCount: s.DesiredCount, RolloutState: s.rollout, RolloutStateReason: awssdk.String(s.reason), CreatedAt: &s.since, UpdatedAt: &s.since,
		FailedTasks: int32(s.failures), CapacityProviderStrategy: s.CapacityProviderStrategy, LaunchType: s.LaunchType, //nolint:gosec // small
	}
	before := types.Deployment{Id: awssdk.String("ecs-svc/before"), Status: awssdk.String("ACTIVE"), CreatedAt: s.CreatedAt, UpdatedAt: &s.since, TaskDefinition: s.TaskDefinition}
	for _, t := range s.cluster.tasks {
		if t.service != s || *t.LastStatus == "STOPPED" {
			continue
		}
		d := &deployment
		if *t.TaskDefinitionArn != *s.TaskDefinition {
			before.TaskDefinition, d = t.TaskDefinitionArn, &before
		}
		switch *t.LastStatus {
		case "RUNNING":
			v.RunningCount++
			d.RunningCount++
		case "PROVISIONING", "PENDING":
			v.PendingCount++
			d.PendingCount++
		}
	}
	v.Deployments = []types.Deployment{deployment}
	if before.RunningCount+before.PendingCount > 0 {
		v.Deployments = append(v.Deployments, before)
	}
	v.Events = slices.Clone(s.Events)
	if tags {
		v.Tags = e.tags[*s.ServiceArn]
	}
	return v
}

func (e *ECS) listServices(in *ecs.ListServicesInput) (*ecs.ListServicesOutput, *refusal) {
	c, no := e.cluster(in.Cluster)
	if no != nil {
		return nil, no
	}
	var arns []string
	for _, name := range sortedKeys(c.services) {
		if s := c.services[name]; *s.Status != "INACTIVE" {
			arns = append(arns, *s.ServiceArn)
		}
	}
	page, next, no := paged(arns, in.NextToken, awssdk.ToInt32(in.MaxResults), 100)
	return &ecs.ListServicesOutput{ServiceArns: page, NextToken: next}, no
}

func (e *ECS) updateService(in *ecs.UpdateServiceInput) (*ecs.UpdateServiceOutput, *refusal) {
	s, no := e.service(in.Cluster, in.Service)
	switch {
	case no != nil:
		return nil, no
	case *s.Status != "ACTIVE":
		return nil, refuse("ServiceNotActiveException", "Service was not ACTIVE.")
	}
	redeploy := in.ForceNewDeployment
	if redeploy {
		s.forced++
	}
	if in.TaskDefinition != nil {
		d, no := e.definition(*in.TaskDefinition)
		if no != nil || d.Status != types.TaskDefinitionStatusActive {
			return nil, refuse("ClientException", "TaskDefinition is inactive")
		}
		redeploy = redeploy || *d.TaskDefinitionArn != *s.TaskDefinition
		s.TaskDefinition = d.TaskDefinitionArn
	}
	if in.DesiredCount != nil {
		if *in.DesiredCount < 0 || int(*in.DesiredCount) > e.Quotas.TasksPerService {
			return nil, refuse("InvalidParameterException", "desired count %d", *in.DesiredCount)
		}
		s.DesiredCount = *in.DesiredCount
	}
	if in.DeploymentConfiguration != nil {
		s.DeploymentConfiguration = in.DeploymentConfiguration
	}
	if in.CapacityProviderStrategy != nil {
		s.CapacityProviderStrategy = in.CapacityProviderStrategy
	}
	if in.PlacementStrategy != nil {
		s.PlacementStrategy = in.PlacementStrategy
	}
	if in.ServiceRegistries != nil {
		s.ServiceRegistries = in.ServiceRegistries
	}
	if redeploy {
		s.deploy()
	}
	e.reconcile(s)
	return &ecs.UpdateServiceOutput{Service: ptr(e.serviceView(s, true))}, nil
}

// deploy begins a deployment.
func (s *ecsService) deploy() {
	s.failures, s.rollout, s.reason, s.since = 0, types.DeploymentRolloutStateInProgress, "ECS deployment in progress.", time.Now()
}

func (e *ECS) deleteService(in *ecs.DeleteServiceInput) (*ecs.DeleteServiceOutput, *refusal) {
	s, no := e.service(in.Cluster, in.Service)
	switch {
	case no != nil:
		return nil, no
	case *s.Status == "ACTIVE" && s.DesiredCount > 0 && !awssdk.ToBool(in.Force):
		return nil, refuse("InvalidParameterException", "The service cannot be stopped while it is scaled above 0.")
	}
	s.Status, s.DesiredCount = awssdk.String("DRAINING"), 0
	e.reconcile(s)
	return &ecs.DeleteServiceOutput{Service: ptr(e.serviceView(s, false))}, nil
}

// scaled is what the autoscaler asks for; it reports whether there is such a service.
func (e *ECS) scaled(clusterName, name string, change func(desired int32) int32) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, no := e.service(&clusterName, &name)
	if no != nil || *s.Status != "ACTIVE" {
		return false
	}
	if n := change(s.DesiredCount); n != s.DesiredCount {
		s.DesiredCount = n
		e.reconcile(s)
	}
	return true
}

// reconcile starts and stops tasks until the service is as it should be. It is
// asked after every change, with the lock.
func (e *ECS) reconcile(s *ecsService) {
	if e.closed {
		return
	}
	now, before := s.wanted()
	want := int(s.DesiredCount)
	running := len(now) + len(before)
	least, most := s.bounds(want)
	for len(now) < want && running < most && e.mayStart(s) {
		now = append(now, e.start(s))
		running++
	}
	well := func(t *ecsTask) bool { return t.well }
	alive := count(now, well) + count(before, well)
	for _, t := range slices.Backward(before) { // those that are well go last
		if t.well && alive-1 < least {
			continue
		}
		if t.well {
			alive--
		}
		t.end("Scaling activity initiated by deployment")
	}
	if len(now) > want {
		slices.SortStableFunc(now, func(a, b *ecsTask) int { return rank(a) - rank(b) })
		for _, t := range now[want:] {
			t.end("Scaling activity initiated by (deployment " + path.Base(*s.TaskDefinition) + ")")
		}
		now = now[:want]
	}
	_, before = s.wanted()
	if s.rollout == types.DeploymentRolloutStateInProgress && len(before) == 0 && len(now) == want && count(now, well) == want {
		s.rollout, s.reason, s.settled = types.DeploymentRolloutStateCompleted, "ECS deployment completed.", *s.TaskDefinition
		s.event("has reached a steady state.")
	}
	if *s.Status == "DRAINING" && s.left() == 0 {
		s.Status = awssdk.String("INACTIVE")
		delete(e.tags, *s.ServiceArn)
	}
}

// wanted returns the tasks that are to run, those of the definition that is
// being rolled out and those of others, oldest first.
func (s *ecsService) wanted() (now, before []*ecsTask) {
	for _, t := range s.cluster.tasks {
		switch {
		case t.service != s || *t.DesiredStatus != "RUNNING":
		case *t.TaskDefinitionArn == *s.TaskDefinition && t.forced == s.forced:
			now = append(now, t)
		default:
			before = append(before, t)
		}
	}
	byAge := func(a, b *ecsTask) int { return a.CreatedAt.Compare(*b.CreatedAt) }
	slices.SortFunc(now, byAge)
	slices.SortFunc(before, byAge)
	return now, before
}

// left returns how many tasks have not stopped.
func (s *ecsService) left() (n int) {
	for _, t := range s.cluster.tasks {
		if t.service == s && *t.LastStatus != "STOPPED" {
			n++
		}
	}
	return n
}

// bounds are how many tasks there are at least and at most during a deployment.
func (s *ecsService) bounds(want int) (least, most int) {
	low, high := int32(100), int32(200)
	if c := s.DeploymentConfiguration; c != nil {
		if c.MinimumHealthyPercent != nil {
			low = *c.MinimumHealthyPercent
		}
		if c.MaximumPercent != nil {
			high = *c.MaximumPercent
		}
	}
	return (want*int(low) + 99) / 100, want * int(high) / 100
}

func (e *ECS) mayStart(s *ecsService) bool {
	if s.rollout == types.DeploymentRolloutStateFailed {
		return false
	}
	if wait := time.Until(s.restart); wait > 0 {
		if !s.waiting {
			s.waiting = true
			time.AfterFunc(wait, func() {
				e.mu.Lock()
				defer e.mu.Unlock()
				s.waiting = false
				e.reconcile(s)
			})
		}
		return false
	}
	return true
}

// failed counts a task that ended before it was well, and breaks the circuit
// when there were too many. Source: "How the Amazon ECS deployment circuit
// breaker detects failures": half of the desired count, at least 3, at most 200.
func (e *ECS) failed(s *ecsService, why string) {
	s.failures++
	s.restart = time.Now().Add(e.Delays.Restart)
	s.event("deployment failed: tasks failed to start: " + why)
	breaker := (*types.DeploymentCircuitBreaker)(nil)
	if s.DeploymentConfiguration != nil {
		breaker = s.DeploymentConfiguration.DeploymentCircuitBreaker
	}
	if breaker == nil || !breaker.Enable || s.failures < min(max((int(s.DesiredCount)+1)/2, 3), 200) {
		return
	}
	if breaker.Rollback && s.settled != "" && s.settled != *s.TaskDefinition {
		s.TaskDefinition = awssdk.String(s.settled)
		s.deploy()
		s.event("rolling back to deployment " + path.Base(s.settled) + ".")
		return
	}
	s.rollout, s.reason = types.DeploymentRolloutStateFailed, "ECS deployment failed: tasks failed to start."
}

// event adds what a description tells first.
func (s *ecsService) event(message string) {
	now := time.Now()
	s.Events = slices.Insert(s.Events, 0, types.ServiceEvent{CreatedAt: &now, Message: awssdk.String("(service " + *s.ServiceName + ") " + message)})
	s.Events = s.Events[:min(len(s.Events), 100)]
}

func count[T any](list []T, is func(T) bool) (n int) {
	for _, v := range list {
		if is(v) {
			n++
		}
	}
	return n
}

// rank has those tasks stay that are well.
func rank(t *ecsTask) int {
	if t.well {
		return 0
	}
	return 1
}

func (e *ECS) listTasks(in *ecs.ListTasksInput) (*ecs.ListTasksOutput, *refusal) {
	c, no := e.cluster(in.Cluster)
	if no != nil {
		return nil, no
	}
	if in.ServiceName != nil && c.services[path.Base(*in.ServiceName)] == nil {
		return nil, refuse("ServiceNotFoundException", "Service not found.")
	}
	status := in.DesiredStatus
	if status == "" {
		status = types.DesiredStatusRunning
	}
	var arns []string
	for _, arn := range sortedKeys(c.tasks) {
		t := c.tasks[arn]
		if in.ServiceName != nil && *t.service.ServiceName != path.Base(*in.ServiceName) || *t.DesiredStatus != string(status) {
			continue
		}
		if f := awssdk.ToString(in.Family); f != "" && !strings.HasPrefix(path.Base(*t.TaskDefinitionArn), f+":") {
			continue
		}
		arns = append(arns, arn)
	}
	page, next, no := paged(arns, in.NextToken, awssdk.ToInt32(in.MaxResults), 100)
	return &ecs.ListTasksOutput{TaskArns: page, NextToken: next}, no
}

func (e *ECS) describeTasks(in *ecs.DescribeTasksInput) (*ecs.DescribeTasksOutput, *refusal) {
	c, no := e.cluster(in.Cluster)
	switch {
	case no != nil:
		return nil, no
	case len(in.Tasks) == 0 || len(in.Tasks) > 100:
		return nil, refuse("InvalidParameterException", "1 to 100 tasks.")
	}
	var out ecs.DescribeTasksOutput
	for _, name := range in.Tasks {
		t := c.tasks[arnOf("ecs", "task/"+*c.ClusterName+"/"+path.Base(name))]
		if t == nil {
			out.Failures = append(out.Failures, types.Failure{Arn: awssdk.String(name), Reason: awssdk.String("MISSING")})
			continue
		}
		v := t.Task
		v.Containers = slices.Clone(t.Containers)
		if slices.Contains(in.Include, types.TaskFieldTags) {
			v.Tags = e.tags[*t.TaskArn]
		}
		out.Tasks = append(out.Tasks, v)
	}
	return &out, nil
}

func (e *ECS) stopTask(in *ecs.StopTaskInput) (*ecs.StopTaskOutput, *refusal) {
	c, no := e.cluster(in.Cluster)
	if no != nil {
		return nil, no
	}
	t := c.tasks[arnOf("ecs", "task/"+*c.ClusterName+"/"+path.Base(awssdk.ToString(in.Task)))]
	if t == nil {
		return nil, refuse("InvalidParameterException", "The referenced task was not found.")
	}
	t.end(awssdk.ToString(in.Reason))
	e.reconcile(t.service)
	return &ecs.StopTaskOutput{Task: &t.Task}, nil
}
