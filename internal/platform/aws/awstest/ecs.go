package awstest

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// ECS plays clusters, task definitions, and services whose tasks really run: a
// Host starts each task's container, and Cloud Map is told where it is.
//
// As AWS: a service is made once, and anew only when the one before has drained;
// it keeps as many tasks as it is told, replaces those that end, and rolls out
// another definition within its percentages, or back when the circuit breaker
// says so. A service that is above 0 is not deleted without force; one that is
// deleted drains first.
type ECS struct {
	Delays ECSDelays
	Quotas ECSQuotas

	mu          sync.Mutex
	host        Host
	discovery   *CloudMap // nil: none
	clusters    map[string]*cluster
	providers   map[string]*types.CapacityProvider
	definitions map[string][]*types.TaskDefinition // by family
	tags        map[string][]types.Tag             // by ARN
	closed      bool
	tasks       sync.WaitGroup
}

// ECSDelays are how long things take that AWS does by itself.
type ECSDelays struct {
	Visible time.Duration // until a description knows of a new service
	Place   time.Duration // from PROVISIONING to PENDING: an instance is found, the image is there
	Restart time.Duration // before a task that ended early is tried again
	Health  time.Duration // between two looks at a container's health
}

// ECSQuotas are the account's. Source: "Amazon ECS service quotas".
type ECSQuotas struct{ ServicesPerCluster, TasksPerService int }

type cluster struct {
	types.Cluster
	services map[string]*ecsService // by name
	tasks    map[string]*ecsTask    // by ARN
}

// PlayECS adds an ECS whose tasks run on the host.
func (s *Server) PlayECS(tb testing.TB, host Host, discovery *CloudMap) *ECS {
	e := &ECS{
		Quotas: ECSQuotas{ServicesPerCluster: 5000, TasksPerService: 5000}, Delays: ECSDelays{Health: 50 * time.Millisecond, Restart: 200 * time.Millisecond},
		host: host, discovery: discovery, clusters: make(map[string]*cluster), providers: make(map[string]*types.CapacityProvider),
		definitions: make(map[string][]*types.TaskDefinition), tags: make(map[string][]types.Tag),
	}
	s.services["ecs"] = &targets{mu: &e.mu, names: lowerFirst, calls: map[string]operation{
		"CreateCluster": op(e.createCluster), "DescribeClusters": op(e.describeClusters), "DeleteCluster": op(e.deleteCluster),
		"PutClusterCapacityProviders": op(e.putClusterCapacityProviders),
		"CreateCapacityProvider":      op(e.createCapacityProvider), "DescribeCapacityProviders": op(e.describeCapacityProviders),
		"DeleteCapacityProvider": op(e.deleteCapacityProvider),
		"RegisterTaskDefinition": op(e.registerTaskDefinition), "DescribeTaskDefinition": op(e.describeTaskDefinition),
		"DeregisterTaskDefinition": op(e.deregisterTaskDefinition), "DeleteTaskDefinitions": op(e.deleteTaskDefinitions),
		"ListTaskDefinitions": op(e.listTaskDefinitions),
		"CreateService":       op(e.createService), "DescribeServices": op(e.describeServices), "UpdateService": op(e.updateService),
		"DeleteService": op(e.deleteService), "ListServices": op(e.listServices),
		"ListTasks": op(e.listTasks), "DescribeTasks": op(e.describeTasks), "StopTask": op(e.stopTask),
		"TagResource": op(e.tagResource), "UntagResource": op(e.untagResource), "ListTagsForResource": op(e.listTags),
	}}
	tb.Cleanup(e.close)
	return e
}

// close ends all tasks at once.
func (e *ECS) close() {
	e.mu.Lock()
	e.closed = true
	for _, c := range e.clusters {
		for _, t := range c.tasks {
			t.kill()
		}
	}
	e.mu.Unlock()
	e.tasks.Wait()
}

func arnOf(service, resource string) string {
	return "arn:aws:" + service + ":" + Region + ":" + Account + ":" + resource
}

var ecsName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

// cluster returns the cluster that a name or ARN means.
func (e *ECS) cluster(name *string) (*cluster, *refusal) {
	short := path.Base(awssdk.ToString(name))
	if name == nil {
		short = "default"
	}
	c := e.clusters[short]
	if c == nil || awssdk.ToString(c.Status) == "INACTIVE" {
		return nil, refuse("ClusterNotFoundException", "Cluster not found.")
	}
	return c, nil
}

func (e *ECS) createCluster(in *ecs.CreateClusterInput) (*ecs.CreateClusterOutput, *refusal) {
	name := awssdk.ToString(in.ClusterName)
	if !ecsName.MatchString(name) {
		return nil, refuse("InvalidParameterException", "cluster name %q", name)
	}
	c := e.clusters[name]
	if c == nil || *c.Status == "INACTIVE" {
		c = &cluster{services: make(map[string]*ecsService), tasks: make(map[string]*ecsTask), Cluster: types.Cluster{
			ClusterName: in.ClusterName, ClusterArn: awssdk.String(arnOf("ecs", "cluster/"+name)), Status: awssdk.String("ACTIVE"),
		}}
		e.clusters[name] = c
	}
	c.CapacityProviders, c.Settings, c.Configuration = in.CapacityProviders, in.Settings, in.Configuration
	c.DefaultCapacityProviderStrategy = in.DefaultCapacityProviderStrategy
	e.setTags(*c.ClusterArn, in.Tags)
	return &ecs.CreateClusterOutput{Cluster: ptr(e.clusterView(c, true))}, nil
}

func (e *ECS) clusterView(c *cluster, tags bool) types.Cluster {
	v := c.Cluster
	for _, s := range c.services {
		if *s.Status == "ACTIVE" {
			v.ActiveServicesCount++
		}
	}
	for _, t := range c.tasks {
		switch *t.LastStatus {
		case "RUNNING":
			v.RunningTasksCount++
		case "PROVISIONING", "PENDING":
			v.PendingTasksCount++
		}
	}
	if tags {
		v.Tags = e.tags[*c.ClusterArn]
	}
	return v
}

func (e *ECS) describeClusters(in *ecs.DescribeClustersInput) (*ecs.DescribeClustersOutput, *refusal) {
	var out ecs.DescribeClustersOutput
	for _, name := range in.Clusters {
		c := e.clusters[path.Base(name)]
		if c == nil {
			out.Failures = append(out.Failures, types.Failure{Arn: awssdk.String(arnOf("ecs", "cluster/"+path.Base(name))), Reason: awssdk.String("MISSING")})
			continue
		}
		out.Clusters = append(out.Clusters, e.clusterView(c, slices.Contains(in.Include, types.ClusterFieldTags)))
	}
	return &out, nil
}

func (e *ECS) deleteCluster(in *ecs.DeleteClusterInput) (*ecs.DeleteClusterOutput, *refusal) {
	c, no := e.cluster(in.Cluster)
	if no != nil {
		return nil, no
	}
	for _, s := range c.services {
		if *s.Status != "INACTIVE" {
			return nil, refuse("ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active.")
		}
	}
	c.Status = awssdk.String("INACTIVE")
	delete(e.tags, *c.ClusterArn)
	return &ecs.DeleteClusterOutput{Cluster: ptr(e.clusterView(c, false))}, nil
}

func (e *ECS) putClusterCapacityProviders(in *ecs.PutClusterCapacityProvidersInput) (*ecs.PutClusterCapacityProvidersOutput, *refusal) {
	c, no := e.cluster(in.Cluster)
	if no != nil {
		return nil, no
	}
	for _, name := range in.CapacityProviders {
		if e.providers[path.Base(name)] == nil {
			return nil, refuse("InvalidParameterException", "The specified capacity provider %s was not found.", name)
		}
	}
	c.CapacityProviders, c.DefaultCapacityProviderStrategy = in.CapacityProviders, in.DefaultCapacityProviderStrategy
	return &ecs.PutClusterCapacityProvidersOutput{Cluster: ptr(e.clusterView(c, false))}, nil
}

func (e *ECS) createCapacityProvider(in *ecs.CreateCapacityProviderInput) (*ecs.CreateCapacityProviderOutput, *refusal) {
	name := awssdk.ToString(in.Name)
	if !ecsName.MatchString(name) || strings.HasPrefix(name, "aws") || strings.HasPrefix(name, "ecs") || strings.HasPrefix(name, "fargate") {
		return nil, refuse("InvalidParameterException", "The capacity provider name %q is invalid.", name)
	}
	if e.providers[name] != nil {
		return nil, refuse("InvalidParameterException", "A capacity provider with the name %s already exists.", name)
	}
	p := &types.CapacityProvider{
		Name: in.Name, CapacityProviderArn: awssdk.String(arnOf("ecs", "capacity-provider/"+name)),
		AutoScalingGroupProvider: in.AutoScalingGroupProvider, Status: types.CapacityProviderStatusActive,
	}
	e.providers[name] = p
	e.setTags(*p.CapacityProviderArn, in.Tags)
	return &ecs.CreateCapacityProviderOutput{CapacityProvider: p}, nil
}

func (e *ECS) describeCapacityProviders(in *ecs.DescribeCapacityProvidersInput) (*ecs.DescribeCapacityProvidersOutput, *refusal) {
	var out ecs.DescribeCapacityProvidersOutput
	names := in.CapacityProviders
	if names == nil {
		names = sortedKeys(e.providers)
	}
	for _, name := range names {
		p := e.providers[path.Base(name)]
		if p == nil {
			out.Failures = append(out.Failures, types.Failure{Arn: awssdk.String(arnOf("ecs", "capacity-provider/"+path.Base(name))), Reason: awssdk.String("MISSING")})
			continue
		}
		v := *p
		if slices.Contains(in.Include, types.CapacityProviderFieldTags) {
			v.Tags = e.tags[*p.CapacityProviderArn]
		}
		out.CapacityProviders = append(out.CapacityProviders, v)
	}
	return &out, nil
}

func (e *ECS) deleteCapacityProvider(in *ecs.DeleteCapacityProviderInput) (*ecs.DeleteCapacityProviderOutput, *refusal) {
	name := path.Base(awssdk.ToString(in.CapacityProvider))
	p := e.providers[name]
	if p == nil {
		return nil, refuse("InvalidParameterException", "The specified capacity provider does not exist.")
	}
	for _, c := range e.clusters {
		if *c.Status == "ACTIVE" && slices.Contains(c.CapacityProviders, name) {
			return nil, refuse("InvalidParameterException", "The capacity provider is in use by cluster %s.", *c.ClusterName)
		}
	}
	delete(e.providers, name)
	delete(e.tags, *p.CapacityProviderArn)
	return &ecs.DeleteCapacityProviderOutput{CapacityProvider: p}, nil
}

func (e *ECS) setTags(arn string, tags []types.Tag) {
	list := e.tags[arn]
	for _, t := range tags {
		list = slices.DeleteFunc(slices.Clone(list), func(o types.Tag) bool { return *o.Key == *t.Key })
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b types.Tag) int { return strings.Compare(*a.Key, *b.Key) })
	e.tags[arn] = list
}

// known reports whether an ARN is of something that is there.
func (e *ECS) known(arn string) bool {
	kind, rest, _ := strings.Cut(arn[strings.LastIndex(arn, ":")+1:], "/")
	if strings.Contains(arn, ":task-definition/") {
		_, no := e.definition(arn[strings.Index(arn, "task-definition/")+len("task-definition/"):])
		return no == nil
	}
	switch kind {
	case "cluster":
		return e.clusters[rest] != nil
	case "capacity-provider":
		return e.providers[rest] != nil
	case "service":
		name, service, _ := strings.Cut(rest, "/")
		c := e.clusters[name]
		return c != nil && c.services[service] != nil && *c.services[service].Status != "INACTIVE"
	case "task":
		name, _, _ := strings.Cut(rest, "/")
		c := e.clusters[name]
		return c != nil && c.tasks[arn] != nil
	}
	return false
}

func (e *ECS) tagResource(in *ecs.TagResourceInput) (*ecs.TagResourceOutput, *refusal) {
	if !e.known(*in.ResourceArn) {
		return nil, refuse("ResourceNotFoundException", "%s", *in.ResourceArn)
	}
	e.setTags(*in.ResourceArn, in.Tags)
	if len(e.tags[*in.ResourceArn]) > 50 {
		return nil, refuse("InvalidParameterException", "Too many tags.")
	}
	return &ecs.TagResourceOutput{}, nil
}

func (e *ECS) untagResource(in *ecs.UntagResourceInput) (*ecs.UntagResourceOutput, *refusal) {
	if !e.known(*in.ResourceArn) {
		return nil, refuse("ResourceNotFoundException", "%s", *in.ResourceArn)
	}
	e.tags[*in.ResourceArn] = slices.DeleteFunc(slices.Clone(e.tags[*in.ResourceArn]), func(t types.Tag) bool { return slices.Contains(in.TagKeys, *t.Key) })
	return &ecs.UntagResourceOutput{}, nil
}

func (e *ECS) listTags(in *ecs.ListTagsForResourceInput) (*ecs.ListTagsForResourceOutput, *refusal) {
	if !e.known(*in.ResourceArn) {
		return nil, refuse("ResourceNotFoundException", "%s", *in.ResourceArn)
	}
	return &ecs.ListTagsForResourceOutput{Tags: e.tags[*in.ResourceArn]}, nil
}
