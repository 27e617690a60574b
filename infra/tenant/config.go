package tenant

import (
	"fmt"

	"github.com/gitopsd/gitopsd/infra/cdn"
	"github.com/gitopsd/gitopsd/internal/fault"
	core "github.com/gitopsd/gitopsd/internal/platform"
)

// Pulumi projects. A tenant has a stack of its name in each: the certificate
// is apart, so that a customer who is slow to prove a domain holds up nothing.
const (
	Project            = "gitopsd-tenant"
	CertificateProject = "gitopsd-certificate"
)

// Version is that of the programs. It is raised when they make something else of
// an equal configuration: then every tenant's stack is made anew.
const Version = 1

// StackName returns a tenant's stack: organization/<project>/<StackName>.
func StackName(tenant string) string { return tenant }

// What a tenant's container looks like from outside.
const (
	Container   = "runtime" // the container's name in the task definition
	TrafficPort = 8080      // the agent's public port in the container
	ControlPort = 8081      // the agent's control port in the container
	VolumePath  = "/volume" // where the container finds the tenant's releases
	// LivePrefix is where, in the tenant's bucket, the assets lie that are served.
	LivePrefix = cdn.LivePrefix
	// ReleasesPrefix is where the assets of each release lie: <prefix>/<digest>/.
	ReleasesPrefix = "releases"
)

// Edge says what stands before a tenant.
type Edge string

// The edges.
const (
	EdgeDedicated Edge = "dedicated" // a distribution of its own
	EdgeTenant    Edge = "tenant"    // a tenant of the cell's multi-tenant distribution
	EdgeWildcard  Edge = "wildcard"  // the cell's distribution for *.<domain>; no domains of its own
)

// Config is all that a tenant's programs are made from. It survives JSON; equal
// values make equal resources.
type Config struct {
	Tenant core.Config `json:"tenant"`
	Shared Shared      `json:"shared"`
	Edge   Edge        `json:"edge"`
	// UID is the tenant's user and group on the file system, unique in the cell.
	UID int `json:"uid"`
	// Environment is what the container gets in plain text beside what the agent
	// is told, Secrets what it gets from Secrets Manager (see AgentSecrets): each
	// variable's ARN. Those must begin with Shared.SecretPrefix: the execution
	// role reads no others.
	Environment map[string]string `json:"environment,omitempty"`
	Secrets     map[string]string `json:"secrets,omitempty"`
	// Certificate is one that was issued, of the hosts it is for. Without one,
	// only the first of the tenant's hosts is served, by the platform's own.
	Certificate Certificate `json:"certificate,omitzero"`
	// Request counts how often the certificate that is wanted was asked for anew.
	Request int `json:"request,omitempty"`
	// Withdrawn takes the tenant out of DNS and traffic and lets it run nowhere.
	// It also lifts the protection of data, so that a destroy may follow. When it
	// is lifted again, the service still wants no tasks, since that number is
	// left to the autoscaler, which acts upon alarms only: set it to the minimum.
	Withdrawn bool `json:"withdrawn,omitempty"`
}

// Certificate is a certificate in us-east-1 and the hosts it is for.
type Certificate struct {
	ARN   string   `json:"arn,omitempty"`
	Hosts []string `json:"hosts,omitempty"`
	// Request is Config.Request as it was when the certificate was asked for.
	Request int `json:"request,omitempty"`
}

// Shared is what a tenant uses of its cell: outputs of the platform's stack.
type Shared struct {
	Account string `json:"account"`
	Region  string `json:"region"`
	Cell    string `json:"cell"`
	Domain  string `json:"domain"` // the platform's; each tenant has a host below it
	ZoneID  string `json:"zoneId"`

	VPC             string   `json:"vpc"`
	PrivateSubnets  []string `json:"privateSubnets"`
	InstanceGroup   string   `json:"instanceGroup"` // security group of container instances
	DataGroup       string   `json:"dataGroup"`     // security group of databases and caches
	InstanceProfile string   `json:"instanceProfile"`
	InstanceTypes   []string `json:"instanceTypes"`
	InstanceImage   string   `json:"instanceImage"` // AMI, or resolve:ssm:<parameter>

	ClusterARN       string `json:"clusterArn"`
	ClusterName      string `json:"clusterName"`
	CapacityProvider string `json:"capacityProvider"`
	ExecutionRole    string `json:"executionRole"` // ARN
	SecretPrefix     string `json:"secretPrefix"`  // ARN, without its last part
	RuntimeImage     string `json:"runtimeImage"`  // by digest
	NamespaceID      string `json:"namespaceId"`
	NamespaceName    string `json:"namespaceName"` // SRV names end in it

	FileSystemID  string `json:"fileSystemId"`
	FileSystemARN string `json:"fileSystemArn"`
	PublisherUID  int    `json:"publisherUid"` // owns what is published on the file system

	DistributionID     string `json:"distributionId"` // multi-tenant
	DistributionARN    string `json:"distributionArn"`
	ConnectionGroup    string `json:"connectionGroup"`    // ID
	ConnectionEndpoint string `json:"connectionEndpoint"` // what custom domains are a CNAME of
	WildcardARN        string `json:"wildcardArn"`        // distribution of *.<domain>
	RequestFunction    string `json:"requestFunction"`    // ARN
	ResponseFunction   string `json:"responseFunction"`   // ARN
	HeadersPolicy      string `json:"headersPolicy"`      // ID
	OriginAccess       string `json:"originAccess"`       // ID of the origin access control
	OriginHost         string `json:"originHost"`         // of the load balancer
	OriginSecret       string `json:"originSecret"`       // what its rule demands; a secret
	DomainCertificate  string `json:"domainCertificate"`  // ARN, of *.<domain> in us-east-1

	DatabaseVersion    string `json:"databaseVersion"`    // of Aurora PostgreSQL, for dedicated ones
	DatabaseParameters string `json:"databaseParameters"` // cluster parameter group's name
	CacheVersion       string `json:"cacheVersion"`
	CacheNodeType      string `json:"cacheNodeType"`

	CacheDefaultUser string `json:"cacheDefaultUser"` // ID of the user named default, who may nothing
	CacheControlUser string `json:"cacheControlUser"` // ID, and name, of the control plane's user, who logs in by IAM
	DatabaseSubnets  string `json:"databaseSubnets"`  // subnet group's name
	CacheSubnets     string `json:"cacheSubnets"`     // subnet group's name
	CacheParameters  string `json:"cacheParameters"`  // parameter group's name
	KMSKey           string `json:"kmsKey"`           // ARN

	LogRetentionDays int               `json:"logRetentionDays"`
	Tags             map[string]string `json:"tags,omitempty"` // beside our own
}

// Outputs is what a tenant's stack tells.
type Outputs struct {
	Bucket          string `json:"bucket"`
	AccessPointID   string `json:"accessPointId"`
	AccessPointARN  string `json:"accessPointArn"`
	TaskRole        string `json:"taskRole"` // ARN
	ClusterARN      string `json:"clusterArn"`
	ServiceName     string `json:"serviceName"`
	ServiceARN      string `json:"serviceArn"`
	TaskDefinition  string `json:"taskDefinition"` // ARN
	SRV             string `json:"srv"`            // name whose SRV records are the instances
	DiscoveryID     string `json:"discoveryId"`    // of the Cloud Map service
	LogGroup        string `json:"logGroup"`
	DistributionID  string `json:"distributionId"`     // own, or of the cell
	DistributionTen string `json:"distributionTenant"` // ID; only with EdgeTenant
	EdgeDomain      string `json:"edgeDomain"`         // what the tenant's domains must be a CNAME of
	// Of a dedicated database: endpoint and the ARN of its master secret.
	DatabaseEndpoint string `json:"databaseEndpoint"`
	DatabaseSecret   string `json:"databaseSecret"`
	// Of a dedicated cache: endpoint, and the user group its users are put in.
	CacheEndpoint  string `json:"cacheEndpoint"`
	CacheUserGroup string `json:"cacheUserGroup"`
}

// Names of the outputs of the tenant's program.
const (
	OutBucket           = "bucket"
	OutAccessPointID    = "accessPointId"
	OutAccessPointARN   = "accessPointArn"
	OutTaskRole         = "taskRole"
	OutClusterARN       = "clusterArn"
	OutServiceName      = "serviceName"
	OutServiceARN       = "serviceArn"
	OutTaskDefinition   = "taskDefinition"
	OutSRV              = "srv"
	OutDiscoveryID      = "discoveryId"
	OutLogGroup         = "logGroup"
	OutDistributionID   = "distributionId"
	OutDistributionTen  = "distributionTenant"
	OutEdgeDomain       = "edgeDomain"
	OutDatabaseEndpoint = "databaseEndpoint"
	OutDatabaseSecret   = "databaseSecret"
	OutCacheEndpoint    = "cacheEndpoint"
	OutCacheUserGroup   = "cacheUserGroup"
)

// Names of the outputs of the certificate's program.
const (
	OutCertificateARN = "certificateArn" // of the certificate for all hosts
	OutValidation     = "validation"     // []ValidationRecord
)

// ValidationRecord is a CNAME that proves a host to the certificate authority.
type ValidationRecord struct {
	Host  string `json:"host"`
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
	// Ours says that it lies in the platform's own zone, where it is set already.
	Ours bool `json:"ours"`
}

// CertificateOutputs is what the certificate's stack tells.
type CertificateOutputs struct {
	ARN        string             `json:"certificateArn"`
	Validation []ValidationRecord `json:"validation"`
}

// ReadOutputs reads a tenant's stack's outputs. One that is missing, or of
// another type, is fault.Invalid.
func ReadOutputs(values map[string]any) (Outputs, error) {
	var o Outputs
	err := decode(values, &o, OutDistributionTen, OutDatabaseEndpoint, OutDatabaseSecret, OutCacheEndpoint, OutCacheUserGroup)
	if err != nil {
		return Outputs{}, fault.Errorf(fault.Invalid, "outputs of the tenant's stack: %w", err)
	}
	return o, nil
}

// ReadCertificateOutputs reads the outputs of the certificate's stack.
func ReadCertificateOutputs(values map[string]any) (CertificateOutputs, error) {
	var o CertificateOutputs
	if err := decode(values, &o); err != nil {
		return CertificateOutputs{}, fault.Errorf(fault.Invalid, "outputs of the certificate's stack: %w", err)
	}
	return o, nil
}

// Validate says what is missing or cannot be.
func (c Config) Validate() error {
	if err := c.validate(); err != nil {
		return fault.Errorf(fault.Invalid, "infrastructure of %s: %w", c.Tenant.Tenant, err)
	}
	return nil
}

var errEdge = fmt.Errorf("edge must be %q, %q or %q", EdgeDedicated, EdgeTenant, EdgeWildcard)
