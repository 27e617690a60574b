package aws

import (
	"context"
	"slices"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	acmtypes "github.com/aws/aws-sdk-go-v2/service/acm/types"

	infra "github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/platform"
)

// certificate is how far a tenant is with the certificate of its domains. Nothing
// waits for it: whoever owns a domain may take days to prove it.
type certificate struct {
	Stack   bool                     `json:"stack,omitempty"`   // there may be one
	Applied string                   `json:"applied,omitempty"` // of which configuration it was made last
	Used    infra.Certificate        `json:"used,omitzero"`     // issued: what domains are served with
	Wanted  infra.Certificate        `json:"wanted,omitzero"`   // asked for
	Status  string                   `json:"status,omitempty"`  // of the wanted one, in ACM's words
	Reason  string                   `json:"reason,omitempty"`  // why it failed
	Proofs  []infra.ValidationRecord `json:"proofs,omitempty"`  // what proves its hosts
}

// pending reports whether a certificate was asked for and is not in use yet.
func (c certificate) pending() bool { return c.Wanted.ARN != "" && c.Wanted.ARN != c.Used.ARN }

// failed reports whether ACM has given up on the certificate that is wanted.
func (c certificate) failed() bool {
	return c.pending() && c.Status != string(acmtypes.CertificateStatusPendingValidation) && c.Status != string(acmtypes.CertificateStatusIssued)
}

// newCertificates returns ACM where CloudFront looks for certificates.
func newCertificates(c awssdk.Config) *acm.Client {
	c.Region = "us-east-1"
	return acm.NewFromConfig(c)
}

// certify has a certificate asked for of all the tenant's hosts, and taken into use
// once it is issued. One of which nobody proved the hosts in time is asked for anew.
func (d *Driver) certify(ctx context.Context, r *record) error {
	if len(r.Config.Hosts) < 2 {
		return d.uncertify(ctx, r)
	}
	c, err := d.config(ctx, r)
	if err != nil {
		return err
	}
	if r.Certificate.failed() {
		d.log.Warn("a certificate was not issued, and is asked for anew", "tenant", r.Tenant, "status", r.Certificate.Status, "reason", r.Certificate.Reason)
		c.Request = r.Certificate.Wanted.Request + 1
	} else {
		c.Request = r.Certificate.Wanted.Request
	}
	digest := digestOf(infra.Config{
		Tenant: platform.Config{Tenant: c.Tenant.Tenant, Hosts: c.Tenant.Hosts}, Certificate: c.Certificate, Request: c.Request,
	})
	if r.Certificate.Applied != digest {
		r.Certificate.Stack, r.Certificate.Applied = true, ""
		if err := d.save(ctx, r); err != nil {
			return err
		}
		values, err := d.c.Stacks.Up(ctx, d.certificateStack(c))
		if err != nil {
			return err
		}
		outputs, err := infra.ReadCertificateOutputs(values)
		if err != nil {
			return err
		}
		r.Certificate.Applied, r.Certificate.Proofs = digest, outputs.Validation
		r.Certificate.Wanted = infra.Certificate{ARN: outputs.ARN, Hosts: slices.Clone(c.Tenant.Hosts), Request: c.Request}
		r.Certificate.Status, r.Certificate.Reason = string(acmtypes.CertificateStatusPendingValidation), ""
		if err := d.save(context.WithoutCancel(ctx), r); err != nil {
			return err
		}
	}
	return d.lookUpCertificate(ctx, r)
}

// uncertify has a tenant without domains use no certificate of its own.
func (d *Driver) uncertify(ctx context.Context, r *record) error {
	if r.Certificate.Used.ARN == "" && r.Certificate.Wanted.ARN == "" {
		return nil
	}
	r.Certificate.Used, r.Certificate.Wanted = infra.Certificate{}, infra.Certificate{}
	r.Certificate.Status, r.Certificate.Reason, r.Certificate.Proofs = "", "", nil
	return d.save(ctx, r)
}

// lookUpCertificate asks ACM how the wanted certificate is, and takes it into the
// configuration once it is issued.
func (d *Driver) lookUpCertificate(ctx context.Context, r *record) error {
	if !r.Certificate.pending() {
		return nil
	}
	out, err := d.certificates.DescribeCertificate(ctx, &acm.DescribeCertificateInput{CertificateArn: awssdk.String(r.Certificate.Wanted.ARN)})
	if err != nil {
		return failure("look at the certificate", err)
	}
	status, reason := string(out.Certificate.Status), string(out.Certificate.FailureReason)
	if status == r.Certificate.Status && reason == r.Certificate.Reason {
		return nil
	}
	r.Certificate.Status, r.Certificate.Reason = status, reason
	if out.Certificate.Status == acmtypes.CertificateStatusIssued {
		r.Certificate.Used = r.Certificate.Wanted
	}
	return d.save(ctx, r)
}

// dropCertificate destroys the certificate's stack, which nothing uses any more.
func (d *Driver) dropCertificate(ctx context.Context, r *record) error {
	if !r.Certificate.Stack {
		return nil
	}
	if err := d.c.Stacks.Destroy(ctx, d.certificateStack(d.named(r.Tenant))); err != nil {
		return err
	}
	r.Certificate = certificate{}
	return d.save(context.WithoutCancel(ctx), r)
}

// domains says how far each of a tenant's hosts is.
func domains(r *record) []platform.Domain {
	var list []platform.Domain
	for i, host := range r.Config.Hosts {
		one := platform.Domain{Host: host, State: platform.DomainServed}
		if i > 0 {
			one.Records = []platform.DNSRecord{{Name: host, Type: "CNAME", Value: r.Outputs.EdgeDomain}}
			r.Certificate.tell(&one)
		}
		if r.Phase != running {
			one.State = platform.DomainPending
		}
		list = append(list, one)
	}
	return list
}

// tell says of a tenant's own domain how far it is, and what is to be added.
func (c certificate) tell(one *platform.Domain) {
	if slices.Contains(c.Used.Hosts, one.Host) {
		return
	}
	one.State = platform.DomainPending
	if c.failed() {
		one.State, one.Problem = platform.DomainFailed, c.Status
		if c.Reason != "" {
			one.Problem += ": " + c.Reason
		}
	}
	for _, proof := range c.Proofs {
		if proof.Host == one.Host && !proof.Ours {
			one.Records = append(one.Records, platform.DNSRecord{Name: proof.Name, Type: proof.Type, Value: proof.Value})
		}
	}
}
