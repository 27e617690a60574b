package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"

	infraaws "github.com/gitopsd/gitopsd/infra/aws"
	"github.com/gitopsd/gitopsd/infra/cdn"
	infra "github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/fault"
)

// adopter finds what the programs of infra/ were making. It answers with the ID
// that the provider imports by.
//
// Resources come in three kinds. What is part of another, or has a name that only
// its program uses, has an ID that is known without a look: the engine looks, before
// it goes on. What is found by its own service is found at once. The rest is found by
// its tags, of which AWS hears later: so it is asked for again until Wait is over.
type adopter struct {
	account string
	region  string
	wait    time.Duration // how long tags may take
	every   time.Duration

	buckets   *s3.Client
	roles     *iam.Client
	logs      *cloudwatchlogs.Client
	ecs       *ecs.Client
	discovery *servicediscovery.Client
	files     *efs.Client
	cdn       *cloudfront.Client
	acm       *acm.Client
	tags      *resourcegroupstaggingapi.Client
	global    *resourcegroupstaggingapi.Client // of what has no region
}

// AdopterConfig configures an Adopter.
type AdopterConfig struct {
	AWS     awssdk.Config
	Account string
	// Wait is how long AWS may take until tags can be asked for; 0: a minute.
	Wait time.Duration
}

// NewAdopter returns an Adopter of what infra/tenant and infra/platform make.
func NewAdopter(c AdopterConfig) Adopter {
	if c.Wait == 0 {
		c.Wait = time.Minute
	}
	virginia := c.AWS.Copy()
	virginia.Region = cdn.Region
	a := &adopter{
		account: c.Account, region: c.AWS.Region, wait: c.Wait, every: c.Wait / 12,
		buckets: newS3(c.AWS), roles: iam.NewFromConfig(c.AWS), logs: cloudwatchlogs.NewFromConfig(c.AWS),
		ecs: ecs.NewFromConfig(c.AWS), discovery: servicediscovery.NewFromConfig(c.AWS), files: efs.NewFromConfig(c.AWS),
		cdn: cloudfront.NewFromConfig(c.AWS), acm: acm.NewFromConfig(virginia),
		tags: resourcegroupstaggingapi.NewFromConfig(c.AWS), global: resourcegroupstaggingapi.NewFromConfig(virginia),
	}
	return a.find
}

// known are the resources whose import ID is made of their inputs.
// Source: the provider's documentation, "Import" of each resource.
var known = map[string]string{
	"aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock":                                 "{bucket}",
	"aws:s3/bucketPolicy:BucketPolicy":                                                       "{bucket}",
	"aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration":                       "{bucket}",
	"aws:s3/bucketVersioning:BucketVersioning":                                               "{bucket}",
	"aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": "{bucket}",

	"aws:iam/rolePolicy:RolePolicy":                             "{role}:{name}",
	"aws:iam/policy:Policy":                                     "arn:aws:iam::{account}:policy{path}{name}",
	"aws:iam/rolePolicyAttachment:RolePolicyAttachment":         "{role}/{policyArn}",
	"aws:iam/instanceProfile:InstanceProfile":                   "{name}",
	"aws:efs/backupPolicy:BackupPolicy":                         "{fileSystemId}",
	"aws:efs/fileSystemPolicy:FileSystemPolicy":                 "{fileSystemId}",
	"aws:kms/alias:Alias":                                       "{name}",
	"aws:ecr/repository:Repository":                             "{name}",
	"aws:ecr/lifecyclePolicy:LifecyclePolicy":                   "{repository}",
	"aws:ecs/cluster:Cluster":                                   "{name}",
	"aws:ecs/capacityProvider:CapacityProvider":                 "arn:aws:ecs:{region}:{account}:capacity-provider/{name}",
	"aws:ecs/clusterCapacityProviders:ClusterCapacityProviders": "{clusterName}",
	"aws:autoscaling/group:Group":                               "{name}",
	"aws:appautoscaling/target:Target":                          "{serviceNamespace}/{resourceId}/{scalableDimension}",
	"aws:appautoscaling/policy:Policy":                          "{serviceNamespace}/{resourceId}/{scalableDimension}/{name}",
	"aws:route53/record:Record":                                 "{zoneId}_{name}_{type}",
	"aws:rds/subnetGroup:SubnetGroup":                           "{name}",
	"aws:rds/clusterParameterGroup:ClusterParameterGroup":       "{name}",
	"aws:rds/cluster:Cluster":                                   "{clusterIdentifier}",
	"aws:rds/clusterInstance:ClusterInstance":                   "{identifier}",
	"aws:elasticache/subnetGroup:SubnetGroup":                   "{name}",
	"aws:elasticache/user:User":                                 "{userId}",
	"aws:elasticache/userGroup:UserGroup":                       "{userGroupId}",
	"aws:elasticache/replicationGroup:ReplicationGroup":         "{replicationGroupId}",
	"aws:cloudfront/function:Function":                          "{name}",
	"aws:cloudfront/keyValueStore:KeyValueStore":                "{name}",
	"aws:cloudwatch/metricAlarm:MetricAlarm":                    "{name}",
	"aws:cloudwatch/dashboard:Dashboard":                        "{dashboardName}",
	"aws:lambda/function:Function":                              "{name}",
	"aws:lambda/functionUrl:FunctionUrl":                        "{functionName}",
	"aws:sfn/stateMachine:StateMachine":                         "arn:aws:states:{region}:{account}:stateMachine:{name}",
	"aws:scheduler/schedule:Schedule":                           "default/{name}",
	"aws:ec2/route:Route":                                       "{routeTableId}_{destinationCidrBlock}",
	"aws:ec2/routeTableAssociation:RouteTableAssociation":       "{subnetId}/{routeTableId}",
}

// harmless are the resources of which a second one does no harm and goes with what it
// is a part of: they are made anew.
var harmless = []string{
	"aws:acm/certificateValidation:CertificateValidation", // nothing but a wait
	"aws:secretsmanager/secretVersion:SecretVersion",
	"aws:lambda/permission:Permission",
}

// byTags are the resources that are found by their tags: the type that tags are
// asked for with, and what of the ARN is the ID ("" is all of it).
var byTags = map[string]struct{ kind, after string }{
	"aws:ec2/vpc:Vpc":                         {"ec2:vpc", "vpc/"},
	"aws:ec2/subnet:Subnet":                   {"ec2:subnet", "subnet/"},
	"aws:ec2/internetGateway:InternetGateway": {"ec2:internet-gateway", "internet-gateway/"},
	"aws:ec2/eip:Eip":                         {"ec2:elastic-ip", "elastic-ip/"},
	"aws:ec2/natGateway:NatGateway":           {"ec2:natgateway", "natgateway/"},
	"aws:ec2/routeTable:RouteTable":           {"ec2:route-table", "route-table/"},
	"aws:ec2/vpcEndpoint:VpcEndpoint":         {"ec2:vpc-endpoint", "vpc-endpoint/"},
	"aws:ec2/securityGroup:SecurityGroup":     {"ec2:security-group", "security-group/"},
	"aws:ec2/launchTemplate:LaunchTemplate":   {"ec2:launch-template", "launch-template/"},

	"aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": {"ec2:security-group-rule", "security-group-rule/"},
	"aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule":   {"ec2:security-group-rule", "security-group-rule/"},

	"aws:lb/loadBalancer:LoadBalancer": {kind: "elasticloadbalancing:loadbalancer"},
	"aws:lb/targetGroup:TargetGroup":   {kind: "elasticloadbalancing:targetgroup"},
	"aws:lb/listener:Listener":         {kind: "elasticloadbalancing:listener"},
	"aws:lb/listenerRule:ListenerRule": {kind: "elasticloadbalancing:listener-rule"},

	"aws:efs/fileSystem:FileSystem":    {"elasticfilesystem:file-system", "file-system/"},
	"aws:kms/key:Key":                  {"kms:key", "key/"},
	"aws:route53/zone:Zone":            {"route53:hostedzone", "hostedzone/"},
	"aws:secretsmanager/secret:Secret": {kind: "secretsmanager:secret"},

	"aws:cloudfront/multitenantDistribution:MultitenantDistribution": {"cloudfront:distribution", "distribution/"},
}

// find implements Adopter.
func (a *adopter) find(ctx context.Context, kind string, inputs map[string]any) (string, error) {
	in := wanted{kind: kind, inputs: inputs}
	if template, ok := known[kind]; ok {
		return a.expand(template, in)
	}
	if slices.Contains(harmless, kind) {
		return "", nil
	}
	if t, ok := byTags[kind]; ok {
		return a.tagged(ctx, in, t.kind, t.after)
	}
	look := map[string]func(context.Context, wanted) (there, error){
		"aws:s3/bucket:Bucket":                                         a.bucket,
		"aws:iam/role:Role":                                            a.role,
		"aws:cloudwatch/logGroup:LogGroup":                             a.logGroup,
		"aws:ecs/taskDefinition:TaskDefinition":                        a.taskDefinition,
		"aws:ecs/service:Service":                                      a.service,
		"aws:servicediscovery/service:Service":                         a.discoveryService,
		"aws:efs/accessPoint:AccessPoint":                              a.accessPoint,
		"aws:efs/mountTarget:MountTarget":                              a.mountTarget,
		"aws:cloudfront/distribution:Distribution":                     a.distribution,
		"aws:cloudfront/distributionTenant:DistributionTenant":         a.distributionTenant,
		"aws:acm/certificate:Certificate":                              a.certificate,
		"aws:cloudfront/connectionGroup:ConnectionGroup":               a.connectionGroup,
		"aws:cloudfront/originAccessControl:OriginAccessControl":       a.originAccess,
		"aws:cloudfront/responseHeadersPolicy:ResponseHeadersPolicy":   a.headersPolicy,
		"aws:servicediscovery/privateDnsNamespace:PrivateDnsNamespace": a.namespace,
	}[kind]
	if look == nil {
		return "", fault.Errorf(fault.Stalled, "%s cannot be found again by itself", kind).
			WithHint("see whether AWS has it: if so, delete it there; then: pulumi refresh --clear-pending-creates")
	}
	found, err := look(ctx, in)
	if absent(err) || err == nil && found.id == "" {
		return "", nil
	}
	if err != nil {
		return "", failure("look for "+kind, err)
	}
	return found.id, in.owned(found)
}

// wanted is a resource as it was to be.
type wanted struct {
	kind   string
	inputs map[string]any
}

func (w wanted) text(name string) string {
	s, _ := w.inputs[name].(string)
	return s
}

// tags returns the tags that it was to have.
func (w wanted) tags() map[string]string {
	out := make(map[string]string)
	m, _ := w.inputs["tags"].(map[string]any)
	for k, v := range m {
		out[k], _ = v.(string)
	}
	return out
}

// there is a resource that AWS has.
type there struct {
	id   string
	tags map[string]string
}

// owned fails with fault.Conflict unless what is there has the marks of what was
// wanted: somebody else's may have the name.
func (w wanted) owned(found there) error {
	want := w.tags()
	for _, mark := range []string{infra.TagManagedBy, infra.TagPlatform, infra.TagTenant} {
		if found.tags[mark] != want[mark] {
			return fault.Errorf(fault.Conflict, "%s %s exists and its tag %s is %q, not %q", w.kind, found.id, mark, found.tags[mark], want[mark]).
				WithHint("remove or rename it")
		}
	}
	return nil
}

// expand fills in an ID's template.
func (a *adopter) expand(template string, in wanted) (string, error) {
	var out strings.Builder
	for rest := template; ; {
		before, after, found := strings.Cut(rest, "{")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		name, tail, _ := strings.Cut(after, "}")
		rest = tail
		value := in.text(name)
		switch {
		case name == "account":
			value = a.account
		case name == "region":
			value = a.region
		case name == "path" && value == "":
			value = "/"
		}
		if value == "" {
			return "", fmt.Errorf("%s has no %s", in.kind, name)
		}
		out.WriteString(value)
	}
}

// tagged finds a resource by its tags. AWS may not have heard of them yet.
func (a *adopter) tagged(ctx context.Context, in wanted, kind, after string) (string, error) {
	want := in.tags()
	if want[infraaws.TagResource] == "" {
		return "", fault.Errorf(fault.Stalled, "%s has no tag %s to be found by", in.kind, infraaws.TagResource)
	}
	api := a.tags
	if strings.HasPrefix(kind, "cloudfront:") || strings.HasPrefix(kind, "route53:") {
		api = a.global
	}
	deadline := time.Now().Add(a.wait)
	for {
		arns, err := withTags(ctx, api, kind, want)
		switch {
		case err != nil:
			return "", failure("look for "+in.kind, err)
		case len(arns) > 1:
			return "", fault.Errorf(fault.Conflict, "there are %d of %s %s: %s", len(arns), in.kind, want[infraaws.TagResource], strings.Join(arns, ", ")).
				WithHint("delete those that are not in use")
		case len(arns) == 1 && after == "":
			return arns[0], nil
		case len(arns) == 1:
			_, id, _ := strings.Cut(arns[0], ":"+after)
			return id, nil
		case time.Now().After(deadline):
			return "", nil
		}
		select {
		case <-time.After(a.every):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}
