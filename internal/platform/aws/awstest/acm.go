package awstest

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	"github.com/aws/aws-sdk-go-v2/service/acm/types"
)

// ACM plays certificates, each in its region.
//
// As AWS: one that was asked for is pending until the CNAME of each of its names
// is there, and no CNAME is told in the first moments; the CNAME of a name is the
// same for all certificates of the account; one that is in use is not deleted.
type ACM struct {
	Delay time.Duration // until a description tells the CNAMEs, and until what is proven is issued
	Quota int           // certificates a region
	// Lookup tells the CNAME of a name, "" if there is none. It is asked with each
	// description of a pending certificate.
	Lookup func(ctx context.Context, name string) string
	// Used tells who uses a certificate.
	Used func(arn string) []string

	issued sync.Map // names by ARN: for others, who may hold a lock that Used takes

	mu           sync.Mutex
	region       string // of the call
	certificates map[string]*certificate
}

type certificate struct {
	types.CertificateDetail
	region string
	tags   []types.Tag
	token  string
	proven time.Time // all its CNAMEs were seen
}

// PlayACM adds an ACM.
func (s *Server) PlayACM(lookup func(context.Context, string) string) *ACM {
	a := &ACM{
		Quota: 2500, Lookup: lookup, Used: func(string) []string { return nil }, certificates: make(map[string]*certificate),
	}
	s.services["acm"] = &targets{
		mu: &a.mu, names: asIs, before: func(r *http.Request) { a.region = regionOf(r) },
		calls: map[string]operation{
			"RequestCertificate": op(a.request), "DescribeCertificate": op(a.describe), "DeleteCertificate": op(a.delete),
			"ListCertificates": op(a.list), "AddTagsToCertificate": op(a.addTags), "RemoveTagsFromCertificate": op(a.removeTags),
			"ListTagsForCertificate": op(a.listTags),
		},
	}
	return a
}

// Names returns the names of a certificate that is issued, nil otherwise.
func (a *ACM) Names(arn string) []string {
	names, _ := a.issued.Load(arn)
	list, _ := names.([]string)
	return list
}

func (a *ACM) request(in *acm.RequestCertificateInput) (*acm.RequestCertificateOutput, *refusal) {
	names := append([]string{awssdk.ToString(in.DomainName)}, in.SubjectAlternativeNames...)
	slices.Sort(names[1:])
	names = append(names[:1], slices.Compact(names[1:])...)
	names = append(names[:1], slices.DeleteFunc(names[1:], func(n string) bool { return n == names[0] })...)
	count := 0
	for _, c := range a.certificates {
		if c.region != a.region {
			continue
		}
		count++
		if t := awssdk.ToString(in.IdempotencyToken); t != "" && c.token == t && *c.DomainName == names[0] {
			return &acm.RequestCertificateOutput{CertificateArn: c.CertificateArn}, nil
		}
	}
	switch {
	case in.ValidationMethod != types.ValidationMethodDns:
		return nil, refuse("InvalidParameterException", "Only DNS validation is played.")
	case len(names[0]) > 64: // the common name's
		return nil, refuse("InvalidDomainValidationOptionsException", "The first domain name can have no more than 64 characters.")
	case len(names) > 10:
		return nil, refuse("LimitExceededException", "10 domain names a certificate.")
	case count >= a.Quota:
		return nil, refuse("LimitExceededException", "Error: you have reached your limit of %d certificates.", a.Quota)
	}
	c := &certificate{region: a.region, tags: in.Tags, token: awssdk.ToString(in.IdempotencyToken), CertificateDetail: types.CertificateDetail{
		DomainName: in.DomainName, SubjectAlternativeNames: names, Status: types.CertificateStatusPendingValidation, CreatedAt: ptr(time.Now()),
		Type: types.CertificateTypeAmazonIssued, KeyAlgorithm: cmp.Or(in.KeyAlgorithm, types.KeyAlgorithmRsa2048),
		RenewalEligibility: types.RenewalEligibilityIneligible,
	}}
	c.CertificateArn = awssdk.String("arn:aws:acm:" + a.region + ":" + Account + ":certificate/" + identity(a.region, names[0], time.Now().String()))
	for _, n := range names {
		o := types.DomainValidation{DomainName: awssdk.String(n), ValidationDomain: awssdk.String(n), ValidationStatus: types.DomainStatusPendingValidation, ValidationMethod: types.ValidationMethodDns}
		base := strings.TrimPrefix(n, "*.")
		o.ResourceRecord = &types.ResourceRecord{
			Name: awssdk.String("_" + strings.ReplaceAll(identity("name", base), "-", "") + "." + base + "."), Type: types.RecordTypeCname,
			Value: awssdk.String("_" + strings.ReplaceAll(identity("value", base), "-", "") + ".acm-validations.aws."),
		}
		c.DomainValidationOptions = append(c.DomainValidationOptions, o)
	}
	a.certificates[*c.CertificateArn] = c
	return &acm.RequestCertificateOutput{CertificateArn: c.CertificateArn}, nil
}

func (a *ACM) find(arn *string) (*certificate, *refusal) {
	c := a.certificates[awssdk.ToString(arn)]
	if c == nil || c.region != a.region {
		return nil, refuse("ResourceNotFoundException", "Could not find certificate %s.", awssdk.ToString(arn))
	}
	return c, nil
}

// settle looks for the CNAMEs of a pending certificate.
func (a *ACM) settle(c *certificate) {
	if c.Status != types.CertificateStatusPendingValidation {
		return
	}
	all := true
	for i := range c.DomainValidationOptions {
		o := &c.DomainValidationOptions[i]
		if strings.TrimSuffix(a.Lookup(context.Background(), *o.ResourceRecord.Name), ".") == strings.TrimSuffix(*o.ResourceRecord.Value, ".") {
			o.ValidationStatus = types.DomainStatusSuccess
		}
		all = all && o.ValidationStatus == types.DomainStatusSuccess
	}
	switch {
	case !all:
	case c.proven.IsZero():
		c.proven = time.Now()
		fallthrough
	default:
		if time.Since(c.proven) >= a.Delay {
			c.Status, c.IssuedAt, c.NotAfter = types.CertificateStatusIssued, ptr(time.Now()), ptr(time.Now().AddDate(0, 13, 0))
			c.RenewalEligibility = types.RenewalEligibilityEligible
			a.issued.Store(*c.CertificateArn, c.SubjectAlternativeNames)
		}
	}
}

func (a *ACM) describe(in *acm.DescribeCertificateInput) (*acm.DescribeCertificateOutput, *refusal) {
	c, no := a.find(in.CertificateArn)
	if no != nil {
		return nil, no
	}
	a.settle(c)
	v := c.CertificateDetail
	v.InUseBy = a.Used(*c.CertificateArn)
	v.DomainValidationOptions = slices.Clone(c.DomainValidationOptions)
	if time.Since(*c.CreatedAt) < a.Delay { // as AWS in the first seconds
		for i := range v.DomainValidationOptions {
			v.DomainValidationOptions[i].ResourceRecord = nil
		}
	}
	return &acm.DescribeCertificateOutput{Certificate: &v}, nil
}

func (a *ACM) delete(in *acm.DeleteCertificateInput) (*acm.DeleteCertificateOutput, *refusal) {
	c, no := a.find(in.CertificateArn)
	if no != nil {
		return nil, no
	}
	if users := a.Used(*c.CertificateArn); len(users) > 0 {
		return nil, refuse("ResourceInUseException", "Certificate %s is in use.", *c.CertificateArn)
	}
	delete(a.certificates, *c.CertificateArn)
	a.issued.Delete(*c.CertificateArn)
	return &acm.DeleteCertificateOutput{}, nil
}

func (a *ACM) list(in *acm.ListCertificatesInput) (*acm.ListCertificatesOutput, *refusal) {
	var list []types.CertificateSummary
	for _, arn := range sortedKeys(a.certificates) {
		c := a.certificates[arn]
		if a.settle(c); c.region == a.region && (len(in.CertificateStatuses) == 0 || slices.Contains(in.CertificateStatuses, c.Status)) {
			list = append(list, types.CertificateSummary{
				CertificateArn: c.CertificateArn, DomainName: c.DomainName, Status: c.Status, Type: c.Type, KeyAlgorithm: c.KeyAlgorithm, CreatedAt: c.CreatedAt,
				SubjectAlternativeNameSummaries: c.SubjectAlternativeNames, InUse: awssdk.Bool(len(a.Used(arn)) > 0),
			})
		}
	}
	page, next, no := paged(list, in.NextToken, awssdk.ToInt32(in.MaxItems), 1000)
	return &acm.ListCertificatesOutput{CertificateSummaryList: page, NextToken: next}, no
}

func (a *ACM) addTags(in *acm.AddTagsToCertificateInput) (*acm.AddTagsToCertificateOutput, *refusal) {
	c, no := a.find(in.CertificateArn)
	if no != nil {
		return nil, no
	}
	for _, t := range in.Tags {
		c.tags = append(slices.DeleteFunc(slices.Clone(c.tags), func(o types.Tag) bool { return *o.Key == *t.Key }), t)
	}
	return &acm.AddTagsToCertificateOutput{}, nil
}

func (a *ACM) removeTags(in *acm.RemoveTagsFromCertificateInput) (*acm.RemoveTagsFromCertificateOutput, *refusal) {
	c, no := a.find(in.CertificateArn)
	if no != nil {
		return nil, no
	}
	for _, t := range in.Tags {
		c.tags = slices.DeleteFunc(slices.Clone(c.tags), func(o types.Tag) bool { return *o.Key == *t.Key })
	}
	return &acm.RemoveTagsFromCertificateOutput{}, nil
}

func (a *ACM) listTags(in *acm.ListTagsForCertificateInput) (*acm.ListTagsForCertificateOutput, *refusal) {
	c, no := a.find(in.CertificateArn)
	if no != nil {
		return nil, no
	}
	return &acm.ListTagsForCertificateOutput{Tags: c.tags}, nil
}
