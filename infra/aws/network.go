package aws

import "github.com/pulumi/pulumi/sdk/v3/go/pulumi"

// VPCArgs is aws:ec2/vpc:Vpc.
type VPCArgs struct {
	CIDR         string            `pulumi:"cidrBlock"`
	DNSHostnames bool              `pulumi:"enableDnsHostnames"`
	DNSSupport   bool              `pulumi:"enableDnsSupport"`
	Tags         map[string]string `pulumi:"tags"`
}

func (VPCArgs) kind() (string, *Resource) { return "aws:ec2/vpc:Vpc", nil }

// SubnetArgs is aws:ec2/subnet:Subnet.
type SubnetArgs struct {
	VPC  pulumi.StringInput `pulumi:"vpcId"`
	Zone string             `pulumi:"availabilityZone"`
	CIDR string             `pulumi:"cidrBlock"`
	Tags map[string]string  `pulumi:"tags"`
}

func (SubnetArgs) kind() (string, *Resource) { return "aws:ec2/subnet:Subnet", nil }

// InternetGatewayArgs is aws:ec2/internetGateway:InternetGateway.
type InternetGatewayArgs struct {
	VPC  pulumi.StringInput `pulumi:"vpcId"`
	Tags map[string]string  `pulumi:"tags"`
}

func (InternetGatewayArgs) kind() (string, *Resource) {
	return "aws:ec2/internetGateway:InternetGateway", nil
}

// AddressArgs is aws:ec2/eip:Eip.
type AddressArgs struct {
	Domain string            `pulumi:"domain"`
	Tags   map[string]string `pulumi:"tags"`
}

func (AddressArgs) kind() (string, *Resource) { return "aws:ec2/eip:Eip", nil }

// NATGatewayArgs is aws:ec2/natGateway:NatGateway.
type NATGatewayArgs struct {
	Allocation pulumi.StringInput `pulumi:"allocationId"`
	Subnet     pulumi.StringInput `pulumi:"subnetId"`
	Tags       map[string]string  `pulumi:"tags"`
}

func (NATGatewayArgs) kind() (string, *Plain) { return "aws:ec2/natGateway:NatGateway", nil }

// RouteTableArgs is aws:ec2/routeTable:RouteTable.
type RouteTableArgs struct {
	VPC  pulumi.StringInput `pulumi:"vpcId"`
	Tags map[string]string  `pulumi:"tags"`
}

func (RouteTableArgs) kind() (string, *Resource) { return "aws:ec2/routeTable:RouteTable", nil }

// RouteArgs is aws:ec2/route:Route.
type RouteArgs struct {
	Table       pulumi.StringInput `pulumi:"routeTableId"`
	Destination string             `pulumi:"destinationCidrBlock"`
	Gateway     pulumi.StringInput `pulumi:"gatewayId"`
	NATGateway  pulumi.StringInput `pulumi:"natGatewayId"`
}

func (RouteArgs) kind() (string, *Plain) { return "aws:ec2/route:Route", nil }

// RouteAssociationArgs is aws:ec2/routeTableAssociation:RouteTableAssociation.
type RouteAssociationArgs struct {
	Table  pulumi.StringInput `pulumi:"routeTableId"`
	Subnet pulumi.StringInput `pulumi:"subnetId"`
}

func (RouteAssociationArgs) kind() (string, *Plain) {
	return "aws:ec2/routeTableAssociation:RouteTableAssociation", nil
}

// EndpointArgs is aws:ec2/vpcEndpoint:VpcEndpoint.
type EndpointArgs struct {
	VPC            pulumi.StringInput   `pulumi:"vpcId"`
	Service        string               `pulumi:"serviceName"`
	Type           string               `pulumi:"vpcEndpointType"`
	RouteTables    []pulumi.StringInput `pulumi:"routeTableIds"`
	Subnets        []pulumi.StringInput `pulumi:"subnetIds"`
	SecurityGroups []pulumi.StringInput `pulumi:"securityGroupIds"`
	PrivateDNS     bool                 `pulumi:"privateDnsEnabled"`
	Tags           map[string]string    `pulumi:"tags"`
}

func (EndpointArgs) kind() (string, *Resource) { return "aws:ec2/vpcEndpoint:VpcEndpoint", nil }

// SecurityGroupArgs is aws:ec2/securityGroup:SecurityGroup.
type SecurityGroupArgs struct {
	Name        string             `pulumi:"name"`
	Description string             `pulumi:"description"`
	VPC         pulumi.StringInput `pulumi:"vpcId"`
	Tags        map[string]string  `pulumi:"tags"`
}

func (SecurityGroupArgs) kind() (string, *Resource) {
	return "aws:ec2/securityGroup:SecurityGroup", nil
}

// IngressArgs is aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule.
type IngressArgs struct {
	Group       pulumi.StringInput `pulumi:"securityGroupId"`
	Description string             `pulumi:"description"`
	Protocol    string             `pulumi:"ipProtocol"`
	From        int                `pulumi:"fromPort"`
	To          int                `pulumi:"toPort"`
	Source      pulumi.StringInput `pulumi:"referencedSecurityGroupId"`
	CIDR        string             `pulumi:"cidrIpv4"`
	PrefixList  string             `pulumi:"prefixListId"`
	Tags        map[string]string  `pulumi:"tags"`
}

func (IngressArgs) kind() (string, *Plain) {
	return "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", nil
}

// EgressArgs is aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule.
type EgressArgs struct {
	Group       pulumi.StringInput `pulumi:"securityGroupId"`
	Description string             `pulumi:"description"`
	Protocol    string             `pulumi:"ipProtocol"`
	From        int                `pulumi:"fromPort"`
	To          int                `pulumi:"toPort"`
	Target      pulumi.StringInput `pulumi:"referencedSecurityGroupId"`
	CIDR        string             `pulumi:"cidrIpv4"`
	Tags        map[string]string  `pulumi:"tags"`
}

func (EgressArgs) kind() (string, *Plain) {
	return "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule", nil
}

// LoadBalancerArgs is aws:lb/loadBalancer:LoadBalancer; the idle time is in seconds.
type LoadBalancerArgs struct {
	Name               string               `pulumi:"name"`
	Type               string               `pulumi:"loadBalancerType"`
	Internal           bool                 `pulumi:"internal,zero"`
	Subnets            []pulumi.StringInput `pulumi:"subnets"`
	SecurityGroups     []pulumi.StringInput `pulumi:"securityGroups"`
	DropInvalidHeaders bool                 `pulumi:"dropInvalidHeaderFields"`
	IdleTimeout        int                  `pulumi:"idleTimeout"`
	DeletionProtection bool                 `pulumi:"enableDeletionProtection,zero"`
	AccessLogs         LoadBalancerLogs     `pulumi:"accessLogs"`
	Tags               map[string]string    `pulumi:"tags"`
}

// LoadBalancerLogs is where access logs go.
type LoadBalancerLogs struct {
	Bucket  pulumi.StringInput `pulumi:"bucket"`
	Prefix  string             `pulumi:"prefix"`
	Enabled bool               `pulumi:"enabled"`
}

// LoadBalancer is what a load balancer tells.
type LoadBalancer struct {
	pulumi.CustomResourceState
	Arn       pulumi.StringOutput `pulumi:"arn"`
	ArnSuffix pulumi.StringOutput `pulumi:"arnSuffix"`
	DNSName   pulumi.StringOutput `pulumi:"dnsName"`
	ZoneID    pulumi.StringOutput `pulumi:"zoneId"`
}

func (LoadBalancerArgs) kind() (string, *LoadBalancer) {
	return "aws:lb/loadBalancer:LoadBalancer", nil
}

// TargetGroupArgs is aws:lb/targetGroup:TargetGroup; the delay is in seconds.
type TargetGroupArgs struct {
	Name                string             `pulumi:"name"`
	Port                int                `pulumi:"port"`
	Protocol            string             `pulumi:"protocol"`
	TargetType          string             `pulumi:"targetType"`
	VPC                 pulumi.StringInput `pulumi:"vpcId"`
	DeregistrationDelay int                `pulumi:"deregistrationDelay"`
	Algorithm           string             `pulumi:"loadBalancingAlgorithmType"`
	HealthCheck         TargetHealth       `pulumi:"healthCheck"`
	Tags                map[string]string  `pulumi:"tags"`
}

// TargetHealth is how targets are asked; times are in seconds.
type TargetHealth struct {
	Path      string `pulumi:"path"`
	Port      string `pulumi:"port"`
	Protocol  string `pulumi:"protocol"`
	Interval  int    `pulumi:"interval"`
	Timeout   int    `pulumi:"timeout"`
	Healthy   int    `pulumi:"healthyThreshold"`
	Unhealthy int    `pulumi:"unhealthyThreshold"`
	Matcher   string `pulumi:"matcher"`
}

// TargetGroup is what a target group tells.
type TargetGroup struct {
	pulumi.CustomResourceState
	Arn       pulumi.StringOutput `pulumi:"arn"`
	ArnSuffix pulumi.StringOutput `pulumi:"arnSuffix"`
}

func (TargetGroupArgs) kind() (string, *TargetGroup) { return "aws:lb/targetGroup:TargetGroup", nil }

// ListenerArgs is aws:lb/listener:Listener.
type ListenerArgs struct {
	LoadBalancer pulumi.StringInput `pulumi:"loadBalancerArn"`
	Port         int                `pulumi:"port"`
	Protocol     string             `pulumi:"protocol"`
	SSLPolicy    string             `pulumi:"sslPolicy"`
	Certificate  pulumi.StringInput `pulumi:"certificateArn"`
	Actions      []ListenerAction   `pulumi:"defaultActions"`
	Tags         map[string]string  `pulumi:"tags"`
}

// ListenerAction is what is done with a request.
type ListenerAction struct {
	Type        string             `pulumi:"type"`
	TargetGroup pulumi.StringInput `pulumi:"targetGroupArn"`
	Fixed       *FixedResponse     `pulumi:"fixedResponse"`
}

// FixedResponse is the load balancer's own answer.
type FixedResponse struct {
	ContentType string `pulumi:"contentType"`
	Body        string `pulumi:"messageBody"`
	Status      string `pulumi:"statusCode"`
}

func (ListenerArgs) kind() (string, *Resource) { return "aws:lb/listener:Listener", nil }

// ListenerRuleArgs is aws:lb/listenerRule:ListenerRule.
type ListenerRuleArgs struct {
	Listener   pulumi.StringInput  `pulumi:"listenerArn"`
	Priority   int                 `pulumi:"priority"`
	Conditions []ListenerCondition `pulumi:"conditions"`
	Actions    []ListenerAction    `pulumi:"actions"`
	Tags       map[string]string   `pulumi:"tags"`
}

// ListenerCondition is what a request must have.
type ListenerCondition struct {
	Header HeaderCondition `pulumi:"httpHeader"`
}

// HeaderCondition is a header with one of some values.
type HeaderCondition struct {
	Name   string               `pulumi:"httpHeaderName"`
	Values []pulumi.StringInput `pulumi:"values"`
}

func (ListenerRuleArgs) kind() (string, *Resource) { return "aws:lb/listenerRule:ListenerRule", nil }

// LaunchTemplateArgs is aws:ec2/launchTemplate:LaunchTemplate.
type LaunchTemplateArgs struct {
	Name           string               `pulumi:"name"`
	ImageID        string               `pulumi:"imageId"`
	UserData       string               `pulumi:"userData"` // base64
	Profile        LaunchProfile        `pulumi:"iamInstanceProfile"`
	SecurityGroups []pulumi.StringInput `pulumi:"vpcSecurityGroupIds"`
	Metadata       LaunchMetadata       `pulumi:"metadataOptions"`
	Disks          []LaunchDisk         `pulumi:"blockDeviceMappings"`
	Monitoring     LaunchMonitoring     `pulumi:"monitoring"`
	UpdateDefault  bool                 `pulumi:"updateDefaultVersion"`
	TagSpecs       []LaunchTags         `pulumi:"tagSpecifications"`
	Tags           map[string]string    `pulumi:"tags"`
}

// LaunchProfile is the role of an instance.
type LaunchProfile struct {
	ARN pulumi.StringInput `pulumi:"arn"`
}

// LaunchMetadata guards the instance's metadata.
type LaunchMetadata struct {
	Endpoint string `pulumi:"httpEndpoint"`
	Tokens   string `pulumi:"httpTokens"`
	Hops     int    `pulumi:"httpPutResponseHopLimit"`
}

// LaunchDisk is a disk.
type LaunchDisk struct {
	Device string    `pulumi:"deviceName"`
	EBS    LaunchEBS `pulumi:"ebs"`
}

// LaunchEBS is a volume; the size is in GiB.
type LaunchEBS struct {
	Size      int    `pulumi:"volumeSize"`
	Type      string `pulumi:"volumeType"`
	Encrypted string `pulumi:"encrypted"`
}

// LaunchMonitoring is metrics by the minute.
type LaunchMonitoring struct {
	Enabled bool `pulumi:"enabled,zero"`
}

// LaunchTags are the tags of what is launched.
type LaunchTags struct {
	Type string            `pulumi:"resourceType"`
	Tags map[string]string `pulumi:"tags"`
}

// LaunchTemplate is what a launch template tells.
type LaunchTemplate struct {
	pulumi.CustomResourceState
	Version pulumi.IntOutput `pulumi:"latestVersion"`
}

func (LaunchTemplateArgs) kind() (string, *LaunchTemplate) {
	return "aws:ec2/launchTemplate:LaunchTemplate", nil
}

// InstancesArgs is aws:autoscaling/group:Group.
type InstancesArgs struct {
	Name                string               `pulumi:"name"`
	Min                 int                  `pulumi:"minSize,zero"`
	Max                 int                  `pulumi:"maxSize,zero"`
	Subnets             []pulumi.StringInput `pulumi:"vpcZoneIdentifiers"`
	ProtectFromScaleIn  bool                 `pulumi:"protectFromScaleIn"`
	MaxInstanceLifetime int                  `pulumi:"maxInstanceLifetime"` // seconds
	ForceDelete         bool                 `pulumi:"forceDelete"`
	Mixed               MixedInstances       `pulumi:"mixedInstancesPolicy"`
	WaitForCapacity     string               `pulumi:"waitForCapacityTimeout"`
	Metrics             []string             `pulumi:"enabledMetrics"`
	GroupTags           []InstanceTag        `pulumi:"tags"`
}

// MixedInstances are instances of several types.
type MixedInstances struct {
	Template     MixedTemplate     `pulumi:"launchTemplate"`
	Distribution MixedDistribution `pulumi:"instancesDistribution"`
}

// MixedTemplate is what all have in common, and the types.
type MixedTemplate struct {
	Spec      TemplateSpec       `pulumi:"launchTemplateSpecification"`
	Overrides []TemplateOverride `pulumi:"overrides"`
}

// TemplateSpec names a launch template's version.
type TemplateSpec struct {
	ID      pulumi.StringInput `pulumi:"launchTemplateId"`
	Version pulumi.StringInput `pulumi:"version"`
}

// TemplateOverride is a type of instances.
type TemplateOverride struct {
	InstanceType string `pulumi:"instanceType"`
}

// MixedDistribution says how much is on demand.
type MixedDistribution struct {
	OnDemandPercent int `pulumi:"onDemandPercentageAboveBaseCapacity"`
}

// InstanceTag is a tag of the group and its instances.
type InstanceTag struct {
	Key       string `pulumi:"key"`
	Value     string `pulumi:"value"`
	Propagate bool   `pulumi:"propagateAtLaunch,zero"`
}

func (InstancesArgs) kind() (string, *Named) { return "aws:autoscaling/group:Group", nil }
