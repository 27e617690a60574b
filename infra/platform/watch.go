package platform

import (
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/gitopsd/gitopsd/infra/aws"
)

// alarm is one alarm: a metric beyond a threshold for some minutes.
type alarm struct {
	name, what        string
	namespace, metric string
	dimensions        map[string]pulumi.StringInput
	statistic         string // or a percentile, like p99
	below             bool
	threshold         float64
	minutes           int
}

// alarms are what somebody must be told of. A threshold is where there is still
// time to act.
func (p *program) alarms(x *cell) []alarm {
	type dims = map[string]pulumi.StringInput
	cluster := dims{"ClusterName": x.fleet.Cluster.Name}
	balancer := dims{"LoadBalancer": x.edge.balancer.ArnSuffix}
	db := dims{"DBClusterIdentifier": x.database.ID().ToStringOutput()}
	cache := dims{"ReplicationGroupId": x.cache.ID().ToStringOutput()}
	list := []alarm{
		{"edge-errors", "the load balancer or Caddy answers with errors of its own", "AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count", balancer, "Sum", false, 50, 5},
		{"edge-slow", "one request in a hundred takes longer than two seconds", "AWS/ApplicationELB", "TargetResponseTime", balancer, "p99", false, 2, 10},
		{
			"edge-down", "fewer than half of the Caddy tasks are healthy", "AWS/ApplicationELB", "HealthyHostCount",
			dims{"LoadBalancer": x.edge.balancer.ArnSuffix, "TargetGroup": x.edge.targets.ArnSuffix},
			"Minimum", true, float64(p.c.Compute.EdgeCount+1) / 2, 3,
		},
		{"cluster-full", "instances have little memory left to place tasks", "AWS/ECS", "MemoryReservation", cluster, "Average", false, 95, 15},
		{"cluster-most", "the group is near its largest size", "AWS/AutoScaling", "GroupInServiceInstances", dims{"AutoScalingGroupName": x.fleet.Instances.Name}, "Maximum", false, 0.9 * float64(p.c.Compute.Max), 10},
		{"database-capacity", "Aurora is near its largest size", "AWS/RDS", "ACUUtilization", db, "Average", false, 90, 15},
		{"database-connections", "connections near what the capacity allows", "AWS/RDS", "DatabaseConnections", db, "Maximum", false, connections(p.c.Database.MaxCapacity), 5},
		{"cache-memory", "the cache will soon throw keys away", "AWS/ElastiCache", "DatabaseMemoryUsagePercentage", cache, "Maximum", false, 80, 10},
		{"cache-cpu", "the cache's one thread is busy", "AWS/ElastiCache", "EngineCPUUtilization", cache, "Maximum", false, 80, 10},
		{"files-slow", "the file system is at its limit", "AWS/EFS", "PercentIOLimit", dims{"FileSystemId": x.files.ID().ToStringOutput()}, "Maximum", false, 90, 15},
	}
	if x.daemon != nil { // each task tells its use once a minute
		list = append(list, alarm{
			"daemon-down", "no daemon runs", "AWS/ECS", "CPUUtilization",
			dims{"ClusterName": x.fleet.Cluster.Name, "ServiceName": x.daemon.Name},
			"SampleCount", true, 1, 10,
		})
	}
	for _, name := range sorted(x.functions) {
		list = append(list, alarm{
			"function-" + name, "the function fails, apart from what it reports", "AWS/Lambda", "Errors",
			dims{"FunctionName": x.functions[name].Name},
			"Sum", false, 5, 10,
		}, alarm{
			"throttle-" + name, "the account's concurrency is used up", "AWS/Lambda", "Throttles",
			dims{"FunctionName": x.functions[name].Name},
			"Sum", false, 10, 5,
		})
	}
	for _, name := range sorted(x.machines) {
		list = append(list, alarm{
			"machine-" + name, "runs end without an outcome", "AWS/States", "ExecutionsTimedOut",
			dims{"StateMachineArn": x.machines[name].Arn},
			"Sum", false, 1, 5,
		})
	}
	return list
}

// connections is 80 % of what Aurora allows at a capacity: about 90 a unit,
// and 5,000 at most.
// Source: Aurora user guide, "Maximum connections for Aurora Serverless v2".
func connections(units float64) float64 { return 0.8 * min(5000, 90*units) }

// watch makes the alarms and a dashboard of the same metrics.
func (p *program) watch(x *cell) {
	var actions []string
	if p.c.AlarmTopic != "" {
		actions = []string{p.c.AlarmTopic}
	}
	const columns, width, height = 2, 12, 6
	widgets := pulumi.Array{}
	for i, a := range p.alarms(x) {
		args := aws.AlarmArgs{
			Name: p.c.Name(aws.MaxService, a.name), Description: a.what, Namespace: a.namespace, Metric: a.metric, Dimensions: a.dimensions,
			Comparison: "GreaterThanOrEqualToThreshold", Threshold: a.threshold, Period: 60, Periods: a.minutes,
			MissingData: "notBreaching", Actions: actions, OKActions: actions,
		}
		if a.below {
			args.Comparison, args.MissingData = "LessThanThreshold", "breaching"
		}
		if a.statistic[0] == 'p' {
			args.ExtendedStatistic = a.statistic
		} else {
			args.Statistic = a.statistic
		}
		aws.Make(p.Scope, a.name, args)
		metric := pulumi.Array{pulumi.String(a.namespace), pulumi.String(a.metric)}
		for _, k := range sorted(a.dimensions) {
			metric = append(metric, pulumi.String(k), a.dimensions[k])
		}
		widgets = append(widgets, pulumi.Map{
			"type": pulumi.String("metric"), "x": pulumi.Int(i % columns * width), "y": pulumi.Int(i / columns * height),
			"width": pulumi.Int(width), "height": pulumi.Int(height),
			"properties": pulumi.Map{
				"title": pulumi.String(fmt.Sprintf("%s: %s", a.name, a.what)), "region": pulumi.String(p.c.Region),
				"stat": pulumi.String(a.statistic), "period": pulumi.Int(60), "metrics": pulumi.Array{metric},
				"annotations": pulumi.Map{"horizontal": pulumi.Array{pulumi.Map{"value": pulumi.Float64(a.threshold), "label": pulumi.String("alarm")}}},
			},
		})
	}
	aws.Make(p.Scope, "dashboard", aws.DashboardArgs{Name: p.c.name(), Body: aws.JSON(pulumi.Map{"widgets": widgets})})
}
