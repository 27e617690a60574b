package platform

import (
	"encoding/json"

	"github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/fault"
)

// Project is the Pulumi project of the cells; a cell's stack has its name.
const Project = "gitopsd-platform"

// StackName returns a cell's stack: organization/<project>/<StackName>.
func StackName(cell string) string { return cell }

// Config is all that a cell is made from. It survives JSON; equal values make
// equal resources.
type Config struct {
	Account string `json:"account" yaml:"account"` // 12 digits
	Region  string `json:"region" yaml:"region"`
	// Cell is the cell's name: a letter, then lower-case letters and digits, 12 at most: no
	// dashes, so that names made of it and a tenant's cannot meet another's.
	Cell string `json:"cell" yaml:"cell"`
	// Domain is the platform's; its zone is made by the cell and must be
	// delegated to the name servers in the outputs.
	Domain string `json:"domain" yaml:"domain"`
	// OriginSecret is between CloudFront and the load balancer: at least 32
	// printable characters. It is kept by whoever calls, as a secret.
	OriginSecret string    `json:"originSecret" yaml:"-"`
	Network      Network   `json:"network" yaml:"network"`
	Compute      Compute   `json:"compute" yaml:"compute"`
	Database     Database  `json:"database" yaml:"database"`
	Cache        Cache     `json:"cache" yaml:"cache"`
	Images       Images    `json:"images" yaml:"images"`
	Machines     []Machine `json:"machines" yaml:"-"`
	// Control is how the control plane's own parts in the cell are configured: a
	// document of the keys of docs/config.md. They find it in Outputs.
	Control string `json:"control,omitempty" yaml:"-"`
	// Daemon has the daemon run in the cell, beside the functions.
	Daemon     bool              `json:"daemon,omitempty" yaml:"-"`
	AlarmTopic string            `json:"alarmTopic,omitempty" yaml:"alarmTopic"` // ARN of an SNS topic told of alarms
	LogDays    int               `json:"logDays" yaml:"logDays"`
	Tags       map[string]string `json:"tags,omitempty" yaml:"tags"`
	// Unprotected lifts the protection of data, so that a destroy may follow.
	Unprotected bool `json:"unprotected,omitempty" yaml:"unprotected"`
}

// Network sizes the VPC.
type Network struct {
	CIDR  string   `json:"cidr" yaml:"cidr"`   // a /16
	Zones []string `json:"zones" yaml:"zones"` // availability zones, 2 or 3, by name
	// GatewayPerZone gives each zone a NAT gateway instead of one for all.
	GatewayPerZone bool `json:"gatewayPerZone" yaml:"gatewayPerZone"`
	// EdgePrefixList is the managed prefix list
	// com.amazonaws.global.cloudfront.origin-facing of the region. Without it the
	// load balancer hears everybody, and its rule refuses whoever lacks the secret.
	EdgePrefixList string `json:"edgePrefixList,omitempty" yaml:"edgePrefixList"`
}

// Compute sizes the container instances.
type Compute struct {
	InstanceTypes []string `json:"instanceTypes" yaml:"instanceTypes"` // all of one architecture
	Image         string   `json:"image" yaml:"image"`                 // AMI, or resolve:ssm:<parameter>
	Min           int      `json:"min" yaml:"min"`
	Max           int      `json:"max" yaml:"max"`
	TargetPercent int      `json:"targetPercent" yaml:"targetPercent"` // of the instances in use
	EdgeCount     int      `json:"edgeCount" yaml:"edgeCount"`         // Caddy tasks
}

// Database sizes the Aurora cluster, in capacity units.
type Database struct {
	Version     string  `json:"version" yaml:"version"` // of Aurora PostgreSQL
	MinCapacity float64 `json:"minCapacity" yaml:"minCapacity"`
	MaxCapacity float64 `json:"maxCapacity" yaml:"maxCapacity"`
	Readers     int     `json:"readers" yaml:"readers"`
	BackupDays  int     `json:"backupDays" yaml:"backupDays"`
}

// Cache sizes the replication group.
type Cache struct {
	Version  string `json:"version" yaml:"version"`
	NodeType string `json:"nodeType" yaml:"nodeType"`
	Replicas int    `json:"replicas" yaml:"replicas"` // at least 1: fail-over needs one
}

// Images are the container images, by digest. Those of the cell's own
// repositories exist only after a first up without them: until then they are
// empty and what runs them is left out.
type Images struct {
	ControlPlane string `json:"controlPlane,omitempty" yaml:"controlPlane"`
	Runtime      string `json:"runtime,omitempty" yaml:"runtime"`
	Compiler     string `json:"compiler,omitempty" yaml:"compiler"`
}

// Machine is a version of a state machine. Its document names the cell's parts by
// what MachineARN, FunctionARN, ClusterARN, CapacityProvider and PulumiFamily
// return, which are known before they are made.
type Machine struct {
	Name     string `json:"name"`
	Version  int    `json:"version"`
	Document string `json:"document"`
}

// Default returns a small cell's configuration; account, region, domain and the
// origin's secret are still to be given.
func Default() Config {
	return Config{
		Cell:    "a",
		Network: Network{CIDR: "10.64.0.0/16"},
		Compute: Compute{
			InstanceTypes: []string{"m7g.large", "m6g.large"},
			Image:         "resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/arm64/recommended/image_id",
			Min:           2, Max: 20, TargetPercent: 90, EdgeCount: 2,
		},
		Database: Database{Version: "17.5", MinCapacity: 0.5, MaxCapacity: 16, Readers: 1, BackupDays: 14},
		Cache:    Cache{Version: "7.1", NodeType: "cache.t4g.medium", Replicas: 1},
		LogDays:  30,
	}
}

// Outputs is what a cell's stack tells.
type Outputs struct {
	// Shared is what tenants use, without the origin's secret.
	Shared tenant.Shared `json:"shared"`

	NameServers   []string `json:"nameServers"`   // of the zone: delegate the domain to them
	KeyValueStore string   `json:"keyValueStore"` // ARN; host → tenant
	FileSystem    string   `json:"fileSystem"`
	Publisher     string   `json:"publisher"`     // access point on all tenants' directories
	CacheGroup    string   `json:"cacheGroup"`    // ID of the user group
	CacheEndpoint string   `json:"cacheEndpoint"` // host:port
	CacheID       string   `json:"cacheId"`       // of the replication group
	Database      string   `json:"database"`      // host:port of the writer
	DatabaseID    string   `json:"databaseId"`    // of the cluster
	MasterSecret  string   `json:"masterSecret"`  // ARN, of the database's master user
	Snapshots     string   `json:"snapshots"`     // bucket of tenants' snapshots
	State         string   `json:"state"`         // bucket of tenants' Pulumi state
	Logs          string   `json:"logs"`          // bucket of access logs
	Secret        string   `json:"secret"`        // ARN: Outputs as JSON, for our own parts
	OriginSecret  string   `json:"originSecret"`  // ARN: what SharedOf is given
	Credentials   string   `json:"credentials"`   // ARN: what the forge and Git are asked with; somebody puts it there
	Control       string   `json:"control"`       // Config's

	Repositories map[string]string `json:"repositories"` // image → URL
	Functions    map[string]string `json:"functions"`    // task, compile, sync → ARN; empty without their images
	Machines     map[string]string `json:"machines"`     // <name>-v<version> → ARN
	PulumiTask   string            `json:"pulumiTask"`   // family of the task of Pulumi runs
	DaemonTask   string            `json:"daemonTask"`   // family of the daemon's task
	TaskGroup    string            `json:"taskGroup"`    // security group of our own tasks
	WebhookURL   string            `json:"webhookUrl"`
	Dashboard    string            `json:"dashboard"`
}

// Output is the one output of the stack: Outputs as an object.
const Output = "cell"

// ReadOutputs reads the outputs of a cell's stack.
func ReadOutputs(values map[string]any) (Outputs, error) {
	o, err := decode(values)
	if err != nil {
		return Outputs{}, fault.Errorf(fault.Invalid, "outputs of the platform's stack: %w", err)
	}
	return o, nil
}

// ParseOutputs reads the outputs as the cell's configuration has them.
func ParseOutputs(b []byte) (Outputs, error) {
	var o Outputs
	if err := json.Unmarshal(b, &o); err != nil {
		return Outputs{}, fault.Errorf(fault.Invalid, "the cell's configuration: %w", err)
	}
	return o, o.check()
}

func (o Outputs) check() error {
	if o.Shared.Cell == "" || o.Shared.Account == "" {
		return fault.Errorf(fault.Invalid, "the cell's configuration has no shared part")
	}
	return nil
}

// SharedOf returns what tenants use of a cell. The origin's secret is no
// output: it comes from where the cell's configuration has it from.
func SharedOf(o Outputs, originSecret string) tenant.Shared {
	s := o.Shared
	s.OriginSecret = originSecret
	return s
}
