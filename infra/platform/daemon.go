package platform

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/gitopsd/gitopsd/infra/aws"
)

// daemonMemory is in MiB: two runs of Pulumi, 550 each, and ourselves.
const daemonMemory = 1536

// daemon makes the service of the daemon: it has the console and the API, looks for
// drift and for certificates that were issued, and takes the turns of the loop, which
// the function takes while it is away. No port of it is open, for tenants' tasks are in
// the same network: whoever may enter the task by ECS Exec reaches it.
func (p *program) daemon(x *cell) {
	if !p.c.Daemon || p.c.Images.ControlPlane == "" {
		return
	}
	task := p.task(x, "daemon", taskSpec{
		command: []string{"run"}, role: "daemon", memory: daemonMemory, cpu: 512, entered: true,
		// For the CLI that is run there: where the daemon's address and token are.
		environment: map[string]pulumi.StringInput{"GITOPSD_DATA": aws.S("/tmp/gitopsd")},
	})
	x.daemon = aws.Make(p.Scope, "daemon", aws.ECSServiceArgs{
		Name: p.c.name("daemon"), Cluster: x.fleet.Cluster.Arn, TaskDefinition: task.Arn, DesiredCount: 1,
		CapacityProviderStrategies: []aws.CapacityStrategy{{CapacityProvider: x.fleet.Provider, Weight: 1}},
		DeploymentCircuitBreaker:   aws.CircuitBreaker{Enable: true, Rollback: true},
		MinimumHealthyPercent:      0, MaximumPercent: 100, // the former one goes first: a second would wait for its lease
		AvailabilityZoneRebalance: "DISABLED", // which wants more than 100 %
		EnableManagedTags:         true, PropagateTags: "SERVICE", EnableExecute: true,
	}, pulumi.DependsOn(append([]pulumi.Resource{x.fleet.Ready}, x.mounts...)))
}

// daemonRole is what the daemon does beside Pulumi and beside what workers do: it
// starts runs, shows how tenants do, and is entered.
func (p *program) daemonRole(x *cell) []aws.Statement {
	return []aws.Statement{
		grant("states", "StartExecution", aws.S(p.c.arn("states", "stateMachine:"+p.c.name()+"-*"))),
		grant("states", "DescribeExecution GetExecutionHistory", aws.S(p.c.arn("states", "execution:"+p.c.name()+"-*"))),
		p.agents(x),
		named("logs", "FilterLogEvents", p.c.arn("logs", "log-group:/gitopsd/"+p.c.Cell+"/tenant/*")),
		grant("ssmmessages", "CreateControlChannel CreateDataChannel OpenControlChannel OpenDataChannel", all()),
	}
}
