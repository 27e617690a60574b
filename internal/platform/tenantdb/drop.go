package tenantdb

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Drop removes the tenant's database and role, whoever is connected, and what a
// dump or a restore has left.
func (d *Databases) Drop(ctx context.Context, tenant string) error {
	return d.exclusively(ctx, tenant, func(conn *pgx.Conn) error {
		st, err := own(ctx, conn, tenant)
		if err != nil {
			return err
		}
		if st.role { // no connections while it goes, nor afterwards: those to other databases would stand
			if err := run(ctx, conn, "ALTER ROLE "+quoted(Role(tenant))+" NOLOGIN"); err != nil {
				return failure("close role "+Role(tenant), err)
			}
			if _, err := conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", Role(tenant)); err != nil {
				return failure("end the connections of "+Role(tenant), err)
			}
		}
		if err := d.dropFresh(ctx, conn, tenant); err != nil {
			return err
		}
		for _, database := range []string{copied(tenant), former(tenant), Role(tenant)} {
			if err := drop(ctx, conn, database); err != nil {
				return err
			}
		}
		if !st.role {
			return nil
		}
		return failure("drop role "+Role(tenant), d.dropRole(ctx, conn, tenant))
	})
}

// drop removes a database, whoever is connected. Nobody but a superuser ends the
// connection of one, such as the server's provider, who is waited for.
func drop(ctx context.Context, conn *pgx.Conn, database string) error {
	const patience = 10 * time.Second
	for begun := time.Now(); ; {
		err := run(ctx, conn, "DROP DATABASE IF EXISTS "+quoted(database)+" WITH (FORCE)")
		if !forbidden(err) || !strings.Contains(err.Error(), "terminate") {
			return failure("drop database "+database, err)
		}
		if time.Since(begun) > patience {
			return fault.Errorf(fault.Transient, "drop database %s: a superuser is connected: %w", database, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// dropRole removes the role. Other tenants may have granted it something in
// their databases, which would keep it: that is taken back first.
func (d *Databases) dropRole(ctx context.Context, conn *pgx.Conn, tenant string) error {
	remove := "DROP ROLE IF EXISTS " + quoted(Role(tenant))
	err := run(ctx, conn, remove)
	if code(err) != "2BP01" { // dependent_objects_still_exist
		return err
	}
	rows, err := conn.Query(ctx, `SELECT DISTINCT d.datname FROM pg_shdepend s
		JOIN pg_database d ON d.oid = s.dbid OR s.classid = 'pg_database'::regclass AND d.oid = s.objid
		WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1)`,
		Role(tenant))
	if err != nil {
		return err
	}
	databases, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, database := range databases {
		if err := d.disown(ctx, conn, Role(tenant), database); err != nil {
			return fmt.Errorf("take back what it has in database %s: %w", database, err)
		}
	}
	return run(ctx, conn, remove)
}

func (d *Databases) disown(ctx context.Context, conn *pgx.Conn, role, database string) error {
	if err := unlock(ctx, conn, database); err != nil {
		return err
	}
	there, err := d.c.Master.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer there.Close(context.WithoutCancel(ctx))
	return run(ctx, there, "DROP OWNED BY "+quoted(role))
}

// unlock lets the master into a database whose owner has closed it to itself.
func unlock(ctx context.Context, conn *pgx.Conn, database string) error {
	var owner string
	var locked bool
	err := conn.QueryRow(ctx, `SELECT pg_get_userbyid(datdba), datconnlimit <> -1 OR NOT has_database_privilege(datname, 'CONNECT')
		FROM pg_database WHERE datname = $1`, database).Scan(&owner, &locked)
	if err != nil || !locked {
		return err
	}
	return run(ctx, conn,
		"GRANT CONNECT ON DATABASE "+quoted(database)+" TO "+quoted(owner),
		"ALTER DATABASE "+quoted(database)+" CONNECTION LIMIT -1")
}
