package tenantdb

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Reader is the role that dumps read with, where it is there: it sees the rows
// that a tenant keeps from itself. Only who may do that makes such a role: see Seal.
const Reader = "gitopsd_reader"

// Seal closes the server's own databases to the tenants, who could enter them
// otherwise: everyone may connect to any database until that is taken from
// PUBLIC. And it makes the Reader, if the server lets the master make it.
func (d *Databases) Seal(ctx context.Context) error {
	for _, database := range []string{d.c.Master.Database, "postgres", "template1"} {
		_, err := d.pool.Exec(ctx, "REVOKE ALL ON DATABASE "+quoted(database)+" FROM PUBLIC")
		if err != nil && !forbidden(err) { // not the owner: what follows says whether it is closed
			return failure("close database "+database, err)
		}
	}
	var open []string
	err := d.pool.QueryRow(ctx, `SELECT coalesce(array_agg(datname), '{}') FROM pg_database
		WHERE datallowconn AND datname NOT LIKE 't\_%' AND datname <> 'rdsadmin'
		AND has_database_privilege('pg_monitor', datname, 'CONNECT')`).Scan(&open) // as good as anyone: PUBLIC's privileges alone
	switch {
	case err != nil:
		return failure("look at databases", err)
	case len(open) > 0:
		return fault.Errorf(fault.Invalid, "every tenant could connect to the databases %v", open).
			WithHint("as their owner: REVOKE CONNECT ON DATABASE <name> FROM PUBLIC")
	}
	return failure("make role "+Reader, d.makeReader(ctx))
}

// makeReader makes the Reader. Up to Postgres 15 only a superuser may, from 16 on
// whoever bypasses row security itself.
func (d *Databases) makeReader(ctx context.Context) error {
	name, err := d.reader(ctx, d.pool)
	if err != nil || name == Reader {
		return err
	}
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		return run(ctx, tx.Conn(),
			fmt.Sprintf("CREATE ROLE %s NOLOGIN BYPASSRLS", Reader),
			fmt.Sprintf("GRANT %s TO %s", Reader, quoted(d.c.Master.User)))
	})
	if forbidden(err) || code(err) == "42710" { // it may not; another was faster, or one of the name is no use
		return nil
	}
	return err
}

// reader returns who reads for a dump: the Reader, or without one the master.
func (d *Databases) reader(ctx context.Context, q queries) (string, error) {
	var there bool
	err := q.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1 AND rolbypassrls AND pg_has_role(oid, 'MEMBER'))`,
		Reader).Scan(&there)
	if err != nil || !there {
		return d.c.Master.User, err
	}
	return Reader, nil
}
