package aws

import "github.com/pulumi/pulumi/sdk/v3/go/pulumi"

// RoleArgs is aws:iam/role:Role.
type RoleArgs struct {
	Name        string             `pulumi:"name"`
	Path        string             `pulumi:"path"`
	Description string             `pulumi:"description"`
	Trust       pulumi.StringInput `pulumi:"assumeRolePolicy"`
	Tags        map[string]string  `pulumi:"tags"`
}

func (RoleArgs) kind() (string, *Named) { return "aws:iam/role:Role", nil }

// RolePolicyArgs is aws:iam/rolePolicy:RolePolicy.
type RolePolicyArgs struct {
	Name   string             `pulumi:"name"`
	Role   pulumi.StringInput `pulumi:"role"`
	Policy pulumi.StringInput `pulumi:"policy"`
}

func (RolePolicyArgs) kind() (string, *Plain) { return "aws:iam/rolePolicy:RolePolicy", nil }

// PolicyArgs is aws:iam/policy:Policy.
type PolicyArgs struct {
	Name        string             `pulumi:"name"`
	Path        string             `pulumi:"path"`
	Description string             `pulumi:"description"`
	Policy      pulumi.StringInput `pulumi:"policy"`
	Tags        map[string]string  `pulumi:"tags"`
}

func (PolicyArgs) kind() (string, *Resource) { return "aws:iam/policy:Policy", nil }

// RolePolicyAttachmentArgs is aws:iam/rolePolicyAttachment:RolePolicyAttachment.
type RolePolicyAttachmentArgs struct {
	Role   pulumi.StringInput `pulumi:"role"`
	Policy pulumi.StringInput `pulumi:"policyArn"`
}

func (RolePolicyAttachmentArgs) kind() (string, *Plain) {
	return "aws:iam/rolePolicyAttachment:RolePolicyAttachment", nil
}

// InstanceProfileArgs is aws:iam/instanceProfile:InstanceProfile.
type InstanceProfileArgs struct {
	Name string             `pulumi:"name"`
	Path string             `pulumi:"path"`
	Role pulumi.StringInput `pulumi:"role"`
	Tags map[string]string  `pulumi:"tags"`
}

func (InstanceProfileArgs) kind() (string, *Named) {
	return "aws:iam/instanceProfile:InstanceProfile", nil
}

// LogGroupArgs is aws:cloudwatch/logGroup:LogGroup.
type LogGroupArgs struct {
	Name          string             `pulumi:"name"`
	RetentionDays int                `pulumi:"retentionInDays"`
	KMSKey        pulumi.StringInput `pulumi:"kmsKeyId"`
	Tags          map[string]string  `pulumi:"tags"`
}

func (LogGroupArgs) kind() (string, *Named) { return "aws:cloudwatch/logGroup:LogGroup", nil }

// AlarmArgs is aws:cloudwatch/metricAlarm:MetricAlarm; the period is in seconds.
type AlarmArgs struct {
	Name              string                        `pulumi:"name"`
	Description       string                        `pulumi:"alarmDescription"`
	Namespace         string                        `pulumi:"namespace"`
	Metric            string                        `pulumi:"metricName"`
	Dimensions        map[string]pulumi.StringInput `pulumi:"dimensions"`
	Statistic         string                        `pulumi:"statistic"`
	ExtendedStatistic string                        `pulumi:"extendedStatistic"`
	Comparison        string                        `pulumi:"comparisonOperator"`
	Threshold         float64                       `pulumi:"threshold,zero"`
	Period            int                           `pulumi:"period"`
	Periods           int                           `pulumi:"evaluationPeriods"`
	MissingData       string                        `pulumi:"treatMissingData"`
	Actions           []string                      `pulumi:"alarmActions"`
	OKActions         []string                      `pulumi:"okActions"`
	Tags              map[string]string             `pulumi:"tags"`
}

func (AlarmArgs) kind() (string, *Resource) { return "aws:cloudwatch/metricAlarm:MetricAlarm", nil }

// DashboardArgs is aws:cloudwatch/dashboard:Dashboard.
type DashboardArgs struct {
	Name string             `pulumi:"dashboardName"`
	Body pulumi.StringInput `pulumi:"dashboardBody"`
}

func (DashboardArgs) kind() (string, *Plain) { return "aws:cloudwatch/dashboard:Dashboard", nil }

// FunctionArgs is aws:lambda/function:Function; the timeout is in seconds and
// the sizes are in MiB.
type FunctionArgs struct {
	Name          string             `pulumi:"name"`
	Description   string             `pulumi:"description"`
	PackageType   string             `pulumi:"packageType"`
	ImageURI      string             `pulumi:"imageUri"`
	ImageConfig   FunctionImage      `pulumi:"imageConfig"`
	Architectures []string           `pulumi:"architectures"`
	Role          pulumi.StringInput `pulumi:"role"`
	Timeout       int                `pulumi:"timeout"`
	Memory        int                `pulumi:"memorySize"`
	Storage       FunctionStorage    `pulumi:"ephemeralStorage"`
	Environment   FunctionVariables  `pulumi:"environment"`
	VPC           FunctionVPC        `pulumi:"vpcConfig"`
	FileSystem    *FunctionFiles     `pulumi:"fileSystemConfig"`
	Logging       FunctionLogging    `pulumi:"loggingConfig"`
	Tracing       FunctionTracing    `pulumi:"tracingConfig"`
	Tags          map[string]string  `pulumi:"tags"`
}

// FunctionImage is what an image runs.
type FunctionImage struct {
	Commands []string `pulumi:"commands"`
}

// FunctionStorage is the size of /tmp.
type FunctionStorage struct {
	Size int `pulumi:"size"`
}

// FunctionVariables is a function's environment.
type FunctionVariables struct {
	Variables map[string]pulumi.StringInput `pulumi:"variables"`
}

// FunctionVPC is a function's network.
type FunctionVPC struct {
	Subnets        []pulumi.StringInput `pulumi:"subnetIds"`
	SecurityGroups []pulumi.StringInput `pulumi:"securityGroupIds"`
}

// FunctionFiles is the access point a function mounts, and where.
type FunctionFiles struct {
	ARN  pulumi.StringInput `pulumi:"arn"`
	Path string             `pulumi:"localMountPath"`
}

// FunctionLogging is where a function logs to.
type FunctionLogging struct {
	Format   string             `pulumi:"logFormat"`
	LogGroup pulumi.StringInput `pulumi:"logGroup"`
}

// FunctionTracing is Active or PassThrough.
type FunctionTracing struct {
	Mode string `pulumi:"mode"`
}

func (FunctionArgs) kind() (string, *Named) { return "aws:lambda/function:Function", nil }

// FunctionURLArgs is aws:lambda/functionUrl:FunctionUrl.
type FunctionURLArgs struct {
	Function      pulumi.StringInput `pulumi:"functionName"`
	Authorization string             `pulumi:"authorizationType"`
}

// FunctionURL is what a function's URL tells.
type FunctionURL struct {
	pulumi.CustomResourceState
	URL pulumi.StringOutput `pulumi:"functionUrl"`
}

func (FunctionURLArgs) kind() (string, *FunctionURL) {
	return "aws:lambda/functionUrl:FunctionUrl", nil
}

// PermissionArgs is aws:lambda/permission:Permission.
type PermissionArgs struct {
	Action    string             `pulumi:"action"`
	Function  pulumi.StringInput `pulumi:"function"`
	Principal string             `pulumi:"principal"`
	AuthType  string             `pulumi:"functionUrlAuthType"`
	ViaURL    bool               `pulumi:"invokedViaFunctionUrl"`
	Source    pulumi.StringInput `pulumi:"sourceArn"`
}

func (PermissionArgs) kind() (string, *Plain) { return "aws:lambda/permission:Permission", nil }

// StateMachineArgs is aws:sfn/stateMachine:StateMachine.
type StateMachineArgs struct {
	Name       string              `pulumi:"name"`
	Type       string              `pulumi:"type"`
	Definition pulumi.StringInput  `pulumi:"definition"`
	Role       pulumi.StringInput  `pulumi:"roleArn"`
	Logging    StateMachineLogging `pulumi:"loggingConfiguration"`
	Tracing    StateMachineTracing `pulumi:"tracingConfiguration"`
	Tags       map[string]string   `pulumi:"tags"`
}

// StateMachineLogging is what a machine logs, and where.
type StateMachineLogging struct {
	Level       string             `pulumi:"level"`
	Data        bool               `pulumi:"includeExecutionData,zero"`
	Destination pulumi.StringInput `pulumi:"logDestination"`
}

// StateMachineTracing is X-Ray.
type StateMachineTracing struct {
	Enabled bool `pulumi:"enabled"`
}

func (StateMachineArgs) kind() (string, *Named) { return "aws:sfn/stateMachine:StateMachine", nil }

// ScheduleArgs is aws:scheduler/schedule:Schedule.
type ScheduleArgs struct {
	Name       string         `pulumi:"name"`
	Expression string         `pulumi:"scheduleExpression"`
	Window     ScheduleWindow `pulumi:"flexibleTimeWindow"`
	Target     ScheduleTarget `pulumi:"target"`
}

// ScheduleWindow is OFF or FLEXIBLE.
type ScheduleWindow struct {
	Mode string `pulumi:"mode"`
}

// ScheduleTarget is what is called.
type ScheduleTarget struct {
	ARN   pulumi.StringInput `pulumi:"arn"`
	Role  pulumi.StringInput `pulumi:"roleArn"`
	Input string             `pulumi:"input"`
}

func (ScheduleArgs) kind() (string, *Resource) { return "aws:scheduler/schedule:Schedule", nil }

// EventRuleArgs is aws:cloudwatch/eventRule:EventRule.
type EventRuleArgs struct {
	Name        string             `pulumi:"name"`
	Description string             `pulumi:"description"`
	Pattern     pulumi.StringInput `pulumi:"eventPattern"`
	Tags        map[string]string  `pulumi:"tags"`
}

func (EventRuleArgs) kind() (string, *Named) { return "aws:cloudwatch/eventRule:EventRule", nil }

// EventTargetArgs is aws:cloudwatch/eventTarget:EventTarget.
type EventTargetArgs struct {
	Rule  pulumi.StringInput `pulumi:"rule"`
	ARN   pulumi.StringInput `pulumi:"arn"`
	Input string             `pulumi:"input"`
}

func (EventTargetArgs) kind() (string, *Plain) {
	return "aws:cloudwatch/eventTarget:EventTarget", nil
}

// SecretArgs is aws:secretsmanager/secret:Secret.
type SecretArgs struct {
	Name         string             `pulumi:"name"`
	Description  string             `pulumi:"description"`
	KMSKey       pulumi.StringInput `pulumi:"kmsKeyId"`
	RecoveryDays int                `pulumi:"recoveryWindowInDays,zero"`
	Tags         map[string]string  `pulumi:"tags"`
}

func (SecretArgs) kind() (string, *Resource) { return "aws:secretsmanager/secret:Secret", nil }

// SecretVersionArgs is aws:secretsmanager/secretVersion:SecretVersion.
type SecretVersionArgs struct {
	Secret pulumi.StringInput `pulumi:"secretId"`
	Value  pulumi.StringInput `pulumi:"secretString"`
}

func (SecretVersionArgs) kind() (string, *Resource) {
	return "aws:secretsmanager/secretVersion:SecretVersion", nil
}
