package aws

import "github.com/pulumi/pulumi/sdk/v3/go/pulumi"

// Plain is a resource of which only the ID is used.
type Plain struct{ pulumi.CustomResourceState }

// Resource is a resource of which only the ID and the ARN are used.
type Resource struct {
	pulumi.CustomResourceState
	Arn pulumi.StringOutput `pulumi:"arn"`
}

// Named is a resource of which the ARN and the name are used.
type Named struct {
	pulumi.CustomResourceState
	Arn  pulumi.StringOutput `pulumi:"arn"`
	Name pulumi.StringOutput `pulumi:"name"`
}
