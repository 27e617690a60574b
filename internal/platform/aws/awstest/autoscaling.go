package awstest

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
)

// AutoScaling plays Application Auto Scaling of ECS services.
//
// As AWS: a target whose scaling out is not suspended brings a service that is
// below its minimum up to it, 0 too; whatever is above the maximum goes down to
// it, unless scaling in is suspended. A service without a target is left alone.
// A policy needs its target, and goes with it. Only who is told to stops it:
// a count that is set by hand lasts until the next look.
type AutoScaling struct {
	every atomic.Int64 // between two looks at all targets, in nanoseconds

	mu       sync.Mutex
	ecs      *ECS
	targets  map[string]*types.ScalableTarget           // by resource and dimension
	policies map[string]map[string]*types.ScalingPolicy // by the target's key, then by name
	tags     map[string]map[string]string               // by ARN
}

// PlayAutoScaling adds an Application Auto Scaling, which ends with the test.
func (s *Server) PlayAutoScaling(tb testing.TB, ecs *ECS, every time.Duration) *AutoScaling {
	a := &AutoScaling{
		ecs: ecs, targets: make(map[string]*types.ScalableTarget),
		policies: make(map[string]map[string]*types.ScalingPolicy), tags: make(map[string]map[string]string),
	}
	a.LookEvery(every)
	s.services["application-autoscaling"] = &targets{mu: &a.mu, names: asIs, calls: map[string]operation{
		"RegisterScalableTarget": op(a.register), "DeregisterScalableTarget": op(a.deregister), "DescribeScalableTargets": op(a.describe),
		"PutScalingPolicy": op(a.putPolicy), "DeleteScalingPolicy": op(a.deletePolicy), "DescribeScalingPolicies": op(a.describePolicies),
		"TagResource": op(a.tag), "UntagResource": op(a.untag), "ListTagsForResource": op(a.listTags),
	}}
	done, end := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-end:
				return
			case <-time.After(time.Duration(a.every.Load())):
				a.look()
			}
		}
	}()
	tb.Cleanup(func() {
		close(end)
		<-done
	})
	return a
}

// LookEvery sets the time between two looks at all targets.
func (a *AutoScaling) LookEvery(d time.Duration) { a.every.Store(int64(d)) }

// look brings each service within the bounds of its target.
func (a *AutoScaling) look() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.targets {
		cluster, name, ok := serviceOf(*t.ResourceId)
		if !ok {
			continue
		}
		a.ecs.scaled(cluster, name, func(desired int32) int32 {
			switch {
			case desired < *t.MinCapacity && !awssdk.ToBool(t.SuspendedState.DynamicScalingOutSuspended):
				return *t.MinCapacity
			case desired > *t.MaxCapacity && !awssdk.ToBool(t.SuspendedState.DynamicScalingInSuspended):
				return *t.MaxCapacity
			}
			return desired
		})
	}
}

func serviceOf(resource string) (cluster, name string, ok bool) {
	parts := strings.Split(resource, "/")
	if len(parts) != 3 || parts[0] != "service" {
		return "", "", false
	}
	return parts[1], parts[2], true
}

func (a *AutoScaling) register(in *applicationautoscaling.RegisterScalableTargetInput) (*applicationautoscaling.RegisterScalableTargetOutput, *refusal) {
	resource := awssdk.ToString(in.ResourceId)
	cluster, name, ok := serviceOf(resource)
	if in.ServiceNamespace != types.ServiceNamespaceEcs || in.ScalableDimension != types.ScalableDimensionECSServiceDesiredCount || !ok {
		return nil, refuse("ValidationException", "Unsupported service namespace, resource type or scalable dimension: %s", resource)
	}
	key := resource + string(in.ScalableDimension)
	t := a.targets[key]
	if t == nil {
		if !a.ecs.scaled(cluster, name, func(n int32) int32 { return n }) {
			return nil, refuse("ValidationException", "ECS service doesn't exist: %s", resource)
		}
		if in.MinCapacity == nil || in.MaxCapacity == nil {
			return nil, refuse("ValidationException", "minCapacity and maxCapacity are needed for a new target")
		}
		t = &types.ScalableTarget{
			ServiceNamespace: in.ServiceNamespace, ResourceId: in.ResourceId, ScalableDimension: in.ScalableDimension, CreationTime: ptr(time.Now()),
			SuspendedState:    &types.SuspendedState{DynamicScalingInSuspended: ptr(false), DynamicScalingOutSuspended: ptr(false), ScheduledScalingSuspended: ptr(false)},
			RoleARN:           awssdk.String("arn:aws:iam::" + Account + ":role/aws-service-role/ecs.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_ECSService"),
			ScalableTargetARN: awssdk.String(arnOf("application-autoscaling", "scalable-target/"+identity(key))),
		}
	}
	low, high := cmp.Or(in.MinCapacity, t.MinCapacity), cmp.Or(in.MaxCapacity, t.MaxCapacity)
	if *low < 0 || *high < *low {
		return nil, refuse("ValidationException", "Maximum capacity cannot be less than minimum capacity")
	}
	t.MinCapacity, t.MaxCapacity = low, high
	if s := in.SuspendedState; s != nil { // what is not given stays
		t.SuspendedState = &types.SuspendedState{
			DynamicScalingInSuspended:  cmp.Or(s.DynamicScalingInSuspended, t.SuspendedState.DynamicScalingInSuspended),
			DynamicScalingOutSuspended: cmp.Or(s.DynamicScalingOutSuspended, t.SuspendedState.DynamicScalingOutSuspended),
			ScheduledScalingSuspended:  cmp.Or(s.ScheduledScalingSuspended, t.SuspendedState.ScheduledScalingSuspended),
		}
	}
	a.targets[key] = t
	if a.tags[*t.ScalableTargetARN] == nil {
		a.tags[*t.ScalableTargetARN] = make(map[string]string)
	}
	maps.Copy(a.tags[*t.ScalableTargetARN], in.Tags)
	return &applicationautoscaling.RegisterScalableTargetOutput{ScalableTargetARN: t.ScalableTargetARN}, nil
}

func missingTarget(resource *string) *refusal {
	return refuse("ObjectNotFoundException", "No scalable target found for service namespace: ecs, resource ID: %s, scalable dimension: ecs:service:DesiredCount", awssdk.ToString(resource))
}

func (a *AutoScaling) deregister(in *applicationautoscaling.DeregisterScalableTargetInput) (*applicationautoscaling.DeregisterScalableTargetOutput, *refusal) {
	key := awssdk.ToString(in.ResourceId) + string(in.ScalableDimension)
	if a.targets[key] == nil {
		return nil, missingTarget(in.ResourceId)
	}
	delete(a.tags, *a.targets[key].ScalableTargetARN)
	delete(a.targets, key)
	delete(a.policies, key)
	return &applicationautoscaling.DeregisterScalableTargetOutput{}, nil
}

func (a *AutoScaling) describe(in *applicationautoscaling.DescribeScalableTargetsInput) (*applicationautoscaling.DescribeScalableTargetsOutput, *refusal) {
	var list []types.ScalableTarget
	for _, key := range sortedKeys(a.targets) {
		if t := a.targets[key]; len(in.ResourceIds) == 0 || slices.Contains(in.ResourceIds, *t.ResourceId) {
			list = append(list, *t)
		}
	}
	page, next, no := paged(list, in.NextToken, awssdk.ToInt32(in.MaxResults), 50)
	return &applicationautoscaling.DescribeScalableTargetsOutput{ScalableTargets: page, NextToken: next}, no
}

func (a *AutoScaling) putPolicy(in *applicationautoscaling.PutScalingPolicyInput) (*applicationautoscaling.PutScalingPolicyOutput, *refusal) {
	key, name := awssdk.ToString(in.ResourceId)+string(in.ScalableDimension), awssdk.ToString(in.PolicyName)
	switch {
	case a.targets[key] == nil:
		return nil, missingTarget(in.ResourceId)
	case name == "" || len(name) > 256:
		return nil, refuse("ValidationException", "policy name %q", name)
	}
	if a.policies[key] == nil {
		a.policies[key] = make(map[string]*types.ScalingPolicy)
	}
	if a.policies[key][name] == nil && len(a.policies[key]) >= 50 {
		return nil, refuse("LimitExceededException", "50 policies a target")
	}
	p := &types.ScalingPolicy{
		PolicyName: in.PolicyName, PolicyType: in.PolicyType, ResourceId: in.ResourceId, ScalableDimension: in.ScalableDimension,
		ServiceNamespace: in.ServiceNamespace, CreationTime: ptr(time.Now()), TargetTrackingScalingPolicyConfiguration: in.TargetTrackingScalingPolicyConfiguration,
		StepScalingPolicyConfiguration: in.StepScalingPolicyConfiguration,
		PolicyARN:                      awssdk.String(arnOf("autoscaling", "scalingPolicy:"+identity(key)+":resource/ecs/"+*in.ResourceId+":policyName/"+name)),
	}
	a.policies[key][name] = p
	return &applicationautoscaling.PutScalingPolicyOutput{PolicyARN: p.PolicyARN}, nil
}

func (a *AutoScaling) deletePolicy(in *applicationautoscaling.DeleteScalingPolicyInput) (*applicationautoscaling.DeleteScalingPolicyOutput, *refusal) {
	key := awssdk.ToString(in.ResourceId) + string(in.ScalableDimension)
	if a.policies[key][awssdk.ToString(in.PolicyName)] == nil {
		return nil, refuse("ObjectNotFoundException", "No scaling policy found: %s", awssdk.ToString(in.PolicyName))
	}
	delete(a.policies[key], *in.PolicyName)
	return &applicationautoscaling.DeleteScalingPolicyOutput{}, nil
}

func (a *AutoScaling) describePolicies(in *applicationautoscaling.DescribeScalingPoliciesInput) (*applicationautoscaling.DescribeScalingPoliciesOutput, *refusal) {
	var list []types.ScalingPolicy
	for _, key := range sortedKeys(a.policies) {
		for _, name := range sortedKeys(a.policies[key]) {
			p := a.policies[key][name]
			if (in.ResourceId == nil || *in.ResourceId == *p.ResourceId) && (len(in.PolicyNames) == 0 || slices.Contains(in.PolicyNames, name)) {
				list = append(list, *p)
			}
		}
	}
	page, next, no := paged(list, in.NextToken, awssdk.ToInt32(in.MaxResults), 50)
	return &applicationautoscaling.DescribeScalingPoliciesOutput{ScalingPolicies: page, NextToken: next}, no
}

func (a *AutoScaling) tagged(arn *string) (map[string]string, *refusal) {
	tags := a.tags[awssdk.ToString(arn)]
	if tags == nil {
		return nil, refuse("ResourceNotFoundException", "%s", awssdk.ToString(arn))
	}
	return tags, nil
}

func (a *AutoScaling) tag(in *applicationautoscaling.TagResourceInput) (*applicationautoscaling.TagResourceOutput, *refusal) {
	tags, no := a.tagged(in.ResourceARN)
	if no == nil {
		maps.Copy(tags, in.Tags)
	}
	return &applicationautoscaling.TagResourceOutput{}, no
}

func (a *AutoScaling) untag(in *applicationautoscaling.UntagResourceInput) (*applicationautoscaling.UntagResourceOutput, *refusal) {
	tags, no := a.tagged(in.ResourceARN)
	if no == nil {
		maps.DeleteFunc(tags, func(k, _ string) bool { return slices.Contains(in.TagKeys, k) })
	}
	return &applicationautoscaling.UntagResourceOutput{}, no
}

func (a *AutoScaling) listTags(in *applicationautoscaling.ListTagsForResourceInput) (*applicationautoscaling.ListTagsForResourceOutput, *refusal) {
	tags, no := a.tagged(in.ResourceARN)
	return &applicationautoscaling.ListTagsForResourceOutput{Tags: tags}, no
}
