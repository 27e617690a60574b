package platform

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/gitopsd/gitopsd/infra/aws"
	"github.com/gitopsd/gitopsd/infra/fleet"
)

// program is one run.
type program struct {
	*aws.Scope
	c   Config
	kms *aws.Resource
	net *network

	dbSubnets, dbParameters, cacheSubnets, cacheParameters *aws.Named
	cacheDefault, cacheControl                             *aws.Resource
}

// cell is all that was made.
type cell struct {
	edge                   *edge
	database               *aws.Database
	cache                  *aws.Cache
	cacheGroup             *aws.Resource
	files, publisher       *aws.Resource
	mounts                 []pulumi.Resource
	snapshots, state, logs *aws.Bucket
	secret, origin         *aws.Resource // configuration of our own parts; what CloudFront shows the load balancer
	credentials            *aws.Resource // for the forge and Git
	fleet                  *fleet.Fleet
	namespace              *aws.Resource
	namespaceName          string
	profile                *aws.Named
	repositories           map[string]*aws.Repository
	roles                  map[string]*aws.Named
	functions              map[string]*aws.Named
	machines               map[string]*aws.Named
	url                    *aws.FunctionURL
	daemon                 *aws.ECSService       // nil without one
	groups                 map[string]*aws.Named // of logs
}

// Program returns what makes a cell.
func Program(c Config) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		if err := c.Validate(); err != nil {
			return err
		}
		return aws.Run(ctx, c.tags(), func(s *aws.Scope) {
			p := &program{Scope: s, c: c}
			ctx.Export(Output, p.outputs(p.cell()))
		})
	}
}

// cell makes everything, from the ground up.
func (p *program) cell() *cell {
	const snapshotVersions = 30 // days
	x := &cell{namespaceName: "gitopsd-" + p.c.Cell + ".internal"}
	p.kms = p.key()
	p.net = p.network()
	old := []aws.LifecycleRule{{ID: "versions", Status: "Enabled", Noncurrent: &aws.LifecycleOld{Days: snapshotVersions}}}
	x.snapshots = p.bucket("snapshots", old)
	p.keep("snapshots", x.snapshots)
	x.state = p.bucket("state", old)
	p.keep("state", x.state)
	x.logs = p.bucket("logs",
		[]aws.LifecycleRule{{ID: "logs", Status: "Enabled", Expiration: &aws.LifecycleDays{Days: p.c.LogDays}}},
		aws.Statement{
			Sid: "LoadBalancer", Principal: map[string]any{"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
			Actions:   []string{"s3:PutObject"},
			Resources: []pulumi.StringInput{aws.S("arn:aws:s3:::" + p.c.bucketName("logs") + "/balancer/AWSLogs/" + p.c.Account + "/*")},
		})
	x.database = p.database()
	x.cache, x.cacheGroup = p.cache()
	x.files, x.publisher, x.mounts = p.files()
	x.namespace = aws.Make(p.Scope, "namespace", aws.NamespaceArgs{
		Name: x.namespaceName, VPC: p.net.vpc, Description: "instances of tenants",
	})
	x.repositories = p.repositories()
	x.secret = aws.Make(p.Scope, "configuration", aws.SecretArgs{
		Name: p.c.secretPath("configuration"), Description: "what gitopsd's own parts are configured with", KMSKey: p.kms.Arn, RecoveryDays: 7,
	})
	x.origin = aws.Make(p.Scope, "origin", aws.SecretArgs{
		Name: p.c.secretPath("origin"), Description: "what CloudFront shows the edge", KMSKey: p.kms.Arn, RecoveryDays: 7,
	})
	x.credentials = aws.Make(p.Scope, "credentials", aws.SecretArgs{
		Name: p.c.secretPath("credentials"), Description: "what gitopsd asks the forge and Git with", KMSKey: p.kms.Arn, RecoveryDays: 7,
	})
	x.edge = p.edge(x.logs)
	p.logGroups(x)
	p.roles(x)
	x.fleet = fleet.New(p.Scope, fleet.Spec{
		Name: p.c.name(), Image: p.c.Compute.Image, InstanceTypes: p.c.Compute.InstanceTypes, Profile: x.profile.Arn,
		SecurityGroup: p.net.instances, Subnets: p.net.private, Min: p.c.Compute.Min, Max: p.c.Compute.Max,
		TargetPercent: p.c.Compute.TargetPercent, Tags: p.c.tags(),
	})
	p.caddy(x)
	p.control(x)
	p.daemon(x)
	p.watch(x)
	return x
}

// repositories makes those of our images. A tag is written once: what runs is
// named by digest and does not change under anybody.
func (p *program) repositories() map[string]*aws.Repository {
	const kept = 30
	out := map[string]*aws.Repository{}
	for _, name := range []string{"control-plane", "runtime", "compiler"} {
		r := aws.Make(p.Scope, name, aws.RepositoryArgs{
			Name: "gitopsd/" + p.c.Cell + "/" + name, TagMutability: "IMMUTABLE", ForceDelete: p.c.Unprotected,
			Scanning:   aws.RepositoryScanning{OnPush: true},
			Encryption: []aws.RepositoryEncryption{{Type: "KMS", Key: p.kms.Arn}},
		})
		aws.Make(p.Scope, name, aws.ImageLifecycleArgs{Repository: r.ID().ToStringOutput(), Policy: aws.JSON(pulumi.Map{
			"rules": pulumi.Array{pulumi.Map{
				"rulePriority": pulumi.Int(1), "description": pulumi.String("the newest"),
				"selection": pulumi.Map{
					"tagStatus": pulumi.String("any"), "countType": pulumi.String("imageCountMoreThan"), "countNumber": pulumi.Int(kept),
				},
				"action": pulumi.Map{"type": pulumi.String("expire")},
			}},
		})})
		out[name] = r
	}
	return out
}

func (p *program) logGroups(x *cell) {
	x.groups = map[string]*aws.Named{}
	names := []string{"edge", "pulumi", "task", "compile", "sync", "machines"}
	if p.c.Daemon {
		names = append(names, "daemon")
	}
	for _, name := range names {
		x.groups[name] = aws.Make(p.Scope, "logs-"+name, aws.LogGroupArgs{
			Name: "/gitopsd/" + p.c.Cell + "/" + name, RetentionDays: p.c.LogDays, KMSKey: p.kms.Arn,
		})
	}
}
