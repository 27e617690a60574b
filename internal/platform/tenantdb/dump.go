package tenantdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Dump writes the tenant's database to w, in pg_dump's custom format.
//
// It has all the data, or there is an error: what cannot be saved could not be
// taken away either, and what was saved in part would be taken for the whole.
// A tenant owns what it has and can do anything to it, so before pg_dump runs
//
//   - the database is opened to the master, whoever the tenant shut out, and
//     settings that the tenant made for it do not count (unset);
//   - tables, sequences, schemas and large objects that the tenant took from
//     itself are given to who reads (open);
//   - what the tenant made a part of an extension, which pg_dump leaves to the
//     extension, is taken out of it (open);
//   - rows that row security keeps from the tables' own owner are read by the
//     Reader. Where the server does not let the master have one, a copy of the
//     database is made whose owner sees them: see copying.
//
// pg_dump is told to fail rather than to leave out rows (row_security=off is its
// default), so a tenant that closes something meanwhile gets no dump, never half
// a one. What another tenant made in this one's database is in it too. Left out
// are only roles, and privileges: a restore makes all of it the tenant's.
func (d *Databases) Dump(ctx context.Context, tenant string, w io.Writer) error {
	var hidden bool
	var reader string
	err := d.exclusively(ctx, tenant, func(conn *pgx.Conn) (err error) {
		if err = drop(ctx, conn, copied(tenant)); err != nil {
			return err
		}
		if reader, err = d.reader(ctx, conn); err == nil {
			hidden, err = d.open(ctx, conn, tenant, reader)
		}
		return err
	})
	if err != nil {
		return failure("prepare the dump of "+Role(tenant), err)
	}
	if hidden {
		return d.copying(ctx, tenant, func() error { return d.dump(ctx, copied(tenant), d.c.Master.User, w) })
	}
	return d.dump(ctx, Role(tenant), reader, w)
}

func (d *Databases) dump(ctx context.Context, database, reader string, w io.Writer) error {
	args := []string{"--format=custom", "--no-password", "--lock-wait-timeout=60s", "--dbname=" + database}
	if reader != d.c.Master.User {
		args = append(args, "--role="+reader)
	}
	password, err := d.c.Master.Password(ctx)
	if err != nil {
		return fmt.Errorf("pg_dump of %s: %w", database, err)
	}
	cmd := d.c.Command(ctx, "pg_dump", args...)
	cmd.Env = append(cmd.Env, d.c.Master.environment(d.c.Master.User, password)...)
	cmd.Stdout = w
	var complaint strings.Builder
	cmd.Stderr = &complaint
	if err := cmd.Run(); err != nil {
		return programFailure(ctx, "pg_dump of "+database, err, complaint.String())
	}
	if f, ok := w.(*os.File); ok {
		return f.Sync()
	}
	return nil
}

// open lets reader read all there is in the tenant's database, and reports whether
// there are tables whose rows it will not see all the same.
func (d *Databases) open(ctx context.Context, conn *pgx.Conn, tenant, reader string) (hidden bool, err error) {
	if err := unlock(ctx, conn, Role(tenant)); err != nil {
		return false, err
	}
	if err := closed(ctx, conn, tenant, Role(tenant)); err != nil { // and open to its owner
		return false, err
	}
	statements := []string{d.join(tenant, d.c.Master.User)}
	if reader != d.c.Master.User {
		statements = append(statements, d.join(tenant, reader)) // for large objects: nothing but their owner's rights extends to all
	}
	if err := run(ctx, conn, statements...); err != nil {
		return false, err
	}
	inside, err := d.c.Master.Connect(ctx, Role(tenant))
	if err != nil {
		return false, err
	}
	defer inside.Close(context.WithoutCancel(ctx))
	for _, find := range []string{attached, unreadable} {
		if err := repair(ctx, inside, find, reader); err != nil {
			return false, err
		}
	}
	if reader == Reader {
		return false, nil
	}
	err = inside.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_class WHERE relrowsecurity AND relforcerowsecurity
		AND pg_has_role(relowner, 'USAGE')) AND NOT (SELECT rolbypassrls FROM pg_roles WHERE rolname = current_user)`).Scan(&hidden)
	return hidden, err
}

// attached finds what belongs to an extension and to a role that is no superuser:
// an extension's own objects belong to one, so the tenant has put it there. The
// statement takes it out again.
const attached = `
	SELECT format('ALTER EXTENSION %I DROP %s %s', e.extname, o.type, o.identity)
	FROM pg_depend d
	JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
	LEFT JOIN pg_namespace n ON d.classid = 'pg_namespace'::regclass AND n.oid = d.objid
	LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
	LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
	JOIN pg_roles r ON r.oid = coalesce(c.relowner, n.nspowner, p.proowner, t.typowner)
	CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) o
	WHERE d.deptype = 'e' AND NOT r.rolsuper AND $1::name IS NOT NULL`

// unreadable finds what the reader may not read; the statement lets it.
const unreadable = `
	SELECT format('GRANT USAGE ON SCHEMA %I TO %I', nspname, $1::name) FROM pg_namespace
	WHERE NOT starts_with(nspname, 'pg_') AND nspname <> 'information_schema' AND NOT has_schema_privilege($1, oid, 'USAGE')
	UNION ALL
	SELECT format('GRANT SELECT ON %s %I.%I TO %I', CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, nspname, relname, $1::name)
	FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
	WHERE relkind IN ('r', 'p', 'S') AND NOT starts_with(nspname, 'pg_') AND nspname <> 'information_schema'
	AND NOT has_table_privilege($1, c.oid, 'SELECT')
	UNION ALL
	SELECT format('GRANT SELECT ON LARGE OBJECT %s TO %I', m.oid, $1::name) FROM pg_largeobject_metadata m
	WHERE NOT CASE WHEN lomacl IS NULL THEN pg_has_role($1, lomowner, 'USAGE') ELSE EXISTS (
		SELECT FROM aclexplode(lomacl) a WHERE a.privilege_type = 'SELECT' AND (a.grantee = 0 OR pg_has_role($1, a.grantee, 'USAGE'))) END`

// repair executes the statements that a query finds.
func repair(ctx context.Context, conn *pgx.Conn, find, reader string) error {
	rows, err := conn.Query(ctx, find, reader)
	if err != nil {
		return err
	}
	statements, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, statement := range statements { // without a password, and what tells where it is stuck
		if err := run(ctx, conn, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// programFailure is the error of a program of Postgres' that ended with a complaint.
func programFailure(ctx context.Context, what string, err error, complaint string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, errors.Join(ctx.Err(), err))
	}
	complaint = strings.TrimSpace(complaint)
	if strings.Contains(complaint, "server version mismatch") {
		return fault.Errorf(fault.Invalid, "%s: %w", what, err).WithDetail(complaint).
			WithHint("install the programs of the server's version of Postgres, or of a later one")
	}
	return fault.Errorf(fault.Transient, "%s: %w", what, err).WithDetail(complaint)
}
