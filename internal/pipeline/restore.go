package pipeline

import (
	"context"
	"fmt"
	"path"

	"github.com/gitopsd/gitopsd/internal/release"
)

func (d Deps) verifySnapshot(ctx context.Context, in Input) (any, error) {
	return none{}, d.Platform.VerifySnapshot(ctx, in.Run.Tenant, in.Run.Argument)
}

func (d Deps) restoreData(ctx context.Context, in Input) (any, error) {
	return none{}, d.Platform.RestoreSnapshot(ctx, in.Run.Tenant, in.Run.Argument)
}

// migrateData brings restored data to what the current release needs, while
// nothing serves yet.
func (d Deps) migrateData(ctx context.Context, in Input) (any, error) {
	v, err := d.Platform.Volume(ctx, in.Run.Tenant)
	if err != nil {
		return nil, fmt.Errorf("open volume: %w", err)
	}
	p, ok, err := v.Current()
	if err != nil || !ok { // without a release there is nothing to migrate to
		return Migrated{}, err
	}
	url, err := d.Platform.Database(ctx, in.Run.Tenant)
	if err != nil {
		return nil, fmt.Errorf("find database: %w", err)
	}
	b, err := d.build(ctx, in)
	if err != nil {
		return nil, err
	}
	return d.Builder.Migrate(ctx, b, p.SHA256, url)
}

// Awaited is the output of AwaitServing.
type Awaited struct {
	Pointer release.Pointer `json:"pointer,omitzero"`
}

// awaitServing waits until the release that is current takes traffic again.
func (d Deps) awaitServing(ctx context.Context, in Input) (any, error) {
	v, err := d.Platform.Volume(ctx, in.Run.Tenant)
	if err != nil {
		return nil, fmt.Errorf("open volume: %w", err)
	}
	p, ok, err := v.Current()
	if err != nil || !ok {
		return Awaited{}, err
	}
	return Awaited{Pointer: p}, d.Platform.AwaitRelease(ctx, in.Run.Tenant, p)
}

// returnData puts back what there was when the run began.
func (d Deps) returnData(ctx context.Context, in Input) (any, error) {
	taken, err := output[Snapshotted](in, StateSnapshot)
	if err != nil {
		return nil, err
	}
	if taken.Path == "" {
		return none{}, nil // there was nothing
	}
	if err := d.Platform.RestoreSnapshot(ctx, in.Run.Tenant, path.Base(taken.Path)); err != nil {
		return nil, fmt.Errorf("put back what there was: %w", err)
	}
	return none{}, nil
}
