package tenant

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/gitopsd/gitopsd/infra/aws"
	"github.com/gitopsd/gitopsd/infra/cdn"
)

// CertificateProgram returns what asks for a certificate of all the tenant's
// hosts. It does not wait for the customer, who may take days: it tells the
// records to add and ends; the certificate's status says when it is issued. The one
// in use (c.Certificate) stays until the configuration names another.
func CertificateProgram(c Config) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		if err := c.Validate(); err != nil {
			return err
		}
		return aws.Run(ctx, c.Tags(), func(s *aws.Scope) {
			wanted := hostSet(c.Tenant.Hosts)
			cert := c.certificate(s, wanted, c.Request)
			used := hostSet(c.Certificate.Hosts)
			if c.Certificate.ARN != "" && (!slices.Equal(used, wanted) || c.Certificate.Request != c.Request) {
				c.certificate(s, used, c.Certificate.Request)
			}
			ctx.Export(OutCertificateARN, cert.Arn)
			ctx.Export(OutValidation, c.validation(s, cert, wanted))
		})
	}
}

// hostSet returns hosts, the first one first, the others in order.
func hostSet(hosts []string) []string {
	if len(hosts) == 0 {
		return nil
	}
	rest := slices.Sorted(slices.Values(hosts[1:]))
	return append([]string{hosts[0]}, slices.Compact(rest)...)
}

// certificate asks for the certificate of hosts. Its name is theirs: other hosts, or
// the same ones again, are another certificate, never a replacement of one in use.
func (c Config) certificate(s *aws.Scope, hosts []string, request int) *aws.Certificate {
	of := hosts
	if request > 0 {
		of = append(slices.Clone(hosts), strconv.Itoa(request))
	}
	return aws.Make(s, "certificate-"+aws.Hash(of...), aws.CertificateArgs{
		DomainName: hosts[0], Alternatives: hosts[1:], ValidationMethod: "DNS", Region: cdn.Region,
	})
}

// validation sets the records in our own zone and returns all of them.
func (c Config) validation(s *aws.Scope, cert *aws.Certificate, hosts []string) pulumi.Array {
	const ttl = 60 // seconds
	list := pulumi.Array{}
	for _, h := range hosts {
		o := cert.Option(h)
		ours := h == c.Shared.Domain || strings.HasSuffix(h, "."+c.Shared.Domain)
		if ours {
			aws.Make(s, "validation-"+h, aws.RecordArgs{
				ZoneID: aws.S(c.Shared.ZoneID), Name: o.Name, Type: o.Type, TTL: ttl,
				Records: []pulumi.StringInput{o.Value},
				// A name's record is the same for each of its certificates.
				AllowOverwrite: true,
			})
		}
		list = append(list, pulumi.Map{
			"host": o.Host, "name": o.Name, "type": o.Type, "value": o.Value, "ours": pulumi.Bool(ours),
		})
	}
	return list
}
