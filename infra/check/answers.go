package check

import "github.com/pulumi/pulumi/sdk/v3/go/common/resource"

// account and region of what the mocks make.
const (
	account = "123456789012"
	region  = "eu-west-1"
)

// outputsOf returns what AWS adds to a resource's inputs: for each kind that a
// program reads something of, that.
func outputsOf(token, name string, in resource.PropertyMap) resource.PropertyMap {
	text := func(s string) resource.PropertyValue { return resource.NewProperty(s) }
	out := resource.PropertyMap{
		"arn":  text("arn:aws:mock:" + region + ":" + account + ":" + name),
		"name": text(name),
	}
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
			resource.NewProperty(resource.PropertyMap{"secretArn": text("arn:aws:secretsmanager:" + region + ":" + account + ":secret:rds!" + name)}),
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
