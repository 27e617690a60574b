package provider

import (
	"context"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"
)

// discovered is a service of Cloud Map as the provider has it.
type discovered struct {
	Name         string `json:"name"`
	ForceDestroy bool   `json:"forceDestroy"`
	DNS          struct {
		NamespaceID   string              `json:"namespaceId"`
		RoutingPolicy types.RoutingPolicy `json:"routingPolicy"`
		Records       []struct {
			Type types.RecordType `json:"type"`
			TTL  float64          `json:"ttl"`
		} `json:"dnsRecords"`
	} `json:"dnsConfig"`
	Health *struct {
		Threshold float64 `json:"failureThreshold"`
	} `json:"healthCheckCustomConfig"`
}

func (d discovered) records() []types.DnsRecord {
	var out []types.DnsRecord
	for _, r := range d.DNS.Records {
		out = append(out, types.DnsRecord{Type: r.Type, TTL: awssdk.Int64(int64(r.TTL))})
	}
	return out
}

var discovery = real{
	create: func(ctx context.Context, c *clients, in Properties) (string, Properties, error) {
		d, err := decode[discovered](in)
		if err != nil {
			return "", nil, err
		}
		create := &servicediscovery.CreateServiceInput{
			Name: &d.Name, Tags: mapTags(in),
			DnsConfig: &types.DnsConfig{NamespaceId: &d.DNS.NamespaceID, RoutingPolicy: d.DNS.RoutingPolicy, DnsRecords: d.records()}, //nolint:staticcheck // as Pulumi sets it
		}
		if d.Health != nil {
			create.HealthCheckCustomConfig = &types.HealthCheckCustomConfig{FailureThreshold: awssdk.Int32(int32(d.Health.Threshold))} //nolint:staticcheck // as Pulumi sets it
		}
		out, err := c.discovery.CreateService(ctx, create)
		if err != nil {
			return "", nil, err
		}
		return awssdk.ToString(out.Service.Id), Properties{"arn": awssdk.ToString(out.Service.Arn)}, nil
	},
	read: func(ctx context.Context, c *clients, id string, _ Properties) (Properties, error) {
		out, err := c.discovery.GetService(ctx, &servicediscovery.GetServiceInput{Id: &id})
		if err != nil {
			return nil, gone(err)
		}
		return Properties{"name": awssdk.ToString(out.Service.Name), "arn": awssdk.ToString(out.Service.Arn)}, nil
	},
	update: func(ctx context.Context, c *clients, id string, _, news Properties) (Properties, error) {
		d, err := decode[discovered](news)
		if err != nil {
			return nil, err
		}
		_, err = c.discovery.UpdateService(ctx, &servicediscovery.UpdateServiceInput{Id: &id, Service: &types.ServiceChange{
			DnsConfig: &types.DnsConfigChange{DnsRecords: d.records()},
		}})
		return nil, err
	},
	// ECS may still be taking instances out.
	delete: func(ctx context.Context, c *clients, id string, state Properties) error {
		force, _ := state["forceDestroy"].(bool)
		for {
			_, err := c.discovery.DeleteService(ctx, &servicediscovery.DeleteServiceInput{Id: &id})
			if !force || !code(err, "ResourceInUse") {
				return gone(err)
			}
			out, err := c.discovery.ListInstances(ctx, &servicediscovery.ListInstancesInput{ServiceId: &id})
			if err != nil {
				return gone(err)
			}
			for _, i := range out.Instances {
				_, err := c.discovery.DeregisterInstance(ctx, &servicediscovery.DeregisterInstanceInput{ServiceId: &id, InstanceId: i.Id})
				if err != nil && gone(err) != errGone { //nolint:errorlint // it is never wrapped
					return err
				}
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(20 * time.Millisecond):
			}
		}
	},
}

func mapTags(in Properties) []types.Tag {
	var out []types.Tag
	for k, v := range tagsOf(in) {
		out = append(out, types.Tag{Key: awssdk.String(k), Value: awssdk.String(v)})
	}
	return out
}
