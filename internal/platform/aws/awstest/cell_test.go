package awstest_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	efstypes "github.com/aws/aws-sdk-go-v2/service/efs/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	sdtypes "github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"
	"github.com/aws/smithy-go"
	"github.com/miekg/dns"

	infra "github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
)

func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

// runtime makes what a tenant's service needs and returns its definition.
func runtime(t *testing.T, c *awstest.Cell, name string) (registry string, definition *ecs.RegisterTaskDefinitionInput) {
	t.Helper()
	ctx, o := t.Context(), c.Outputs()
	secret, err := secretsmanager.NewFromConfig(c.AWS()).CreateSecret(ctx, &secretsmanager.CreateSecretInput{
		Name: awssdk.String("gitopsd/" + o.Shared.Cell + "/tenant/" + name), SecretString: awssdk.String(`{"controlKey":"control","edgeKey":"edge","environment":"{}"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	point, err := efs.NewFromConfig(c.AWS()).CreateAccessPoint(ctx, &efs.CreateAccessPointInput{
		FileSystemId: &o.FileSystem, ClientToken: &name, PosixUser: &efstypes.PosixUser{Uid: awssdk.Int64(20001), Gid: awssdk.Int64(20001)},
		RootDirectory: &efstypes.RootDirectory{Path: awssdk.String("/tenants/" + name), CreationInfo: &efstypes.CreationInfo{
			OwnerUid: awssdk.Int64(9000), OwnerGid: awssdk.Int64(20001), Permissions: awssdk.String("2750"),
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	group := "/gitopsd/" + o.Shared.Cell + "/tenant/" + name
	if _, err := cloudwatchlogs.NewFromConfig(c.AWS()).CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &group}); err != nil {
		t.Fatal(err)
	}
	found, err := servicediscovery.NewFromConfig(c.AWS()).CreateService(ctx, &servicediscovery.CreateServiceInput{
		Name: &name, DnsConfig: &sdtypes.DnsConfig{
			NamespaceId: &o.Shared.NamespaceID, DnsRecords: []sdtypes.DnsRecord{{Type: sdtypes.RecordTypeSrv, TTL: awssdk.Int64(5)}}, //nolint:staticcheck // as Pulumi sets it
		},
		HealthCheckCustomConfig: &sdtypes.HealthCheckCustomConfig{FailureThreshold: awssdk.Int32(1)}, //nolint:staticcheck // as Pulumi sets it
	})
	if err != nil {
		t.Fatal(err)
	}
	from := func(key string) *string { return awssdk.String(*secret.ARN + ":" + key + "::") }
	port := func(n int32) ecstypes.PortMapping {
		return ecstypes.PortMapping{ContainerPort: &n, HostPort: awssdk.Int32(0), Protocol: ecstypes.TransportProtocolTcp}
	}
	return *found.Service.Arn, &ecs.RegisterTaskDefinitionInput{
		Family: &name, NetworkMode: ecstypes.NetworkModeBridge, ExecutionRoleArn: &o.Shared.ExecutionRole,
		Volumes: []ecstypes.Volume{{Name: awssdk.String("releases"), EfsVolumeConfiguration: &ecstypes.EFSVolumeConfiguration{
			FileSystemId: &o.FileSystem, AuthorizationConfig: &ecstypes.EFSAuthorizationConfig{AccessPointId: point.AccessPointId},
		}}},
		ContainerDefinitions: []ecstypes.ContainerDefinition{{
			Name: awssdk.String(infra.Container), Image: &o.Shared.RuntimeImage, Memory: awssdk.Int32(128), User: awssdk.String("20001:20001"),
			PortMappings: []ecstypes.PortMapping{port(infra.TrafficPort), port(infra.ControlPort)},
			Environment:  []ecstypes.KeyValuePair{{Name: awssdk.String("GITOPSD_TENANT"), Value: &name}},
			Secrets: []ecstypes.Secret{
				{Name: awssdk.String("GITOPSD_CONTROL_KEY"), ValueFrom: from("controlKey")},
				{Name: awssdk.String("GITOPSD_EDGE_KEY"), ValueFrom: from("edgeKey")},
				{Name: awssdk.String("GITOPSD_ENVIRONMENT"), ValueFrom: from("environment")},
			},
			MountPoints: []ecstypes.MountPoint{{SourceVolume: awssdk.String("releases"), ContainerPath: awssdk.String(infra.VolumePath), ReadOnly: awssdk.Bool(true)}},
			HealthCheck: &ecstypes.HealthCheck{Command: []string{"CMD", "gitopsd-agent", "-check"}, Retries: awssdk.Int32(3), StartPeriod: awssdk.Int32(15)},
			StopTimeout: awssdk.Int32(75),
			LogConfiguration: &ecstypes.LogConfiguration{LogDriver: ecstypes.LogDriverAwslogs, Options: map[string]string{
				"awslogs-group": group, "awslogs-stream-prefix": "task",
			}},
		}},
	}
}

// srv asks the cell's DNS.
func srv(t *testing.T, c *awstest.Cell, name string) []string {
	t.Helper()
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), dns.TypeSRV)
	r, err := dns.Exchange(q, c.DNS)
	if err != nil {
		t.Fatal(err)
	}
	var at []string
	for n, rr := range r.Answer {
		at = append(at, net.JoinHostPort(r.Extra[n].(*dns.A).A.String(), fmt.Sprint(rr.(*dns.SRV).Port)))
	}
	return at
}

func TestAServiceOfTheCellRuns(t *testing.T) {
	t.Parallel()
	c := awstest.NewCell(t)
	ctx, o := t.Context(), c.Outputs()
	api := ecs.NewFromConfig(c.AWS())
	registry, in := runtime(t, c, "acme")
	if _, err := api.RegisterTaskDefinition(ctx, in); err != nil {
		t.Fatal(err)
	}
	create := &ecs.CreateServiceInput{
		Cluster: &o.Shared.ClusterARN, ServiceName: awssdk.String("acme"), TaskDefinition: awssdk.String("acme"), DesiredCount: awssdk.Int32(2),
		CapacityProviderStrategy: []ecstypes.CapacityProviderStrategyItem{{CapacityProvider: &o.Shared.CapacityProvider, Weight: 1}},
		ServiceRegistries:        []ecstypes.ServiceRegistry{{RegistryArn: &registry, ContainerName: awssdk.String(infra.Container), ContainerPort: awssdk.Int32(infra.TrafficPort)}},
	}
	if _, err := api.CreateService(ctx, create); err != nil {
		t.Fatal(err)
	}
	if _, err := api.CreateService(ctx, create); codeOf(err) != "InvalidParameterException" {
		t.Errorf("made twice: %v", err)
	}
	steady := func(want int32) {
		t.Helper()
		eventually(t, func() error {
			s, err := api.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &o.Shared.ClusterName, Services: []string{"acme"}})
			if err != nil {
				return err
			}
			if d := s.Services[0].Deployments; len(d) != 1 || d[0].RolloutState != ecstypes.DeploymentRolloutStateCompleted || s.Services[0].RunningCount != want {
				return fmt.Errorf("not steady: %+v", s.Services[0])
			}
			return nil
		})
	}
	steady(2)
	name := "acme." + o.Shared.NamespaceName
	if at := srv(t, c, name); len(at) != 2 {
		t.Errorf("SRV: %v", at)
	}
	list, err := api.ListTasks(ctx, &ecs.ListTasksInput{Cluster: &o.Shared.ClusterName, ServiceName: awssdk.String("acme")})
	if err != nil || len(list.TaskArns) != 2 {
		t.Fatalf("tasks: %v, %v", list, err)
	}
	if _, err := api.StopTask(ctx, &ecs.StopTaskInput{Cluster: &o.Shared.ClusterName, Task: &list.TaskArns[0]}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		now, err := api.ListTasks(ctx, &ecs.ListTasksInput{Cluster: &o.Shared.ClusterName, ServiceName: awssdk.String("acme")})
		if err == nil && (len(now.TaskArns) != 2 || strings.Contains(strings.Join(now.TaskArns, " "), list.TaskArns[0]) || len(srv(t, c, name)) != 2) {
			return fmt.Errorf("not replaced: %v", now.TaskArns)
		}
		return err
	})
	if _, err := api.DeleteService(ctx, &ecs.DeleteServiceInput{Cluster: &o.Shared.ClusterName, Service: awssdk.String("acme")}); codeOf(err) != "InvalidParameterException" {
		t.Errorf("deleted while it is scaled above 0: %v", err)
	}
	if _, err := api.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: &o.Shared.ClusterName, Service: awssdk.String("acme"), DesiredCount: awssdk.Int32(0)}); err != nil {
		t.Fatal(err)
	}
	steady(0)
	if at := srv(t, c, name); len(at) != 0 {
		t.Errorf("SRV of nothing: %v", at)
	}
	events, err := cloudwatchlogs.NewFromConfig(c.AWS()).FilterLogEvents(ctx, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: awssdk.String("/gitopsd/" + o.Shared.Cell + "/tenant/acme")})
	if err != nil || len(events.Events) == 0 {
		t.Errorf("no output of the tasks: %v", err)
	}
	if _, err := api.DeleteService(ctx, &ecs.DeleteServiceInput{Cluster: &o.Shared.ClusterName, Service: awssdk.String("acme")}); err != nil {
		t.Fatal(err)
	}
}
