package platform

import (
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/gitopsd/gitopsd/infra/aws"
)

// driver is what the driver does by AWS's API, beside Pulumi: data, secrets,
// users, routes, and looking.
func (p *program) driver(x *cell) []aws.Statement {
	c := p.c
	s3, services := c.tenantBuckets(), c.tenants("ecs", "service/"+c.name()+"*/")
	userGroups := []pulumi.StringInput{
		aws.S(c.arn("elasticache", "user:"+c.Name(aws.MaxUserGroup)+"*")), aws.S(c.arn("elasticache", "usergroup:"+c.Name(aws.MaxUserGroup)+"*")),
	}
	return []aws.Statement{
		grant("s3", "ListBucket ListBucketVersions GetBucketTagging", aws.S(s3), x.snapshots.Arn),
		grant("s3", "GetObject PutObject DeleteObject DeleteObjectVersion AbortMultipartUpload", aws.S(s3+"/*"), pulumi.Sprintf("%s/*", x.snapshots.Arn)),
		grant("ecs", "DescribeServices UpdateService", aws.S(services)),
		grant("ecs", "DescribeTasks StopTask", aws.S(c.arn("ecs", "task/"+c.name()+"*/*"))),
		when(grant("ecs", "ListTasks DescribeContainerInstances", all()), "ArnLike", "ecs:cluster",
			[]string{c.ClusterARN(), c.tenants("ecs", "cluster/")}),
		grant("ec2", "DescribeInstances", all()),
		grant("servicediscovery", "DiscoverInstances ListInstances ListServices GetService", all()),
		grant("application-autoscaling", "DescribeScalableTargets", all()),
		grant("elasticache", "CreateUser ModifyUser DeleteUser DescribeUsers ModifyUserGroup DescribeUserGroups AddTagsToResource ListTagsForResource", userGroups...),
		grant("cloudfront-keyvaluestore", "DescribeKeyValueStore GetKey PutKey DeleteKey UpdateKeys", x.edge.store.Arn),
		grant("cloudfront", "CreateInvalidation GetInvalidation GetDistribution GetDistributionTenant CreateInvalidationForDistributionTenant GetInvalidationForDistributionTenant",
			aws.S(c.global("cloudfront", "distribution/*")), aws.S(c.global("cloudfront", "distribution-tenant/*"))),
		grant("acm", "DescribeCertificate ListTagsForCertificate", aws.S("arn:aws:acm:us-east-1:"+c.Account+":certificate/*")),
		grant("route53", "ListResourceRecordSets", x.edge.zone.Arn),
		grant("secretsmanager", "CreateSecret PutSecretValue GetSecretValue DescribeSecret DeleteSecret TagResource", aws.S(c.SecretPrefix()+"*")),
		grant("elasticache", "Connect", aws.S(c.arn("elasticache", "replicationgroup:"+c.Name(aws.MaxReplicationGroup)+"*")), aws.S(c.arn("elasticache", "user:"+c.cacheUser()))),
		grant("secretsmanager", "GetSecretValue", x.origin.Arn),
		p.worker(x),
		grant("rds", "DescribeDBClusters", aws.S(c.arn("rds", "cluster:"+c.name()+"*"))),
		grant("logs", "FilterLogEvents DescribeLogStreams", aws.S(c.arn("logs", "log-group:/gitopsd/"+c.Cell+"/tenant/*"))),
		grant("kms", "Decrypt GenerateDataKey", p.kms.Arn),
		p.mount(x, "ClientMount ClientWrite"),
	}
}

// worker is what every part of ours reads that works on the ledger and the
// repository: the cell's configuration, the database's password, the forge's credentials.
func (p *program) worker(x *cell) aws.Statement {
	return grant("secretsmanager", "GetSecretValue", x.secret.Arn, x.database.MasterSecret(), x.credentials.Arn)
}

// provisioning is what Pulumi does for a tenant: to make, change, look at and
// take away each kind of resource of infra/tenant, of this cell's names.
func (p *program) provisioning(x *cell) []aws.Statement {
	c := p.c
	roles := c.global("iam", "role"+c.path()+"tenant/*")
	service := func(name, actions string, resources ...string) aws.Statement {
		var list []pulumi.StringInput
		for _, r := range resources {
			list = append(list, aws.S(r))
		}
		return grant(name, actions, list...)
	}
	name := c.name()
	return []aws.Statement{
		grant("s3", "ListBucket", x.state.Arn),
		grant("s3", "GetObject PutObject DeleteObject", pulumi.Sprintf("%s/*", x.state.Arn)),
		service("s3", bucketActions, c.tenantBuckets()),
		service("iam", roleActions, roles),
		when(service("iam", "PassRole", roles, c.global("iam", "role"+c.path()+c.name("execution")), c.global("iam", "role"+c.path()+c.name("instance"))),
			"StringEquals", "iam:PassedToService", []string{"ecs-tasks.amazonaws.com", "ec2.amazonaws.com"}),
		when(service("iam", "CreateServiceLinkedRole", c.global("iam", "role/aws-service-role/*")),
			"StringEquals", "iam:AWSServiceName", []string{"ecs.application-autoscaling.amazonaws.com", "autoscaling.amazonaws.com"}),
		service("ecs", "RegisterTaskDefinition DeregisterTaskDefinition DescribeTaskDefinition DescribeCapacityProviders", "*"),
		service("ecs", "CreateService UpdateService DeleteService DescribeServices TagResource UntagResource ListTagsForResource", c.tenants("ecs", "service/"+name+"*/")),
		service("ecs", "CreateCluster DeleteCluster DescribeClusters UpdateCluster PutClusterCapacityProviders TagResource UntagResource ListTagsForResource", c.tenants("ecs", "cluster/")),
		service("ecs", "CreateCapacityProvider UpdateCapacityProvider DeleteCapacityProvider TagResource UntagResource ListTagsForResource", c.tenants("ecs", "capacity-provider/")),
		service("ecs", "DescribeClusters", c.ClusterARN()),
		service("ecs", "TagResource ListTagsForResource", c.tenants("ecs", "task-definition/")),
		service("autoscaling", "CreateAutoScalingGroup UpdateAutoScalingGroup DeleteAutoScalingGroup SetInstanceProtection TerminateInstanceInAutoScalingGroup CreateOrUpdateTags DeleteTags EnableMetricsCollection",
			c.tenants("autoscaling", "autoScalingGroup:*:autoScalingGroupName/")),
		service("autoscaling", "DescribeAutoScalingGroups DescribeScalingActivities DescribeTags DescribeWarmPool", "*"),
		service("ec2", "CreateLaunchTemplate CreateLaunchTemplateVersion ModifyLaunchTemplate DeleteLaunchTemplate DescribeLaunchTemplates DescribeLaunchTemplateVersions RunInstances CreateTags DescribeInstances DescribeInstanceTypes DescribeSubnets DescribeSecurityGroups DescribeVpcs", "*"),
		service("ssm", "GetParameters", "arn:aws:ssm:"+c.Region+"::parameter/aws/service/ecs/*"),
		service("application-autoscaling", "RegisterScalableTarget DeregisterScalableTarget PutScalingPolicy DeleteScalingPolicy TagResource UntagResource ListTagsForResource", c.arn("application-autoscaling", "scalable-target/*")),
		service("application-autoscaling", "DescribeScalableTargets DescribeScalingPolicies", "*"),
		service("cloudwatch", "PutMetricAlarm DeleteAlarms DescribeAlarms", c.arn("cloudwatch", "alarm:TargetTracking-*")),
		service("servicediscovery", "CreateService UpdateService DeleteService GetService GetOperation ListInstances DeregisterInstance TagResource UntagResource ListTagsForResource", "*"),
		grant("route53", "ChangeResourceRecordSets ListResourceRecordSets GetHostedZone", x.edge.zone.Arn),
		service("route53", "GetChange", "arn:aws:route53:::change/*"),
		grant("elasticfilesystem", "CreateAccessPoint DescribeAccessPoints TagResource", x.files.Arn),
		service("elasticfilesystem", "DeleteAccessPoint DescribeAccessPoints TagResource UntagResource ListTagsForResource", c.arn("elasticfilesystem", "access-point/*")),
		service("logs", "CreateLogGroup DeleteLogGroup PutRetentionPolicy DeleteRetentionPolicy AssociateKmsKey TagResource UntagResource ListTagsForResource", c.logs()),
		service("logs", "DescribeLogGroups", "*"),
		service("cloudfront", "CreateDistribution CreateDistributionWithTags UpdateDistribution DeleteDistribution GetDistribution GetDistributionConfig TagResource UntagResource ListTagsForResource CreateDistributionTenant UpdateDistributionTenant DeleteDistributionTenant GetDistributionTenant",
			c.global("cloudfront", "distribution/*"), c.global("cloudfront", "distribution-tenant/*")),
		service("cloudfront", "GetConnectionGroup", c.global("cloudfront", "connection-group/*")),
		service("acm", "RequestCertificate DescribeCertificate DeleteCertificate AddTagsToCertificate RemoveTagsFromCertificate ListTagsForCertificate", "arn:aws:acm:us-east-1:"+c.Account+":certificate/*"),
		service("rds", "CreateDBCluster ModifyDBCluster DeleteDBCluster DescribeDBClusters CreateDBInstance ModifyDBInstance DeleteDBInstance DescribeDBInstances CreateDBClusterSnapshot DescribeGlobalClusters AddTagsToResource RemoveTagsFromResource ListTagsForResource",
			c.tenants("rds", "cluster:"), c.tenants("rds", "db:"), c.tenants("rds", "cluster-snapshot:"), c.arn("rds", "subgrp:"+name), c.arn("rds", "cluster-pg:"+name+"*")),
		service("elasticache", "CreateReplicationGroup ModifyReplicationGroup DeleteReplicationGroup DescribeReplicationGroups DescribeCacheClusters CreateUserGroup DeleteUserGroup DescribeUserGroups AddTagsToResource RemoveTagsFromResource ListTagsForResource",
			c.tenants("elasticache", "replicationgroup:"), c.tenants("elasticache", "cluster:"), c.tenants("elasticache", "usergroup:"),
			c.arn("elasticache", "user:"+name+"*"), c.arn("elasticache", "subnetgroup:"+name), c.arn("elasticache", "parametergroup:*")),
		grant("kms", "Decrypt Encrypt GenerateDataKey DescribeKey CreateGrant", p.kms.Arn),
		service("sts", "GetCallerIdentity", "*"),
	}
}

// bucketActions and roleActions are what the provider calls for a bucket and a
// role, their reads included: it reads more than we set.
var (
	bucketActions = strings.Join([]string{
		"CreateBucket DeleteBucket ListBucket ListBucketVersions GetBucketLocation GetBucketTagging PutBucketTagging",
		"GetBucketPolicy PutBucketPolicy DeleteBucketPolicy GetBucketPublicAccessBlock PutBucketPublicAccessBlock",
		"GetLifecycleConfiguration PutLifecycleConfiguration GetEncryptionConfiguration GetBucketVersioning GetBucketAcl",
		"GetBucketCORS GetBucketWebsite GetBucketLogging GetBucketRequestPayment GetAccelerateConfiguration",
		"GetReplicationConfiguration GetBucketObjectLockConfiguration GetBucketOwnershipControls",
	}, " ")
	roleActions = "CreateRole DeleteRole GetRole UpdateRole UpdateAssumeRolePolicy TagRole UntagRole ListRoleTags " +
		"PutRolePolicy GetRolePolicy DeleteRolePolicy ListRolePolicies ListAttachedRolePolicies ListInstanceProfilesForRole"
)
