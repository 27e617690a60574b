package provider

import "maps"

// kinds are the tokens that the programs of infra/ register. What cannot be
// changed is what Terraform's schemas say of it (ForceNew).
var kinds = all(network, storage, compute, data, edge, control)

func all(some ...map[string]kind) map[string]kind {
	out := make(map[string]kind)
	for _, m := range some {
		maps.Copy(out, m)
	}
	return out
}

const (
	ec2 = "arn:aws:ec2:{region}:{account}:"
	elb = "arn:aws:elasticloadbalancing:{region}:{account}:"
)

var network = map[string]kind{
	"aws:ec2/vpc:Vpc":                                     {id: "vpc-#", arn: ec2 + "vpc/{id}", replace: "cidrBlock", held: true},
	"aws:ec2/subnet:Subnet":                               {id: "subnet-#", arn: ec2 + "subnet/{id}", replace: "vpcId availabilityZone cidrBlock", held: true},
	"aws:ec2/internetGateway:InternetGateway":             {id: "igw-#", arn: ec2 + "internet-gateway/{id}", held: true},
	"aws:ec2/eip:Eip":                                     {id: "eipalloc-#", arn: ec2 + "elastic-ip/{id}", replace: "domain", held: true},
	"aws:ec2/natGateway:NatGateway":                       {id: "nat-#", replace: "allocationId subnetId"},
	"aws:ec2/routeTable:RouteTable":                       {id: "rtb-#", arn: ec2 + "route-table/{id}", replace: "vpcId"},
	"aws:ec2/route:Route":                                 {imported: "{routeTableId}_{destinationCidrBlock}", id: "r-{routeTableId}-{destinationCidrBlock}", replace: "routeTableId destinationCidrBlock"},
	"aws:ec2/routeTableAssociation:RouteTableAssociation": {imported: "{subnetId}/{routeTableId}", id: "rtbassoc-#", replace: "subnetId"},
	"aws:ec2/vpcEndpoint:VpcEndpoint":                     {id: "vpce-#", arn: ec2 + "vpc-endpoint/{id}", replace: "vpcId serviceName vpcEndpointType"},
	"aws:ec2/securityGroup:SecurityGroup": {
		id: "sg-#", key: "{vpcId}/{name}", arn: ec2 + "security-group/{id}", replace: "name description vpcId", held: true,
	},
	"aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": {id: "sgr-#", replace: "securityGroupId"},
	"aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule":   {id: "sgr-#", replace: "securityGroupId"},
	"aws:ec2/launchTemplate:LaunchTemplate": {
		id: "lt-#", key: "{name}", arn: ec2 + "launch-template/{id}", replace: "name", held: true,
		more: func(*Provider, string, Properties) Properties { return Properties{"latestVersion": 1.0} },
	},
	"aws:lb/loadBalancer:LoadBalancer": {
		id: elb + "loadbalancer/app/{name}/#", key: "{name}", arn: "{id}", replace: "name loadBalancerType internal",
		outputs: map[string]string{"arnSuffix": "app/{name}/{last id}", "dnsName": "{name}.{region}.elb.amazonaws.com", "zoneId": "Z32O12XQLNTSW2"},
	},
	"aws:lb/targetGroup:TargetGroup": {
		id: elb + "targetgroup/{name}/#", key: "{name}", arn: "{id}", replace: "name port protocol targetType vpcId", held: true,
		outputs: map[string]string{"arnSuffix": "targetgroup/{name}/{last id}"},
	},
	"aws:lb/listener:Listener":         {id: elb + "listener/app/#", arn: "{id}", replace: "loadBalancerArn", held: true},
	"aws:lb/listenerRule:ListenerRule": {id: elb + "listener-rule/app/#", arn: "{id}", replace: "listenerArn"},
}

var storage = map[string]kind{
	"aws:s3/bucket:Bucket": {
		id: "{bucket}", arn: "arn:aws:s3:::{id}", replace: "bucket", real: &bucket,
		outputs: map[string]string{"bucketRegionalDomainName": "{id}.s3.{region}.amazonaws.com"},
	},
	"aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock":                                 {id: "{bucket}", replace: "bucket", put: true, real: &publicAccess},
	"aws:s3/bucketPolicy:BucketPolicy":                                                       {id: "{bucket}", replace: "bucket", put: true, real: &bucketPolicy},
	"aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration":                       {id: "{bucket}", replace: "bucket", put: true, real: &bucketLifecycle},
	"aws:s3/bucketVersioning:BucketVersioning":                                               {id: "{bucket}", replace: "bucket", put: true},
	"aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": {id: "{bucket}", replace: "bucket", put: true},

	"aws:efs/fileSystem:FileSystem": {
		id: "fs-#", key: "{creationToken}", arn: "arn:aws:elasticfilesystem:{region}:{account}:file-system/{id}",
		replace: "creationToken encrypted kmsKeyId", held: true,
	},
	"aws:efs/mountTarget:MountTarget":           {id: "fsmt-#", key: "{fileSystemId}/{subnetId}", replace: "fileSystemId subnetId"},
	"aws:efs/backupPolicy:BackupPolicy":         {id: "{fileSystemId}", replace: "fileSystemId", put: true},
	"aws:efs/fileSystemPolicy:FileSystemPolicy": {id: "{fileSystemId}", replace: "fileSystemId", put: true},
	"aws:efs/accessPoint:AccessPoint": {
		id: "fsap-#", arn: "arn:aws:elasticfilesystem:{region}:{account}:access-point/{id}", replace: "fileSystemId posixUser rootDirectory",
		real: &accessPoint,
	},

	"aws:kms/key:Key":     {id: "key-#", arn: "arn:aws:kms:{region}:{account}:key/{id}"},
	"aws:kms/alias:Alias": {id: "{name}", arn: "arn:aws:kms:{region}:{account}:{name}", replace: "name"},
	"aws:ecr/repository:Repository": {
		id: "{name}", arn: "arn:aws:ecr:{region}:{account}:repository/{name}", replace: "name encryptionConfigurations",
		outputs: map[string]string{"repositoryUrl": "{account}.dkr.ecr.{region}.amazonaws.com/{name}"},
	},
	"aws:ecr/lifecyclePolicy:LifecyclePolicy": {id: "{repository}", replace: "repository policy", put: true},
}

const ecsARN = "arn:aws:ecs:{region}:{account}:"

var compute = map[string]kind{
	"aws:ecs/cluster:Cluster":                                   {imported: "{name}", real: &ecsCluster, id: ecsARN + "cluster/{name}", arn: "{id}", replace: "name", held: true},
	"aws:ecs/capacityProvider:CapacityProvider":                 {real: &capacityProvider, id: ecsARN + "capacity-provider/{name}", arn: "{id}", replace: "name autoScalingGroupProvider.autoScalingGroupArn"},
	"aws:ecs/clusterCapacityProviders:ClusterCapacityProviders": {real: &clusterProviders, id: "{clusterName}", replace: "clusterName", put: true},
	"aws:ecs/taskDefinition:TaskDefinition": {
		real: &taskDefinition, imported: "{arn}", id: "{family}", key: "{arn}", replace: "*", revised: true,
		more: func(p *Provider, _ string, in Properties) Properties {
			return Properties{"arn": p.expand(ecsARN+"task-definition/{family}:", "", in) + p.numbered()}
		},
	},
	"aws:ecs/service:Service":                                      {imported: "{last cluster}/{name}", real: &service, id: ecsARN + "service/{last cluster}/{name}", arn: "{id}", replace: "name cluster"},
	"aws:appautoscaling/target:Target":                             {imported: "{serviceNamespace}/{resourceId}/{scalableDimension}", real: &scalingTarget, id: "{resourceId}", replace: "resourceId scalableDimension serviceNamespace", put: true},
	"aws:appautoscaling/policy:Policy":                             {imported: "{serviceNamespace}/{resourceId}/{scalableDimension}/{name}", real: &scalingPolicy, id: "{name}", key: "{resourceId}/{name}", arn: "arn:aws:autoscaling:{region}:{account}:scalingPolicy:{name}", replace: "name resourceId scalableDimension serviceNamespace", put: true},
	"aws:autoscaling/group:Group":                                  {id: "{name}", arn: "arn:aws:autoscaling:{region}:{account}:autoScalingGroup:0:autoScalingGroupName/{name}", replace: "name"},
	"aws:servicediscovery/privateDnsNamespace:PrivateDnsNamespace": {imported: "{id}:{vpc}", id: "ns-#", key: "{vpc}/{name}", arn: "arn:aws:servicediscovery:{region}:{account}:namespace/{id}", replace: "name vpc", held: true},
	"aws:servicediscovery/service:Service":                         {real: &discovery, id: "srv-#", key: "{name}", arn: "arn:aws:servicediscovery:{region}:{account}:service/{id}", replace: "name dnsConfig.namespaceId dnsConfig.routingPolicy healthCheckCustomConfig", held: true},
}

const (
	rdsARN   = "arn:aws:rds:{region}:{account}:"
	cacheARN = "arn:aws:elasticache:{region}:{account}:"
)

var data = map[string]kind{
	"aws:rds/subnetGroup:SubnetGroup":                     {id: "{name}", arn: rdsARN + "subgrp:{name}", replace: "name", held: true},
	"aws:rds/clusterParameterGroup:ClusterParameterGroup": {id: "{name}", arn: rdsARN + "cluster-pg:{name}", replace: "name family description", held: true},
	"aws:rds/cluster:Cluster": {
		id: "{clusterIdentifier}", arn: rdsARN + "cluster:{id}", held: true,
		replace: "clusterIdentifier masterUsername kmsKeyId storageEncrypted dbSubnetGroupName engineMode engine",
		outputs: map[string]string{"endpoint": "{id}.cluster-x.{region}.rds.amazonaws.com", "clusterResourceId": "cluster-{id}"},
		more: func(p *Provider, id string, _ Properties) Properties {
			return Properties{"masterUserSecrets": []any{Properties{
				"secretArn": p.expand("arn:aws:secretsmanager:{region}:{account}:secret:rds!{id}", id, nil), "secretStatus": "active",
			}}}
		},
	},
	"aws:rds/clusterInstance:ClusterInstance":       {id: "{identifier}", arn: rdsARN + "db:{id}", replace: "identifier clusterIdentifier engine"},
	"aws:elasticache/subnetGroup:SubnetGroup":       {id: "{name}", arn: cacheARN + "subnetgroup:{name}", replace: "name", held: true},
	"aws:elasticache/parameterGroup:ParameterGroup": {id: "{name}", arn: cacheARN + "parametergroup:{name}", replace: "name family description", held: true},
	"aws:elasticache/user:User":                     {id: "{userId}", arn: cacheARN + "user:{id}", replace: "userId userName engine"},
	"aws:elasticache/userGroup:UserGroup":           {id: "{userGroupId}", arn: cacheARN + "usergroup:{id}", replace: "userGroupId engine", held: true},
	"aws:elasticache/replicationGroup:ReplicationGroup": {
		id: "{replicationGroupId}", arn: cacheARN + "replicationgroup:{id}", replace: "replicationGroupId atRestEncryptionEnabled kmsKeyId subnetGroupName port",
		outputs: map[string]string{"primaryEndpointAddress": "master.{id}.cache.amazonaws.com"},
	},
}

const cloudfrontARN = "arn:aws:cloudfront::{account}:"

var edge = map[string]kind{
	"aws:cloudfront/distribution:Distribution": {
		real: &distribution,
		id:   "E#", arn: cloudfrontARN + "distribution/{id}",
		outputs: map[string]string{"domainName": "{id}.cloudfront.net", "hostedZoneId": "Z2FDTNDATAQYW2", "status": "InProgress"},
	},
	"aws:cloudfront/multitenantDistribution:MultitenantDistribution": {
		id: "E#", arn: cloudfrontARN + "distribution/{id}", outputs: map[string]string{"domainName": "{id}.cloudfront.net"}, held: true,
	},
	"aws:cloudfront/distributionTenant:DistributionTenant":       {real: &distributionTenant, id: "dt_#", key: "{name}", arn: cloudfrontARN + "distribution-tenant/{id}", replace: "name"},
	"aws:cloudfront/connectionGroup:ConnectionGroup":             {id: "cg_#", key: "{name}", arn: cloudfrontARN + "connection-group/{id}", replace: "name", held: true, outputs: map[string]string{"routingEndpoint": "{id}.cloudfront.net"}},
	"aws:cloudfront/function:Function":                           {id: "{name}", arn: cloudfrontARN + "function/{name}", replace: "name", held: true},
	"aws:cloudfront/keyValueStore:KeyValueStore":                 {id: "{name}", arn: cloudfrontARN + "key-value-store/{name}", replace: "name", held: true},
	"aws:cloudfront/originAccessControl:OriginAccessControl":     {id: "OAC#", key: "{name}", arn: cloudfrontARN + "origin-access-control/{id}", held: true},
	"aws:cloudfront/responseHeadersPolicy:ResponseHeadersPolicy": {id: "hp-#", key: "{name}", held: true},
	"aws:route53/zone:Zone": {
		id: "Z#", arn: "arn:aws:route53:::hostedzone/{id}", replace: "name", held: true,
		outputs: map[string]string{"zoneId": "{id}"},
		more: func(*Provider, string, Properties) Properties {
			return Properties{"nameServers": []any{"ns-1.awsdns-01.org", "ns-2.awsdns-02.net"}}
		},
	},
	"aws:route53/record:Record": {real: &zoneRecord, id: "{zoneId}_{name}_{type}", replace: "zoneId name", outputs: map[string]string{"fqdn": "{name}"}},
	"aws:acm/certificate:Certificate": {
		real: &certificate,
		id:   "arn:aws:acm:{region}:{account}:certificate/#", arn: "{id}", replace: "domainName subjectAlternativeNames validationMethod region",
		more: func(_ *Provider, _ string, in Properties) Properties { return validation(in) },
	},
	"aws:acm/certificateValidation:CertificateValidation": {id: "{certificateArn}", replace: "*"},
}

// validation returns one record for each host of a certificate.
func validation(in Properties) Properties {
	hosts := []any{in["domainName"]}
	if more, ok := in["subjectAlternativeNames"].([]any); ok {
		hosts = append(hosts, more...)
	}
	var list []any
	for _, h := range hosts {
		host, _ := h.(string)
		list = append(list, Properties{
			"domainName": host, "resourceRecordName": "_x." + host + ".", "resourceRecordType": "CNAME",
			"resourceRecordValue": "_y." + host + ".acm-validations.aws.",
		})
	}
	return Properties{"domainValidationOptions": list}
}

var control = map[string]kind{
	"aws:iam/role:Role":                                 {id: "{name}", arn: "arn:aws:iam::{account}:role{path}{name}", replace: "name path", real: &role},
	"aws:iam/rolePolicy:RolePolicy":                     {id: "{role}:{name}", replace: "name role", put: true, real: &rolePolicy},
	"aws:iam/policy:Policy":                             {id: "arn:aws:iam::{account}:policy{path}{name}", arn: "{id}", replace: "name path description", held: true},
	"aws:iam/rolePolicyAttachment:RolePolicyAttachment": {imported: "{role}/{policyArn}", id: "{role}-#", key: "{role}/{policyArn}", replace: "*"},
	"aws:iam/instanceProfile:InstanceProfile":           {id: "{name}", arn: "arn:aws:iam::{account}:instance-profile{path}{name}", replace: "name path"},
	"aws:cloudwatch/logGroup:LogGroup":                  {id: "{name}", arn: "arn:aws:logs:{region}:{account}:log-group:{name}", replace: "name", real: &logGroup},
	"aws:cloudwatch/metricAlarm:MetricAlarm":            {id: "{name}", arn: "arn:aws:cloudwatch:{region}:{account}:alarm:{name}", replace: "name", put: true},
	"aws:cloudwatch/dashboard:Dashboard":                {id: "{dashboardName}", replace: "dashboardName", put: true},
	"aws:lambda/function:Function":                      {id: "{name}", arn: "arn:aws:lambda:{region}:{account}:function:{name}", replace: "name packageType", held: true},
	"aws:lambda/functionUrl:FunctionUrl":                {id: "{functionName}", replace: "functionName", outputs: map[string]string{"functionUrl": "https://{functionName}.lambda-url.{region}.on.aws/"}},
	"aws:lambda/permission:Permission":                  {id: "terraform-#", replace: "*"},
	"aws:sfn/stateMachine:StateMachine":                 {id: "arn:aws:states:{region}:{account}:stateMachine:{name}", arn: "{id}", replace: "name type"},
	"aws:cloudwatch/eventRule:EventRule":                {id: "{name}", arn: "arn:aws:events:{region}:{account}:rule/{name}", replace: "name"},
	"aws:cloudwatch/eventTarget:EventTarget":            {id: "{rule}-terraform-#", replace: "rule"},
	"aws:scheduler/schedule:Schedule":                   {id: "default/{name}", arn: "arn:aws:scheduler:{region}:{account}:schedule/default/{name}", replace: "name"},
	"aws:secretsmanager/secret:Secret":                  {id: "arn:aws:secretsmanager:{region}:{account}:secret:{name}-#", key: "{name}", arn: "{id}", replace: "name"},
	"aws:secretsmanager/secretVersion:SecretVersion":    {id: "{secretId}|#", arn: "{secretId}", replace: "secretId secretString"},
}
