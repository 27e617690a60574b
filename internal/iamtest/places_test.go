package iamtest

import "maps"

// places says where our own code makes each call: the resources, as AWS's reference
// has them for the action.
// Source: Service Authorization Reference.
func (w world) places() map[string]at {
	service := func(c string) string { return w.arn("ecs", "service/"+c+"/"+w.entity()) }
	task := func(c string) string { return w.arn("ecs", "task/"+c+"/0123456789abcdef") }
	user, group := w.arn("elasticache", "user:"+w.entity()), w.arn("elasticache", "usergroup:"+w.Name(40))
	groups := []string{group, w.arn("elasticache", "usergroup:"+w.data())}
	distribution := at{on: []string{w.global("cloudfront", "distribution/E1")}, shared: "AWS chooses a distribution's ID"}
	tenants := at{on: []string{w.global("cloudfront", "distribution-tenant/dt_1")}, shared: "AWS chooses a distribution tenant's ID"}
	certificate := at{on: []string{"arn:aws:acm:us-east-1:" + account + ":certificate/1"}, shared: "AWS chooses a certificate's ID"}
	discovery := at{on: []string{w.arn("servicediscovery", "namespace/ns-"+w.id("namespace")), w.arn("servicediscovery", "service/srv-1")}, shared: "AWS chooses a service's ID"}
	m := map[string]at{
		"application-autoscaling:DescribeScalableTargets": anywhere("no resource"),
		"application-autoscaling:RegisterScalableTarget":  {on: []string{w.arn("application-autoscaling", "scalable-target/1")}, shared: "AWS chooses a target's ID"},
		"elasticfilesystem:DescribeAccessPoints":          on(w.files()),
		"elasticache:DescribeReplicationGroups":           on(w.arn("elasticache", "replicationgroup:"+w.data())),
		"ecs:DescribeClusters":                            on(w.arn("ecs", "cluster/"+w.entity())),
		"logs:DescribeLogStreams":                         on(w.logs("tenant/acme")),
		"iam:GetRole":                                     on(w.global("iam", "role/gitopsd/"+w.Cell+"/tenant/"+w.tenant.RoleName())),
		"kms:Decrypt":                                     on(w.key()),
		"kms:GenerateDataKey":                             on(w.key()),
		"rds:DescribeDBClusters":                          on(w.arn("rds", "cluster:"+w.data())),
		"route53:ListResourceRecordSets":                  on(w.zone()),
		"ecs:DescribeServices":                            {on: each(w.clusters(), service)},
		"ecs:UpdateService":                               {on: each(w.clusters(), service)},
		"ecs:DescribeTasks":                               {on: each(w.clusters(), task)},
		"ecs:StopTask":                                    {on: each(w.clusters(), task)},
		"ecs:ListTasks":                                   {on: []string{"*"}, context: map[string]string{"ecs:cluster": w.ClusterARN()}},
		"servicediscovery:DiscoverInstances":              discovery,
		"servicediscovery:GetService":                     discovery,
		"servicediscovery:ListServices":                   anywhere("no resource"),
		"logs:FilterLogEvents":                            on(w.logs("tenant/acme")),
		"logs:DescribeLogGroups":                          anywhere("no resource"),
		"acm:DescribeCertificate":                         certificate,
		"acm:ListCertificates":                            anywhere("no resource"),
		"ecs:DescribeTaskDefinition":                      anywhere("no resource"),
		"logs:ListTagsForResource":                        on(w.logs("tenant/acme")),
		"servicediscovery:ListTagsForResource":            anywhere("no resource"),
		"tag:GetResources":                                anywhere("no resource"),
		"acm:ListTagsForCertificate":                      certificate,
	}
	for _, c := range []struct {
		names, service string
		at
	}{
		{"CreateUser ModifyUser DeleteUser DescribeUsers ListTagsForResource AddTagsToResource", "elasticache", on(user)},
		{"DescribeUserGroups", "elasticache", at{on: groups}},
		{"ModifyUserGroup", "elasticache", at{on: append([]string{user}, groups...)}},
		{"DescribeKeyValueStore GetKey PutKey DeleteKey UpdateKeys ListKeys", "cloudfront-keyvaluestore", on(w.store())},
		{"GetDistribution GetDistributionConfig UpdateDistribution DeleteDistribution CreateInvalidation GetInvalidation ListTagsForResource", "cloudfront", distribution},
		{"GetDistributionTenant CreateInvalidationForDistributionTenant GetInvalidationForDistributionTenant", "cloudfront", tenants},
		{"ListDistributions ListDistributionTenants ListDistributionsByWebACLId", "cloudfront", anywhere("no resource")},
		{"CreateSecret PutSecretValue DescribeSecret DeleteSecret TagResource UpdateSecretVersionStage RestoreSecret", "secretsmanager", on(w.secret("tenant/acme"))},
		{"GetSecretValue", "secretsmanager", on(w.secret("tenant/acme"), w.secret("configuration"), w.secret("credentials"), w.secret("origin"), w.master())},
		{"StartExecution", "states", on(w.MachineARN("deploy", 1))},
		{"DescribeExecution StopExecution GetExecutionHistory", "states", on(w.arn("states", "execution:"+w.Name(64, "deploy-v1")+":acme-1"))},
	} {
		for _, name := range fields(c.service, c.names) {
			m[name] = c.at
		}
	}
	maps.Copy(m, w.buckets())
	return m
}

// buckets are the places of calls to S3: tenants' buckets, snapshots, and the
// state, in which are Pulumi's stacks and the driver's records.
func (w world) buckets() map[string]at {
	tenants, snapshots, state := w.bucket(), w.own("snapshots"), w.own("state")
	file := func(bucket string) string { return bucket + "/some/key" }
	m := map[string]at{}
	m["s3:ListBucket"] = on(tenants, snapshots, state)
	m["s3:ListBucketVersions"] = on(tenants, snapshots)
	for _, name := range fields("s3", "GetBucketTagging ListBucketMultipartUploads") {
		m[name] = on(tenants)
	}
	for _, name := range fields("s3", "GetObject PutObject DeleteObject") {
		m[name] = on(file(tenants), file(snapshots), file(state))
	}
	m["s3:DeleteObjectVersion"] = on(file(tenants), file(snapshots))
	m["s3:AbortMultipartUpload"] = on(file(tenants), file(snapshots))
	return m
}
