package awstest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
)

// hosts starts what has not the image "broken".
type hosts struct{ awstest.Records }

func (h *hosts) Start(ctx context.Context, s awstest.Spec) (awstest.Container, error) {
	if *s.Container.Image == "broken" {
		return nil, errors.New("CannotPullContainerError: broken")
	}
	return h.Records.Start(ctx, s)
}

// service makes a cluster with one service of an image.
func service(t *testing.T, s *awstest.Server, count int32) *ecs.Client {
	t.Helper()
	api, name := ecs.NewFromConfig(s.Config()), awssdk.String("one")
	if _, err := api.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: name}); err != nil {
		t.Fatal(err)
	}
	define(t, api, "good")
	if _, err := api.CreateService(t.Context(), &ecs.CreateServiceInput{
		Cluster: name, ServiceName: name, TaskDefinition: name, DesiredCount: &count,
		DeploymentConfiguration: &ecstypes.DeploymentConfiguration{DeploymentCircuitBreaker: &ecstypes.DeploymentCircuitBreaker{Enable: true, Rollback: true}},
	}); err != nil {
		t.Fatal(err)
	}
	return api
}

func define(t *testing.T, api *ecs.Client, image string) {
	t.Helper()
	name := awssdk.String("one")
	if _, err := api.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: name, ContainerDefinitions: []ecstypes.ContainerDefinition{{Name: name, Image: &image, Memory: awssdk.Int32(64)}},
	}); err != nil {
		t.Fatal(err)
	}
}

// counted waits until the service is steady, with so many tasks of a revision.
func counted(t *testing.T, api *ecs.Client, want int32, revision string) {
	t.Helper()
	eventually(t, func() error {
		out, err := api.DescribeServices(t.Context(), &ecs.DescribeServicesInput{Cluster: awssdk.String("one"), Services: []string{"one"}})
		if err != nil {
			return err
		}
		s := out.Services[0]
		if d := s.Deployments[0]; len(s.Deployments) > 1 || d.RolloutState != ecstypes.DeploymentRolloutStateCompleted || s.RunningCount != want || *s.TaskDefinition != *d.TaskDefinition ||
			(*d.TaskDefinition)[len(*d.TaskDefinition)-1:] != revision {
			return fmt.Errorf("%d running of %d, %+v", s.RunningCount, want, s.Deployments)
		}
		return nil
	})
}

func TestABrokenDeploymentIsRolledBack(t *testing.T) {
	t.Parallel()
	s := awstest.New(t, "")
	e := s.PlayECS(t, new(hosts), nil)
	e.Delays.Restart = time.Millisecond
	api := service(t, s, 2)
	counted(t, api, 2, "1")
	define(t, api, "broken")
	if _, err := api.UpdateService(t.Context(), &ecs.UpdateServiceInput{Cluster: awssdk.String("one"), Service: awssdk.String("one"), TaskDefinition: awssdk.String("one")}); err != nil {
		t.Fatal(err)
	}
	counted(t, api, 2, "1")
	define(t, api, "better")
	if _, err := api.UpdateService(t.Context(), &ecs.UpdateServiceInput{Cluster: awssdk.String("one"), Service: awssdk.String("one"), TaskDefinition: awssdk.String("one")}); err != nil {
		t.Fatal(err)
	}
	counted(t, api, 2, "3")
}

func TestOnlyAnActiveTargetRaisesACount(t *testing.T) {
	t.Parallel()
	s := awstest.New(t, "")
	e := s.PlayECS(t, new(hosts), nil)
	s.PlayAutoScaling(t, e, 5*time.Millisecond)
	api, scaling := service(t, s, 0), applicationautoscaling.NewFromConfig(s.Config())
	target := func(suspended bool) *applicationautoscaling.RegisterScalableTargetInput {
		return &applicationautoscaling.RegisterScalableTargetInput{
			ServiceNamespace: astypes.ServiceNamespaceEcs, ScalableDimension: astypes.ScalableDimensionECSServiceDesiredCount,
			ResourceId: awssdk.String("service/one/one"), MinCapacity: awssdk.Int32(2), MaxCapacity: awssdk.Int32(4),
			SuspendedState: &astypes.SuspendedState{DynamicScalingOutSuspended: &suspended},
		}
	}
	if _, err := scaling.RegisterScalableTarget(t.Context(), target(true)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // some looks go by
	counted(t, api, 0, "1")
	if _, err := scaling.RegisterScalableTarget(t.Context(), target(false)); err != nil {
		t.Fatal(err)
	}
	counted(t, api, 2, "1")
	if _, err := scaling.DeregisterScalableTarget(t.Context(), &applicationautoscaling.DeregisterScalableTargetInput{
		ServiceNamespace: astypes.ServiceNamespaceEcs, ScalableDimension: astypes.ScalableDimensionECSServiceDesiredCount, ResourceId: awssdk.String("service/one/one"),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.UpdateService(t.Context(), &ecs.UpdateServiceInput{Cluster: awssdk.String("one"), Service: awssdk.String("one"), DesiredCount: awssdk.Int32(0)}); err != nil {
		t.Fatal(err)
	}
	counted(t, api, 0, "1")
}
