package iamtest

import (
	"go/types"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/ssa"

	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/pipeline/asl"
)

// part is what runs with a role.
type part struct {
	// root is the command it runs, a method of cmd/gitopsd; "" if it is not ours.
	root string
	// other is what AWS's own agents and services do with the role.
	other []use
	// on overrides where calls of this part are made.
	on map[string]at
	// never are calls that the code has and this part does not make, and why.
	never map[string]string
}

// lambdaService is what Lambda does for a function in the VPC that mounts the
// file system.
// Source: Lambda developer guide, "Required IAM permissions" of VPC networking, and
// "Configuring file system access".
func (w world) lambdaService(name string) []use {
	const lambda = "Lambda wants these on everything"
	return []use{
		{"ec2", "CreateNetworkInterface DeleteNetworkInterface AssignPrivateIpAddresses UnassignPrivateIpAddresses", at{on: []string{w.arn("ec2", "network-interface/eni-1")}, shared: "an interface has no name", wide: lambda}, "its network"},
		{"ec2", "CreateNetworkInterface", at{on: []string{w.arn("ec2", "subnet/subnet-1"), w.arn("ec2", "security-group/sg-1")}, shared: "a subnet has no name", wide: lambda}, "its network"},
		{"ec2", "DescribeNetworkInterfaces DescribeSubnets", anywhere("no resource"), "its network"},
		{"logs", "CreateLogStream PutLogEvents", on(w.logs(name) + ":log-stream:x"), "its log"},
		w.mounts("ClientMount ClientWrite"),
	}
}

// mounts is what the NFS client asks for, by the role of whoever mounts.
func (w world) mounts(actions string) use {
	return use{"elasticfilesystem", actions, at{
		on: []string{w.files()}, context: map[string]string{
			"elasticfilesystem:AccessPointArn": w.publisher(), "elasticfilesystem:AccessedViaMountTarget": "true", "aws:SecureTransport": "true",
		},
	}, "the file system, through the publisher's access point"}
}

// parts are all roles of a cell.
func (w world) parts() map[string]part {
	images := []use{
		{"ecr", "GetAuthorizationToken", anywhere("no resource"), "pulls images"},
		{"ecr", "BatchCheckLayerAvailability BatchGetImage GetDownloadUrlForLayer", on(w.arn("ecr", "repository/gitopsd/"+w.Cell+"/runtime")), "pulls images"},
	}
	cell := at{on: each(w.clusters(), func(c string) string { return w.arn("ecs", "cluster/"+c) })}
	instance := at{on: each(w.clusters(), func(c string) string { return w.arn("ecs", "container-instance/"+c+"/1") })}
	execution := w.arn("states", "execution:"+w.Name(64, "deploy-v1")+":acme-1")
	rules := on(w.arn("events", "rule/StepFunctionsGetEventsForECSTaskRule"), w.arn("events", "rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"))
	rules.shared = "one an account"
	worker := map[string]at{"secretsmanager:GetSecretValue": on(w.secret("configuration"), w.secret("credentials"), w.master())}
	login := use{"elasticache", "Connect", on(w.arn("elasticache", "replicationgroup:"+w.Name(40)), w.control()), "our code logs in to the cache by a signed URL"}
	loginOwn := use{"elasticache", "Connect", on(w.arn("elasticache", "replicationgroup:"+w.data()), w.control()), login.why}
	own := use{"secretsmanager", "GetSecretValue", at{
		on:      []string{w.arn("secretsmanager", "secret:rds!cluster-1-AbCdEf")},
		context: map[string]string{"aws:ResourceTag/aws:rds:primaryDBClusterArn": w.arn("rds", "cluster:"+w.data())},
	}, "our code reads the master's secret of a tenant's own database"}
	compiler := map[string]at{
		"secretsmanager:GetSecretValue": on(w.secret("configuration"), w.secret("credentials"), w.master(), w.secret("origin")),
		"s3:GetObject":                  on(w.own("state") + "/tenants/acme.json"), "s3:ListBucket": on(w.own("state")),
	}
	// What an adopter looks for that only cells have: no role of a cell's makes one.
	cells := map[string]string{
		"elasticfilesystem:DescribeMountTargets": "mount targets", "cloudfront:ListConnectionGroups": "connection group",
		"cloudfront:ListOriginAccessControls": "origin access control", "cloudfront:ListResponseHeadersPolicies": "headers policy",
		"servicediscovery:ListNamespaces": "namespace",
	}
	var provider []use
	for _, p := range w.provider() {
		provider = append(provider, p.uses...)
	}
	return map[string]part{
		"task":    {root: "(*taskLambdaCmd).Run", other: append(w.lambdaService("task"), login, loginOwn, own)},
		"compile": {root: "(*taskLambdaCmd).Run", other: w.lambdaService("compile"), on: compiler},
		"pulumi":  {root: "(*taskRunCmd).Run", never: cells, other: slices.Concat(provider, w.engine(), []use{w.mounts("ClientMount ClientWrite"), login, loginOwn, own})},
		// Source: ECS developer guide, "Using ECS Exec to access containers".
		"daemon": {root: "(*runCmd).Run", never: cells, other: slices.Concat(provider, w.engine(), []use{
			w.mounts("ClientMount ClientWrite"), login, loginOwn, own,
			{"ssmmessages", "CreateControlChannel CreateDataChannel OpenControlChannel OpenDataChannel", anywhere("no resource"), "ECS Exec"},
		})},
		"sync": {
			root: "(*syncLambdaCmd).Run", other: w.lambdaService("sync"),
			on: worker,
		},
		"edge": {root: "(*edgeCmd).Run", other: []use{w.mounts("ClientMount")}},
		// Source: ECS developer guide, "Amazon ECS container instance IAM role".
		"instance": {other: []use{
			{"ecs", "DiscoverPollEndpoint", anywhere("no resource"), "the ECS agent"},
			{"ecs", "RegisterContainerInstance DeregisterContainerInstance SubmitContainerStateChange SubmitTaskStateChange SubmitAttachmentStateChanges", cell, "the ECS agent"},
			{"ecs", "Poll StartTelemetrySession UpdateContainerInstancesState", instance, "the ECS agent, and its draining"},
		}},
		// Source: ECS developer guide, "Amazon ECS task execution IAM role".
		"execution": {other: slices.Concat(images, []use{
			{"logs", "CreateLogStream PutLogEvents", on(w.logs("edge")+":log-stream:x", w.logs("tenant/acme")+":log-stream:x"), "the log driver"},
			{"secretsmanager", "GetSecretValue", on(w.secret("tenant/acme"), w.secret("configuration"), w.secret("origin")), "secrets of containers"},
			{"kms", "Decrypt", on(w.key()), "secrets of containers"},
		})},
		// Source: Step Functions developer guide, "IAM policies for integrated services",
		// of Lambda, ECS (.sync), Step Functions (.sync), logging and X-Ray.
		"machines": {other: []use{
			{"lambda", "InvokeFunction", on(w.FunctionARN("task"), w.FunctionARN("compile")), "tasks"},
			{"states", "StartExecution", on(w.MachineARN("deploy", 1)), "nested machines"},
			{"states", "DescribeExecution StopExecution", on(execution), "nested machines"},
			{"ecs", "RunTask", on(w.arn("ecs", "task-definition/"+w.PulumiFamily()+":1")), "containers"},
			{"ecs", "StopTask DescribeTasks", on(w.arn("ecs", "task/"+w.Name(64)+"/1")), "containers"},
			{"ecs", "TagResource", at{on: []string{w.arn("ecs", "task/"+w.Name(64)+"/1")}, context: map[string]string{"ecs:CreateAction": "RunTask"}}, "containers have the tags of their definition"},
			{"iam", "PassRole", at{on: each([]string{"pulumi", "execution"}, func(r string) string {
				return w.global("iam", "role/gitopsd/"+w.Cell+"/"+w.Name(64, r))
			}), context: map[string]string{"iam:PassedToService": "ecs-tasks.amazonaws.com"}}, "containers"},
			{"events", "PutTargets PutRule DescribeRule", rules, "learns of the end of what it started"},
			{
				"logs", "CreateLogDelivery GetLogDelivery UpdateLogDelivery DeleteLogDelivery ListLogDeliveries PutResourcePolicy DescribeResourcePolicies DescribeLogGroups",
				anywhere("no resource"), "its log",
			},
			{"xray", "PutTraceSegments PutTelemetryRecords GetSamplingRules GetSamplingTargets", anywhere("no resource"), "traces"},
		}},
		"schedule": {other: []use{{"lambda", "InvokeFunction", on(w.FunctionARN("sync")), "polls"}}},
	}
}

// partOf returns which part carries a task out, as the documents say.
func partOf(s pipeline.State) string {
	switch {
	case asl.Contained(s):
		return "pulumi"
	case asl.Builds(s.Task):
		return "compile"
	}
	return "task"
}

// calls follows the calls that our code makes in a part: its command's, and those
// of the tasks that the machines send there.
func (p *program) calls(t *testing.T, name string, root string) *reach {
	t.Helper()
	if root == "" {
		return p.from(nil)
	}
	tasks := p.function("internal/pipeline", "Tasks")
	start := p.function("cmd/gitopsd", root)
	if start == nil || tasks == nil {
		t.Fatalf("there is no %s, or no pipeline.Tasks", root)
	}
	cut := []*ssa.Function{tasks}
	if name != "pulumi" && name != "daemon" { // the others open what Pulumi needs, and never have it run
		cut = append(cut, p.function("internal/platform/aws", "NewAdopter"), p.function("internal/platform/aws", "DeadTask"))
	}
	r := p.from(cut, start)
	if !strings.HasPrefix(root, "(*task") {
		return r
	}
	byName := p.tasks()
	for _, m := range pipeline.Machines() {
		for _, s := range m.States {
			if s.Task == "" || partOf(s) != name {
				continue
			}
			if len(byName[s.Task]) == 0 {
				t.Fatalf("no function is behind the task %s", s.Task)
			}
			for _, f := range byName[s.Task] {
				if types.IsInterface(f.Signature().Recv().Type()) {
					r.invoke(tasks, f)
				} else {
					r.add(p.prog.FuncValue(f))
				}
			}
		}
	}
	r.run()
	return r
}
