package iamtest

import (
	"maps"
	"slices"
	"testing"

	"github.com/gitopsd/gitopsd/infra/check"
	"github.com/gitopsd/gitopsd/infra/tenant"
	core "github.com/gitopsd/gitopsd/internal/platform"
	model "github.com/gitopsd/gitopsd/internal/tenant"
)

// use is what something that is not our code does, with one of our roles.
type use struct {
	service, names string
	at
	why string
}

// provided are what Pulumi's AWS provider calls for each kind of resource of
// infra/tenant: to make it, change it, look at it and take it away.
// Source: terraform-provider-aws, the named file, which the provider is made of;
// partly read, partly from memory.
type provided struct {
	source string
	uses   []use
}

func (w world) provider() map[string]provided {
	role := w.global("iam", "role/gitopsd/"+w.Cell+"/tenant/"+w.tenant.RoleName())
	bucket, entity, data := w.bucket(), w.entity(), w.data()
	aurora := []string{w.arn("rds", "cluster:"+data), w.arn("rds", "cluster-snapshot:"+data+"-final"), w.arn("rds", "subgrp:"+w.Name(64)), w.arn("rds", "cluster-pg:"+w.Name(64, "pg16"))}
	redis := []string{w.arn("elasticache", "replicationgroup:"+data), w.arn("elasticache", "usergroup:"+data), w.arn("elasticache", "subnetgroup:"+w.Name(64))}
	services := each(w.clusters(), func(c string) string { return w.arn("ecs", "service/"+c+"/"+entity) })
	group := w.arn("autoscaling", "autoScalingGroup:0:autoScalingGroupName/"+entity)
	chosen := func(why, service, resource string) at {
		return at{on: []string{w.arn(service, resource)}, shared: "AWS chooses " + why}
	}
	target := chosen("a target's ID", "application-autoscaling", "scalable-target/1")
	discovery := chosen("a service's ID", "servicediscovery", "service/srv-1")
	point := chosen("an access point's ID", "elasticfilesystem", "access-point/fsap-1")
	distribution := at{on: []string{w.global("cloudfront", "distribution/E1")}, shared: "AWS chooses a distribution's ID"}
	distributionTenant := at{on: []string{w.global("cloudfront", "distribution-tenant/dt_1")}, shared: "AWS chooses a distribution tenant's ID"}
	certificate := at{on: []string{"arn:aws:acm:us-east-1:" + account + ":certificate/1"}, shared: "AWS chooses a certificate's ID"}
	template := at{on: []string{w.arn("ec2", "launch-template/lt-1")}, shared: "AWS chooses a template's ID"}
	alarm := at{on: each(w.clusters(), func(c string) string {
		return w.arn("cloudwatch", "alarm:TargetTracking-service/"+c+"/"+entity+"-AlarmHigh-1")
	})}
	none := anywhere("no resource")
	return map[string]provided{
		"aws:s3/bucket:Bucket": {"s3/bucket.go", []use{
			{"s3", "CreateBucket DeleteBucket ListBucket TagResource UntagResource ListTagsForResource", on(bucket), "makes, looks at and removes it, with its tags"},
			{"s3", "GetBucketTagging PutBucketTagging", on(bucket), "where S3 Control does not take tags"},
			{
				"s3", `GetBucketPolicy GetBucketAcl GetBucketCORS GetBucketWebsite GetBucketVersioning GetAccelerateConfiguration GetBucketRequestPayment
				GetBucketLogging GetLifecycleConfiguration GetReplicationConfiguration GetEncryptionConfiguration GetBucketObjectLockConfiguration GetBucketLocation`,
				on(bucket), "reads all of a bucket, whatever we set",
			},
			{"s3", "ListBucketVersions", on(bucket), "empties it (forceDestroy)"},
			{"s3", "DeleteObject DeleteObjectVersion", on(bucket + "/some/key"), "empties it (forceDestroy)"},
		}},
		"aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": {"s3/bucket_public_access_block.go", []use{
			{"s3", "GetBucketPublicAccessBlock PutBucketPublicAccessBlock", on(bucket), ""},
		}},
		"aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": {"s3/bucket_lifecycle_configuration.go", []use{
			{"s3", "GetLifecycleConfiguration PutLifecycleConfiguration", on(bucket), ""},
		}},
		"aws:s3/bucketPolicy:BucketPolicy": {"s3/bucket_policy.go", []use{
			{"s3", "GetBucketPolicy PutBucketPolicy DeleteBucketPolicy", on(bucket), ""},
		}},
		"aws:iam/role:Role": {"iam/role.go", []use{
			{
				"iam", `CreateRole GetRole DeleteRole UpdateRoleDescription UpdateAssumeRolePolicy TagRole UntagRole ListRoleTags
				ListRolePolicies ListAttachedRolePolicies ListInstanceProfilesForRole`, on(role), "",
			},
		}},
		"aws:iam/rolePolicy:RolePolicy": {"iam/role_policy.go", []use{{"iam", "PutRolePolicy GetRolePolicy DeleteRolePolicy", on(role), ""}}},
		"aws:cloudwatch/logGroup:LogGroup": {"logs/group.go", []use{
			{"logs", "CreateLogGroup DeleteLogGroup PutRetentionPolicy AssociateKmsKey TagResource UntagResource ListTagsForResource", on(w.logs("tenant/acme")), ""},
			{"logs", "DescribeLogGroups", none, "looks it up by its name's beginning"},
		}},
		"aws:efs/accessPoint:AccessPoint": {"efs/access_point.go", []use{
			{"elasticfilesystem", "CreateAccessPoint", on(w.files()), ""},
			{"elasticfilesystem", "DeleteAccessPoint DescribeAccessPoints TagResource UntagResource ListTagsForResource", point, ""},
		}},
		"aws:servicediscovery/service:Service": {"servicediscovery/service.go", []use{
			{"servicediscovery", "CreateService", at{on: []string{w.arn("servicediscovery", "namespace/ns-"+w.id("namespace")), w.arn("servicediscovery", "service/*")}, shared: discovery.shared}, ""},
			{"servicediscovery", "UpdateService DeleteService GetService ListInstances DeregisterInstance", discovery, "also empties it (forceDestroy)"},
			{"servicediscovery", "GetOperation", at{on: []string{w.arn("servicediscovery", "namespace/ns-"+w.id("namespace")), w.arn("servicediscovery", "service/srv-1")}, shared: discovery.shared}, "waits"},
			{"servicediscovery", "TagResource UntagResource ListTagsForResource", none, ""},
		}},
		"aws:ecs/taskDefinition:TaskDefinition": {"ecs/task_definition.go", []use{
			{"ecs", "RegisterTaskDefinition TagResource UntagResource ListTagsForResource", on(w.arn("ecs", "task-definition/"+entity+":1")), ""},
			{"ecs", "DeregisterTaskDefinition DescribeTaskDefinition", none, ""},
			{"iam", "PassRole", at{
				on:      []string{role, w.global("iam", "role/gitopsd/"+w.Cell+"/"+w.Name(64, "execution"))},
				context: map[string]string{"iam:PassedToService": "ecs-tasks.amazonaws.com"},
			}, "a task's roles"},
		}},
		"aws:ecs/service:Service": {"ecs/service.go", []use{
			{"ecs", "CreateService UpdateService DeleteService DescribeServices TagResource UntagResource ListTagsForResource", at{on: services}, ""},
		}},
		"aws:ecs/cluster:Cluster": {"ecs/cluster.go", []use{
			{"ecs", "DescribeClusters CreateCluster UpdateCluster DeleteCluster TagResource UntagResource ListTagsForResource", on(w.arn("ecs", "cluster/"+entity)), ""},
		}},
		"aws:ecs/clusterCapacityProviders:ClusterCapacityProviders": {"ecs/cluster_capacity_providers.go", []use{
			{"ecs", "DescribeClusters PutClusterCapacityProviders", on(w.arn("ecs", "cluster/"+entity)), ""},
		}},
		"aws:ecs/capacityProvider:CapacityProvider": {"ecs/capacity_provider.go", []use{
			{
				"ecs", "CreateCapacityProvider UpdateCapacityProvider DeleteCapacityProvider DescribeCapacityProviders TagResource UntagResource ListTagsForResource",
				on(w.arn("ecs", "capacity-provider/"+entity)), "",
			},
		}},
		"aws:ec2/launchTemplate:LaunchTemplate": {"ec2/ec2_launch_template.go", []use{
			{"ec2", "CreateLaunchTemplate CreateLaunchTemplateVersion ModifyLaunchTemplate DeleteLaunchTemplate DeleteTags", template, ""},
			{"ec2", "CreateTags", at{on: template.on, shared: template.shared, wide: "what is started of it is tagged, too"}, ""},
			{"ec2", "DescribeLaunchTemplates DescribeLaunchTemplateVersions", none, ""},
		}},
		"aws:autoscaling/group:Group": {"autoscaling/group.go", []use{
			{"autoscaling", "CreateAutoScalingGroup UpdateAutoScalingGroup DeleteAutoScalingGroup SetInstanceProtection CreateOrUpdateTags DeleteTags EnableMetricsCollection", on(group), ""},
			{"autoscaling", "DescribeAutoScalingGroups DescribeScalingActivities DescribeWarmPool", none, ""},
			{"ec2", "RunInstances", at{on: []string{w.arn("ec2", "instance/i-1"), w.arn("ec2", "volume/vol-1")}, shared: "an instance has no name", wide: "image, network and disk of what is started"}, "a group's template must be one that its maker could run"},
			{"ssm", "GetParameters", at{on: []string{"arn:aws:ssm:" + region + "::parameter/aws/service/ecs/optimized-ami/x"}, shared: "AWS's own", unknown: true}, "the template's image"},
			{"iam", "PassRole", at{
				on:      []string{w.global("iam", "role/gitopsd/"+w.Cell+"/"+w.Name(64, "instance"))},
				context: map[string]string{"iam:PassedToService": "ec2.amazonaws.com"},
			}, "the instances' role"},
			{"iam", "CreateServiceLinkedRole", at{
				on: []string{w.global("iam", "role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling")}, shared: "one an account",
				context: map[string]string{"iam:AWSServiceName": "autoscaling.amazonaws.com"},
			}, "the first of an account"},
		}},
		"aws:appautoscaling/target:Target": {"appautoscaling/target.go", []use{
			{"application-autoscaling", "RegisterScalableTarget DeregisterScalableTarget TagResource UntagResource ListTagsForResource", target, ""},
			{"application-autoscaling", "DescribeScalableTargets", none, ""},
			{"iam", "CreateServiceLinkedRole", at{
				on: []string{w.global("iam", "role/aws-service-role/ecs.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_ECSService")}, shared: "one an account",
				context: map[string]string{"iam:AWSServiceName": "ecs.application-autoscaling.amazonaws.com"},
			}, "the first of an account"},
		}},
		"aws:appautoscaling/policy:Policy": {"appautoscaling/policy.go", []use{
			{"application-autoscaling", "PutScalingPolicy DeleteScalingPolicy", target, ""},
			{"application-autoscaling", "DescribeScalingPolicies", none, ""},
			{"cloudwatch", "PutMetricAlarm DeleteAlarms DescribeAlarms", alarm, "Application Auto Scaling asks whether its caller may: target tracking makes alarms"},
		}},
		"aws:route53/record:Record": {"route53/record.go", []use{
			{"route53", "ChangeResourceRecordSets ListResourceRecordSets GetHostedZone", on(w.zone()), ""},
			{"route53", "GetChange", at{on: []string{"arn:aws:route53:::change/C1"}, shared: "AWS chooses a change's ID"}, "waits"},
		}},
		"aws:acm/certificate:Certificate": {"acm/certificate.go", []use{
			{"acm", "RequestCertificate", none, ""},
			{"acm", "DescribeCertificate DeleteCertificate AddTagsToCertificate RemoveTagsFromCertificate ListTagsForCertificate", certificate, ""},
		}},
		"aws:cloudfront/distribution:Distribution": {"cloudfront/distribution.go", []use{
			{"cloudfront", "CreateDistribution", none, ""},
			{"cloudfront", "GetDistribution UpdateDistribution DeleteDistribution TagResource UntagResource ListTagsForResource", distribution, ""},
		}},
		"aws:cloudfront/distributionTenant:DistributionTenant": {"cloudfront/distribution_tenant.go", []use{
			{"cloudfront", "CreateDistributionTenant", none, ""},
			{"cloudfront", "GetDistributionTenant UpdateDistributionTenant DeleteDistributionTenant TagResource UntagResource ListTagsForResource", distributionTenant, ""},
		}},
		"aws:rds/cluster:Cluster": {"rds/cluster.go", []use{
			{"rds", "CreateDBCluster", at{on: []string{aurora[0], aurora[2], aurora[3]}}, ""},
			{"rds", "ModifyDBCluster", at{on: []string{aurora[0], aurora[3]}}, ""},
			{"rds", "DeleteDBCluster", at{on: aurora[:2]}, ""},
			{"rds", "DescribeDBClusters AddTagsToResource RemoveTagsFromResource ListTagsForResource", on(aurora[0]), ""},
			{"rds", "CreateDBClusterSnapshot", at{on: aurora[:2]}, "the last one, which a deletion makes"},
			{"rds", "DescribeGlobalClusters", at{on: []string{"arn:aws:rds::" + account + ":global-cluster:*"}, shared: "we have none"}, "asks whether it is part of one"},
			{"secretsmanager", "CreateSecret TagResource", at{
				on: []string{w.arn("secretsmanager", "secret:rds!cluster-1")}, shared: "RDS chooses the name",
			}, "RDS makes the master's secret with its caller's rights"},
			{"kms", "DescribeKey CreateGrant Decrypt GenerateDataKey", on(w.key()), "as it does what it encrypts"},
		}},
		"aws:rds/clusterInstance:ClusterInstance": {"rds/cluster_instance.go", []use{
			{"rds", "CreateDBInstance", on(w.arn("rds", "db:"+data+"-0"), aurora[0]), ""},
			{"rds", "ModifyDBInstance DeleteDBInstance DescribeDBInstances AddTagsToResource RemoveTagsFromResource ListTagsForResource", on(w.arn("rds", "db:"+data+"-0")), ""},
		}},
		"aws:elasticache/userGroup:UserGroup": {"elasticache/user_group.go", []use{
			{"elasticache", "CreateUserGroup", on(redis[1], w.arn("elasticache", "user:"+w.Name(40, "default"))), ""},
			{"elasticache", "DeleteUserGroup DescribeUserGroups AddTagsToResource RemoveTagsFromResource ListTagsForResource", on(redis[1]), ""},
		}},
		"aws:elasticache/replicationGroup:ReplicationGroup": {"elasticache/replication_group.go", []use{
			{"elasticache", "CreateReplicationGroup", at{on: redis}, ""},
			{"elasticache", "CreateReplicationGroup", at{on: []string{w.arn("elasticache", "parametergroup:default.redis7")}, shared: "AWS's own"}, ""},
			{"elasticache", "ModifyReplicationGroup", at{on: []string{redis[0], redis[1]}}, ""},
			{"elasticache", "DeleteReplicationGroup", at{on: redis[:1]}, ""},
			{"elasticache", "DescribeReplicationGroups AddTagsToResource RemoveTagsFromResource ListTagsForResource", on(redis[0]), ""},
			{"elasticache", "DescribeCacheClusters", on(w.arn("elasticache", "cluster:"+data+"-001")), "its nodes"},
			{"kms", "DescribeKey CreateGrant", on(w.key()), "as it does what it encrypts"},
		}},
	}
}

// engine is what Pulumi does beside its provider.
func (w world) engine() []use {
	return []use{
		{"s3", "ListBucket", on(w.own("state")), "finds stacks and locks"},
		{"s3", "GetObject PutObject DeleteObject", on(w.own("state") + "/.pulumi/stacks/x.json"), "keeps stacks and locks"},
		{"kms", "Encrypt Decrypt", on(w.key()), "keeps stacks' secrets (awskms)"},
		{"kms", "Decrypt GenerateDataKey", on(w.key()), "what is in the state's bucket is encrypted"},
	}
}

// tenantConfigs are what changes which kinds of resources a tenant has.
func tenantConfigs() []tenant.Config {
	shared := tenant.Config{
		Tenant: core.Config{
			Tenant: "acme", Hosts: []string{"acme.a.apps.example", "www.acme.example"},
			Compute:   model.Compute{CPU: 256, Memory: 512, Scale: model.Scale{Min: 1, Max: 4, TargetCPU: 60}},
			Isolation: model.Isolation{Compute: model.Shared, Database: model.Shared, Cache: model.Shared},
			Database:  model.Database{Enabled: true}, Cache: model.Cache{Enabled: true},
		},
		Shared: tenant.Shared{Account: account, Region: region, Cell: ourCell, Domain: "a.apps.example"}, Edge: tenant.EdgeTenant, UID: 10_007,
	}
	own := shared
	own.Edge = tenant.EdgeDedicated
	own.Tenant.Isolation = model.Isolation{Compute: model.Dedicated, Database: model.Dedicated, Cache: model.Dedicated}
	return []tenant.Config{shared, own}
}

// TestProvider: the table has each kind of resource that a tenant can have, and no
// other.
func TestProvider(t *testing.T) {
	t.Parallel()
	registered := map[string]bool{}
	for _, c := range tenantConfigs() {
		for _, p := range []func(tenant.Config) (check.Run, error){
			func(c tenant.Config) (check.Run, error) { return check.Program(tenant.Program(c), false) },
			func(c tenant.Config) (check.Run, error) { return check.Program(tenant.CertificateProgram(c), false) },
		} {
			r, err := p(c)
			if err != nil {
				t.Fatal(err)
			}
			for _, res := range r.Resources {
				registered[res.Token] = true
			}
		}
	}
	table := newWorld(ourCell).provider()
	for _, token := range slices.Sorted(maps.Keys(registered)) {
		if _, ok := table[token]; !ok {
			t.Errorf("%s is not in the table: what does its provider call?", token)
		}
	}
	for token := range table {
		if !registered[token] {
			t.Errorf("no tenant has %s", token)
		}
	}
}
