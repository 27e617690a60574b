package platform

import (
	"fmt"
	"net/netip"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/gitopsd/gitopsd/infra/aws"
)

// Ports between the parts.
const (
	postgresPort = 5432
	redisPort    = 6379
	nfsPort      = 2049
	httpsPort    = 443
	// Docker gives tasks a port of these.
	dynamicFrom, dynamicTo = 32768, 65535
)

// network is the VPC.
type network struct {
	vpc             pulumi.StringOutput
	public, private []pulumi.StringInput // subnets
	// Security groups: of the load balancer, of container instances, of our own
	// functions, and of databases, caches and the file system.
	balancer, instances, tasks, data pulumi.StringOutput
}

// subnet returns the n-th /20 of the /16.
func (c Config) subnet(n int) string {
	a := netip.MustParsePrefix(c.Network.CIDR).Masked().Addr().As4()
	return fmt.Sprintf("%d.%d.%d.0/20", a[0], a[1], n*16)
}

func (p *program) network() *network {
	vpc := aws.Make(p.Scope, "vpc", aws.VPCArgs{CIDR: p.c.Network.CIDR, DNSHostnames: true, DNSSupport: true})
	n := &network{vpc: vpc.ID().ToStringOutput()}
	internet := aws.Make(p.Scope, "internet", aws.InternetGatewayArgs{VPC: n.vpc})
	public := p.routes(n, "public")
	aws.Make(p.Scope, "internet-route", aws.RouteArgs{
		Table: public, Destination: "0.0.0.0/0", Gateway: internet.ID().ToStringOutput(),
	})
	var nat pulumi.StringOutput
	tables := []pulumi.StringInput{}
	for i, zone := range p.c.Network.Zones {
		sub := p.subnet(n, "public", i, zone, public)
		n.public = append(n.public, sub)
		if i == 0 || p.c.Network.GatewayPerZone {
			address := aws.Make(p.Scope, fmt.Sprintf("nat-%d", i), aws.AddressArgs{Domain: "vpc"})
			nat = aws.Make(p.Scope, fmt.Sprintf("nat-%d", i), aws.NATGatewayArgs{
				Allocation: address.ID().ToStringOutput(), Subnet: sub,
			}).ID().ToStringOutput()
		}
		table := p.routes(n, fmt.Sprintf("private-%d", i))
		tables = append(tables, table)
		aws.Make(p.Scope, fmt.Sprintf("nat-route-%d", i), aws.RouteArgs{Table: table, Destination: "0.0.0.0/0", NATGateway: nat})
		n.private = append(n.private, p.subnet(n, "private", len(p.c.Network.Zones)+i, zone, table))
	}
	p.groups(n)
	p.endpoints(n, tables)
	return n
}

func (p *program) routes(n *network, name string) pulumi.StringOutput {
	return aws.Make(p.Scope, "routes-"+name, aws.RouteTableArgs{VPC: n.vpc}).ID().ToStringOutput()
}

func (p *program) subnet(n *network, name string, i int, zone string, table pulumi.StringInput) pulumi.StringOutput {
	name += "-" + zone
	s := aws.Make(p.Scope, name, aws.SubnetArgs{
		VPC: n.vpc, Zone: zone, CIDR: p.c.subnet(i), Tags: map[string]string{"Name": p.c.name(name)},
	}).ID().ToStringOutput()
	aws.Make(p.Scope, name, aws.RouteAssociationArgs{Table: table, Subnet: s})
	return s
}

// groups makes the security groups, and who may ask whom.
func (p *program) groups(n *network) {
	group := func(name, what string) pulumi.StringOutput {
		return aws.Make(p.Scope, name, aws.SecurityGroupArgs{
			Name: p.c.name(name), Description: what, VPC: n.vpc,
		}).ID().ToStringOutput()
	}
	n.balancer = group("balancer", "load balancer of the edge")
	n.instances = group("instances", "container instances")
	n.tasks = group("tasks", "functions of the control plane")
	n.data = group("data", "databases, caches and the file system")
	in := func(name string, to, from pulumi.StringInput, first, last int) {
		aws.Make(p.Scope, name, aws.IngressArgs{
			Group: to, Source: from, Protocol: "tcp", From: first, To: last, Description: name,
		})
	}
	edge := aws.IngressArgs{
		Group: n.balancer, Protocol: "tcp", From: httpsPort, To: httpsPort, Description: "cloudfront",
		PrefixList: p.c.Network.EdgePrefixList,
	}
	if edge.PrefixList == "" {
		edge.CIDR = "0.0.0.0/0"
	}
	aws.Make(p.Scope, "cloudfront-to-balancer", edge)
	in("balancer-to-edge", n.instances, n.balancer, dynamicFrom, dynamicTo)
	in("edge-to-agents", n.instances, n.instances, dynamicFrom, dynamicTo)
	in("tasks-to-agents", n.instances, n.tasks, dynamicFrom, dynamicTo)
	for _, to := range []struct {
		name string
		port int
	}{{"postgres", postgresPort}, {"redis", redisPort}, {"files", nfsPort}} {
		in("instances-to-"+to.name, n.data, n.instances, to.port, to.port)
		in("tasks-to-"+to.name, n.data, n.tasks, to.port, to.port)
	}
	aws.Make(p.Scope, "balancer-out", aws.EgressArgs{
		Group: n.balancer, Target: n.instances, Protocol: "tcp", From: dynamicFrom, To: dynamicTo, Description: "edge",
	})
	for name, g := range map[string]pulumi.StringOutput{"instances-out": n.instances, "tasks-out": n.tasks} {
		aws.Make(p.Scope, name, aws.EgressArgs{Group: g, Protocol: "-1", CIDR: "0.0.0.0/0", Description: "anywhere"})
	}
}

// endpoints keeps what goes to AWS in masses off the NAT gateway, which is paid
// by the gigabyte: images and files, and what each task asks at its start.
func (p *program) endpoints(n *network, tables []pulumi.StringInput) {
	service := func(name string) string { return "com.amazonaws." + p.c.Region + "." + name }
	aws.Make(p.Scope, "endpoint-s3", aws.EndpointArgs{VPC: n.vpc, Service: service("s3"), Type: "Gateway", RouteTables: tables})
	group := aws.Make(p.Scope, "endpoints", aws.SecurityGroupArgs{
		Name: p.c.name("endpoints"), Description: "AWS's own services", VPC: n.vpc,
	}).ID().ToStringOutput()
	aws.Make(p.Scope, "vpc-to-endpoints", aws.IngressArgs{
		Group: group, CIDR: p.c.Network.CIDR, Protocol: "tcp", From: httpsPort, To: httpsPort, Description: "vpc",
	})
	for _, name := range []string{"ecr.api", "ecr.dkr", "logs", "secretsmanager", "ecs", "ecs-agent", "ecs-telemetry"} {
		aws.Make(p.Scope, "endpoint-"+name, aws.EndpointArgs{
			VPC: n.vpc, Service: service(name), Type: "Interface", PrivateDNS: true,
			Subnets: n.private, SecurityGroups: []pulumi.StringInput{group},
		})
	}
}
