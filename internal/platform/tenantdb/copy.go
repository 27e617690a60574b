package tenantdb

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// forced is the name of a policy that stands in a dump for FORCE ROW LEVEL
// SECURITY: it lets pass what it is asked, and a restore puts in its place what
// it stands for.
const forced = "gitopsd: forced"

// copied is the name of a copy of a tenant's database. No tenant's name has a dot,
// so it is not another tenant's.
func copied(tenant string) string { return Role(tenant) + ".copy" }

// maxCopying bounds how long the tenant waits for its database to be copied.
const maxCopying = 5 * time.Minute

// copying does something with a copy of the tenant's database, in which owners
// see all rows of their tables: a role without BYPASSRLS has no other way to rows
// that FORCE ROW LEVEL SECURITY keeps from their owner. The server copies only
// what nobody is connected to, so until it has, the tenant's connections end and
// new ones are refused. The copy is the master's: no tenant enters it.
func (d *Databases) copying(ctx context.Context, tenant string, do func() error) error {
	err := d.exclusively(ctx, tenant, func(conn *pgx.Conn) error {
		if err := d.makeCopy(ctx, conn, tenant); err != nil {
			return err
		}
		return d.unforce(ctx, copied(tenant))
	})
	if err == nil {
		err = do()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	gone := d.exclusively(ctx, tenant, func(conn *pgx.Conn) error { return drop(ctx, conn, copied(tenant)) })
	if err != nil {
		return failure("dump a copy of "+Role(tenant), err)
	}
	return gone
}

func (d *Databases) makeCopy(ctx context.Context, conn *pgx.Conn, tenant string) (err error) {
	if err := drop(ctx, conn, copied(tenant)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, maxCopying)
	defer cancel()
	defer func() { // one that dies before is made good by Settle, Ensure and Dump
		open, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_, e := d.pool.Exec(open, "ALTER DATABASE "+quoted(Role(tenant))+" ALLOW_CONNECTIONS true") // conn ends with ctx
		if err == nil {
			err = e
		}
	}()
	for {
		if err := empty(ctx, conn, Role(tenant)); err != nil {
			return err
		}
		err := create(ctx, conn, tenant, copied(tenant), d.c.Master.User, Role(tenant))
		if code(err) != "55006" { // object_in_use: somebody has not left yet
			return err
		}
		select {
		case <-ctx.Done():
			return fault.Errorf(fault.Transient, "it does not get empty: %w", err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// unforce has the owners of tables see all of their rows, and leaves a mark where
// they did not.
func (d *Databases) unforce(ctx context.Context, database string) error {
	conn, err := d.c.Master.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, `SELECT format('%I.%I', nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE relrowsecurity AND relforcerowsecurity AND pg_has_role(relowner, 'USAGE')`)
	if err != nil {
		return err
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, table := range tables {
		err := run(ctx, conn,
			"DROP POLICY IF EXISTS "+quoted(forced)+" ON "+table,
			"CREATE POLICY "+quoted(forced)+" ON "+table+" AS RESTRICTIVE USING (true)",
			"ALTER TABLE "+table+" NO FORCE ROW LEVEL SECURITY")
		if err != nil {
			return fmt.Errorf("open table %s: %w", table, err)
		}
	}
	return nil
}

// force puts FORCE ROW LEVEL SECURITY in the place of the marks of unforce.
func force(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `SELECT format('%I.%I', nspname, relname)
		FROM pg_policy p JOIN pg_class c ON c.oid = polrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE polname = $1`, forced)
	if err != nil {
		return err
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, table := range tables {
		if err := run(ctx, conn, "ALTER TABLE "+table+" FORCE ROW LEVEL SECURITY", "DROP POLICY "+quoted(forced)+" ON "+table); err != nil {
			return fmt.Errorf("close table %s: %w", table, err)
		}
	}
	return nil
}
