package postgresd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Role returns the name of a tenant's role, and of its database.
func Role(tenant string) string { return "t_" + tenant }

func mark(tenant string) string { return "gitopsd:" + tenant }

// standing is what there is of a tenant.
type standing struct {
	role     bool
	comment  string // the role's
	database bool
	owner    string // the database's
}

// exclusively does something to a tenant on one connection, while no other does.
// The lock is the server's and goes with the connection: a statement that goes
// on after its caller was killed keeps the next caller waiting until it ends.
func (s *Server) exclusively(ctx context.Context, tenant string, do func(*pgx.Conn) error) error {
	conn, err := s.master.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(hashtextextended($1, 0))", mark(tenant)); err != nil {
		return fmt.Errorf("wait for another change of %s: %w", Role(tenant), err)
	}
	defer func() { // a connection that cannot unlock is not to be used again
		unlock, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if _, err := conn.Exec(unlock, "SELECT pg_advisory_unlock_all()"); err != nil {
			_ = conn.Conn().Close(unlock)
		}
	}()
	return do(conn.Conn())
}

// queries are what a connection and a pool of them both answer.
type queries interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func look(ctx context.Context, q queries, tenant string) (standing, error) {
	var st standing
	err := q.QueryRow(ctx, `
		SELECT r.rolname IS NOT NULL, coalesce(shobj_description(r.oid, 'pg_authid'), ''),
			d.datname IS NOT NULL, coalesce(pg_get_userbyid(d.datdba), '')
		FROM (SELECT $1::name AS name) n
		LEFT JOIN pg_roles r ON r.rolname = n.name
		LEFT JOIN pg_database d ON d.datname = n.name`, Role(tenant)).
		Scan(&st.role, &st.comment, &st.database, &st.owner)
	if err != nil {
		return st, fmt.Errorf("look at database %s: %w", Role(tenant), err)
	}
	return st, nil
}

// check fails if what there is is not the tenant's.
func (st standing) check(tenant string) error {
	name := Role(tenant)
	switch {
	case st.role && st.comment != mark(tenant):
		return fault.Errorf(fault.Conflict, "role %s exists and is not marked as the tenant's", name).
			WithHint("remove or rename it; the mark is the comment %q", mark(tenant))
	case st.database && st.owner != name:
		return fault.Errorf(fault.Conflict, "database %s exists and belongs to %s", name, st.owner).
			WithHint("remove or rename it")
	}
	return nil
}

// EnsureTenant makes the tenant's role, with the given password (letters and
// digits) and connection limit, and its database.
func (s *Server) EnsureTenant(ctx context.Context, tenant, password string, connections int) error {
	return s.exclusively(ctx, tenant, func(conn *pgx.Conn) error {
		return ensureTenant(ctx, conn, tenant, password, connections)
	})
}

func ensureTenant(ctx context.Context, conn *pgx.Conn, tenant, password string, connections int) error {
	st, err := look(ctx, conn, tenant)
	if err != nil {
		return err
	}
	if err := st.check(tenant); err != nil {
		return err
	}
	if err := ensureRole(ctx, conn, tenant, password, connections, st.role); err != nil {
		return fmt.Errorf("make role %s: %w", Role(tenant), err)
	}
	name := pgx.Identifier{Role(tenant)}.Sanitize()
	if !st.database {
		if _, err := conn.Exec(ctx, "CREATE DATABASE "+name+" OWNER "+name); err != nil {
			return fmt.Errorf("make database %s: %w", Role(tenant), err)
		}
	}
	for _, statement := range []string{
		"REVOKE ALL ON DATABASE " + name + " FROM PUBLIC",
		"COMMENT ON DATABASE " + name + " IS '" + mark(tenant) + "'",
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("close database %s: %w", Role(tenant), err)
		}
	}
	return nil
}

// ensureRole makes or changes the role, in one transaction with its mark.
func ensureRole(ctx context.Context, conn *pgx.Conn, tenant, password string, connections int, exists bool) error {
	name := pgx.Identifier{Role(tenant)}.Sanitize()
	verb := "CREATE"
	if exists {
		verb = "ALTER"
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, statement := range []string{
			fmt.Sprintf("%s ROLE %s LOGIN CONNECTION LIMIT %d PASSWORD '%s'", verb, name, connections, password),
			"COMMENT ON ROLE " + name + " IS '" + mark(tenant) + "'",
			"GRANT " + name + " TO " + Master, // to make a database for it, and to drop that
		} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// HasTenant reports whether the tenant's role, and its database, are there.
func (s *Server) HasTenant(ctx context.Context, tenant string) (role, database bool, err error) {
	st, err := look(ctx, s.master, tenant)
	return st.role, st.database, err
}

// DropTenant removes the tenant's database and role, whoever is connected.
func (s *Server) DropTenant(ctx context.Context, tenant string) error {
	return s.exclusively(ctx, tenant, func(conn *pgx.Conn) error { return s.dropTenant(ctx, conn, tenant) })
}

func (s *Server) dropTenant(ctx context.Context, conn *pgx.Conn, tenant string) error {
	st, err := look(ctx, conn, tenant)
	if err != nil {
		return err
	}
	if err := st.check(tenant); err != nil {
		return err
	}
	name := pgx.Identifier{Role(tenant)}.Sanitize()
	if st.role { // no new connections while it goes
		if _, err := conn.Exec(ctx, "ALTER ROLE "+name+" NOLOGIN"); err != nil {
			return fmt.Errorf("close role %s: %w", Role(tenant), err)
		}
	}
	if err := s.dropFresh(ctx, conn, tenant); err != nil {
		return err
	}
	for _, database := range []string{former(tenant), Role(tenant)} {
		if err := drop(ctx, conn, database); err != nil {
			return err
		}
	}
	if !st.role {
		return nil
	}
	if err := s.dropRole(ctx, conn, name, tenant); err != nil {
		return fmt.Errorf("drop role %s: %w", Role(tenant), err)
	}
	return nil
}

// dropRole removes the role. Other tenants may have granted it something in
// their databases, which would keep it: that is taken back first.
func (s *Server) dropRole(ctx context.Context, conn *pgx.Conn, name, tenant string) error {
	_, err := conn.Exec(ctx, "DROP ROLE IF EXISTS "+name)
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
		if err := s.disown(ctx, name, database); err != nil {
			return fmt.Errorf("take back what it has in database %s: %w", database, err)
		}
	}
	_, err = conn.Exec(ctx, "DROP ROLE IF EXISTS "+name)
	return err
}

func (s *Server) disown(ctx context.Context, name, database string) error {
	conn, err := pgx.Connect(ctx, s.url(Master, s.c.MasterPassword, database))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, "DROP OWNED BY "+name)
	return err
}

func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
