package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/release"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// Deps is what tasks work with.
type Deps struct {
	Ledger   Ledger
	Platform platform.Platform
	Builder  Builder
	Domain   string // the platform's, under which every tenant has a host
	Now      func() time.Time
}

// Tasks returns every task by name.
func Tasks(d Deps) map[string]Task {
	return map[string]Task{
		"Validate":              d.validate,
		"Assemble":              d.assemble,
		"EnsureInfrastructure":  d.ensure(d.Platform.EnsureInfrastructure),
		"EnsureDatabase":        d.ensure(d.Platform.EnsureDatabase),
		"EnsureCacheUser":       d.ensure(d.Platform.EnsureCacheUser),
		"RecordInfrastructure":  d.recordInfrastructure,
		"Generate":              d.generate,
		"Compile":               d.compile,
		"Bundle":                d.bundle,
		"Migrate":               d.migrate,
		"Publish":               d.publish,
		"AwaitHealthy":          d.awaitHealthy,
		"RecordRelease":         d.recordRelease,
		"Restore":               d.restore,
		"Snapshot":              d.snapshot,
		"RemoveRoute":           d.byName(d.Platform.RemoveRoute),
		"Drain":                 d.byName(d.Platform.Drain),
		"Grace":                 d.grace,
		"Entomb":                d.entomb,
		"DestroyInfrastructure": d.byName(d.Platform.DestroyInfrastructure),
		"DropCacheUser":         d.byName(d.Platform.DropCacheUser),
		"DropDatabase":          d.byName(d.Platform.DropDatabase),
		"RemoveReleases":        d.byName(d.Platform.RemoveReleases),
		"VerifyAbsent":          d.verifyAbsent,
		"Receipt":               d.receipt,
		"VerifySnapshot":        d.verifySnapshot,
		"RestoreData":           d.restoreData,
		"MigrateData":           d.migrateData,
		"AwaitServing":          d.awaitServing,
		"ReturnData":            d.returnData,
	}
}

// none is the output of a task that has nothing to tell.
type none struct{}

// output reads what an earlier state left in the document.
func output[T any](in Input, state string) (T, error) {
	var v T
	raw, ok := in.Doc[state]
	if !ok {
		return v, nil // a state that was passed over: the zero value
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, fault.Errorf(fault.Stalled, "output of state %s: %w", state, err)
	}
	return v, nil
}

// byName adapts a driver's method that needs no more than the tenant.
func (d Deps) byName(do func(context.Context, string) error) Task {
	return func(ctx context.Context, in Input) (any, error) {
		return none{}, do(ctx, in.Run.Tenant)
	}
}

// ensure adapts a driver's method that needs the tenant's configuration.
func (d Deps) ensure(do func(context.Context, platform.Config) error) Task {
	return func(ctx context.Context, in Input) (any, error) {
		return none{}, do(ctx, platform.Assemble(in.Run.Spec, d.Domain))
	}
}

func (d Deps) validate(_ context.Context, in Input) (any, error) {
	spec := in.Run.Spec
	switch {
	case spec == nil:
		return nil, fault.Errorf(fault.Stalled, "run %s has no tenant to make real", in.Run.ID)
	case spec.Name != in.Run.Tenant:
		return nil, fault.Errorf(fault.Stalled, "run %s of tenant %s has the file of %s", in.Run.ID, in.Run.Tenant, spec.Name)
	}
	return none{}, nil
}

// assemble records the configuration the run makes real; later tasks derive
// the same again from the run's file.
func (d Deps) assemble(_ context.Context, in Input) (any, error) {
	return platform.Assemble(in.Run.Spec, d.Domain), nil
}

func (d Deps) recordInfrastructure(ctx context.Context, in Input) (any, error) {
	return none{}, d.Ledger.RecordInfrastructure(ctx, in.Run)
}

func (d Deps) build(ctx context.Context, in Input) (Build, error) {
	v, err := d.Platform.Volume(ctx, in.Run.Tenant)
	if err != nil {
		return Build{}, fmt.Errorf("open volume: %w", err)
	}
	return Build{Run: in.Run.ID, Tenant: in.Run.Spec, Commit: in.Run.Commit, Volume: v.Dir()}, nil
}

func (d Deps) generate(ctx context.Context, in Input) (any, error) {
	b, err := d.build(ctx, in)
	if err != nil {
		return nil, err
	}
	g, err := d.Builder.Generate(ctx, b)
	if err != nil {
		return nil, err
	}
	return struct {
		Generated
		Built bool `json:"built"`
	}{g, g.Release != ""}, nil
}

// checkSecrets says which secrets have no value, before the app would not start
// for want of them. It is not done where the app is compiled: what handles tenants'
// code on AWS may read no tenant's secrets.
func (d Deps) checkSecrets(ctx context.Context, t *tenant.Tenant) error {
	missing, err := d.Platform.MissingSecrets(ctx, t.Name, t.App.Secrets)
	if err != nil {
		return fmt.Errorf("look up secrets: %w", err)
	}
	if len(missing) > 0 {
		return fault.Errorf(fault.Invalid, "no value for %s: %s", plural(len(missing), "secret"), strings.Join(missing, ", ")).
			WithHint("set it with: gitopsd secret set %s %s, then: gitopsd retry %s", t.Name, missing[0], t.Name)
	}
	return nil
}

func (d Deps) compile(ctx context.Context, in Input) (any, error) {
	b, err := d.build(ctx, in)
	if err != nil {
		return nil, err
	}
	return d.Builder.Compile(ctx, b)
}

func (d Deps) bundle(ctx context.Context, in Input) (any, error) {
	b, err := d.build(ctx, in)
	if err != nil {
		return nil, err
	}
	return d.Builder.Bundle(ctx, b)
}

// releaseOf returns the release the run built, or found already built.
func releaseOf(in Input) (string, error) {
	bundled, err := output[Bundled](in, StateBundle)
	if err != nil || bundled.Release != "" {
		return bundled.Release, err
	}
	generated, err := output[Generated](in, StateGenerate)
	if err == nil && generated.Release == "" {
		err = fault.Errorf(fault.Stalled, "no state of run %s made a release", in.Run.ID)
	}
	return generated.Release, err
}

func (d Deps) migrate(ctx context.Context, in Input) (any, error) {
	digest, err := releaseOf(in)
	if err != nil {
		return nil, err
	}
	if err := d.checkSecrets(ctx, in.Run.Spec); err != nil { // before anything changes
		return nil, err
	}
	b, err := d.build(ctx, in)
	if err != nil {
		return nil, err
	}
	url, err := d.Platform.Database(ctx, in.Run.Tenant)
	if err != nil {
		return nil, fmt.Errorf("find database: %w", err)
	}
	return d.Builder.Migrate(ctx, b, digest, url)
}

// Published is the output of Publish: which pointer is current now, and which
// release was before ("" for none).
type Published struct {
	Pointer  release.Pointer `json:"pointer"`
	Previous release.Pointer `json:"previous,omitzero"`
}

func (d Deps) publish(ctx context.Context, in Input) (any, error) {
	digest, err := releaseOf(in)
	if err != nil {
		return nil, err
	}
	if err := d.Platform.UploadStatic(ctx, in.Run.Tenant, digest); err != nil {
		return nil, fmt.Errorf("upload static assets: %w", err)
	}
	v, err := d.Platform.Volume(ctx, in.Run.Tenant)
	if err != nil {
		return nil, fmt.Errorf("open volume: %w", err)
	}
	before, _, err := v.Current()
	if err != nil {
		return nil, fmt.Errorf("read current pointer: %w", err)
	}
	p, err := v.Publish(digest, in.Run.Commit)
	if err == nil && p == before {
		p, err = d.publishAgain(ctx, in, v, p)
	}
	if err != nil {
		return nil, fmt.Errorf("publish %s: %w", in.Run.Tenant, err)
	}
	return Published{Pointer: p, Previous: before}, nil
}

// publishAgain has the instances try anew what is current already, if one of them
// gave it up: a first release that failed stays current, and by the time its
// run is tried again, what it lacked may be there.
func (d Deps) publishAgain(ctx context.Context, in Input, v *release.Volume, p release.Pointer) (release.Pointer, error) {
	instances, err := d.Platform.Instances(ctx, in.Run.Tenant)
	if err != nil {
		return p, fmt.Errorf("ask instances: %w", err)
	}
	for _, i := range instances {
		if i.Report.FailedSeq >= p.Seq {
			return v.Renew(p.SHA256, p.Commit)
		}
	}
	return p, nil
}

func (d Deps) awaitHealthy(ctx context.Context, in Input) (any, error) {
	published, err := output[Published](in, StatePublish)
	if err != nil {
		return nil, err
	}
	return none{}, d.Platform.AwaitRelease(ctx, in.Run.Tenant, published.Pointer)
}

func (d Deps) recordRelease(ctx context.Context, in Input) (any, error) {
	published, err := output[Published](in, StatePublish)
	if err != nil {
		return nil, err
	}
	digest := published.Pointer.SHA256
	if err := d.Platform.ActivateStatic(ctx, in.Run.Tenant, digest); err != nil {
		return nil, fmt.Errorf("activate static assets: %w", err)
	}
	return none{}, d.Ledger.RecordRelease(ctx, in.Run, digest)
}

// restore points back at the release that serves: the agents never gave it up,
// and the pointer matters to those that start later.
func (d Deps) restore(ctx context.Context, in Input) (any, error) {
	published, err := output[Published](in, StatePublish)
	if err != nil {
		return nil, err
	}
	good, err := d.lastGood(ctx, in.Run.Tenant, published)
	if err != nil || good.SHA256 == "" {
		return none{}, err
	}
	v, err := d.Platform.Volume(ctx, in.Run.Tenant)
	if err != nil {
		return nil, fmt.Errorf("open volume: %w", err)
	}
	p, err := v.Publish(good.SHA256, good.Commit)
	if err != nil {
		return nil, fmt.Errorf("restore %s: %w", in.Run.Tenant, err)
	}
	return p, nil
}

// lastGood returns the pointer to go back to; the zero Pointer if there is none.
// What serves is asked first: the pointer that a publish found may be its own,
// left by a try that died. Where nothing serves either, the ledger knows.
func (d Deps) lastGood(ctx context.Context, tenant string, published Published) (release.Pointer, error) {
	failed := published.Pointer.SHA256
	instances, err := d.Platform.Instances(ctx, tenant)
	if err != nil {
		return release.Pointer{}, fmt.Errorf("ask instances: %w", err)
	}
	for _, i := range instances {
		if r := i.Report; r.Release != "" && r.Release != failed {
			return release.Pointer{SHA256: r.Release, Commit: r.Commit}, nil
		}
	}
	if published.Previous.SHA256 != failed {
		return published.Previous, nil
	}
	digest, commit, err := d.Ledger.Serving(ctx, tenant)
	if err != nil {
		return release.Pointer{}, fmt.Errorf("look up the last good release: %w", err)
	}
	if digest == failed {
		return release.Pointer{}, nil
	}
	return release.Pointer{SHA256: digest, Commit: commit}, nil
}

// Snapshotted is the output of Snapshot.
type Snapshotted struct {
	Path string `json:"path,omitempty"`
}

func (d Deps) snapshot(ctx context.Context, in Input) (any, error) {
	if tenant.IsPreview(in.Run.Tenant) { // of which nobody wants anything back
		return Snapshotted{}, nil
	}
	path, err := d.Platform.Snapshot(ctx, in.Run.Tenant)
	return Snapshotted{Path: path}, err
}

// Graced is the output of Grace.
type Graced struct {
	Over  bool      `json:"over"`
	Until time.Time `json:"until,omitzero"`
}

func (d Deps) grace(_ context.Context, in Input) (any, error) {
	var keep time.Duration
	if in.Run.Spec != nil {
		keep = in.Run.Spec.Deletion.Grace
	}
	if in.Run.Operation == plan.Purge || keep <= 0 {
		return Graced{Over: true}, nil
	}
	return Graced{Until: d.Now().Add(keep)}, nil
}

func (d Deps) entomb(ctx context.Context, in Input) (any, error) {
	graced, err := output[Graced](in, StateGrace)
	if err != nil {
		return nil, err
	}
	taken, err := output[Snapshotted](in, StateSnapshot)
	if err != nil {
		return nil, err
	}
	if err := d.Platform.Entomb(ctx, in.Run.Tenant); err != nil {
		return nil, err
	}
	t := Tombstone{
		Tenant: in.Run.Tenant, Commit: in.Run.Commit, At: d.Now(),
		PurgeAfter: graced.Until, Snapshot: taken.Path,
	}
	return t, d.Ledger.RecordTombstone(ctx, in.Run, t)
}

func (d Deps) verifyAbsent(ctx context.Context, in Input) (any, error) {
	_, err := d.absent(ctx, in.Run.Tenant)
	return none{}, err
}

// absent returns the tenant's inventory, an error if anything of it is there.
func (d Deps) absent(ctx context.Context, tenant string) ([]platform.Resource, error) {
	resources, err := d.Platform.Inventory(ctx, tenant)
	if err != nil {
		return nil, fmt.Errorf("take inventory: %w", err)
	}
	var left []string
	for _, r := range resources {
		if r.Present {
			left = append(left, r.Kind+" "+r.Name)
		}
	}
	if len(left) > 0 {
		return nil, fault.Errorf(fault.Transient, "still there: %s", strings.Join(left, ", "))
	}
	return resources, nil
}

func (d Deps) receipt(ctx context.Context, in Input) (any, error) {
	taken, err := output[Snapshotted](in, StateSnapshot)
	if err != nil {
		return nil, err
	}
	resources, err := d.absent(ctx, in.Run.Tenant)
	if err != nil {
		return nil, err
	}
	r := Receipt{
		Tenant: in.Run.Tenant, Commit: in.Run.Commit, Run: in.Run.ID, At: d.Now(),
		Snapshot: taken.Path, Resources: resources,
	}
	return none{}, d.Ledger.RecordReceipt(ctx, in.Run, r)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "the " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
