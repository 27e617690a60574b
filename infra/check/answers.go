package check

import (
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// account and region of what the mocks make.
const (
	account = "123456789012"
	region  = "eu-west-1"
)

// outputsOf returns what AWS adds to a resource's inputs: for each kind that a
// program reads something of, that.
func outputsOf(token, name string, in resource.PropertyMap) resource.PropertyMap {
	text := func(s string) resource.PropertyValue { return resource.NewProperty(s) }
	out := resource.PropertyMap{"arn": text(arnOf(token, name, in)), "name": text(name)}
	switch token {
	case "aws:s3/bucket:Bucket":
		out["bucketRegionalDomainName"] = text(name + ".s3." + region + ".amazonaws.com")
	case "aws:cloudfront/distribution:Distribution":
		out["domainName"] = text(name + ".cloudfront.net")
		out["hostedZoneId"] = text("Z2FDTNDATAQYW2")
	case "aws:cloudfront/connectionGroup:ConnectionGroup":
		out["routingEndpoint"] = text(name + ".cloudfront.net")
	case "aws:route53/zone:Zone":
		out["zoneId"] = text("Z" + name)
		out["nameServers"] = resource.NewProperty([]resource.PropertyValue{text("ns-1.example"), text("ns-2.example")})
	case "aws:route53/record:Record":
		out["fqdn"] = in["name"]
	case "aws:acm/certificate:Certificate":
		out["domainValidationOptions"] = validationOf(in)
	case "aws:rds/cluster:Cluster":
		out["endpoint"] = text(name + ".rds.example")
		out["clusterResourceId"] = text("cluster-" + name)
		out["masterUserSecrets"] = resource.NewProperty([]resource.PropertyValue{
			resource.NewProperty(resource.PropertyMap{"secretArn": text("arn:aws:secretsmanager:" + region + ":" + account + ":secret:rds!cluster-" + name + "-AbCdEf")}),
		})
	case "aws:elasticache/replicationGroup:ReplicationGroup":
		out["primaryEndpointAddress"] = text(name + ".cache.example")
	case "aws:lb/loadBalancer:LoadBalancer":
		out["arnSuffix"], out["dnsName"], out["zoneId"] = text("app/"+name+"/1"), text(name+".elb.example"), text("Z32")
	case "aws:lb/targetGroup:TargetGroup":
		out["arnSuffix"] = text("targetgroup/" + name + "/1")
	case "aws:ec2/launchTemplate:LaunchTemplate":
		out["latestVersion"] = resource.NewProperty(1.0)
	case "aws:ecr/repository:Repository":
		out["repositoryUrl"] = text(account + ".dkr.ecr." + region + ".amazonaws.com/" + name)
	case "aws:lambda/functionUrl:FunctionUrl":
		out["functionUrl"] = text("https://" + name + ".lambda-url.example/")
	}
	return out
}

// arns are the ARNs of what policies name: service, whether it is in a region and
// in an account, the resource, and the input that has its name.
var arns = map[string]struct {
	service  string
	region   bool
	account  bool
	resource string // %s is the name
	input    string // "": the resource's name in the program
}{
	"aws:s3/bucket:Bucket":                                         {"s3", false, false, "%s", "bucket"},
	"aws:kms/key:Key":                                              {"kms", true, true, "key/%s", ""},
	"aws:efs/fileSystem:FileSystem":                                {"elasticfilesystem", true, true, "file-system/fs-%s", ""},
	"aws:efs/accessPoint:AccessPoint":                              {"elasticfilesystem", true, true, "access-point/fsap-%s", ""},
	"aws:cloudfront/keyValueStore:KeyValueStore":                   {"cloudfront", false, true, "key-value-store/%s", ""},
	"aws:cloudfront/function:Function":                             {"cloudfront", false, true, "function/%s", "name"},
	"aws:cloudfront/distribution:Distribution":                     {"cloudfront", false, true, "distribution/%s", ""},
	"aws:secretsmanager/secret:Secret":                             {"secretsmanager", true, true, "secret:%s-AbCdEf", "name"},
	"aws:route53/zone:Zone":                                        {"route53", false, false, "hostedzone/Z%s", ""},
	"aws:ecs/cluster:Cluster":                                      {"ecs", true, true, "cluster/%s", "name"},
	"aws:ecs/taskDefinition:TaskDefinition":                        {"ecs", true, true, "task-definition/%s:1", "family"},
	"aws:iam/role:Role":                                            {"iam", false, true, "role/%s", "name"},
	"aws:cloudwatch/logGroup:LogGroup":                             {"logs", true, true, "log-group:%s", "name"},
	"aws:lambda/function:Function":                                 {"lambda", true, true, "function:%s", "name"},
	"aws:sfn/stateMachine:StateMachine":                            {"states", true, true, "stateMachine:%s", "name"},
	"aws:rds/cluster:Cluster":                                      {"rds", true, true, "cluster:%s", "clusterIdentifier"},
	"aws:elasticache/userGroup:UserGroup":                          {"elasticache", true, true, "usergroup:%s", "userGroupId"},
	"aws:elasticache/user:User":                                    {"elasticache", true, true, "user:%s", "userId"},
	"aws:servicediscovery/privateDnsNamespace:PrivateDnsNamespace": {"servicediscovery", true, true, "namespace/ns-%s", ""},
}

// arnOf returns what the resource's ARN is like.
func arnOf(token, name string, in resource.PropertyMap) string {
	a, known := arns[token]
	if !known {
		return "arn:aws:mock:" + region + ":" + account + ":" + name
	}
	if v := in[resource.PropertyKey(a.input)]; v.IsString() {
		name = v.StringValue()
	}
	where, who := "", ""
	if a.region {
		where = region
	}
	if a.account {
		who = account
	}
	return "arn:aws:" + a.service + ":" + where + ":" + who + ":" + fmt.Sprintf(a.resource, name)
}

// validationOf returns one record a host of a certificate.
func validationOf(in resource.PropertyMap) resource.PropertyValue {
	hosts := []string{in["domainName"].StringValue()}
	if in.HasValue("subjectAlternativeNames") {
		for _, v := range in["subjectAlternativeNames"].ArrayValue() {
			hosts = append(hosts, v.StringValue())
		}
	}
	var list []resource.PropertyValue
	for _, h := range hosts {
		list = append(list, resource.NewProperty(resource.PropertyMap{
			"domainName":          resource.NewProperty(h),
			"resourceRecordName":  resource.NewProperty("_x." + h + "."),
			"resourceRecordType":  resource.NewProperty("CNAME"),
			"resourceRecordValue": resource.NewProperty("_y." + h + ".acm-validations.aws."),
		}))
	}
	return resource.NewProperty(list)
}
