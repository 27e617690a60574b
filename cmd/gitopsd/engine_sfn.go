package main

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sfn"

	"github.com/gitopsd/gitopsd/internal/pipeline/sfnrun"
)

var _ engine = (*sfnrun.Engine)(nil)

// openStepFunctions makes the engine that has Step Functions run machines, and looks
// by itself how they do.
func (d *daemon) openStepFunctions(ctx context.Context) error {
	e, err := d.stepFunctions(ctx, 0)
	if err == nil {
		d.engine = e
	}
	return err
}

// stepFunctions returns the engine; interval is that between its looks.
func (d *daemon) stepFunctions(ctx context.Context, interval time.Duration) (*sfnrun.Engine, error) {
	addresses := d.AWS.Machines
	if d.cell.Machines != nil {
		addresses = d.cell.Machines
	}
	machines, err := stateMachines(addresses)
	if err != nil {
		return nil, err
	}
	return sfnrun.New(ctx, sfnrun.Config{
		Client: sfn.NewFromConfig(d.cell.aws), StateMachines: machines, Ledger: d.ledger,
		Finished: func(string) { d.loop.Wake() }, Logger: d.log, Interval: interval,
	})
}
