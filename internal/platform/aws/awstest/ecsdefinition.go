package awstest

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// maxDefinition bounds a task definition, in bytes. Source: ECS service quotas.
const maxDefinition = 64 << 10

// definition returns what a family, family:revision or ARN means.
func (e *ECS) definition(name string) (*types.TaskDefinition, *refusal) {
	if _, after, ok := strings.Cut(name, "task-definition/"); ok {
		name = after
	}
	family, revision, exact := strings.Cut(name, ":")
	all := e.definitions[family]
	if !exact {
		for _, d := range slices.Backward(all) {
			if d != nil && d.Status == types.TaskDefinitionStatusActive {
				return d, nil
			}
		}
	}
	if n, err := strconv.Atoi(revision); err == nil && n >= 1 && n <= len(all) && all[n-1] != nil {
		return all[n-1], nil
	}
	return nil, refuse("ClientException", "Unable to describe task definition.")
}

func (e *ECS) registerTaskDefinition(in *ecs.RegisterTaskDefinitionInput) (*ecs.RegisterTaskDefinitionOutput, *refusal) {
	family := awssdk.ToString(in.Family)
	switch b, _ := json.Marshal(in); {
	case !ecsName.MatchString(family):
		return nil, refuse("ClientException", "family %q", family)
	case len(b) > maxDefinition:
		return nil, refuse("ClientException", "Task definition is larger than 64 KiB.")
	case len(in.ContainerDefinitions) == 0:
		return nil, refuse("ClientException", "Task definition must contain at least one container.")
	}
	for _, c := range in.ContainerDefinitions {
		if no := checkContainer(in, c); no != nil {
			return nil, no
		}
	}
	revision := len(e.definitions[family]) + 1
	d := &types.TaskDefinition{
		Family: in.Family, Revision: int32(revision), Status: types.TaskDefinitionStatusActive, RegisteredAt: awssdk.Time(time.Now()), //nolint:gosec // small
		TaskDefinitionArn:    awssdk.String(arnOf("ecs", "task-definition/"+family+":"+strconv.Itoa(revision))),
		ContainerDefinitions: in.ContainerDefinitions, Cpu: in.Cpu, Memory: in.Memory, NetworkMode: in.NetworkMode, Volumes: in.Volumes,
		ExecutionRoleArn: in.ExecutionRoleArn, TaskRoleArn: in.TaskRoleArn, RequiresCompatibilities: in.RequiresCompatibilities,
		PlacementConstraints: in.PlacementConstraints, PidMode: in.PidMode, IpcMode: in.IpcMode, RuntimePlatform: in.RuntimePlatform,
		EphemeralStorage: in.EphemeralStorage, Compatibilities: in.RequiresCompatibilities,
	}
	e.definitions[family] = append(e.definitions[family], d)
	e.setTags(*d.TaskDefinitionArn, in.Tags)
	return &ecs.RegisterTaskDefinitionOutput{TaskDefinition: d, Tags: in.Tags}, nil
}

func checkContainer(in *ecs.RegisterTaskDefinitionInput, c types.ContainerDefinition) *refusal {
	switch {
	case !ecsName.MatchString(awssdk.ToString(c.Name)) || awssdk.ToString(c.Image) == "":
		return refuse("ClientException", "Container name and image are needed.")
	case c.Memory == nil && c.MemoryReservation == nil && in.Memory == nil:
		return refuse("ClientException", "Invalid setting for container '%s'. At least one of 'memory' or 'memoryReservation' must be specified.", *c.Name)
	case len(c.Secrets) > 0 && in.ExecutionRoleArn == nil:
		return refuse("ClientException", "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.")
	}
	for _, p := range c.PortMappings {
		if in.NetworkMode == types.NetworkModeAwsvpc && p.HostPort != nil && *p.HostPort != awssdk.ToInt32(p.ContainerPort) {
			return refuse("ClientException", "When networkMode=awsvpc, the host ports and container ports in port mappings must match.")
		}
	}
	for _, m := range c.MountPoints {
		if !slices.ContainsFunc(in.Volumes, func(v types.Volume) bool { return awssdk.ToString(v.Name) == awssdk.ToString(m.SourceVolume) }) {
			return refuse("ClientException", "Unknown volume '%s'.", awssdk.ToString(m.SourceVolume))
		}
	}
	return nil
}

func (e *ECS) describeTaskDefinition(in *ecs.DescribeTaskDefinitionInput) (*ecs.DescribeTaskDefinitionOutput, *refusal) {
	d, no := e.definition(awssdk.ToString(in.TaskDefinition))
	if no != nil {
		return nil, no
	}
	out := &ecs.DescribeTaskDefinitionOutput{TaskDefinition: d}
	if slices.Contains(in.Include, types.TaskDefinitionFieldTags) {
		out.Tags = e.tags[*d.TaskDefinitionArn]
	}
	return out, nil
}

func (e *ECS) deregisterTaskDefinition(in *ecs.DeregisterTaskDefinitionInput) (*ecs.DeregisterTaskDefinitionOutput, *refusal) {
	d, no := e.definition(awssdk.ToString(in.TaskDefinition))
	if no != nil {
		return nil, no
	}
	d.Status, d.DeregisteredAt = types.TaskDefinitionStatusInactive, awssdk.Time(time.Now())
	return &ecs.DeregisterTaskDefinitionOutput{TaskDefinition: d}, nil
}

func (e *ECS) deleteTaskDefinitions(in *ecs.DeleteTaskDefinitionsInput) (*ecs.DeleteTaskDefinitionsOutput, *refusal) {
	var out ecs.DeleteTaskDefinitionsOutput
	if len(in.TaskDefinitions) > 10 {
		return nil, refuse("InvalidParameterException", "At most 10 task definitions.")
	}
	for _, name := range in.TaskDefinitions {
		d, no := e.definition(name)
		if no != nil || d.Status == types.TaskDefinitionStatusActive {
			out.Failures = append(out.Failures, types.Failure{Arn: awssdk.String(name), Reason: awssdk.String("The specified task definition is still in ACTIVE status.")})
			continue
		}
		e.definitions[*d.Family][d.Revision-1] = nil // its number is never used again
		delete(e.tags, *d.TaskDefinitionArn)
		d.Status = types.TaskDefinitionStatusDeleteInProgress
		out.TaskDefinitions = append(out.TaskDefinitions, *d)
	}
	return &out, nil
}

func (e *ECS) listTaskDefinitions(in *ecs.ListTaskDefinitionsInput) (*ecs.ListTaskDefinitionsOutput, *refusal) {
	status := in.Status
	if status == "" {
		status = types.TaskDefinitionStatusActive
	}
	var arns []string
	for _, family := range sortedKeys(e.definitions) {
		if p := awssdk.ToString(in.FamilyPrefix); p != "" && p != family { // the whole name, whatever it is called
			continue
		}
		for _, d := range e.definitions[family] {
			if d != nil && d.Status == status {
				arns = append(arns, *d.TaskDefinitionArn)
			}
		}
	}
	page, next, no := paged(arns, in.NextToken, awssdk.ToInt32(in.MaxResults), 100)
	return &ecs.ListTaskDefinitionsOutput{TaskDefinitionArns: page, NextToken: next}, no
}

// paged returns a page of a list and the token of the next one. size 0: most.
func paged[T any](list []T, token *string, size, most int32) (page []T, next *string, no *refusal) {
	from := 0
	if t := awssdk.ToString(token); t != "" {
		n, err := strconv.Atoi(strings.TrimPrefix(t, "page-"))
		if err != nil || n < 0 {
			return nil, nil, refuse("InvalidParameterException", "Invalid token.")
		}
		from = n
	}
	if size <= 0 || size > most {
		size = most
	}
	from = min(from, len(list))
	to := min(from+int(size), len(list))
	if to < len(list) {
		next = awssdk.String("page-" + strconv.Itoa(to))
	}
	return list[from:to], next, nil
}
