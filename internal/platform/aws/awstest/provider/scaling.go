package provider

import (
	"context"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
)

// scaled names what is scaled.
func scaled(in Properties) (namespace types.ServiceNamespace, id *string, dimension types.ScalableDimension) {
	return types.ServiceNamespace(text(in, "serviceNamespace")), awssdk.String(text(in, "resourceId")), types.ScalableDimension(text(in, "scalableDimension"))
}

var scalingTarget = real{
	create: func(ctx context.Context, c *clients, in Properties) (string, Properties, error) {
		return text(in, "resourceId"), nil, registerTarget(ctx, c, in)
	},
	read: func(ctx context.Context, c *clients, id string, in Properties) (Properties, error) {
		namespace, _, _ := scaled(in)
		out, err := c.scaling.DescribeScalableTargets(ctx, &applicationautoscaling.DescribeScalableTargetsInput{ServiceNamespace: namespace, ResourceIds: []string{id}})
		if err != nil {
			return nil, err
		}
		if len(out.ScalableTargets) == 0 {
			return nil, errGone
		}
		t := out.ScalableTargets[0]
		return Properties{"minCapacity": float64(awssdk.ToInt32(t.MinCapacity)), "maxCapacity": float64(awssdk.ToInt32(t.MaxCapacity))}, nil
	},
	update: func(ctx context.Context, c *clients, _ string, _, news Properties) (Properties, error) {
		return nil, registerTarget(ctx, c, news)
	},
	delete: func(ctx context.Context, c *clients, _ string, state Properties) error {
		namespace, id, dimension := scaled(state)
		_, err := c.scaling.DeregisterScalableTarget(ctx, &applicationautoscaling.DeregisterScalableTargetInput{
			ServiceNamespace: namespace, ResourceId: id, ScalableDimension: dimension,
		})
		return gone(err)
	},
}

func registerTarget(ctx context.Context, c *clients, in Properties) error {
	namespace, id, dimension := scaled(in)
	least, _ := in["minCapacity"].(float64)
	most, _ := in["maxCapacity"].(float64)
	_, err := c.scaling.RegisterScalableTarget(ctx, &applicationautoscaling.RegisterScalableTargetInput{
		ServiceNamespace: namespace, ResourceId: id, ScalableDimension: dimension,
		MinCapacity: awssdk.Int32(int32(least)), MaxCapacity: awssdk.Int32(int32(most)),
	})
	return err
}

// tracking is what a policy keeps at a value.
type tracking struct {
	Metric struct {
		Type types.MetricType `json:"predefinedMetricType"`
	} `json:"predefinedMetricSpecification"`
	TargetValue      float64 `json:"targetValue"`
	ScaleInCooldown  float64 `json:"scaleInCooldown"`
	ScaleOutCooldown float64 `json:"scaleOutCooldown"`
}

var scalingPolicy = real{
	create: func(ctx context.Context, c *clients, in Properties) (string, Properties, error) {
		arn, err := putPolicy(ctx, c, in)
		return text(in, "name"), Properties{"arn": arn}, err
	},
	read: func(ctx context.Context, c *clients, id string, in Properties) (Properties, error) {
		namespace, on, dimension := scaled(in)
		out, err := c.scaling.DescribeScalingPolicies(ctx, &applicationautoscaling.DescribeScalingPoliciesInput{
			ServiceNamespace: namespace, ResourceId: on, ScalableDimension: dimension, PolicyNames: []string{id},
		})
		if err != nil {
			return nil, err
		}
		if len(out.ScalingPolicies) == 0 {
			return nil, errGone
		}
		return Properties{"name": id, "arn": awssdk.ToString(out.ScalingPolicies[0].PolicyARN)}, nil
	},
	update: func(ctx context.Context, c *clients, _ string, _, news Properties) (Properties, error) {
		_, err := putPolicy(ctx, c, news)
		return nil, err
	},
	delete: func(ctx context.Context, c *clients, id string, state Properties) error {
		namespace, on, dimension := scaled(state)
		_, err := c.scaling.DeleteScalingPolicy(ctx, &applicationautoscaling.DeleteScalingPolicyInput{
			ServiceNamespace: namespace, ResourceId: on, ScalableDimension: dimension, PolicyName: &id,
		})
		return gone(err)
	},
}

func putPolicy(ctx context.Context, c *clients, in Properties) (arn string, err error) {
	raw, _ := in["targetTrackingScalingPolicyConfiguration"].(map[string]any)
	t, err := decode[tracking](raw)
	if err != nil {
		return "", err
	}
	namespace, id, dimension := scaled(in)
	out, err := c.scaling.PutScalingPolicy(ctx, &applicationautoscaling.PutScalingPolicyInput{
		PolicyName: awssdk.String(text(in, "name")), PolicyType: types.PolicyType(text(in, "policyType")),
		ServiceNamespace: namespace, ResourceId: id, ScalableDimension: dimension,
		TargetTrackingScalingPolicyConfiguration: &types.TargetTrackingScalingPolicyConfiguration{
			TargetValue: &t.TargetValue, ScaleInCooldown: awssdk.Int32(int32(t.ScaleInCooldown)), ScaleOutCooldown: awssdk.Int32(int32(t.ScaleOutCooldown)),
			PredefinedMetricSpecification: &types.PredefinedMetricSpecification{PredefinedMetricType: t.Metric.Type},
		},
	})
	if err != nil {
		return "", err
	}
	return awssdk.ToString(out.PolicyARN), nil
}
