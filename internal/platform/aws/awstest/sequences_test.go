package awstest_test

import (
	"context"
	"errors"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	acmtypes "github.com/aws/aws-sdk-go-v2/service/acm/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	cftypes "github.com/aws/aws-sdk-go-v2/service/cloudfront/types"
	kvs "github.com/aws/aws-sdk-go-v2/service/cloudfrontkeyvaluestore"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	ectypes "github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	sdtypes "github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"
)

// sequences are the calls that are made of both.
func sequences() map[string]func(context.Context, awssdk.Config) error {
	return map[string]func(context.Context, awssdk.Config) error{
		"ECS": ecsCalls, "Cloud Map": mapCalls, "Logs": logCalls, "ACM": acmCalls,
		"CloudFront": cloudFrontCalls, "key-value stores": keyCalls, "tenants of a distribution": tenantCalls, "ElastiCache": cacheCalls,
	}
}

func tagList() []ecstypes.Tag {
	return []ecstypes.Tag{{Key: awssdk.String("k"), Value: awssdk.String("v")}}
}

func ecsCalls(ctx context.Context, c awssdk.Config) error {
	api, name := ecs.NewFromConfig(c), awssdk.String("shapes")
	var errs []error
	note := func(_ any, err error) { errs = append(errs, err) }
	note(api.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: name, Tags: tagList()}))
	note(api.DescribeClusters(ctx, &ecs.DescribeClustersInput{Clusters: []string{"shapes"}, Include: []ecstypes.ClusterField{ecstypes.ClusterFieldTags}}))
	definition := &ecs.RegisterTaskDefinitionInput{
		Family: name, NetworkMode: ecstypes.NetworkModeBridge, ContainerDefinitions: []ecstypes.ContainerDefinition{{
			Name: name, Image: name, Memory: awssdk.Int32(64), Essential: awssdk.Bool(true),
			PortMappings: []ecstypes.PortMapping{{ContainerPort: awssdk.Int32(80), HostPort: awssdk.Int32(0), Protocol: ecstypes.TransportProtocolTcp}},
			Environment:  []ecstypes.KeyValuePair{{Name: awssdk.String("A"), Value: awssdk.String("b")}},
		}},
	}
	registered, err := api.RegisterTaskDefinition(ctx, definition)
	note(registered, err)
	note(api.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: name}))
	created, err := api.CreateService(ctx, &ecs.CreateServiceInput{Cluster: name, ServiceName: name, TaskDefinition: name, DesiredCount: awssdk.Int32(0), Tags: tagList()})
	note(created, err)
	note(api.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: name, Services: []string{"shapes"}, Include: []ecstypes.ServiceField{ecstypes.ServiceFieldTags}}))
	note(api.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: name, Service: name, ForceNewDeployment: true}))
	note(api.ListServices(ctx, &ecs.ListServicesInput{Cluster: name}))
	note(api.ListTasks(ctx, &ecs.ListTasksInput{Cluster: name, ServiceName: name}))
	if err == nil {
		note(api.TagResource(ctx, &ecs.TagResourceInput{ResourceArn: created.Service.ServiceArn, Tags: tagList()}))
		note(api.ListTagsForResource(ctx, &ecs.ListTagsForResourceInput{ResourceArn: created.Service.ServiceArn}))
	}
	note(api.DeleteService(ctx, &ecs.DeleteServiceInput{Cluster: name, Service: name}))
	note(api.DeregisterTaskDefinition(ctx, &ecs.DeregisterTaskDefinitionInput{TaskDefinition: awssdk.String("shapes:1")}))
	note(api.DeleteCluster(ctx, &ecs.DeleteClusterInput{Cluster: name}))
	return errors.Join(errs...)
}

func mapCalls(ctx context.Context, c awssdk.Config) error {
	api, name := servicediscovery.NewFromConfig(c), awssdk.String("shapes.internal")
	var errs []error
	note := func(_ any, err error) { errs = append(errs, err) }
	made, err := api.CreatePrivateDnsNamespace(ctx, &servicediscovery.CreatePrivateDnsNamespaceInput{Name: name, Vpc: awssdk.String("vpc-1")})
	if err != nil {
		return err
	}
	done, err := api.GetOperation(ctx, &servicediscovery.GetOperationInput{OperationId: made.OperationId})
	if err != nil {
		return err
	}
	namespace := done.Operation.Targets["NAMESPACE"]
	note(api.GetNamespace(ctx, &servicediscovery.GetNamespaceInput{Id: &namespace}))
	note(api.ListNamespaces(ctx, &servicediscovery.ListNamespacesInput{}))
	service, err := api.CreateService(ctx, &servicediscovery.CreateServiceInput{Name: awssdk.String("acme"), NamespaceId: &namespace, DnsConfig: &sdtypes.DnsConfig{
		DnsRecords: []sdtypes.DnsRecord{{Type: sdtypes.RecordTypeSrv, TTL: awssdk.Int64(5)}},
	}})
	if err != nil {
		return err
	}
	id := service.Service.Id
	note(api.GetService(ctx, &servicediscovery.GetServiceInput{Id: id}))
	note(api.ListServices(ctx, &servicediscovery.ListServicesInput{}))
	note(api.RegisterInstance(ctx, &servicediscovery.RegisterInstanceInput{ServiceId: id, InstanceId: awssdk.String("one"), Attributes: map[string]string{
		"AWS_INSTANCE_IPV4": "127.0.0.1", "AWS_INSTANCE_PORT": "80",
	}}))
	note(api.ListInstances(ctx, &servicediscovery.ListInstancesInput{ServiceId: id}))
	note(api.DiscoverInstances(ctx, &servicediscovery.DiscoverInstancesInput{NamespaceName: name, ServiceName: awssdk.String("acme")}))
	note(api.ListTagsForResource(ctx, &servicediscovery.ListTagsForResourceInput{ResourceARN: service.Service.Arn}))
	note(api.DeregisterInstance(ctx, &servicediscovery.DeregisterInstanceInput{ServiceId: id, InstanceId: awssdk.String("one")}))
	note(api.DeleteService(ctx, &servicediscovery.DeleteServiceInput{Id: id}))
	note(api.DeleteNamespace(ctx, &servicediscovery.DeleteNamespaceInput{Id: &namespace}))
	return errors.Join(errs...)
}

func logCalls(ctx context.Context, c awssdk.Config) error {
	api, name := cloudwatchlogs.NewFromConfig(c), awssdk.String("/shapes")
	var errs []error
	note := func(_ any, err error) { errs = append(errs, err) }
	note(api.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: name, Tags: map[string]string{"k": "v"}}))
	note(api.PutRetentionPolicy(ctx, &cloudwatchlogs.PutRetentionPolicyInput{LogGroupName: name, RetentionInDays: awssdk.Int32(30)}))
	note(api.DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: name}))
	note(api.CreateLogStream(ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: name, LogStreamName: awssdk.String("one")}))
	note(api.PutLogEvents(ctx, &cloudwatchlogs.PutLogEventsInput{LogGroupName: name, LogStreamName: awssdk.String("one"), LogEvents: []logtypes.InputLogEvent{
		{Timestamp: awssdk.Int64(time.Now().UnixMilli()), Message: awssdk.String("a line")},
	}}))
	note(api.DescribeLogStreams(ctx, &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: name}))
	note(api.FilterLogEvents(ctx, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: name}))
	note(api.GetLogEvents(ctx, &cloudwatchlogs.GetLogEventsInput{LogGroupName: name, LogStreamName: awssdk.String("one")}))
	note(api.DeleteLogGroup(ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: name}))
	return errors.Join(errs...)
}

func acmCalls(ctx context.Context, c awssdk.Config) error {
	api := acm.NewFromConfig(c)
	var errs []error
	note := func(_ any, err error) { errs = append(errs, err) }
	made, err := api.RequestCertificate(ctx, &acm.RequestCertificateInput{DomainName: awssdk.String("shapes.example"), ValidationMethod: acmtypes.ValidationMethodDns})
	if err != nil {
		return err
	}
	note(api.DescribeCertificate(ctx, &acm.DescribeCertificateInput{CertificateArn: made.CertificateArn}))
	note(api.ListCertificates(ctx, &acm.ListCertificatesInput{}))
	note(api.AddTagsToCertificate(ctx, &acm.AddTagsToCertificateInput{CertificateArn: made.CertificateArn, Tags: []acmtypes.Tag{{Key: awssdk.String("k"), Value: awssdk.String("v")}}}))
	note(api.ListTagsForCertificate(ctx, &acm.ListTagsForCertificateInput{CertificateArn: made.CertificateArn}))
	note(api.DeleteCertificate(ctx, &acm.DeleteCertificateInput{CertificateArn: made.CertificateArn}))
	return errors.Join(errs...)
}

func cloudFrontCalls(ctx context.Context, c awssdk.Config) error {
	api := cloudfront.NewFromConfig(c)
	var errs []error
	note := func(_ any, err error) { errs = append(errs, err) }
	made, err := api.CreateDistributionWithTags(ctx, &cloudfront.CreateDistributionWithTagsInput{DistributionConfigWithTags: &cftypes.DistributionConfigWithTags{
		DistributionConfig: distributionConfig("shapes"), Tags: &cftypes.Tags{Items: []cftypes.Tag{{Key: awssdk.String("k"), Value: awssdk.String("v")}}},
	}})
	if err != nil {
		return err
	}
	id := made.Distribution.Id
	note(api.GetDistribution(ctx, &cloudfront.GetDistributionInput{Id: id}))
	config, err := api.GetDistributionConfig(ctx, &cloudfront.GetDistributionConfigInput{Id: id})
	note(config, err)
	note(api.ListDistributions(ctx, &cloudfront.ListDistributionsInput{}))
	note(api.ListTagsForResource(ctx, &cloudfront.ListTagsForResourceInput{Resource: made.Distribution.ARN}))
	invalidation, err := api.CreateInvalidation(ctx, &cloudfront.CreateInvalidationInput{DistributionId: id, InvalidationBatch: &cftypes.InvalidationBatch{
		CallerReference: awssdk.String("1"), Paths: &cftypes.Paths{Quantity: awssdk.Int32(1), Items: []string{"/a"}},
	}})
	if err == nil {
		note(api.GetInvalidation(ctx, &cloudfront.GetInvalidationInput{DistributionId: id, Id: invalidation.Invalidation.Id}))
	}
	if config == nil {
		return errors.Join(errs...)
	}
	config.DistributionConfig.Enabled = awssdk.Bool(false)
	disabled, err := api.UpdateDistribution(ctx, &cloudfront.UpdateDistributionInput{Id: id, IfMatch: config.ETag, DistributionConfig: config.DistributionConfig})
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	note(api.DeleteDistribution(ctx, &cloudfront.DeleteDistributionInput{Id: id, IfMatch: disabled.ETag}))
	return errors.Join(errs...)
}

func keyCalls(ctx context.Context, c awssdk.Config) error {
	control, api := cloudfront.NewFromConfig(c), kvs.NewFromConfig(c)
	var errs []error
	note := func(_ any, err error) { errs = append(errs, err) }
	made, err := control.CreateKeyValueStore(ctx, &cloudfront.CreateKeyValueStoreInput{Name: awssdk.String("shapes")})
	if err != nil {
		return err
	}
	arn := made.KeyValueStore.ARN
	note(control.DescribeKeyValueStore(ctx, &cloudfront.DescribeKeyValueStoreInput{Name: awssdk.String("shapes")}))
	note(control.ListKeyValueStores(ctx, &cloudfront.ListKeyValueStoresInput{}))
	is, err := api.DescribeKeyValueStore(ctx, &kvs.DescribeKeyValueStoreInput{KvsARN: arn})
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	put, err := api.PutKey(ctx, &kvs.PutKeyInput{KvsARN: arn, Key: awssdk.String("a"), Value: awssdk.String("b"), IfMatch: is.ETag})
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	note(api.GetKey(ctx, &kvs.GetKeyInput{KvsARN: arn, Key: awssdk.String("a")}))
	note(api.ListKeys(ctx, &kvs.ListKeysInput{KvsARN: arn}))
	note(api.DeleteKey(ctx, &kvs.DeleteKeyInput{KvsARN: arn, Key: awssdk.String("a"), IfMatch: put.ETag}))
	return errors.Join(errs...)
}

func tenantCalls(ctx context.Context, c awssdk.Config) error {
	api := cloudfront.NewFromConfig(c)
	var errs []error
	note := func(_ any, err error) { errs = append(errs, err) }
	group, err := api.CreateConnectionGroup(ctx, &cloudfront.CreateConnectionGroupInput{Name: awssdk.String("shapes"), Enabled: awssdk.Bool(true)})
	if err != nil {
		return err
	}
	note(api.GetConnectionGroup(ctx, &cloudfront.GetConnectionGroupInput{Identifier: group.ConnectionGroup.Id}))
	note(api.ListDistributionTenants(ctx, &cloudfront.ListDistributionTenantsInput{}))
	return errors.Join(errs...)
}

func cacheCalls(ctx context.Context, c awssdk.Config) error {
	api := elasticache.NewFromConfig(c)
	var errs []error
	note := func(_ any, err error) { errs = append(errs, err) }
	made, err := api.CreateUser(ctx, &elasticache.CreateUserInput{
		UserId: awssdk.String("shapes"), UserName: awssdk.String("shapes"), Engine: awssdk.String("redis"), AccessString: awssdk.String("on ~* +@all"),
		Passwords: []string{"a-password-of-sixteen"}, Tags: []ectypes.Tag{{Key: awssdk.String("k"), Value: awssdk.String("v")}},
	})
	if err != nil {
		return err
	}
	note(api.DescribeUsers(ctx, &elasticache.DescribeUsersInput{UserId: awssdk.String("shapes")}))
	note(api.ListTagsForResource(ctx, &elasticache.ListTagsForResourceInput{ResourceName: made.ARN}))
	note(api.DescribeUserGroups(ctx, &elasticache.DescribeUserGroupsInput{UserGroupId: awssdk.String("users")}))
	note(api.ModifyUser(ctx, &elasticache.ModifyUserInput{UserId: awssdk.String("shapes"), AccessString: awssdk.String("off -@all")}))
	note(api.DeleteUser(ctx, &elasticache.DeleteUserInput{UserId: awssdk.String("shapes")}))
	return errors.Join(errs...)
}
