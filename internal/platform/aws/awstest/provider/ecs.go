package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

var ecsCluster = real{
	create: func(ctx context.Context, c *clients, in Properties) (string, Properties, error) {
		out, err := c.ecs.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: awssdk.String(text(in, "name")), Tags: ecsTags(in)})
		if err != nil {
			return "", nil, err
		}
		return *out.Cluster.ClusterArn, Properties{"arn": *out.Cluster.ClusterArn}, nil
	},
	read: func(ctx context.Context, c *clients, id string, _ Properties) (Properties, error) {
		out, err := c.ecs.DescribeClusters(ctx, &ecs.DescribeClustersInput{Clusters: []string{id}, Include: []types.ClusterField{types.ClusterFieldTags}})
		if err != nil {
			return nil, err
		}
		if len(out.Clusters) == 0 || awssdk.ToString(out.Clusters[0].Status) == "INACTIVE" {
			return nil, errGone
		}
		return Properties{"name": awssdk.ToString(out.Clusters[0].ClusterName), "tags": ecsTagged(out.Clusters[0].Tags)}, nil
	},
	update: tagECS,
	delete: func(ctx context.Context, c *clients, id string, _ Properties) error {
		_, err := c.ecs.DeleteCluster(ctx, &ecs.DeleteClusterInput{Cluster: &id})
		return gone(err)
	},
}

var capacityProvider = real{
	create: func(ctx context.Context, c *clients, in Properties) (string, Properties, error) {
		group, _ := in["autoScalingGroupProvider"].(map[string]any)
		out, err := c.ecs.CreateCapacityProvider(ctx, &ecs.CreateCapacityProviderInput{
			Name: awssdk.String(text(in, "name")), Tags: ecsTags(in),
			AutoScalingGroupProvider: &types.AutoScalingGroupProvider{AutoScalingGroupArn: awssdk.String(text(group, "autoScalingGroupArn"))},
		})
		if err != nil {
			return "", nil, err
		}
		return *out.CapacityProvider.CapacityProviderArn, Properties{"arn": *out.CapacityProvider.CapacityProviderArn}, nil
	},
	read: func(ctx context.Context, c *clients, id string, in Properties) (Properties, error) {
		out, err := c.ecs.DescribeCapacityProviders(ctx, &ecs.DescribeCapacityProvidersInput{CapacityProviders: []string{id}})
		if err != nil {
			return nil, err
		}
		if len(out.CapacityProviders) == 0 || out.CapacityProviders[0].Status == types.CapacityProviderStatusInactive {
			return nil, errGone
		}
		return Properties{"name": awssdk.ToString(out.CapacityProviders[0].Name)}, nil
	},
	update: tagECS,
	delete: func(ctx context.Context, c *clients, id string, _ Properties) error {
		_, err := c.ecs.DeleteCapacityProvider(ctx, &ecs.DeleteCapacityProviderInput{CapacityProvider: &id})
		return gone(err)
	},
}

var clusterProviders = real{
	create: func(ctx context.Context, c *clients, in Properties) (string, Properties, error) {
		return text(in, "clusterName"), nil, putProviders(ctx, c, text(in, "clusterName"), texts(in, "capacityProviders"))
	},
	read: func(ctx context.Context, c *clients, id string, _ Properties) (Properties, error) {
		out, err := c.ecs.DescribeClusters(ctx, &ecs.DescribeClustersInput{Clusters: []string{id}})
		if err != nil {
			return nil, err
		}
		if len(out.Clusters) == 0 || awssdk.ToString(out.Clusters[0].Status) == "INACTIVE" {
			return nil, errGone
		}
		return Properties{"clusterName": id}, nil
	},
	update: func(ctx context.Context, c *clients, id string, _, news Properties) (Properties, error) {
		return nil, putProviders(ctx, c, id, texts(news, "capacityProviders"))
	},
	delete: func(ctx context.Context, c *clients, id string, _ Properties) error {
		return gone(putProviders(ctx, c, id, nil))
	},
}

func putProviders(ctx context.Context, c *clients, cluster string, names []string) error {
	_, err := c.ecs.PutClusterCapacityProviders(ctx, &ecs.PutClusterCapacityProvidersInput{
		Cluster: &cluster, CapacityProviders: append([]string{}, names...), DefaultCapacityProviderStrategy: []types.CapacityProviderStrategyItem{},
	})
	return err
}

// definition is a task definition as the provider has it.
type definition struct {
	Family                  string                `json:"family"`
	NetworkMode             types.NetworkMode     `json:"networkMode"`
	RequiresCompatibilities []types.Compatibility `json:"requiresCompatibilities"`
	ExecutionRoleArn        string                `json:"executionRoleArn"`
	TaskRoleArn             string                `json:"taskRoleArn"`
	ContainerDefinitions    string                `json:"containerDefinitions"`
	Volumes                 []struct {
		Name string `json:"name"`
		EFS  struct {
			FileSystemID      string                     `json:"fileSystemId"`
			TransitEncryption types.EFSTransitEncryption `json:"transitEncryption"`
			Authorization     struct {
				AccessPointID string                          `json:"accessPointId"`
				IAM           types.EFSAuthorizationConfigIAM `json:"iam"`
			} `json:"authorizationConfig"`
		} `json:"efsVolumeConfiguration"`
	} `json:"volumes"`
}

var taskDefinition = real{
	create: func(ctx context.Context, c *clients, in Properties) (string, Properties, error) {
		d, err := decode[definition](in)
		if err != nil {
			return "", nil, err
		}
		register := &ecs.RegisterTaskDefinitionInput{
			Family: &d.Family, NetworkMode: d.NetworkMode, RequiresCompatibilities: d.RequiresCompatibilities,
			ExecutionRoleArn: &d.ExecutionRoleArn, TaskRoleArn: &d.TaskRoleArn, Tags: ecsTags(in),
		}
		if err := json.Unmarshal([]byte(d.ContainerDefinitions), &register.ContainerDefinitions); err != nil {
			return "", nil, fmt.Errorf("containerDefinitions: %w", err)
		}
		for _, v := range d.Volumes {
			register.Volumes = append(register.Volumes, types.Volume{Name: &v.Name, EfsVolumeConfiguration: &types.EFSVolumeConfiguration{
				FileSystemId: &v.EFS.FileSystemID, TransitEncryption: v.EFS.TransitEncryption,
				AuthorizationConfig: &types.EFSAuthorizationConfig{AccessPointId: &v.EFS.Authorization.AccessPointID, Iam: v.EFS.Authorization.IAM},
			}})
		}
		out, err := c.ecs.RegisterTaskDefinition(ctx, register)
		if err != nil {
			return "", nil, err
		}
		return d.Family, Properties{"arn": awssdk.ToString(out.TaskDefinition.TaskDefinitionArn)}, nil
	},
	// What was registered never changes: looking finds whether it is active.
	read: func(ctx context.Context, c *clients, id string, in Properties) (Properties, error) {
		out, err := c.ecs.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: &id})
		if code(err, "ClientException") || err == nil && out.TaskDefinition.Status != types.TaskDefinitionStatusActive {
			return nil, errGone
		}
		if err != nil {
			return nil, err
		}
		return Properties{"family": id}, nil
	},
	update: func(ctx context.Context, c *clients, id string, olds, news Properties) (Properties, error) {
		return tagECS(ctx, c, text(olds, "arn"), olds, news)
	},
	delete: func(ctx context.Context, c *clients, id string, state Properties) error {
		_, err := c.ecs.DeregisterTaskDefinition(ctx, &ecs.DeregisterTaskDefinitionInput{TaskDefinition: awssdk.String(text(state, "arn"))})
		if code(err, "ClientException") {
			return errGone
		}
		return err
	},
}

// ecsService is a service as the provider has it.
type ecsService struct {
	Name           string  `json:"name"`
	Cluster        string  `json:"cluster"`
	TaskDefinition string  `json:"taskDefinition"`
	DesiredCount   float64 `json:"desiredCount"`
	Strategies     []struct {
		CapacityProvider string  `json:"capacityProvider"`
		Base             float64 `json:"base"`
		Weight           float64 `json:"weight"`
	} `json:"capacityProviderStrategies"`
	Placement []struct {
		Type  types.PlacementStrategyType `json:"type"`
		Field string                      `json:"field"`
	} `json:"orderedPlacementStrategies"`
	Breaker struct {
		Enable   bool `json:"enable"`
		Rollback bool `json:"rollback"`
	} `json:"deploymentCircuitBreaker"`
	Minimum    float64 `json:"deploymentMinimumHealthyPercent"`
	Maximum    float64 `json:"deploymentMaximumPercent"`
	Registries *struct {
		RegistryArn   string  `json:"registryArn"`
		ContainerName string  `json:"containerName"`
		ContainerPort float64 `json:"containerPort"`
	} `json:"serviceRegistries"`
	ManagedTags bool                `json:"enableEcsManagedTags"`
	Propagate   types.PropagateTags `json:"propagateTags"`
}

func (s ecsService) deployment() *types.DeploymentConfiguration {
	return &types.DeploymentConfiguration{
		DeploymentCircuitBreaker: &types.DeploymentCircuitBreaker{Enable: s.Breaker.Enable, Rollback: s.Breaker.Rollback},
		MinimumHealthyPercent:    awssdk.Int32(int32(s.Minimum)), MaximumPercent: awssdk.Int32(int32(s.Maximum)),
	}
}

var service = real{
	create: func(ctx context.Context, c *clients, in Properties) (string, Properties, error) {
		s, err := decode[ecsService](in)
		if err != nil {
			return "", nil, err
		}
		create := &ecs.CreateServiceInput{
			ServiceName: &s.Name, Cluster: &s.Cluster, TaskDefinition: &s.TaskDefinition, DesiredCount: awssdk.Int32(int32(s.DesiredCount)),
			DeploymentConfiguration: s.deployment(), EnableECSManagedTags: s.ManagedTags, PropagateTags: s.Propagate, Tags: ecsTags(in),
		}
		for _, p := range s.Strategies {
			create.CapacityProviderStrategy = append(create.CapacityProviderStrategy, types.CapacityProviderStrategyItem{
				CapacityProvider: &p.CapacityProvider, Base: int32(p.Base), Weight: int32(p.Weight),
			})
		}
		for _, p := range s.Placement {
			create.PlacementStrategy = append(create.PlacementStrategy, types.PlacementStrategy{Type: p.Type, Field: &p.Field})
		}
		if r := s.Registries; r != nil {
			create.ServiceRegistries = []types.ServiceRegistry{{
				RegistryArn: &r.RegistryArn, ContainerName: &r.ContainerName, ContainerPort: awssdk.Int32(int32(r.ContainerPort)),
			}}
		}
		out, err := c.ecs.CreateService(ctx, create)
		if err != nil {
			return "", nil, err
		}
		arn := awssdk.ToString(out.Service.ServiceArn)
		return arn, Properties{"arn": arn}, nil
	},
	read: func(ctx context.Context, c *clients, id string, in Properties) (Properties, error) {
		s, err := describeService(ctx, c, text(in, "cluster"), id)
		if err != nil {
			return nil, err
		}
		return Properties{
			"name": awssdk.ToString(s.ServiceName), "taskDefinition": awssdk.ToString(s.TaskDefinition), "desiredCount": float64(s.DesiredCount),
			"tags": ecsTagged(s.Tags),
		}, nil
	},
	update: func(ctx context.Context, c *clients, id string, olds, news Properties) (Properties, error) {
		s, err := decode[ecsService](news)
		if err != nil {
			return nil, err
		}
		update := &ecs.UpdateServiceInput{Cluster: &s.Cluster, Service: &s.Name, DeploymentConfiguration: s.deployment()}
		if olds["taskDefinition"] != news["taskDefinition"] {
			update.TaskDefinition = &s.TaskDefinition
		}
		if olds["desiredCount"] != news["desiredCount"] {
			update.DesiredCount = awssdk.Int32(int32(s.DesiredCount))
		}
		if _, err := c.ecs.UpdateService(ctx, update); err != nil {
			return nil, err
		}
		return tagECS(ctx, c, id, olds, news)
	},
	// As the provider does: no tasks first, then the service, until it is gone.
	delete: func(ctx context.Context, c *clients, id string, state Properties) error {
		cluster := text(state, "cluster")
		if _, err := c.ecs.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: &cluster, Service: &id, DesiredCount: awssdk.Int32(0)}); err != nil && !code(err, "ServiceNotActiveException") {
			return gone(err)
		}
		if _, err := c.ecs.DeleteService(ctx, &ecs.DeleteServiceInput{Cluster: &cluster, Service: &id, Force: awssdk.Bool(true)}); err != nil {
			return gone(err)
		}
		for {
			_, err := describeService(ctx, c, cluster, id)
			if err != nil {
				return err // errGone in the end
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(20 * time.Millisecond):
			}
		}
	},
}

func describeService(ctx context.Context, c *clients, cluster, id string) (*types.Service, error) {
	out, err := c.ecs.DescribeServices(ctx, &ecs.DescribeServicesInput{
		Cluster: &cluster, Services: []string{id}, Include: []types.ServiceField{types.ServiceFieldTags},
	})
	if err != nil {
		return nil, gone(err)
	}
	if len(out.Services) == 0 || awssdk.ToString(out.Services[0].Status) == "INACTIVE" {
		return nil, errGone
	}
	return &out.Services[0], nil
}

func tagECS(ctx context.Context, c *clients, arn string, olds, news Properties) (Properties, error) {
	if keys := removed(olds, news); len(keys) > 0 {
		if _, err := c.ecs.UntagResource(ctx, &ecs.UntagResourceInput{ResourceArn: &arn, TagKeys: keys}); err != nil {
			return nil, err
		}
	}
	if len(tagsOf(news)) == 0 {
		return nil, nil
	}
	_, err := c.ecs.TagResource(ctx, &ecs.TagResourceInput{ResourceArn: &arn, Tags: ecsTags(news)})
	return nil, err
}

func ecsTags(in Properties) []types.Tag {
	var out []types.Tag
	for k, v := range tagsOf(in) {
		out = append(out, types.Tag{Key: awssdk.String(k), Value: awssdk.String(v)})
	}
	return out
}

func ecsTagged(tags []types.Tag) map[string]any {
	out := make(map[string]any, len(tags))
	for _, t := range tags {
		out[awssdk.ToString(t.Key)] = awssdk.ToString(t.Value)
	}
	return out
}

// texts returns a list of texts.
func texts(in Properties, name string) []string {
	list, _ := in[name].([]any)
	var out []string
	for _, v := range list {
		s, _ := v.(string)
		out = append(out, s)
	}
	return out
}
