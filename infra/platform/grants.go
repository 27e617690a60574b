package platform

import (
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/gitopsd/gitopsd/infra/aws"
	"github.com/gitopsd/gitopsd/infra/tenant"
)

// What the driver does by AWS's API beside Pulumi is held against its code by
// internal/iamtest: each call is here, and nothing else.

// driver is what all parts do that have one: records, data, secrets, routes.
func (p *program) driver(x *cell) []aws.Statement {
	c := p.c
	buckets := c.tenantBuckets()
	return []aws.Statement{
		grant("s3", "ListBucket", aws.S(buckets), x.snapshots.Arn, x.state.Arn),
		grant("s3", "ListBucketVersions", aws.S(buckets), x.snapshots.Arn),
		grant("s3", "GetObject PutObject DeleteObject", aws.S(buckets+"/*"), pulumi.Sprintf("%s/*", x.snapshots.Arn), pulumi.Sprintf("%s/*", x.state.Arn)),
		grant("s3", "DeleteObjectVersion", aws.S(buckets+"/*"), pulumi.Sprintf("%s/*", x.snapshots.Arn)),
		named("ecs", "DescribeServices UpdateService", c.inClusters("ecs", "service")...),
		named("ecs", "DescribeTasks", c.arn("ecs", "task/"+c.name()+"/*"), c.tenants("ecs", "task/")+"/*"),
		when(grant("ecs", "ListTasks", all()), "ArnLike", "ecs:cluster", []string{c.ClusterARN(), c.tenants("ecs", "cluster/")}),
		grant("application-autoscaling", "DescribeScalableTargets", all()),
		named("application-autoscaling", "RegisterScalableTarget", c.arn("application-autoscaling", "scalable-target/*")),
		grant("cloudfront-keyvaluestore", "DescribeKeyValueStore GetKey UpdateKeys", x.edge.store.Arn),
		named("acm", "DescribeCertificate", "arn:aws:acm:us-east-1:"+c.Account+":certificate/*"),
		named("secretsmanager", "CreateSecret PutSecretValue GetSecretValue DescribeSecret TagResource UpdateSecretVersionStage", c.SecretPrefix()+"*"),
		named("elasticache", "Connect", c.arn("elasticache", "replicationgroup:"+c.Name(aws.MaxReplicationGroup)), c.tenants("elasticache", "replicationgroup:"), c.arn("elasticache", "user:"+c.cacheUser())),
		grant("secretsmanager", "GetSecretValue", x.origin.Arn),
		p.dedicatedMaster(),
		p.worker(x),
		grant("kms", "Decrypt GenerateDataKey", p.kms.Arn),
		p.mount(x, "ClientMount ClientWrite"),
	}
}

// dedicatedMaster lets the master's secret of a tenant's own database be read. RDS
// chooses its name, and tags it with the cluster.
func (p *program) dedicatedMaster() aws.Statement {
	return when(named("secretsmanager", "GetSecretValue", p.c.arn("secretsmanager", "secret:rds!cluster-*")),
		"ArnLike", "aws:ResourceTag/aws:rds:primaryDBClusterArn", p.c.tenants("rds", "cluster:"))
}

// tasks is what only the short tasks do: cache users, agents, the CDN's files, and a
// look at everything a tenant may have left.
func (p *program) tasks(x *cell) []aws.Statement {
	c := p.c
	user := c.tenants("elasticache", "user:")
	groups := []string{c.arn("elasticache", "usergroup:"+c.Name(aws.MaxUserGroup)), c.tenants("elasticache", "usergroup:")}
	return []aws.Statement{
		named("elasticache", "CreateUser ModifyUser DeleteUser DescribeUsers AddTagsToResource ListTagsForResource", user),
		named("elasticache", "DescribeUserGroups", groups...),
		named("elasticache", "ModifyUserGroup", append([]string{user}, groups...)...),
		named("elasticache", "DescribeReplicationGroups", c.tenants("elasticache", "replicationgroup:")),
		p.agents(x),
		p.secretsGo(),
		named("cloudfront", "CreateInvalidation", c.global("cloudfront", "distribution/*")),
		named("cloudfront", "GetDistributionTenant CreateInvalidationForDistributionTenant", c.global("cloudfront", "distribution-tenant/*")),
		grant("cloudfront", "ListDistributions", all()),
		named("ecs", "DescribeClusters", c.tenants("ecs", "cluster/")),
		grant("elasticfilesystem", "DescribeAccessPoints", x.files.Arn),
		named("iam", "GetRole", c.global("iam", "role"+c.path()+"tenant/*")),
		named("logs", "DescribeLogStreams", c.arn("logs", "log-group:/gitopsd/"+c.Cell+"/tenant/*")),
		named("rds", "DescribeDBClusters", c.tenants("rds", "cluster:")),
		grant("route53", "ListResourceRecordSets", x.edge.zone.Arn),
	}
}

// long is what only the tasks do that run Pulumi, or for long: removals, snapshots.
func (p *program) long(x *cell) []aws.Statement {
	buckets := p.c.tenantBuckets()
	return []aws.Statement{
		named("s3", "GetBucketTagging ListBucketMultipartUploads", buckets),
		grant("s3", "AbortMultipartUpload", aws.S(buckets+"/*"), pulumi.Sprintf("%s/*", x.snapshots.Arn)),
		p.secretsGo(),
	}
}

// agents finds tenants' agents.
func (p *program) agents(x *cell) aws.Statement {
	return grant("servicediscovery", "DiscoverInstances", x.namespace.Arn, aws.S(p.c.arn("servicediscovery", "service/*")))
}

// secretsGo lets tenants' secrets be removed.
func (p *program) secretsGo() aws.Statement {
	return named("secretsmanager", "DeleteSecret", p.c.SecretPrefix()+"*")
}

// named allows actions on resources whose names are known.
func named(service, actions string, resources ...string) aws.Statement {
	return grant(service, actions, aws.Strings(resources)...)
}

// worker is what every part of ours reads that works on the ledger and the
// repository: the cell's configuration, the database's password, the forge's credentials.
func (p *program) worker(x *cell) aws.Statement {
	return grant("secretsmanager", "GetSecretValue", x.secret.Arn, x.database.MasterSecret(), x.credentials.Arn)
}

// What Pulumi does for a tenant is to make, change, look at and take away each kind
// of resource of infra/tenant, of this cell's names.

// engine is what Pulumi itself does: it keeps state, and encrypts what is secret in it.
// What it was making when it died is found again by the lists: see aws.NewAdopter.
func (p *program) engine(x *cell) []aws.Statement {
	return []aws.Statement{
		grant("tag", "GetResources", all()),
		grant("servicediscovery", "ListServices", all()),
		grant("cloudfront", "ListDistributions ListDistributionTenants", all()),
		grant("acm", "ListCertificates", all()),
		grant("s3", "ListBucket", x.state.Arn),
		grant("s3", "GetObject PutObject DeleteObject", pulumi.Sprintf("%s/*", x.state.Arn)),
		grant("kms", "Encrypt Decrypt GenerateDataKey", p.kms.Arn),
	}
}

// provideEdge is for bucket, distribution, certificate and records. Where there is
// no resource to name, there is none yet: AWS chooses the ID of what is made.
func (p *program) provideEdge(x *cell) []aws.Statement {
	c := p.c
	return []aws.Statement{
		named("s3", bucketActions, c.tenantBuckets()),
		named("s3", "DeleteObject DeleteObjectVersion", c.tenantBuckets()+"/*"),
		grant("cloudfront", "CreateDistribution CreateDistributionTenant", all()),
		named("cloudfront", "GetDistribution UpdateDistribution DeleteDistribution", c.global("cloudfront", "distribution/*")),
		named("cloudfront", "GetDistributionTenant UpdateDistributionTenant DeleteDistributionTenant", c.global("cloudfront", "distribution-tenant/*")),
		named("cloudfront", "TagResource UntagResource ListTagsForResource",
			c.global("cloudfront", "distribution/*"), c.global("cloudfront", "distribution-tenant/*")),
		grant("acm", "RequestCertificate", all()),
		named("acm", "DescribeCertificate DeleteCertificate AddTagsToCertificate RemoveTagsFromCertificate ListTagsForCertificate",
			"arn:aws:acm:us-east-1:"+c.Account+":certificate/*"),
		grant("route53", "ChangeResourceRecordSets ListResourceRecordSets GetHostedZone", x.edge.zone.Arn),
		named("route53", "GetChange", "arn:aws:route53:::change/*"),
	}
}

// provideService is for role, volume, logs, service and scaling.
func (p *program) provideService(x *cell) []aws.Statement {
	c := p.c
	roles := c.global("iam", "role"+c.path()+"tenant/*")
	linked := c.global("iam", "role/aws-service-role/")
	return []aws.Statement{
		named("iam", roleActions, roles),
		when(named("iam", "PassRole", roles, c.global("iam", "role"+c.path()+c.name("execution"))),
			"StringEquals", "iam:PassedToService", "ecs-tasks.amazonaws.com"),
		when(named("iam", "CreateServiceLinkedRole", linked+"autoscaling.amazonaws.com/*", linked+"ecs.application-autoscaling.amazonaws.com/*"),
			"StringEquals", "iam:AWSServiceName", []string{"autoscaling.amazonaws.com", "ecs.application-autoscaling.amazonaws.com"}),
		grant("elasticfilesystem", "CreateAccessPoint DescribeAccessPoints", x.files.Arn),
		named("elasticfilesystem", "DeleteAccessPoint DescribeAccessPoints TagResource UntagResource ListTagsForResource", c.arn("elasticfilesystem", "access-point/*")),
		named("logs", "CreateLogGroup DeleteLogGroup PutRetentionPolicy AssociateKmsKey TagResource UntagResource ListTagsForResource",
			c.arn("logs", "log-group:/gitopsd/"+c.Cell+"/tenant/*")),
		grant("logs", "DescribeLogGroups", all()),
		grant("servicediscovery", "CreateService", x.namespace.Arn, aws.S(c.arn("servicediscovery", "service/*"))),
		named("servicediscovery", "UpdateService DeleteService GetService ListInstances DeregisterInstance", c.arn("servicediscovery", "service/*")),
		grant("servicediscovery", "GetOperation", x.namespace.Arn, aws.S(c.arn("servicediscovery", "service/*"))),
		grant("servicediscovery", "TagResource UntagResource ListTagsForResource", all()),
		named("ecs", "RegisterTaskDefinition TagResource UntagResource ListTagsForResource", c.tenants("ecs", "task-definition/")+":*"),
		grant("ecs", "DeregisterTaskDefinition DescribeTaskDefinition", all()),
		named("ecs", "CreateService UpdateService DeleteService DescribeServices TagResource UntagResource ListTagsForResource",
			c.inClusters("ecs", "service")...),
		named("application-autoscaling", "RegisterScalableTarget DeregisterScalableTarget PutScalingPolicy DeleteScalingPolicy TagResource UntagResource ListTagsForResource",
			c.arn("application-autoscaling", "scalable-target/*")),
		grant("application-autoscaling", "DescribeScalableTargets DescribeScalingPolicies", all()),
		named("cloudwatch", "PutMetricAlarm DeleteAlarms DescribeAlarms", c.inClusters("cloudwatch", "alarm:TargetTracking-service")...),
	}
}

// provideFleet is for the instances of a tenant that has its own.
func (p *program) provideFleet(*cell) []aws.Statement {
	c := p.c
	return []aws.Statement{
		when(named("iam", "PassRole", c.global("iam", "role"+c.path()+c.name("instance"))),
			"StringEquals", "iam:PassedToService", "ec2.amazonaws.com"),
		named("ecs", "CreateCluster DeleteCluster DescribeClusters UpdateCluster PutClusterCapacityProviders TagResource UntagResource ListTagsForResource", c.tenants("ecs", "cluster/")),
		named("ecs", "CreateCapacityProvider UpdateCapacityProvider DeleteCapacityProvider DescribeCapacityProviders TagResource UntagResource ListTagsForResource", c.tenants("ecs", "capacity-provider/")),
		named("autoscaling", "CreateAutoScalingGroup UpdateAutoScalingGroup DeleteAutoScalingGroup SetInstanceProtection CreateOrUpdateTags DeleteTags EnableMetricsCollection",
			c.tenants("autoscaling", "autoScalingGroup:*:autoScalingGroupName/")),
		grant("autoscaling", "DescribeAutoScalingGroups DescribeScalingActivities DescribeWarmPool", all()),
		named("ec2", "CreateLaunchTemplate CreateLaunchTemplateVersion ModifyLaunchTemplate DeleteLaunchTemplate DeleteTags", c.arn("ec2", "launch-template/*")),
		grant("ec2", "DescribeLaunchTemplates DescribeLaunchTemplateVersions RunInstances CreateTags", all()),
		named("ssm", "GetParameters", "arn:aws:ssm:"+c.Region+"::parameter/aws/service/ecs/*"),
	}
}

// provideData is for databases and caches of tenants that have their own.
func (p *program) provideData(*cell) []aws.Statement {
	c, name := p.c, p.c.name()
	cluster, snapshot, instance := c.tenants("rds", "cluster:"), c.tenants("rds", "cluster-snapshot:"), c.tenants("rds", "db:")
	subnets, parameters := c.arn("rds", "subgrp:"+name), c.arn("rds", "cluster-pg:"+name+"-*")
	cache, nodes, users := c.tenants("elasticache", "replicationgroup:"), c.tenants("elasticache", "cluster:"), c.tenants("elasticache", "usergroup:")
	return []aws.Statement{
		named("rds", "CreateDBCluster", cluster, subnets, parameters),
		named("rds", "ModifyDBCluster", cluster, parameters),
		named("rds", "DeleteDBCluster CreateDBClusterSnapshot", cluster, snapshot),
		named("rds", "CreateDBInstance", instance, cluster),
		named("rds", "ModifyDBInstance DeleteDBInstance DescribeDBInstances", instance),
		named("rds", "DescribeDBClusters", cluster),
		named("rds", "AddTagsToResource RemoveTagsFromResource ListTagsForResource", cluster, instance),
		named("rds", "DescribeGlobalClusters", "arn:aws:rds::"+c.Account+":global-cluster:*"),
		// RDS makes the master's secret, with the rights of who makes the cluster.
		named("secretsmanager", "CreateSecret TagResource", c.arn("secretsmanager", "secret:rds!cluster-*")),
		named("elasticache", "CreateUserGroup", users, c.arn("elasticache", "user:"+c.Name(aws.MaxUserGroup, "default"))),
		named("elasticache", "DeleteUserGroup DescribeUserGroups", users),
		named("elasticache", "CreateReplicationGroup", cache, users, c.arn("elasticache", "subnetgroup:"+name), c.arn("elasticache", "parametergroup:*")),
		named("elasticache", "ModifyReplicationGroup", cache, users),
		named("elasticache", "DeleteReplicationGroup DescribeReplicationGroups", cache),
		named("elasticache", "DescribeCacheClusters", nodes),
		named("elasticache", "AddTagsToResource RemoveTagsFromResource ListTagsForResource", cache, users),
		grant("kms", "DescribeKey CreateGrant", p.kms.Arn),
	}
}

// inClusters matches what is of tenants in the cell's cluster and in their own.
func (c Config) inClusters(service, kind string) []string {
	entity := tenant.EntityPrefix(c.Cell) + "*"
	return []string{
		c.arn(service, kind+"/"+c.name()+"/"+entity),
		c.arn(service, kind+"/"+entity+"/"+entity),
	}
}

// bucketActions and roleActions are what the provider calls for a bucket and a
// role, their reads included: it reads more than we set.
var (
	bucketActions = strings.Join([]string{
		"CreateBucket DeleteBucket ListBucket ListBucketVersions GetBucketLocation",
		"TagResource UntagResource ListTagsForResource GetBucketTagging PutBucketTagging",
		"GetBucketPolicy PutBucketPolicy DeleteBucketPolicy GetBucketPublicAccessBlock PutBucketPublicAccessBlock",
		"GetLifecycleConfiguration PutLifecycleConfiguration GetEncryptionConfiguration GetBucketVersioning GetBucketAcl",
		"GetBucketCORS GetBucketWebsite GetBucketLogging GetBucketRequestPayment GetAccelerateConfiguration",
		"GetReplicationConfiguration GetBucketObjectLockConfiguration",
	}, " ")
	roleActions = "CreateRole DeleteRole GetRole UpdateRoleDescription UpdateAssumeRolePolicy TagRole UntagRole ListRoleTags " +
		"PutRolePolicy GetRolePolicy DeleteRolePolicy ListRolePolicies ListAttachedRolePolicies ListInstanceProfilesForRole"
)
