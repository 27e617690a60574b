package platform

import (
	"fmt"
	"maps"

	"github.com/gitopsd/gitopsd/infra/aws"
	"github.com/gitopsd/gitopsd/infra/tenant"
)

// Container is the container of a Pulumi task that takes the command.
const Container = "gitopsd"

// Name returns the name of a part of the cell: of the cell itself without parts.
func (c Config) Name(limit int, parts ...string) string {
	return aws.Name(limit, append([]string{"gitopsd", c.Cell}, parts...)...)
}

func (c Config) name(parts ...string) string { return c.Name(aws.MaxRole, parts...) }

// arn returns the ARN of something in the cell's account and region.
func (c Config) arn(service, resource string) string {
	return fmt.Sprintf("arn:aws:%s:%s:%s:%s", service, c.Region, c.Account, resource)
}

// global returns the ARN of something in the cell's account and in no region.
func (c Config) global(service, resource string) string {
	return fmt.Sprintf("arn:aws:%s::%s:%s", service, c.Account, resource)
}

// FunctionARN returns the ARN of one of the functions: task, compile or sync.
func (c Config) FunctionARN(name string) string { return c.arn("lambda", "function:"+c.name(name)) }

// ClusterARN returns the ARN of the cell's cluster.
func (c Config) ClusterARN() string { return c.arn("ecs", "cluster/"+c.name()) }

// CapacityProvider returns the name of the cell's capacity provider.
func (c Config) CapacityProvider() string { return c.name() }

// PulumiFamily returns the family of the task definition of Pulumi runs.
func (c Config) PulumiFamily() string { return c.name("pulumi") }

// DaemonFamily returns the family of the task definition of the daemon.
func (c Config) DaemonFamily() string { return c.name("daemon") }

// MachineARN returns the ARN of a version of a state machine.
func (c Config) MachineARN(name string, version int) string {
	return c.arn("states", "stateMachine:"+c.machineName(name, version))
}

func (c Config) machineName(name string, version int) string {
	return c.name(machineKey(name, version))
}

func machineKey(name string, version int) string { return fmt.Sprintf("%s-v%d", name, version) }

// SecretPrefix returns the beginning of the ARNs of tenants' secrets.
func (c Config) SecretPrefix() string {
	return c.arn("secretsmanager", "secret:"+c.secretPath("tenant/"))
}

// ConfigurationName returns the name of the secret that has the cell's outputs.
func (c Config) ConfigurationName() string { return c.secretPath("configuration") }

// cacheUser is the control plane's own user of the cache: its ID, and as it logs in
// by IAM its name, too.
func (c Config) cacheUser() string { return c.Name(aws.MaxUserGroup, "control") }

func (c Config) secretPath(name string) string { return "gitopsd/" + c.Cell + "/" + name }

// path is the path of the cell's roles.
func (c Config) path() string { return "/gitopsd/" + c.Cell + "/" }

// StateBucket returns the name of the bucket of tenants' records and Pulumi state.
func (c Config) StateBucket() string { return c.bucketName("state") }

func (c Config) bucketName(use string) string {
	return c.Name(aws.MaxBucket, c.Account, c.Region, use)
}

// tenantBuckets matches the buckets of the cell's tenants, and no others.
func (c Config) tenantBuckets() string {
	t := tenant.Config{Shared: tenant.Shared{Account: c.Account, Region: c.Region, Cell: c.Cell}}
	return "arn:aws:s3:::" + t.BucketPrefix() + "*"
}

// Settings returns the settings of the cell's stack.
func (c Config) Settings() map[string]string { return aws.Settings(c.Account, c.Region) }

func (c Config) tags() map[string]string {
	tags := maps.Clone(c.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	tags[tenant.TagManagedBy] = tenant.ManagedBy
	tags[tenant.TagPlatform] = c.Cell
	tags["Name"] = c.name()
	return tags
}

// tenants matches what is of the cell's tenants, of one kind of resource.
func (c Config) tenants(service, kind string) string {
	return c.arn(service, kind+tenant.EntityPrefix(c.Cell)+"*")
}
