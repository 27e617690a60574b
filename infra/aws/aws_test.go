package aws_test

import (
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/gitopsd/gitopsd/infra/aws"
	"github.com/gitopsd/gitopsd/infra/check"
)

func program(make func(*aws.Scope)) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		return aws.Run(ctx, map[string]string{"of": "scope", "both": "scope"}, make)
	}
}

// TestInputs: what is not given is left out, zero is sent where it says
// something, and tags are the scope's and the resource's.
func TestInputs(t *testing.T) {
	t.Parallel()
	r, err := check.Program(program(func(s *aws.Scope) {
		aws.Make(s, "service", aws.ECSServiceArgs{Name: "x", Cluster: aws.S("c"), Tags: map[string]string{"both": "own"}})
		aws.Make(s, "policy", aws.BucketPolicyArgs{Bucket: aws.S("b"), Policy: aws.Policy(aws.Statement{
			Actions: []string{"s3:GetObject"}, Resources: []pulumi.StringInput{aws.S("r")},
		})})
	}), false)
	if err != nil {
		t.Fatal(err)
	}
	in := r.Of("aws:ecs/service:Service")[0].Inputs
	if in.HasValue("taskDefinition") || in.HasValue("loadBalancers") || in.HasValue("enableEcsManagedTags") {
		t.Errorf("inputs that were not given: %v", in)
	}
	if !in.HasValue("desiredCount") || in["desiredCount"].NumberValue() != 0 || in["waitForSteadyState"].BoolValue() {
		t.Errorf("zeros that say something are missing: %v", in)
	}
	if tags := in["tags"].ObjectValue(); tags["of"].StringValue() != "scope" || tags["both"].StringValue() != "own" {
		t.Errorf("tags %v", tags)
	}
	const want = `{"Statement":[{"Action":["s3:GetObject"],"Effect":"Allow","Resource":["r"]}],"Version":"2012-10-17"}`
	if got := r.Of("aws:s3/bucketPolicy:BucketPolicy")[0].Inputs["policy"].StringValue(); got != want {
		t.Errorf("policy %s", got)
	}
}

// TestUnknown: a document is not known, in a preview, while part of it is not.
func TestUnknown(t *testing.T) {
	t.Parallel()
	r, err := check.Program(program(func(s *aws.Scope) {
		role := aws.Make(s, "role", aws.RoleArgs{Name: "x", Trust: aws.Trust("1", "ecs.amazonaws.com")})
		aws.Make(s, "body", aws.DashboardArgs{Name: "x", Body: aws.JSON(pulumi.Map{"deep": pulumi.Array{role.Arn}})})
	}), true)
	if err != nil {
		t.Fatal(err)
	}
	if in := r.Of("aws:cloudwatch/dashboard:Dashboard")[0].Inputs; in["dashboardBody"].IsString() {
		t.Errorf("a preview shows %v", in["dashboardBody"])
	}
}

// TestFailure: what cannot be registered ends the program with an error that says what.
func TestFailure(t *testing.T) {
	t.Parallel()
	after := false
	_, err := check.Program(program(func(s *aws.Scope) {
		aws.Make(s, "", aws.BucketArgs{Bucket: "x"})
		after = true
	}), false)
	if err == nil || !strings.Contains(err.Error(), "aws:s3/bucket:Bucket") || after {
		t.Errorf("error %v, went on: %v", err, after)
	}
}
