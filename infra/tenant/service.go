package tenant

import (
	"fmt"
	"maps"
	"slices"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/gitopsd/gitopsd/infra/aws"
	"github.com/gitopsd/gitopsd/infra/fleet"
)

// service makes where the tenant runs.
func (p *program) service() {
	logs := aws.Make(p.Scope, "logs", aws.LogGroupArgs{
		Name: p.c.LogGroupName(), RetentionDays: p.c.Shared.LogRetentionDays, KMSKey: aws.S(p.c.Shared.KMSKey),
	})
	point := p.volume()
	role, grant := p.role(point)
	registry := p.discovery()
	cluster, clusterName, provider, ready := p.cluster()
	task := aws.Make(p.Scope, "task", aws.TaskDefinitionArgs{
		Family: p.c.entity(aws.MaxService), NetworkMode: "bridge", RequiresCompatibilities: []string{"EC2"},
		ExecutionRoleArn: aws.S(p.c.Shared.ExecutionRole), TaskRoleArn: role.Arn,
		ContainerDefinitions: aws.JSON(pulumi.Array{p.container(logs)}),
		Volumes: []aws.TaskVolume{{Name: "releases", EFS: aws.EFSVolume{
			FileSystemID: aws.S(p.c.Shared.FileSystemID), TransitEncryption: "ENABLED",
			AuthorizationConfig: aws.EFSAuthorization{AccessPointID: point.ID().ToStringOutput(), IAM: "ENABLED"},
		}}},
	})
	count := p.c.Tenant.Compute.Scale.Min
	// Without the role's policy no task could stop in order, and a deletion would
	// stick in draining.
	opts := []pulumi.ResourceOption{pulumi.DependsOn(append(ready, grant))}
	if p.c.Withdrawn {
		count = 0
	} else {
		opts = append(opts, pulumi.IgnoreChanges([]string{"desiredCount"})) // the autoscaler's
	}
	svc := aws.Make(p.Scope, "service", aws.ECSServiceArgs{
		Name: p.c.ServiceName(), Cluster: cluster, TaskDefinition: task.Arn, DesiredCount: count,
		CapacityProviderStrategies: []aws.CapacityStrategy{{CapacityProvider: provider, Weight: 1}},
		OrderedPlacementStrategies: []aws.PlacementStrategy{{Type: "binpack", Field: "memory"}},
		DeploymentCircuitBreaker:   aws.CircuitBreaker{Enable: true, Rollback: true},
		MinimumHealthyPercent:      100, MaximumPercent: 200,
		AvailabilityZoneRebalance: "DISABLED", // it would undo the binpacking
		ServiceRegistries:         &aws.ServiceRegistry{RegistryArn: registry.Arn, ContainerName: Container, ContainerPort: TrafficPort},
		EnableManagedTags:         true, PropagateTags: "SERVICE",
	}, opts...)
	p.scaling(clusterName, svc)
	p.out[OutTaskRole] = role.Arn
	p.out[OutClusterARN] = cluster.ToStringOutput()
	p.out[OutServiceName] = svc.Name
	p.out[OutServiceARN] = svc.Arn
	p.out[OutTaskDefinition] = task.Arn
	p.out[OutLogGroup] = logs.Name
}

// volume makes the tenant's view of the file system: its directory, as its user.
// What is published there belongs to the publisher and is readable by the
// tenant's group, so a tenant can change none of it.
func (p *program) volume() *aws.Resource {
	point := aws.Make(p.Scope, "volume", aws.AccessPointArgs{
		FileSystemID: aws.S(p.c.Shared.FileSystemID),
		PosixUser:    aws.PosixUser{UID: p.c.UID, GID: p.c.UID},
		RootDirectory: aws.RootDirectory{Path: p.c.VolumeRoot(), Creation: aws.CreationInfo{
			OwnerUID: p.c.Shared.PublisherUID, OwnerGID: p.c.UID, Permissions: "2750",
		}},
	})
	p.out[OutAccessPointID] = point.ID()
	p.out[OutAccessPointARN] = point.Arn
	return point
}

// role makes the role of the tenant's tasks. It may mount the tenant's own
// directory, and nothing else at all. A role shared by tenants could mount each
// other's.
func (p *program) role(point *aws.Resource) (*aws.Named, pulumi.Resource) {
	role := aws.Make(p.Scope, "role", aws.RoleArgs{
		Name: p.c.RoleName(), Path: "/gitopsd/" + p.c.Shared.Cell + "/tenant/",
		Description: "tasks of tenant " + p.name, Trust: aws.Trust(p.c.Shared.Account, "ecs-tasks.amazonaws.com"),
	})
	grant := aws.Make(p.Scope, "role-volume", aws.RolePolicyArgs{
		Name: "volume", Role: role.Name,
		Policy: aws.Policy(aws.Statement{
			Actions:   []string{"elasticfilesystem:ClientMount"},
			Resources: []pulumi.StringInput{aws.S(p.c.Shared.FileSystemARN)},
			Condition: map[string]any{"StringEquals": map[string]any{"elasticfilesystem:AccessPointArn": point.Arn}},
		}),
	})
	return role, grant
}

// discovery makes the SRV record's name. With bridge networking there is no
// other kind of record: the port differs from task to task.
func (p *program) discovery() *aws.Resource {
	const ttl = 5 // seconds
	d := aws.Make(p.Scope, "discovery", aws.DiscoveryServiceArgs{
		Name: p.c.DiscoveryName(), ForceDestroy: true,
		DNSConfig: aws.DiscoveryDNS{
			NamespaceID: aws.S(p.c.Shared.NamespaceID), RoutingPolicy: "MULTIVALUE",
			DNSRecords: []aws.DiscoveryRecord{{Type: "SRV", TTL: ttl}},
		},
		Health: aws.DiscoveryHealth{Threshold: 1}, // ECS says which tasks are healthy
	})
	p.out[OutSRV] = pulumi.String(p.c.SRV())
	p.out[OutDiscoveryID] = d.ID()
	return d
}

// cluster returns where the service runs: the cell's cluster, or one of its own.
func (p *program) cluster() (arn, name, provider pulumi.StringInput, ready []pulumi.Resource) {
	s := p.c.Shared
	if !dedicated(p.c.Tenant.Isolation.Compute) {
		return aws.S(s.ClusterARN), aws.S(s.ClusterName), aws.S(s.CapacityProvider), nil
	}
	f := fleet.New(p.Scope, fleet.Spec{
		Name: p.c.ClusterName(), Image: s.InstanceImage, InstanceTypes: s.InstanceTypes,
		Profile: aws.S(s.InstanceProfile), SecurityGroup: aws.S(s.InstanceGroup), Subnets: aws.Strings(s.PrivateSubnets),
		Min: 0, Max: max(2, p.c.Tenant.Compute.Scale.Max), TargetPercent: 100, Tags: p.c.Tags(),
	})
	return f.Cluster.Arn, f.Cluster.Name, f.Provider, []pulumi.Resource{f.Ready}
}

// container returns the definition of the tenant's container: the agent, which
// runs the app. Its user is the tenant's, without any privilege.
func (p *program) container(logs *aws.Named) pulumi.Map {
	compute := p.c.Tenant.Compute
	port := func(n int) pulumi.Map {
		return pulumi.Map{"containerPort": pulumi.Int(n), "hostPort": pulumi.Int(0), "protocol": pulumi.String("tcp")}
	}
	return pulumi.Map{
		"name": pulumi.String(Container), "image": pulumi.String(p.c.Shared.RuntimeImage), "essential": pulumi.Bool(true),
		"cpu": pulumi.Int(compute.CPU), "memory": pulumi.Int(compute.Memory),
		"user":         pulumi.String(fmt.Sprintf("%d:%d", p.c.UID, p.c.UID)),
		"portMappings": pulumi.Array{port(TrafficPort), port(ControlPort)},
		"mountPoints": pulumi.Array{pulumi.Map{
			"sourceVolume": pulumi.String("releases"), "containerPath": pulumi.String(VolumePath), "readOnly": pulumi.Bool(true),
		}},
		"environment": pairs(p.c.agentEnvironment(), "name", "value"),
		"secrets":     pairs(p.c.Secrets, "name", "valueFrom"),
		// The runtime's health, not the app's: an app that is broken is no reason
		// to replace the container, whose successor would run the same.
		"healthCheck": pulumi.Map{
			"command":  pulumi.ToStringArray(HealthCommand()),
			"interval": pulumi.Int(10), "timeout": pulumi.Int(5), "retries": pulumi.Int(3), "startPeriod": pulumi.Int(15),
		},
		"linuxParameters": pulumi.Map{
			"initProcessEnabled": pulumi.Bool(true),
			"capabilities":       pulumi.Map{"drop": pulumi.ToStringArray([]string{"ALL"})},
		},
		"dockerSecurityOptions": pulumi.ToStringArray([]string{"no-new-privileges"}),
		"ulimits": pulumi.Array{pulumi.Map{
			"name": pulumi.String("nofile"), "softLimit": pulumi.Int(16384), "hardLimit": pulumi.Int(16384),
		}},
		"stopTimeout": pulumi.Int(stopSeconds),
		"logConfiguration": pulumi.Map{
			"logDriver": pulumi.String("awslogs"),
			"options": pulumi.Map{
				"awslogs-group": logs.Name, "awslogs-region": pulumi.String(p.c.Shared.Region),
				"awslogs-stream-prefix": pulumi.String("task"),
				"mode":                  pulumi.String("non-blocking"), "max-buffer-size": pulumi.String("4m"),
			},
		},
	}
}

// stopSeconds is what a container gets to end in: lingerTime, the agent's 30 s
// for requests in flight, the app's 30 s, and some.
const stopSeconds = 75

// pairs returns a map as ECS has it: a list, in a fixed order.
func pairs(m map[string]string, key, value string) pulumi.Array {
	list := pulumi.Array{}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, pulumi.Map{key: pulumi.String(k), value: pulumi.String(m[k])})
	}
	return list
}

// scaling makes the autoscaler's target and policies. A withdrawn tenant has
// none, or it would be started again.
func (p *program) scaling(cluster pulumi.StringInput, svc *aws.ECSService) {
	if p.c.Withdrawn {
		return
	}
	const namespace, dimension = "ecs", "ecs:service:DesiredCount"
	scale := p.c.Tenant.Compute.Scale
	target := aws.Make(p.Scope, "scaling", aws.ScalingTargetArgs{
		ServiceNamespace: namespace, ScalableDimension: dimension,
		ResourceID:  pulumi.Sprintf("service/%s/%s", cluster, svc.Name),
		MinCapacity: scale.Min, MaxCapacity: max(scale.Min, scale.Max),
	})
	for _, m := range []struct {
		name, metric string
		percent      float64
	}{
		{"cpu", "ECSServiceAverageCPUUtilization", float64(scale.TargetCPU)},
		{"memory", "ECSServiceAverageMemoryUtilization", memoryPercent},
	} {
		aws.Make(p.Scope, "scaling-"+m.name, aws.ScalingPolicyArgs{
			Name: m.name, PolicyType: "TargetTrackingScaling", ServiceNamespace: namespace, ScalableDimension: dimension,
			ResourceID: target.ResourceID,
			Target: aws.TargetTracking{
				Metric: aws.PredefinedMetric{Type: m.metric}, TargetValue: m.percent,
				ScaleInCooldown: 300, ScaleOutCooldown: 30,
			},
		})
	}
}

// memoryPercent is how full a tenant's containers may be before there are more.
const memoryPercent = 80
