package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"

	infra "github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// EnsureInfrastructure implements platform.Platform. Pulumi runs only if the
// stack is not already made of the same configuration.
func (d *Driver) EnsureInfrastructure(ctx context.Context, c platform.Config) error {
	return d.locked(ctx, "infrastructure", c.Tenant, func() error {
		r, err := d.adopt(ctx, c)
		if err != nil {
			return err
		}
		return d.realize(ctx, r)
	})
}

// realize makes what a running tenant's record asks for.
func (d *Driver) realize(ctx context.Context, r *record) error {
	if err := d.unblocked(ctx, r); err != nil {
		return err
	}
	fresh := !r.Stack // nothing runs yet: it may be given what comes right after; later, stores come first
	given, err := d.secrets.Change(ctx, r.Tenant, func(c *Credentials) error { return d.offer(ctx, r, c, fresh) })
	if err != nil {
		return err
	}
	if r.Phase != running || fresh {
		r.Phase, r.Environment = running, given.stamp() // tasks are about to start with this
		if err := d.save(ctx, r); err != nil {
			return err
		}
	}
	if err := d.certify(ctx, r); err != nil {
		return err
	}
	if err := d.up(ctx, r); err != nil {
		return err
	}
	// What is its own has a place only now.
	if given, err = d.secrets.Change(ctx, r.Tenant, func(c *Credentials) error { return d.offer(ctx, r, c, fresh) }); err != nil {
		return err
	}
	if err := d.route(ctx, r, given.EdgeKey); err != nil {
		return err
	}
	if err := d.runTasks(ctx, r); err != nil {
		return err
	}
	if err := d.renew(ctx, r, given); err != nil {
		return err
	}
	if err := d.awaitTasks(ctx, r); err != nil {
		return err
	}
	if err := d.awaitVolume(ctx, r); err != nil {
		return err
	}
	if len(r.Config.Hosts) == 1 { // none of its own any more
		return d.dropCertificate(ctx, r)
	}
	return nil
}

// unblocked fails if a stack that is not there yet would meet what is somebody else's.
func (d *Driver) unblocked(ctx context.Context, r *record) error {
	if r.Stack {
		return nil
	}
	bucket := OpenBucket(d.c.AWS, d.named(r.Tenant).BucketName())
	there, err := bucket.Present(ctx)
	if err == nil && there {
		err = bucket.Owned(ctx, d.owner, r.Tenant)
	}
	if err != nil {
		return err
	}
	if _, err := d.ownService(ctx, r); err != nil {
		return err
	}
	return d.ownLogs(ctx, r.Tenant)
}

// ownLogs fails if a group of logs of the tenant's name is somebody else's.
func (d *Driver) ownLogs(ctx context.Context, tenant string) error {
	name := d.named(tenant).LogGroupName()
	out, err := d.logs.ListTagsForResource(ctx, &cloudwatchlogs.ListTagsForResourceInput{
		ResourceArn: awssdk.String("arn:aws:logs:" + d.shared.Region + ":" + d.shared.Account + ":log-group:" + name),
	})
	if absent(err) {
		return nil
	}
	if err != nil {
		return failure("look at log group "+name, err)
	}
	return d.owner.check("log group", name, tenant, out.Tags)
}

// up has the tenant's stack as its record says. Of one that was not made whole, or
// not destroyed whole, Pulumi first learns what there is: some of it may have been
// removed by other means.
func (d *Driver) up(ctx context.Context, r *record) error {
	c, err := d.config(ctx, r)
	if err != nil {
		return err
	}
	if err := keepsData(r); err != nil {
		return err
	}
	digest := digestOf(c)
	if r.Applied == digest {
		return nil
	}
	if r.Stack && r.Applied == "" {
		if err := d.c.Stacks.Heal(ctx, d.stack(c)); err != nil {
			return err
		}
	}
	r.Stack, r.Applied = true, ""
	if err := d.save(ctx, r); err != nil {
		return err
	}
	values, err := d.c.Stacks.Up(ctx, d.stack(c))
	if err != nil {
		return err
	}
	if r.Outputs, err = infra.ReadOutputs(values); err != nil {
		return err
	}
	r.Applied, r.Withdrawn = digest, false
	// Whoever waited may have stopped: what was made is known all the same.
	return d.save(context.WithoutCancel(ctx), r)
}

// keepsData refuses to take a database or cache of its own away from a tenant
// that stays: its data would go with it.
func keepsData(r *record) error {
	for _, part := range []struct {
		what, field, endpoint string
		own                   bool
	}{
		{"database", "database", r.Outputs.DatabaseEndpoint, ownDatabase(r.Config)},
		{"cache", "cache", r.Outputs.CacheEndpoint, ownCache(r.Config)},
	} {
		if part.endpoint != "" && !part.own {
			return fault.Errorf(fault.Invalid, "its %s has a server of its own, which would be destroyed with its data", part.what).
				WithHint("leave isolation.%s: dedicated; to move, delete the tenant, add it anew and restore its snapshot", part.field)
		}
	}
	return nil
}

func ownDatabase(c platform.Config) bool {
	return c.Database.Enabled && c.Isolation.Database == tenant.Dedicated
}

func ownCache(c platform.Config) bool {
	return c.Cache.Enabled && c.Isolation.Cache == tenant.Dedicated
}

// config returns what the tenant's programs are made from.
func (d *Driver) config(ctx context.Context, r *record) (infra.Config, error) {
	arn, err := d.secrets.ARN(ctx, r.Tenant)
	if err != nil {
		return infra.Config{}, err
	}
	if arn == "" && r.Phase == running {
		return infra.Config{}, fault.Errorf(fault.Transient, "the secret of %s is not there yet", r.Tenant)
	}
	if arn == "" { // nothing is started with it any more
		arn = d.shared.SecretPrefix + r.Tenant
	}
	c := infra.Config{
		Tenant: r.Config, Shared: d.shared, Edge: d.edgeOf(r.Config), UID: r.UID,
		Secrets: infra.AgentSecrets(arn), Certificate: r.Certificate.Used,
	}
	return c, c.Validate()
}

// edgeOf returns what stands before a tenant.
func (d *Driver) edgeOf(c platform.Config) infra.Edge {
	if c.Isolation.EdgeSharing() == tenant.Dedicated {
		return infra.EdgeDedicated
	}
	return d.c.Edge
}

// named returns as much of a tenant's configuration as names are made of.
func (d *Driver) named(tenant string) infra.Config {
	return infra.Config{
		Tenant: platform.Config{Tenant: tenant, Hosts: []string{tenant + "." + d.shared.Domain}}, Shared: d.shared,
	}
}

func (d *Driver) stack(c infra.Config) Stack {
	return Stack{
		Project: infra.Project, Name: infra.StackName(c.Tenant.Tenant), Program: infra.Program(c), Settings: c.Settings(),
	}
}

func (d *Driver) certificateStack(c infra.Config) Stack {
	return Stack{
		Project: infra.CertificateProject, Name: infra.StackName(c.Tenant.Tenant), Program: infra.CertificateProgram(c), Settings: c.Settings(),
	}
}

// digestOf identifies a configuration, and the program that it is for.
func digestOf(c infra.Config) string {
	b, _ := json.Marshal(struct { // of what survives JSON: never fails
		Version int          `json:"version"`
		Config  infra.Config `json:"config"`
	}{infra.Version, c})
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
