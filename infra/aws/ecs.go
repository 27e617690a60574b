package aws

import "github.com/pulumi/pulumi/sdk/v3/go/pulumi"

// ECSClusterArgs is aws:ecs/cluster:Cluster.
type ECSClusterArgs struct {
	Name     string            `pulumi:"name"`
	Settings []ECSSetting      `pulumi:"settings"`
	Tags     map[string]string `pulumi:"tags"`
}

// ECSSetting is a setting of a cluster.
type ECSSetting struct {
	Name  string `pulumi:"name"`
	Value string `pulumi:"value"`
}

func (ECSClusterArgs) kind() (string, *Named) { return "aws:ecs/cluster:Cluster", nil }

// CapacityProviderArgs is aws:ecs/capacityProvider:CapacityProvider.
type CapacityProviderArgs struct {
	Name                     string            `pulumi:"name"`
	AutoScalingGroupProvider ScalingGroup      `pulumi:"autoScalingGroupProvider"`
	Tags                     map[string]string `pulumi:"tags"`
}

// ScalingGroup is the group of instances behind a capacity provider.
type ScalingGroup struct {
	AutoScalingGroupArn          pulumi.StringInput `pulumi:"autoScalingGroupArn"`
	ManagedDraining              string             `pulumi:"managedDraining"`
	ManagedTerminationProtection string             `pulumi:"managedTerminationProtection"`
	ManagedScaling               ManagedScaling     `pulumi:"managedScaling"`
}

// ManagedScaling lets ECS size the group.
type ManagedScaling struct {
	Status                 string `pulumi:"status"`
	TargetCapacity         int    `pulumi:"targetCapacity"`
	MinimumScalingStepSize int    `pulumi:"minimumScalingStepSize"`
	MaximumScalingStepSize int    `pulumi:"maximumScalingStepSize"`
	InstanceWarmupPeriod   int    `pulumi:"instanceWarmupPeriod"`
}

func (CapacityProviderArgs) kind() (string, *Named) {
	return "aws:ecs/capacityProvider:CapacityProvider", nil
}

// ClusterCapacityProvidersArgs is aws:ecs/clusterCapacityProviders:ClusterCapacityProviders.
type ClusterCapacityProvidersArgs struct {
	ClusterName                       pulumi.StringInput   `pulumi:"clusterName"`
	CapacityProviders                 []pulumi.StringInput `pulumi:"capacityProviders"`
	DefaultCapacityProviderStrategies []CapacityStrategy   `pulumi:"defaultCapacityProviderStrategies"`
}

// CapacityStrategy is one capacity provider's share.
type CapacityStrategy struct {
	CapacityProvider pulumi.StringInput `pulumi:"capacityProvider"`
	Base             int                `pulumi:"base"`
	Weight           int                `pulumi:"weight"`
}

func (ClusterCapacityProvidersArgs) kind() (string, *Plain) {
	return "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders", nil
}

// TaskDefinitionArgs is aws:ecs/taskDefinition:TaskDefinition.
type TaskDefinitionArgs struct {
	Family                  string             `pulumi:"family"`
	NetworkMode             string             `pulumi:"networkMode"`
	RequiresCompatibilities []string           `pulumi:"requiresCompatibilities"`
	ExecutionRoleArn        pulumi.StringInput `pulumi:"executionRoleArn"`
	TaskRoleArn             pulumi.StringInput `pulumi:"taskRoleArn"`
	ContainerDefinitions    pulumi.StringInput `pulumi:"containerDefinitions"`
	Volumes                 []TaskVolume       `pulumi:"volumes"`
	Tags                    map[string]string  `pulumi:"tags"`
}

// TaskVolume is a volume on EFS.
type TaskVolume struct {
	Name string    `pulumi:"name"`
	EFS  EFSVolume `pulumi:"efsVolumeConfiguration"`
}

// EFSVolume is where on EFS, and how.
type EFSVolume struct {
	FileSystemID        pulumi.StringInput `pulumi:"fileSystemId"`
	TransitEncryption   string             `pulumi:"transitEncryption"`
	AuthorizationConfig EFSAuthorization   `pulumi:"authorizationConfig"`
}

// EFSAuthorization is by what a volume is mounted.
type EFSAuthorization struct {
	AccessPointID pulumi.StringInput `pulumi:"accessPointId"`
	IAM           string             `pulumi:"iam"`
}

func (TaskDefinitionArgs) kind() (string, *Resource) {
	return "aws:ecs/taskDefinition:TaskDefinition", nil
}

// ECSServiceArgs is aws:ecs/service:Service.
type ECSServiceArgs struct {
	Name                       string              `pulumi:"name"`
	Cluster                    pulumi.StringInput  `pulumi:"cluster"`
	TaskDefinition             pulumi.StringInput  `pulumi:"taskDefinition"`
	DesiredCount               int                 `pulumi:"desiredCount,zero"`
	CapacityProviderStrategies []CapacityStrategy  `pulumi:"capacityProviderStrategies"`
	OrderedPlacementStrategies []PlacementStrategy `pulumi:"orderedPlacementStrategies"`
	DeploymentCircuitBreaker   CircuitBreaker      `pulumi:"deploymentCircuitBreaker"`
	MinimumHealthyPercent      int                 `pulumi:"deploymentMinimumHealthyPercent,zero"`
	MaximumPercent             int                 `pulumi:"deploymentMaximumPercent"`
	AvailabilityZoneRebalance  string              `pulumi:"availabilityZoneRebalancing"`
	ServiceRegistries          *ServiceRegistry    `pulumi:"serviceRegistries"`
	LoadBalancers              []ServiceTarget     `pulumi:"loadBalancers"`
	HealthCheckGraceSeconds    int                 `pulumi:"healthCheckGracePeriodSeconds"`
	EnableManagedTags          bool                `pulumi:"enableEcsManagedTags"`
	EnableExecute              bool                `pulumi:"enableExecuteCommand"`
	PropagateTags              string              `pulumi:"propagateTags"`
	WaitForSteadyState         bool                `pulumi:"waitForSteadyState,zero"`
	Tags                       map[string]string   `pulumi:"tags"`
}

// PlacementStrategy says on which instances tasks go.
type PlacementStrategy struct {
	Type  string `pulumi:"type"`
	Field string `pulumi:"field"`
}

// CircuitBreaker ends a deployment that does not come up.
type CircuitBreaker struct {
	Enable   bool `pulumi:"enable"`
	Rollback bool `pulumi:"rollback"`
}

// ServiceRegistry is where tasks are registered for discovery.
type ServiceRegistry struct {
	RegistryArn   pulumi.StringInput `pulumi:"registryArn"`
	ContainerName string             `pulumi:"containerName"`
	ContainerPort int                `pulumi:"containerPort"`
}

// ServiceTarget is the target group tasks are put in.
type ServiceTarget struct {
	TargetGroupArn pulumi.StringInput `pulumi:"targetGroupArn"`
	ContainerName  string             `pulumi:"containerName"`
	ContainerPort  int                `pulumi:"containerPort"`
}

// ECSService is what a service tells.
type ECSService struct {
	pulumi.CustomResourceState
	Name pulumi.StringOutput `pulumi:"name"`
	Arn  pulumi.StringOutput `pulumi:"arn"`
}

func (ECSServiceArgs) kind() (string, *ECSService) { return "aws:ecs/service:Service", nil }

// ScalingTargetArgs is aws:appautoscaling/target:Target.
type ScalingTargetArgs struct {
	ServiceNamespace  string             `pulumi:"serviceNamespace"`
	ScalableDimension string             `pulumi:"scalableDimension"`
	ResourceID        pulumi.StringInput `pulumi:"resourceId"`
	MinCapacity       int                `pulumi:"minCapacity,zero"`
	MaxCapacity       int                `pulumi:"maxCapacity,zero"`
	Tags              map[string]string  `pulumi:"tags"`
}

// ScalingTarget is what a scalable target tells.
type ScalingTarget struct {
	pulumi.CustomResourceState
	ResourceID pulumi.StringOutput `pulumi:"resourceId"`
}

func (ScalingTargetArgs) kind() (string, *ScalingTarget) {
	return "aws:appautoscaling/target:Target", nil
}

// ScalingPolicyArgs is aws:appautoscaling/policy:Policy.
type ScalingPolicyArgs struct {
	Name              string             `pulumi:"name"`
	PolicyType        string             `pulumi:"policyType"`
	ServiceNamespace  string             `pulumi:"serviceNamespace"`
	ScalableDimension string             `pulumi:"scalableDimension"`
	ResourceID        pulumi.StringInput `pulumi:"resourceId"`
	Target            TargetTracking     `pulumi:"targetTrackingScalingPolicyConfiguration"`
}

// TargetTracking keeps a metric at a value.
type TargetTracking struct {
	Metric           PredefinedMetric `pulumi:"predefinedMetricSpecification"`
	TargetValue      float64          `pulumi:"targetValue"`
	ScaleInCooldown  int              `pulumi:"scaleInCooldown"`
	ScaleOutCooldown int              `pulumi:"scaleOutCooldown"`
}

// PredefinedMetric names a metric.
type PredefinedMetric struct {
	Type string `pulumi:"predefinedMetricType"`
}

func (ScalingPolicyArgs) kind() (string, *Resource) { return "aws:appautoscaling/policy:Policy", nil }

// DiscoveryServiceArgs is aws:servicediscovery/service:Service.
type DiscoveryServiceArgs struct {
	Name         string            `pulumi:"name"`
	ForceDestroy bool              `pulumi:"forceDestroy"`
	DNSConfig    DiscoveryDNS      `pulumi:"dnsConfig"`
	Health       DiscoveryHealth   `pulumi:"healthCheckCustomConfig"`
	Tags         map[string]string `pulumi:"tags"`
}

// DiscoveryHealth leaves it to others to say which instances are healthy.
type DiscoveryHealth struct {
	Threshold int `pulumi:"failureThreshold"`
}

// DiscoveryDNS is the records of the instances.
type DiscoveryDNS struct {
	NamespaceID   pulumi.StringInput `pulumi:"namespaceId"`
	RoutingPolicy string             `pulumi:"routingPolicy"`
	DNSRecords    []DiscoveryRecord  `pulumi:"dnsRecords"`
}

// DiscoveryRecord is one kind of record; TTL is in seconds.
type DiscoveryRecord struct {
	Type string `pulumi:"type"`
	TTL  int    `pulumi:"ttl"`
}

func (DiscoveryServiceArgs) kind() (string, *Resource) {
	return "aws:servicediscovery/service:Service", nil
}

// NamespaceArgs is aws:servicediscovery/privateDnsNamespace:PrivateDnsNamespace.
type NamespaceArgs struct {
	Name        string             `pulumi:"name"`
	VPC         pulumi.StringInput `pulumi:"vpc"`
	Description string             `pulumi:"description"`
	Tags        map[string]string  `pulumi:"tags"`
}

func (NamespaceArgs) kind() (string, *Resource) {
	return "aws:servicediscovery/privateDnsNamespace:PrivateDnsNamespace", nil
}
