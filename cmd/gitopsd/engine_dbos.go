package main

import (
	"context"

	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/pipeline/dbosrun"
)

var _ engine = (*dbosrun.Engine)(nil)

// openDBOS makes the engine that runs machines in this process, on the ledger's
// database.
func (d *daemon) openDBOS(ctx context.Context) error {
	e, err := dbosrun.New(ctx, dbosrun.Config{
		URL: d.database.url, Login: d.database.login, Machines: pipeline.Machines(), Ledger: d.ledger,
		Tasks:    pipeline.Tasks(d.deps(d.ledger, d.builder)),
		Finished: func(string) { d.loop.Wake() }, Logger: d.log,
	})
	if err != nil {
		return err
	}
	d.engine = e
	return nil
}
