package provider

import (
	"context"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	"github.com/aws/aws-sdk-go-v2/service/acm/types"
)

// in has a call go to the region that a resource names.
func inRegion(in Properties) func(*acm.Options) {
	return func(o *acm.Options) {
		if region := text(in, "region"); region != "" {
			o.Region = region
		}
	}
}

var certificate = real{
	create: func(ctx context.Context, c *clients, in Properties) (string, Properties, error) {
		request := &acm.RequestCertificateInput{
			DomainName: awssdk.String(text(in, "domainName")), SubjectAlternativeNames: texts(in, "subjectAlternativeNames"),
			ValidationMethod: types.ValidationMethod(text(in, "validationMethod")),
		}
		for k, v := range tagsOf(in) {
			request.Tags = append(request.Tags, types.Tag{Key: &k, Value: &v})
		}
		out, err := c.certificates.RequestCertificate(ctx, request, inRegion(in))
		if err != nil {
			return "", nil, err
		}
		arn := awssdk.ToString(out.CertificateArn)
		told, err := readCertificate(ctx, c, arn, in)
		if err != nil {
			return "", nil, err
		}
		told["arn"] = arn
		return arn, told, nil
	},
	read: readCertificate,
	update: func(ctx context.Context, c *clients, id string, _, news Properties) (Properties, error) {
		var tags []types.Tag
		for k, v := range tagsOf(news) {
			tags = append(tags, types.Tag{Key: &k, Value: &v})
		}
		_, err := c.certificates.AddTagsToCertificate(ctx, &acm.AddTagsToCertificateInput{CertificateArn: &id, Tags: tags}, inRegion(news))
		return nil, err
	},
	// Whoever used it may take a while to let go.
	delete: func(ctx context.Context, c *clients, id string, state Properties) error {
		for {
			_, err := c.certificates.DeleteCertificate(ctx, &acm.DeleteCertificateInput{CertificateArn: &id}, inRegion(state))
			if !code(err, "ResourceInUseException") {
				return gone(err)
			}
			if err := c.pause(ctx); err != nil {
				return err
			}
		}
	},
}

func readCertificate(ctx context.Context, c *clients, id string, in Properties) (Properties, error) {
	out, err := c.certificates.DescribeCertificate(ctx, &acm.DescribeCertificateInput{CertificateArn: &id}, inRegion(in))
	if err != nil {
		return nil, gone(err)
	}
	var options []any
	for _, o := range out.Certificate.DomainValidationOptions {
		if r := o.ResourceRecord; r != nil {
			options = append(options, Properties{
				"domainName": awssdk.ToString(o.DomainName), "resourceRecordName": awssdk.ToString(r.Name),
				"resourceRecordType": string(r.Type), "resourceRecordValue": awssdk.ToString(r.Value),
			})
		}
	}
	return Properties{"domainName": awssdk.ToString(out.Certificate.DomainName), "domainValidationOptions": options}, nil
}
