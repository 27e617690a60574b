package platform

import (
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/gitopsd/gitopsd/infra/aws"
)

// edgePort is Caddy's port in its container.
const edgePort = 8080

// mountPath is where our own parts find all tenants' directories.
const mountPath = "/mnt/tenants"

// caddy makes the edge's service: the same module as on one machine, behind the
// load balancer. It finds its routes in the file system and tenants' instances by
// their SRV records.
func (p *program) caddy(x *cell) {
	if p.c.Images.ControlPlane == "" {
		return
	}
	task := p.task(x, "edge", taskSpec{
		command: []string{"edge"}, role: "edge", memory: 512, cpu: 256, port: edgePort, readOnly: true,
		environment: map[string]pulumi.StringInput{"GITOPSD_DOMAIN": aws.S(p.c.Domain), "GITOPSD_VOLUMES": aws.S(mountPath)},
	})
	aws.Make(p.Scope, "edge", aws.ECSServiceArgs{
		Name: p.c.name("edge"), Cluster: x.fleet.Cluster.Arn, TaskDefinition: task.Arn, DesiredCount: p.c.Compute.EdgeCount,
		CapacityProviderStrategies: []aws.CapacityStrategy{{CapacityProvider: x.fleet.Provider, Weight: 1}},
		OrderedPlacementStrategies: []aws.PlacementStrategy{{Type: "spread", Field: "attribute:ecs.availability-zone"}, {Type: "spread", Field: "instanceId"}},
		DeploymentCircuitBreaker:   aws.CircuitBreaker{Enable: true, Rollback: true},
		MinimumHealthyPercent:      100, MaximumPercent: 200, HealthCheckGraceSeconds: 60,
		LoadBalancers:     []aws.ServiceTarget{{TargetGroupArn: x.edge.targets.Arn, ContainerName: Container, ContainerPort: edgePort}},
		EnableManagedTags: true, PropagateTags: "SERVICE",
	}, pulumi.DependsOn(append([]pulumi.Resource{x.edge.rule, x.fleet.Ready}, x.mounts...)))
}

// taskSpec is what differs between our own tasks; memory is in MiB.
type taskSpec struct {
	command     []string
	role        string
	memory, cpu int
	port        int // 0: none
	readOnly    bool
	entered     bool // by ECS Exec
	environment map[string]pulumi.StringInput
}

// task makes the definition of a task of ours. Its network is its host's, as
// tenants' is: an interface of its own for each would be more than instances have.
func (p *program) task(x *cell, name string, spec taskSpec) *aws.Resource {
	environment := pulumi.Array{pulumi.Map{"name": pulumi.String("GITOPSD_CELL"), "value": pulumi.String(p.c.Cell)}}
	for _, k := range sorted(spec.environment) {
		environment = append(environment, pulumi.Map{"name": pulumi.String(k), "value": spec.environment[k]})
	}
	container := pulumi.Map{
		"name": pulumi.String(Container), "image": pulumi.String(p.c.Images.ControlPlane), "essential": pulumi.Bool(true),
		"command": pulumi.ToStringArray(spec.command), "cpu": pulumi.Int(spec.cpu), "memory": pulumi.Int(spec.memory),
		"environment": environment,
		"secrets": pulumi.Array{
			pulumi.Map{"name": pulumi.String("GITOPSD_CELL_CONFIGURATION"), "valueFrom": x.secret.Arn},
			pulumi.Map{"name": pulumi.String("GITOPSD_ORIGIN_SECRET"), "valueFrom": x.origin.Arn},
		},
		"mountPoints": pulumi.Array{pulumi.Map{
			"sourceVolume": pulumi.String("tenants"), "containerPath": pulumi.String(mountPath), "readOnly": pulumi.Bool(spec.readOnly),
		}},
		"stopTimeout": pulumi.Int(120),
		"logConfiguration": pulumi.Map{"logDriver": pulumi.String("awslogs"), "options": pulumi.Map{
			"awslogs-group": x.groups[name].Name, "awslogs-region": pulumi.String(p.c.Region), "awslogs-stream-prefix": pulumi.String("task"),
		}},
	}
	if spec.entered { // what is run there leaves processes behind
		container["linuxParameters"] = pulumi.Map{"initProcessEnabled": pulumi.Bool(true)}
	}
	if spec.port != 0 {
		container["portMappings"] = pulumi.Array{pulumi.Map{
			"containerPort": pulumi.Int(spec.port), "hostPort": pulumi.Int(0), "protocol": pulumi.String("tcp"),
		}}
	}
	return aws.Make(p.Scope, name, aws.TaskDefinitionArgs{
		Family: p.c.name(name), NetworkMode: "bridge", RequiresCompatibilities: []string{"EC2"},
		ExecutionRoleArn: x.roles["execution"].Arn, TaskRoleArn: x.roles[spec.role].Arn,
		ContainerDefinitions: aws.JSON(pulumi.Array{container}),
		Volumes: []aws.TaskVolume{{Name: "tenants", EFS: aws.EFSVolume{
			FileSystemID: x.files.ID().ToStringOutput(), TransitEncryption: "ENABLED",
			AuthorizationConfig: aws.EFSAuthorization{AccessPointID: x.publisher.ID().ToStringOutput(), IAM: "ENABLED"},
		}}},
	})
}

// control makes the control plane: functions, the task of Pulumi runs, the state
// machines, the webhook's URL and the schedule that polls.
func (p *program) control(x *cell) {
	x.functions, x.machines = map[string]*aws.Named{}, map[string]*aws.Named{}
	p.configure(x)
	if p.c.Images.ControlPlane == "" {
		return // the first up: images can only be pushed to what it makes
	}
	// The engine, a provider's process and ourselves: 600 MiB, and room for a second.
	p.task(x, "pulumi", taskSpec{command: []string{"task", "run"}, role: "pulumi", memory: 1536, cpu: 512})
	p.function(x, "task", p.c.Images.ControlPlane, 900, 1024, "task", "lambda")
	p.function(x, "sync", p.c.Images.ControlPlane, 300, 1024, "sync", "lambda")
	if p.c.Images.Compiler != "" {
		p.function(x, "compile", p.c.Images.Compiler, 900, 3008, "task", "lambda")
	}
	p.triggers(x)
	for _, m := range p.c.Machines {
		key := machineKey(m.Name, m.Version)
		x.machines[key] = aws.Make(p.Scope, key, aws.StateMachineArgs{
			Name: p.c.machineName(m.Name, m.Version), Type: "STANDARD", Definition: aws.S(m.Document), Role: x.roles["machines"].Arn,
			// What a run is given and puts out are references, but they are the tenants'.
			Logging: aws.StateMachineLogging{Level: "ERROR", Destination: pulumi.Sprintf("%s:*", x.groups["machines"].Arn)},
			Tracing: aws.StateMachineTracing{Enabled: true},
		})
	}
}

// function makes a Lambda function of an image; the timeout is in seconds, the
// memory in MiB.
func (p *program) function(x *cell, name, image string, timeout, memory int, command ...string) {
	x.functions[name] = aws.Make(p.Scope, name, aws.FunctionArgs{
		Name: p.c.name(name), Description: fmt.Sprintf("gitopsd %s: %s", p.c.Cell, name), PackageType: "Image", ImageURI: image,
		ImageConfig: aws.FunctionImage{Commands: command}, Architectures: []string{"arm64"}, Role: x.roles[name].Arn,
		Timeout: timeout, Memory: memory, Storage: aws.FunctionStorage{Size: 4096},
		Environment: aws.FunctionVariables{Variables: map[string]pulumi.StringInput{
			"GITOPSD_CELL": aws.S(p.c.Cell), "GITOPSD_CELL_SECRET": x.secret.Arn, "GITOPSD_VOLUMES": aws.S(mountPath),
		}},
		VPC:        aws.FunctionVPC{Subnets: p.net.private, SecurityGroups: []pulumi.StringInput{p.net.tasks}},
		FileSystem: &aws.FunctionFiles{ARN: x.publisher.Arn, Path: mountPath},
		Logging:    aws.FunctionLogging{Format: "JSON", LogGroup: x.groups[name].Name},
		Tracing:    aws.FunctionTracing{Mode: "PassThrough"},
	}, pulumi.DependsOn(x.mounts))
}

// triggers calls sync: by the forge's webhook, when a run ends, and each minute, for
// both are hints.
func (p *program) triggers(x *cell) {
	sync := x.functions["sync"]
	// The forge signs what it sends, and has no credentials here: sync checks that.
	x.url = aws.Make(p.Scope, "webhook", aws.FunctionURLArgs{Function: sync.Name, Authorization: "NONE"})
	aws.Make(p.Scope, "webhook", aws.PermissionArgs{
		Action: "lambda:InvokeFunctionUrl", Function: sync.Name, Principal: "*", AuthType: "NONE",
	})
	aws.Make(p.Scope, "webhook-invoke", aws.PermissionArgs{
		Action: "lambda:InvokeFunction", Function: sync.Name, Principal: "*", ViaURL: true,
	})
	aws.Make(p.Scope, "poll", aws.ScheduleArgs{
		Name: p.c.name("poll"), Expression: "rate(1 minute)", Window: aws.ScheduleWindow{Mode: "OFF"},
		Target: aws.ScheduleTarget{ARN: sync.Arn, Role: x.roles["schedule"].Arn, Input: `{"poll":true}`},
	})
	rule := aws.Make(p.Scope, "ended", aws.EventRuleArgs{
		Name: p.c.name("ended"), Description: "a run has ended", Pattern: aws.JSON(pulumi.Map{
			"source": pulumi.ToStringArray([]string{"aws.states"}), "detail-type": pulumi.ToStringArray([]string{"Step Functions Execution Status Change"}),
			"detail": pulumi.Map{
				"status": pulumi.ToStringArray([]string{"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"}),
				// The former versions' runs, too.
				"stateMachineArn": pulumi.Array{pulumi.Map{"prefix": pulumi.String(p.c.arn("states", "stateMachine:"+p.c.name()+"-"))}},
			},
		}),
	})
	aws.Make(p.Scope, "ended", aws.PermissionArgs{
		Action: "lambda:InvokeFunction", Function: sync.Name, Principal: "events.amazonaws.com", Source: rule.Arn,
	})
	aws.Make(p.Scope, "ended", aws.EventTargetArgs{Rule: rule.Name, ARN: sync.Arn, Input: `{"ended":true}`})
}
