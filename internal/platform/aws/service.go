package aws

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	scaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// services are tenants' services of ECS: how many tasks they want, and what
// becomes of them.
type services struct {
	ecs     *ecs.Client
	scaling *scaling.Client
	poll    time.Duration
}

func newServices(c awssdk.Config, poll time.Duration) *services {
	return &services{ecs: ecs.NewFromConfig(c), scaling: scaling.NewFromConfig(c), poll: poll}
}

// describe returns a service that is there, or nil: ECS remembers those that were
// deleted for a while.
func (s *services) describe(ctx context.Context, at Service) (*ecstypes.Service, error) {
	out, err := s.ecs.DescribeServices(ctx, &ecs.DescribeServicesInput{
		Cluster: awssdk.String(at.Cluster), Services: []string{at.Name}, Include: []ecstypes.ServiceField{ecstypes.ServiceFieldTags},
	})
	if isCode(err, "ClusterNotFoundException") { // its own, which is gone
		return nil, nil
	}
	if err != nil {
		return nil, failure("look at service "+at.Name, err)
	}
	for _, one := range out.Services {
		if awssdk.ToString(one.Status) != "INACTIVE" {
			return &one, nil
		}
	}
	return nil, nil
}

// update changes a service.
func (s *services) update(ctx context.Context, at Service, change func(*ecs.UpdateServiceInput)) error {
	in := &ecs.UpdateServiceInput{Cluster: awssdk.String(at.Cluster), Service: awssdk.String(at.Name)}
	change(in)
	_, err := s.ecs.UpdateService(ctx, in)
	return failure("change service "+at.Name, err)
}

// want has the service want so many tasks.
func (s *services) want(ctx context.Context, at Service, count int) error {
	return s.update(ctx, at, func(in *ecs.UpdateServiceInput) {
		in.DesiredCount = awssdk.Int32(int32(count)) //nolint:gosec // a few
	})
}

// scalingOf returns what names a service to the autoscaler.
func scalingOf(at Service) string { return "service/" + path.Base(at.Cluster) + "/" + at.Name }

// target returns the service's autoscaling, or nil.
func (s *services) target(ctx context.Context, at Service) (*scalingtypes.ScalableTarget, error) {
	out, err := s.scaling.DescribeScalableTargets(ctx, &scaling.DescribeScalableTargetsInput{
		ServiceNamespace: scalingtypes.ServiceNamespaceEcs, ResourceIds: []string{scalingOf(at)},
	})
	if err != nil {
		return nil, failure("look at the autoscaling of "+at.Name, err)
	}
	if len(out.ScalableTargets) == 0 {
		return nil, nil
	}
	return &out.ScalableTargets[0], nil
}

// suspend has the autoscaler leave the service alone, or look after it again.
func (s *services) suspend(ctx context.Context, at Service, suspended bool) error {
	target, err := s.target(ctx, at)
	if err != nil || target == nil {
		return err
	}
	is := target.SuspendedState
	if is == nil {
		is = &scalingtypes.SuspendedState{}
	}
	all := []bool{awssdk.ToBool(is.DynamicScalingInSuspended), awssdk.ToBool(is.DynamicScalingOutSuspended), awssdk.ToBool(is.ScheduledScalingSuspended)}
	if !slices.Contains(all, !suspended) {
		return nil
	}
	_, err = s.scaling.RegisterScalableTarget(ctx, &scaling.RegisterScalableTargetInput{
		ServiceNamespace: scalingtypes.ServiceNamespaceEcs, ResourceId: awssdk.String(scalingOf(at)),
		ScalableDimension: scalingtypes.ScalableDimensionECSServiceDesiredCount,
		SuspendedState: &scalingtypes.SuspendedState{
			DynamicScalingInSuspended: awssdk.Bool(suspended), DynamicScalingOutSuspended: awssdk.Bool(suspended), ScheduledScalingSuspended: awssdk.Bool(suspended),
		},
	})
	return failure("set the autoscaling of "+at.Name, err)
}

// tasks returns the service's tasks that have not ended: those that are to run,
// and those on their way out.
func (s *services) tasks(ctx context.Context, at Service) ([]ecstypes.Task, error) {
	var arns []string
	for _, status := range []ecstypes.DesiredStatus{ecstypes.DesiredStatusRunning, ecstypes.DesiredStatusStopped} {
		pages := ecs.NewListTasksPaginator(s.ecs, &ecs.ListTasksInput{
			Cluster: awssdk.String(at.Cluster), ServiceName: awssdk.String(at.Name), DesiredStatus: status,
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if isCode(err, "ServiceNotFoundException") || isCode(err, "ClusterNotFoundException") {
				return nil, nil
			}
			if err != nil {
				return nil, failure("list tasks of "+at.Name, err)
			}
			arns = append(arns, page.TaskArns...)
		}
	}
	var tasks []ecstypes.Task
	for some := range slices.Chunk(arns, 100) { // as many as one call describes
		out, err := s.ecs.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: awssdk.String(at.Cluster), Tasks: some})
		if err != nil {
			return nil, failure("look at tasks of "+at.Name, err)
		}
		for _, t := range out.Tasks {
			if awssdk.ToString(t.LastStatus) != "STOPPED" {
				tasks = append(tasks, t)
			}
		}
	}
	return tasks, nil
}

// awaitNone waits until every task has ended.
func (s *services) awaitNone(ctx context.Context, at Service) error {
	return poll(ctx, s.poll, "service "+at.Name, func(ctx context.Context) (bool, string, error) {
		tasks, err := s.tasks(ctx, at)
		return len(tasks) == 0, fmt.Sprintf("running %d tasks", len(tasks)), err
	})
}

// awaitRunning waits until as many tasks run as are wanted, all of the newest
// deployment, and none of another is left. It gives up on a deployment that
// ECS has given up on.
func (s *services) awaitRunning(ctx context.Context, at Service) error {
	return poll(ctx, s.poll, "service "+at.Name, func(ctx context.Context) (bool, string, error) {
		service, err := s.describe(ctx, at)
		if err != nil {
			return false, "", err
		}
		if service == nil {
			return false, "", fault.Errorf(fault.NotFound, "there is no service %s", at.Name)
		}
		if err := givenUp(service); err != nil {
			return false, "", err
		}
		state := fmt.Sprintf("running %d of %d tasks in %d deployments%s", service.RunningCount, service.DesiredCount, len(service.Deployments), said(service))
		if len(service.Deployments) != 1 || service.RunningCount != service.DesiredCount || service.PendingCount > 0 {
			return false, state, nil
		}
		tasks, err := s.tasks(ctx, at)
		if err != nil {
			return false, "", err
		}
		return len(tasks) == int(service.DesiredCount), state, nil
	})
}

// givenUp fails if the newest deployment does not come about, for the reason that
// ECS gives.
func givenUp(service *ecstypes.Service) error {
	for _, one := range service.Deployments {
		if one.RolloutState == ecstypes.DeploymentRolloutStateFailed && awssdk.ToString(one.Status) == "PRIMARY" {
			return fault.Errorf(fault.Stalled, "its tasks do not run: %s%s", awssdk.ToString(one.RolloutStateReason), said(service)).
				WithDetail(strings.Join(events(service), "\n"))
		}
	}
	return nil
}

// said returns the last thing ECS had to say of a service.
func said(service *ecstypes.Service) string {
	if all := events(service); len(all) > 0 {
		return " (" + all[0] + ")"
	}
	return ""
}

// events returns what ECS says of a service, the newest first.
func events(service *ecstypes.Service) []string {
	var lines []string
	for _, e := range service.Events[:min(len(service.Events), 20)] {
		lines = append(lines, awssdk.ToString(e.Message))
	}
	return lines
}

// serviceOf returns where a tenant's instances are, as its record says, without
// the key of its agents.
func (d *Driver) serviceOf(r *record) Service {
	s := Service{
		Tenant: r.Tenant, Cluster: r.Outputs.ClusterARN, Name: d.named(r.Tenant).ServiceName(),
		Namespace: d.shared.NamespaceName, Discovery: d.named(r.Tenant).DiscoveryName(),
	}
	if s.Cluster == "" { // made in part, at most
		s.Cluster = d.shared.ClusterARN
		if r.Config.Isolation.Compute == tenant.Dedicated {
			s.Cluster = d.named(r.Tenant).ClusterName()
		}
	}
	return s
}

// ownService returns the tenant's service, or nil. One that is somebody else's is a
// fault.Conflict.
func (d *Driver) ownService(ctx context.Context, r *record) (*ecstypes.Service, error) {
	at := d.serviceOf(r)
	service, err := d.services.describe(ctx, at)
	if err != nil || service == nil {
		return nil, err
	}
	tags := make(map[string]string)
	for _, t := range service.Tags {
		tags[awssdk.ToString(t.Key)] = awssdk.ToString(t.Value)
	}
	return service, d.owner.check("service", at.Name, r.Tenant, tags)
}

// runTasks has the tenant's service want at least the least number of tasks, and
// the autoscaler look after it.
func (d *Driver) runTasks(ctx context.Context, r *record) error {
	at := d.serviceOf(r)
	service, err := d.ownService(ctx, r)
	if err != nil {
		return err
	}
	if service == nil {
		return fault.Errorf(fault.Transient, "service %s is not there", at.Name).WithHint("its stack has drifted: it is set right when its tenant's file changes")
	}
	wanted, least := int(service.DesiredCount), max(1, r.Config.Compute.Scale.Min)
	// Who runs no more than the least goes on so; who runs more needs it.
	if wanted < least || wanted == r.Least && wanted > least {
		if err := d.services.want(ctx, at, least); err != nil {
			return err
		}
	}
	if r.Least != least {
		r.Least = least
		if err := d.save(ctx, r); err != nil {
			return err
		}
	}
	return d.services.suspend(ctx, at, false)
}

// renew has the tasks that run started anew if they were given something else.
func (d *Driver) renew(ctx context.Context, r *record, given Credentials) error {
	stamp := given.stamp()
	if r.Environment == stamp {
		return nil
	}
	at := d.serviceOf(r)
	if r.Phase == running {
		service, err := d.ownService(ctx, r)
		if err != nil {
			return err
		}
		if service != nil && service.DesiredCount > 0 {
			err := d.services.update(ctx, at, func(in *ecs.UpdateServiceInput) { in.ForceNewDeployment = true })
			if err != nil {
				return err
			}
		}
	}
	r.Environment = stamp // last: until here it is done again
	return d.save(ctx, r)
}

// awaitTasks waits until the tenant's tasks run, for a while.
func (d *Driver) awaitTasks(ctx context.Context, r *record) error {
	bounded, cancel := context.WithTimeout(ctx, d.c.Timing.Start)
	defer cancel()
	err := d.services.awaitRunning(bounded, d.serviceOf(r))
	if err != nil && errors.Is(bounded.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
		return fault.Errorf(fault.Stalled, "its tasks do not run within %s: %w", d.c.Timing.Start, err).
			WithHint("the cluster may have no room, or the image cannot be fetched: see the service's events in ECS")
	}
	return err
}

// Drain implements platform.Platform.
func (d *Driver) Drain(ctx context.Context, tenant string) error {
	return d.locked(ctx, "drain", tenant, func() error {
		r, err := d.load(ctx, tenant)
		if err != nil {
			return err
		}
		return d.drain(ctx, tenant, r)
	})
}

func (d *Driver) drain(ctx context.Context, tenant string, r *record) error {
	if r != nil && r.Phase == running {
		r.Phase = drained // from here on nobody starts it again
		if err := d.save(ctx, r); err != nil {
			return err
		}
	}
	if err := d.unroute(ctx, tenant, r, stopped); err != nil {
		return err
	}
	if r == nil {
		return nil
	}
	at := d.serviceOf(r)
	service, err := d.ownService(ctx, r)
	if err != nil {
		return err
	}
	if service != nil {
		if err := d.services.suspend(ctx, at, true); err != nil {
			return err
		}
		if service.DesiredCount > 0 {
			if err := d.services.want(ctx, at, 0); err != nil {
				return err
			}
		}
	}
	return d.services.awaitNone(ctx, at)
}
