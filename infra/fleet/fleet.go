// Package fleet makes container instances: a group of EC2 instances that ECS
// sizes by what its tasks need. A cell has one, and so has each tenant whose
// compute is dedicated.
//
// A task's own capacity provider must be in its cluster's list, and that list is
// one resource, of which a change refuses another: so whoever has a fleet has a
// cluster. Clusters cost nothing.
package fleet

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/gitopsd/gitopsd/infra/aws"
)

// Spec is what a fleet is made from.
type Spec struct {
	Name          string // of all that is made
	Image         string // AMI, or resolve:ssm:<parameter>
	InstanceTypes []string
	Profile       pulumi.StringInput // ARN of the instances' profile
	SecurityGroup pulumi.StringInput
	Subnets       []pulumi.StringInput
	Min, Max      int
	TargetPercent int // of the instances in use
	Tags          map[string]string
}

// Fleet is what was made.
type Fleet struct {
	Cluster   *aws.Named
	Provider  pulumi.StringOutput // name of the capacity provider
	Instances *aws.Named
	// Ready is to be depended on by what runs there.
	Ready pulumi.Resource
}

// maxLifetime replaces instances, so that none outlives its image's patches, in seconds.
const maxLifetime = 14 * 24 * 3600

// New registers a fleet.
func New(s *aws.Scope, spec Spec) *Fleet {
	// Container Insights would cost more than a small tenant does: it is paid by the
	// metric, and has a dozen of each service. What scales and what alarms needs none.
	cluster := aws.Make(s, "cluster", aws.ECSClusterArgs{
		Name: spec.Name, Settings: []aws.ECSSetting{{Name: "containerInsights", Value: "disabled"}},
	})
	tags := maps.Clone(spec.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	tags["Name"] = spec.Name
	template := aws.Make(s, "instances", aws.LaunchTemplateArgs{
		Name: spec.Name, ImageID: spec.Image, UserData: userData(spec.Name),
		Profile:        aws.LaunchProfile{ARN: spec.Profile},
		SecurityGroups: []pulumi.StringInput{spec.SecurityGroup},
		// One hop: a container behind Docker's bridge cannot reach the instance's
		// credentials.
		Metadata:      aws.LaunchMetadata{Endpoint: "enabled", Tokens: "required", Hops: 1},
		Disks:         []aws.LaunchDisk{{Device: "/dev/xvda", EBS: aws.LaunchEBS{Size: 50, Type: "gp3", Encrypted: "true"}}},
		Monitoring:    aws.LaunchMonitoring{Enabled: true},
		UpdateDefault: true,
		TagSpecs:      []aws.LaunchTags{{Type: "instance", Tags: tags}, {Type: "volume", Tags: tags}},
	})
	group := aws.Make(s, "group", instances(spec, tags, template),
		// ECS sizes the group.
		pulumi.IgnoreChanges([]string{"desiredCapacity"}))
	provider := aws.Make(s, "capacity", aws.CapacityProviderArgs{
		Name: spec.Name,
		AutoScalingGroupProvider: aws.ScalingGroup{
			AutoScalingGroupArn: group.Arn, ManagedDraining: "ENABLED", ManagedTerminationProtection: "ENABLED",
			ManagedScaling: aws.ManagedScaling{
				Status: "ENABLED", TargetCapacity: spec.TargetPercent,
				MinimumScalingStepSize: 1, MaximumScalingStepSize: 10, InstanceWarmupPeriod: 120,
			},
		},
	})
	ready := aws.Make(s, "capacity-of-cluster", aws.ClusterCapacityProvidersArgs{
		ClusterName: cluster.Name, CapacityProviders: []pulumi.StringInput{provider.Name},
		DefaultCapacityProviderStrategies: []aws.CapacityStrategy{{CapacityProvider: provider.Name, Weight: 100}},
	})
	return &Fleet{Cluster: cluster, Provider: provider.Name, Instances: group, Ready: ready}
}

func instances(spec Spec, tags map[string]string, template *aws.LaunchTemplate) aws.InstancesArgs {
	var overrides []aws.TemplateOverride
	for _, t := range spec.InstanceTypes {
		overrides = append(overrides, aws.TemplateOverride{InstanceType: t})
	}
	all := []aws.InstanceTag{{Key: "AmazonECSManaged", Value: "true", Propagate: true}}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, aws.InstanceTag{Key: k, Value: tags[k], Propagate: false})
	}
	return aws.InstancesArgs{
		Name: spec.Name, Min: spec.Min, Max: spec.Max, Subnets: spec.Subnets,
		ProtectFromScaleIn:  true, // managed termination protection needs it
		MaxInstanceLifetime: maxLifetime,
		ForceDelete:         true, // what is destroyed has no tasks left, but its instances are protected
		WaitForCapacity:     "0",
		Metrics:             []string{"GroupInServiceInstances", "GroupDesiredCapacity"}, // alarms look at it
		Mixed: aws.MixedInstances{
			Template: aws.MixedTemplate{
				Spec: aws.TemplateSpec{
					ID: template.ID().ToStringOutput(),
					Version: template.Version.ApplyT(func(v int) string {
						return fmt.Sprint(v)
					}).(pulumi.StringOutput),
				},
				Overrides: overrides,
			},
			Distribution: aws.MixedDistribution{OnDemandPercent: 100},
		},
		GroupTags: all,
	}
}

// userData tells an instance its cluster.
func userData(cluster string) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `#!/bin/sh
cat >>/etc/ecs/ecs.config <<END
ECS_CLUSTER=%s
ECS_ENABLE_SPOT_INSTANCE_DRAINING=true
ECS_CONTAINER_STOP_TIMEOUT=120s
ECS_IMAGE_PULL_BEHAVIOR=prefer-cached
ECS_AWSVPC_BLOCK_IMDS=true
END
`, cluster))
}
