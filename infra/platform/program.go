package platform

import "github.com/pulumi/pulumi/sdk/v3/go/pulumi"

// Program returns what makes a cell.
func Program(c Config) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		return c.Validate()
	}
}
