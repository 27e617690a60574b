package awstest

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	"github.com/redis/go-redis/v9"

	infraaws "github.com/gitopsd/gitopsd/infra/aws"
	infra "github.com/gitopsd/gitopsd/infra/platform"
	tenants "github.com/gitopsd/gitopsd/infra/tenant"
	aws "github.com/gitopsd/gitopsd/internal/platform/aws"
	"github.com/gitopsd/gitopsd/internal/postgres/postgrestest"
)

// Domain is the domain of a played cell.
const Domain = "apps.example"

// OriginSecret is between the CDN of a played cell and its edge.
const OriginSecret = "origin-secret-of-a-played-cell-0123456789"

// Cell is a whole cell, as infra/platform makes one, with everything that tenants
// use: a real Postgres, a real Redis, a directory for EFS, and an ECS whose tasks
// run. It ends with the test.
type Cell struct {
	*Server
	ECS         *ECS
	CloudMap    *CloudMap
	CloudFront  *CloudFront
	ACM         *ACM
	AutoScaling *AutoScaling
	Logs        *Logs
	Cache       *ElastiCache
	Redis       *redis.Client // as its admin
	Postgres    *postgrestest.Server
	DNS         string // host:port of the server that knows the tasks

	config    infra.Config
	outputs   infra.Outputs
	dir       string
	moto      awssdk.Config // past counting and throttling
	master    aws.Master
	keys      aws.KeysConfig
	records   *Records
	agent     func() (string, error)
	elsewhere elsewhere
	edge      sync.Once
	edgeAddr  string
}

// Option says how a cell is played.
type Option func(*settings)

type settings struct {
	records bool
	moto    string
	slow    time.Duration
}

// WithoutProcesses has tasks be kept on record and not run.
func WithoutProcesses() Option { return func(s *settings) { s.records = true } }

// WithMoto uses a moto that runs already, at this URL.
func WithMoto(url string) Option { return func(s *settings) { s.moto = url } }

// NewCell plays a cell.
func NewCell(tb testing.TB, options ...Option) *Cell {
	tb.Helper()
	var set settings
	for _, o := range options {
		o(&set)
	}
	if set.moto == "" {
		set.moto = StartMoto(tb)
	}
	c := &Cell{Server: New(tb, set.moto), dir: openDir(tb, "gitopsd-cell-"), config: infra.Default(), elsewhere: elsewhere{names: make(map[string]string)}}
	c.config.Account, c.config.Region, c.config.Domain, c.config.OriginSecret = Account, Region, Domain, OriginSecret
	c.moto = c.Config()
	c.moto.BaseEndpoint, c.moto.HTTPClient = awssdk.String(set.moto), nil
	for _, dir := range []string{"efs", "efs/tenants", "containers"} {
		makeDir(tb, filepath.Join(c.dir, dir))
	}
	c.agent = BuildAgent(c.dir)
	c.startPostgres(tb)
	c.startRedis(tb, set.slow)
	c.CloudMap = c.PlayCloudMap()
	c.DNS = c.CloudMap.ServeDNS(tb)
	c.Logs = c.PlayLogs()
	var host Host = &Processes{
		Dir: filepath.Join(c.dir, "containers"), Program: c.agent, Secret: c.secretValue, Mount: c.mount, Logs: c.Logs.driver,
	}
	if set.records {
		c.records = &Records{Mount: c.mount}
		host = c.records
	}
	c.ECS = c.PlayECS(tb, host, c.CloudMap)
	c.AutoScaling = c.PlayAutoScaling(tb, c.ECS, 200*time.Millisecond)
	c.CloudFront, c.ACM = c.PlayCloudFront(), c.PlayACM(c.lookup)
	c.CloudFront.Certified, c.ACM.Used = c.ACM.Names, c.CloudFront.Uses
	c.make(tb)
	c.Forget()
	return c
}

// Outputs returns what infra/platform would tell of the cell.
func (c *Cell) Outputs() infra.Outputs { return c.outputs }

// AWS returns how the SDK reaches the cell's AWS.
func (c *Cell) AWS() awssdk.Config { return c.Config() }

// Master returns how the control plane enters the cell's Aurora.
func (c *Cell) Master() aws.Master { return c.master }

// Keys returns how the control plane enters the cell's cache.
func (c *Cell) Keys() aws.KeysConfig { return c.keys }

// Volumes returns where the publisher has the cell's file system.
func (c *Cell) Volumes() string { return filepath.Join(c.dir, "efs", "tenants") }

// Dir returns a directory of the cell's, which ends with it.
func (c *Cell) Dir() string { return c.dir }

// must fails the test.
func must[T any](tb testing.TB) func(T, error) T {
	return func(v T, err error) T {
		tb.Helper()
		if err != nil {
			tb.Fatalf("play a cell: %v", err)
		}
		return v
	}
}

// make makes what is the cell's own.
func (c *Cell) make(tb testing.TB) {
	tb.Helper()
	ctx, p := tb.Context(), c.config
	shared := tenants.Shared{
		Account: Account, Region: Region, Cell: p.Cell, Domain: Domain,
		VPC: "vpc-1", PrivateSubnets: []string{"subnet-1", "subnet-2"}, InstanceGroup: "sg-1", DataGroup: "sg-2",
		InstanceProfile: "arn:aws:iam::" + Account + ":instance-profile/" + p.Name(infraaws.MaxRole), InstanceTypes: p.Compute.InstanceTypes,
		InstanceImage: p.Compute.Image, ClusterARN: p.ClusterARN(), ClusterName: p.Name(infraaws.MaxRole), CapacityProvider: p.CapacityProvider(),
		ExecutionRole: "arn:aws:iam::" + Account + ":role/gitopsd/" + p.Cell + "/execution", SecretPrefix: p.SecretPrefix(),
		RuntimeImage:  Account + ".dkr.ecr." + Region + ".amazonaws.com/gitopsd-" + p.Cell + "/runtime@sha256:" + fmt.Sprintf("%064d", 0),
		NamespaceName: "gitopsd-" + p.Cell + ".internal", PublisherUID: 9000,
		OriginHost: "origin." + Domain, DatabaseVersion: p.Database.Version, DatabaseParameters: p.Name(infraaws.MaxRole, "pg16"),
		DatabaseSubnets: p.Name(infraaws.MaxRole), CacheVersion: p.Cache.Version, CacheNodeType: p.Cache.NodeType, CacheSubnets: p.Name(infraaws.MaxRole), CacheParameters: p.Name(infraaws.MaxRole, "redis7"),
		CacheDefaultUser: defaultUser, KMSKey: arnOf("kms", "key/00000000-0000-0000-0000-000000000001"), LogRetentionDays: p.LogDays,
	}
	c.makeCompute(ctx, tb, &shared)
	c.makeFiles(ctx, tb, &shared)
	c.makeStores(ctx, tb, &shared)
	c.makeCDN(ctx, tb, &shared)
	c.outputs.Shared = shared
}

func (c *Cell) makeCompute(ctx context.Context, tb testing.TB, shared *tenants.Shared) {
	tb.Helper()
	containers, discovery := ecs.NewFromConfig(c.Config()), servicediscovery.NewFromConfig(c.Config())
	must[*ecs.CreateCapacityProviderOutput](tb)(containers.CreateCapacityProvider(ctx, &ecs.CreateCapacityProviderInput{
		Name: &shared.CapacityProvider,
		AutoScalingGroupProvider: &ecstypes.AutoScalingGroupProvider{
			AutoScalingGroupArn: awssdk.String(arnOf("autoscaling", "autoScalingGroup:1:autoScalingGroupName/"+shared.CapacityProvider)),
		},
	}))
	must[*ecs.CreateClusterOutput](tb)(containers.CreateCluster(ctx, &ecs.CreateClusterInput{
		ClusterName: &shared.ClusterName, CapacityProviders: []string{shared.CapacityProvider},
	}))
	must[*servicediscovery.CreatePrivateDnsNamespaceOutput](tb)(discovery.CreatePrivateDnsNamespace(ctx, &servicediscovery.CreatePrivateDnsNamespaceInput{
		Name: &shared.NamespaceName, Vpc: &shared.VPC,
	}))
	list := must[*servicediscovery.ListNamespacesOutput](tb)(discovery.ListNamespaces(ctx, &servicediscovery.ListNamespacesInput{}))
	shared.NamespaceID = *list.Namespaces[0].Id
}

// mount returns where an access point's directory is on this machine. It is made
// with the first mount, as the access point says.
func (c *Cell) mount(ctx context.Context, v ecstypes.EFSVolumeConfiguration) (string, error) {
	if awssdk.ToString(v.FileSystemId) != c.outputs.FileSystem || v.AuthorizationConfig == nil {
		return "", fmt.Errorf("file system %s without an access point", awssdk.ToString(v.FileSystemId))
	}
	out, err := efs.NewFromConfig(c.moto).DescribeAccessPoints(ctx, &efs.DescribeAccessPointsInput{AccessPointId: v.AuthorizationConfig.AccessPointId})
	if err != nil {
		return "", err
	}
	root := out.AccessPoints[0].RootDirectory
	dir := filepath.Join(c.dir, "efs", filepath.FromSlash(filepath.Clean("/"+*root.Path)))
	return dir, makeOwned(dir, root.CreationInfo)
}

// local returns an address of this machine.
func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// awaitTCP waits until something listens.
func awaitTCP(tb testing.TB, addr string) {
	tb.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("nothing listens on %s: %v", addr, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
