package platform

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/gitopsd/gitopsd/infra/aws"
)

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// grant allows actions of one service, named without it: "s3", "GetObject PutObject".
func grant(service, actions string, resources ...pulumi.StringInput) aws.Statement {
	st := aws.Statement{Resources: resources}
	for a := range strings.FieldsSeq(actions) {
		st.Actions = append(st.Actions, service+":"+a)
	}
	return st
}

// when adds a condition to a statement.
func when(st aws.Statement, operator, key string, value any) aws.Statement {
	st.Condition = map[string]any{operator: map[string]any{key: value}}
	return st
}

// all is for actions that have no resource to name.
func all() pulumi.StringInput { return aws.S("*") }

// roles makes the role of each part. What a part may do is listed: no action is a
// pattern, and resources are named where their names are known.
func (p *program) roles(x *cell) {
	trust := map[string]string{
		"instance": "ec2.amazonaws.com", "execution": "ecs-tasks.amazonaws.com", "edge": "ecs-tasks.amazonaws.com",
		"pulumi": "ecs-tasks.amazonaws.com", "task": "lambda.amazonaws.com", "compile": "lambda.amazonaws.com",
		"sync": "lambda.amazonaws.com", "machines": "states.amazonaws.com", "schedule": "scheduler.amazonaws.com",
	}
	if p.c.Daemon {
		trust["daemon"] = "ecs-tasks.amazonaws.com"
	}
	policies := map[string][]aws.Statement{
		"instance": p.instanceRole(x), "execution": p.executionRole(x), "edge": {p.mount(x, "ClientMount")},
		"task":     slices.Concat(p.driver(x), p.tasks(x), p.functionRole(x, "task")),
		"compile":  append(p.functionRole(x, "compile"), p.compiling(x)...), // it compiles what tenants wrote, and runs none of it
		"sync":     append(p.starting(x), p.functionRole(x, "sync")...),
		"machines": p.machineRole(x), "schedule": {grant("lambda", "InvokeFunction", aws.S(p.c.FunctionARN("sync")))},
	}
	x.roles = map[string]*aws.Named{}
	for _, name := range sorted(trust) {
		conditional := aws.Trust(p.c.Account, trust[name])
		if name == "instance" || strings.HasPrefix(trust[name], "lambda") { // these say no account when they take a role on
			conditional = aws.Policy(aws.Statement{Principal: map[string]any{"Service": trust[name]}, Actions: []string{"sts:AssumeRole"}})
		}
		x.roles[name] = aws.Make(p.Scope, "role-"+name, aws.RoleArgs{
			Name: p.c.name(name), Path: p.c.path(), Description: fmt.Sprintf("gitopsd %s: %s", p.c.Cell, name), Trust: conditional,
		})
		if list := policies[name]; list != nil {
			aws.Make(p.Scope, "role-"+name, aws.RolePolicyArgs{Name: name, Role: x.roles[name].Name, Policy: aws.Policy(list...)})
		}
	}
	provider := p.policies("pulumi", map[string][]aws.Statement{
		"engine": p.engine(x), "edge": p.provideEdge(x), "service": p.provideService(x), "fleet": p.provideFleet(x), "data": p.provideData(x),
	})
	p.attach(x, "pulumi", provider, p.policies("pulumi", map[string][]aws.Statement{"driver": append(p.driver(x), p.long(x)...)}))
	if p.c.Daemon {
		p.attach(x, "daemon", provider, p.policies("daemon", map[string][]aws.Statement{"driver": append(p.driver(x), p.daemonRole(x)...)}))
	}
	x.profile = aws.Make(p.Scope, "instances", aws.InstanceProfileArgs{
		Name: p.c.name(), Path: p.c.path(), Role: x.roles["instance"].Name,
	})
}

// policies makes policies that are resources of their own: what is written in a role
// itself is 10,240 characters at most, all together, and each of these 6,144.
// Source: IAM user guide, "IAM and AWS STS quotas".
func (p *program) policies(of string, all map[string][]aws.Statement) map[string]*aws.Resource {
	out := map[string]*aws.Resource{}
	for _, name := range sorted(all) {
		out[name] = aws.Make(p.Scope, "role-"+of+"-"+name, aws.PolicyArgs{
			Name: p.c.name(of, name), Path: p.c.path(), Description: fmt.Sprintf("gitopsd %s: %s, %s", p.c.Cell, of, name),
			Policy: aws.Policy(all[name]...),
		})
	}
	return out
}

// attach gives a role policies: ten are the most that it may have.
func (p *program) attach(x *cell, role string, all ...map[string]*aws.Resource) {
	for _, policies := range all {
		for _, name := range sorted(policies) {
			aws.Make(p.Scope, "role-"+role+"-"+name, aws.RolePolicyAttachmentArgs{Role: x.roles[role].Name, Policy: policies[name].Arn})
		}
	}
}

// mount allows to mount all tenants' directories, as the publisher.
func (p *program) mount(x *cell, actions string) aws.Statement {
	return when(grant("elasticfilesystem", actions, x.files.Arn), "StringEquals", "elasticfilesystem:AccessPointArn", x.publisher.Arn)
}

// instanceRole is what the ECS agent of an instance needs.
func (p *program) instanceRole(x *cell) []aws.Statement {
	clusters := []pulumi.StringInput{aws.S(p.c.ClusterARN()), aws.S(p.c.tenants("ecs", "cluster/"))}
	instances := []pulumi.StringInput{
		aws.S(p.c.arn("ecs", "container-instance/"+p.c.name()+"/*")), aws.S(p.c.tenants("ecs", "container-instance/") + "/*"),
	}
	return []aws.Statement{
		grant("ecs", "DiscoverPollEndpoint", all()),
		grant("ecs", "RegisterContainerInstance DeregisterContainerInstance SubmitContainerStateChange SubmitTaskStateChange SubmitAttachmentStateChanges", clusters...),
		grant("ecs", "Poll StartTelemetrySession UpdateContainerInstancesState", instances...),
	}
}

func (c Config) repositories() string { return c.arn("ecr", "repository/gitopsd/"+c.Cell+"/*") }

func (c Config) logs() string { return c.arn("logs", "log-group:/gitopsd/"+c.Cell+"/*") }

// executionRole is what ECS needs to start a task: image, logs, secrets.
func (p *program) executionRole(x *cell) []aws.Statement {
	return []aws.Statement{
		grant("ecr", "GetAuthorizationToken", all()),
		grant("ecr", "BatchCheckLayerAvailability BatchGetImage GetDownloadUrlForLayer", aws.S(p.c.repositories())),
		grant("logs", "CreateLogStream PutLogEvents", aws.S(p.c.logs())),
		grant("secretsmanager", "GetSecretValue", aws.S(p.c.SecretPrefix()+"*"), x.secret.Arn, x.origin.Arn),
		grant("kms", "Decrypt", p.kms.Arn),
	}
}

// functionRole is what a Lambda function in the VPC with the file system needs.
func (p *program) functionRole(x *cell, name string) []aws.Statement {
	return []aws.Statement{
		grant("ec2", "CreateNetworkInterface DeleteNetworkInterface DescribeNetworkInterfaces DescribeSubnets AssignPrivateIpAddresses UnassignPrivateIpAddresses", all()),
		grant("logs", "CreateLogStream PutLogEvents", pulumi.Sprintf("%s:*", x.groups[name].Arn)),
		p.mount(x, "ClientMount ClientWrite"),
		grant("kms", "Decrypt", p.kms.Arn),
	}
}

// compiling is what is read to know what to build: of the state, the driver's records
// alone.
func (p *program) compiling(x *cell) []aws.Statement {
	return []aws.Statement{
		p.worker(x),
		grant("s3", "ListBucket", x.state.Arn),
		grant("s3", "GetObject", pulumi.Sprintf("%s/tenants/*", x.state.Arn)), // in which is no secret
		grant("secretsmanager", "GetSecretValue", x.origin.Arn),
	}
}

// machineRole is what the state machines do by themselves.
func (p *program) machineRole(x *cell) []aws.Statement {
	executions := p.c.arn("states", "execution:"+p.c.name()+"-*")
	roles := p.c.global("iam", "role"+p.c.path())
	return []aws.Statement{
		grant("lambda", "InvokeFunction", aws.S(p.c.FunctionARN("task")), aws.S(p.c.FunctionARN("compile"))),
		grant("states", "StartExecution", aws.S(p.c.arn("states", "stateMachine:"+p.c.name()+"-*"))),
		grant("states", "DescribeExecution StopExecution", aws.S(executions)),
		grant("ecs", "RunTask", aws.S(p.c.arn("ecs", "task-definition/"+p.c.PulumiFamily()+":*"))),
		grant("ecs", "StopTask DescribeTasks", aws.S(p.c.arn("ecs", "task/"+p.c.name()+"/*"))),
		when(grant("ecs", "TagResource", aws.S(p.c.arn("ecs", "task/"+p.c.name()+"/*"))), "StringEquals", "ecs:CreateAction", "RunTask"),
		when(grant("iam", "PassRole", aws.S(roles+p.c.name("pulumi")), aws.S(roles+p.c.name("execution"))),
			"StringEquals", "iam:PassedToService", "ecs-tasks.amazonaws.com"),
		// How Step Functions learns of the end of what it started (.sync).
		grant("events", "PutTargets PutRule DescribeRule",
			aws.S(p.c.arn("events", "rule/StepFunctionsGetEventsForECSTaskRule")),
			aws.S(p.c.arn("events", "rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"))),
		grant("logs", "CreateLogDelivery GetLogDelivery UpdateLogDelivery DeleteLogDelivery ListLogDeliveries PutResourcePolicy DescribeResourcePolicies DescribeLogGroups", all()),
		grant("xray", "PutTraceSegments PutTelemetryRecords GetSamplingRules GetSamplingTargets", all()),
	}
}

// starting is what sync does: it starts runs and looks after them.
func (p *program) starting(x *cell) []aws.Statement {
	return []aws.Statement{
		p.worker(x),
		grant("states", "StartExecution", aws.S(p.c.arn("states", "stateMachine:"+p.c.name()+"-*"))),
		grant("states", "DescribeExecution GetExecutionHistory", aws.S(p.c.arn("states", "execution:"+p.c.name()+"-*"))),
	}
}
