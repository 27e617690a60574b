package aws

import "github.com/pulumi/pulumi/sdk/v3/go/pulumi"

// ZoneArgs is aws:route53/zone:Zone.
type ZoneArgs struct {
	Name    string            `pulumi:"name"`
	Comment string            `pulumi:"comment"`
	Tags    map[string]string `pulumi:"tags"`
}

// Zone is what a zone tells.
type Zone struct {
	pulumi.CustomResourceState
	Arn         pulumi.StringOutput      `pulumi:"arn"`
	ZoneID      pulumi.StringOutput      `pulumi:"zoneId"`
	NameServers pulumi.StringArrayOutput `pulumi:"nameServers"`
}

func (ZoneArgs) kind() (string, *Zone) { return "aws:route53/zone:Zone", nil }

// RecordArgs is aws:route53/record:Record; the TTL is in seconds.
type RecordArgs struct {
	ZoneID         pulumi.StringInput   `pulumi:"zoneId"`
	Name           pulumi.StringInput   `pulumi:"name"`
	Type           pulumi.StringInput   `pulumi:"type"`
	TTL            int                  `pulumi:"ttl"`
	Records        []pulumi.StringInput `pulumi:"records"`
	Aliases        []RecordAlias        `pulumi:"aliases"`
	AllowOverwrite bool                 `pulumi:"allowOverwrite"`
}

// RecordAlias is a name at AWS whose addresses the record has.
type RecordAlias struct {
	Name           pulumi.StringInput `pulumi:"name"`
	ZoneID         pulumi.StringInput `pulumi:"zoneId"`
	EvaluateHealth bool               `pulumi:"evaluateTargetHealth,zero"`
}

// Record is what a record tells.
type Record struct {
	pulumi.CustomResourceState
	FQDN pulumi.StringOutput `pulumi:"fqdn"`
}

func (RecordArgs) kind() (string, *Record) { return "aws:route53/record:Record", nil }

// CertificateArgs is aws:acm/certificate:Certificate.
type CertificateArgs struct {
	DomainName       string            `pulumi:"domainName"`
	Alternatives     []string          `pulumi:"subjectAlternativeNames"`
	ValidationMethod string            `pulumi:"validationMethod"`
	Region           string            `pulumi:"region"`
	Tags             map[string]string `pulumi:"tags"`
}

// Certificate is what a certificate tells.
type Certificate struct {
	pulumi.CustomResourceState
	Arn        pulumi.StringOutput `pulumi:"arn"`
	Validation pulumi.ArrayOutput  `pulumi:"domainValidationOptions"`
}

func (CertificateArgs) kind() (string, *Certificate) { return "aws:acm/certificate:Certificate", nil }

// CertificateValidationArgs is aws:acm/certificateValidation:CertificateValidation.
type CertificateValidationArgs struct {
	CertificateArn pulumi.StringInput   `pulumi:"certificateArn"`
	RecordFQDNs    []pulumi.StringInput `pulumi:"validationRecordFqdns"`
	Region         string               `pulumi:"region"`
}

// CertificateValidation is a certificate that was issued.
type CertificateValidation struct {
	pulumi.CustomResourceState
	CertificateArn pulumi.StringOutput `pulumi:"certificateArn"`
}

func (CertificateValidationArgs) kind() (string, *CertificateValidation) {
	return "aws:acm/certificateValidation:CertificateValidation", nil
}

// ValidationOption is a certificate's record for one host.
type ValidationOption struct{ Host, Name, Type, Value pulumi.StringOutput }

// Option returns the record for a host; there is one a name the certificate is for.
func (c *Certificate) Option(host string) ValidationOption {
	field := func(name string) pulumi.StringOutput {
		return c.Validation.ApplyT(func(all []any) string {
			for _, v := range all {
				m, _ := v.(map[string]any)
				if m["domainName"] == host {
					s, _ := m[name].(string)
					return s
				}
			}
			return ""
		}).(pulumi.StringOutput)
	}
	return ValidationOption{
		Host: pulumi.String(host).ToStringOutput(), Name: field("resourceRecordName"),
		Type: field("resourceRecordType"), Value: field("resourceRecordValue"),
	}
}
