package aws

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Master says how the role that makes tenants' roles and databases connects to
// a cell's Aurora cluster. RDS makes it: it may create roles and databases
// and is no superuser.
type Master struct {
	Host     string // the writer's endpoint, or the directory of a socket
	Port     int    // 0: 5432
	User     string
	Database string // any that is there and that tenants may not enter
	// Password returns what to log in with now: the managed secret's value, or a
	// token of IAM, which lives for 15 minutes.
	Password func(context.Context) (string, error)
	TLS      *tls.Config // nil: none, as in tests
}

// Database makes tenants' roles and databases in one Aurora cluster.
//
// A role carries the mark "gitopsd:<tenant>" as its comment, from the transaction
// that made it; one without it is a fault.Conflict, and so is a database of the
// tenant's name that the role does not own.
type Database struct {
	master Master
	pool   *pgxpool.Pool
}

// OpenDatabase returns the databases of a cluster. It does not connect yet.
func OpenDatabase(ctx context.Context, m Master) (*Database, error) {
	c, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	if m.Port == 0 {
		m.Port = 5432
	}
	c.MaxConns, c.MaxConnIdleTime, c.MaxConnLifetime = 8, time.Minute, time.Hour
	m.apply(c.ConnConfig, m.Database)
	c.BeforeConnect = m.login
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	return &Database{master: m, pool: pool}, nil
}

func (m Master) apply(c *pgx.ConnConfig, database string) {
	c.Host, c.Port, c.User, c.Database, c.TLSConfig = m.Host, uint16(m.Port), m.User, database, m.TLS //nolint:gosec // a port
	c.Fallbacks, c.ConnectTimeout = nil, 10*time.Second
}

func (m Master) login(ctx context.Context, c *pgx.ConnConfig) (err error) {
	c.Password, err = m.Password(ctx)
	return err
}

// Close ends the connections.
func (d *Database) Close() { d.pool.Close() }

// Seal closes the cluster's own databases to the tenants, who could enter them
// otherwise: everyone may connect to any database until that is taken from PUBLIC.
func (d *Database) Seal(ctx context.Context) error {
	own := pgx.Identifier{d.master.Database}.Sanitize()
	for _, database := range []string{own, "postgres", "template1"} {
		_, err := d.pool.Exec(ctx, "REVOKE ALL ON DATABASE "+database+" FROM PUBLIC")
		if err != nil && code(err) != "42501" { // not the owner: what follows says whether it is closed
			return sqlFailure("close database "+database, err)
		}
	}
	var open []string
	err := d.pool.QueryRow(ctx, `SELECT coalesce(array_agg(datname), '{}') FROM pg_database
		WHERE datallowconn AND datname NOT LIKE 't\_%' AND datname <> 'rdsadmin'
		AND has_database_privilege('pg_monitor', datname, 'CONNECT')`).Scan(&open) // as good as anyone: PUBLIC's privileges alone
	switch {
	case err != nil:
		return sqlFailure("look at databases", err)
	case len(open) > 0:
		return fault.Errorf(fault.Invalid, "every tenant could connect to the databases %v", open).
			WithHint("as their owner: REVOKE CONNECT ON DATABASE <name> FROM PUBLIC")
	}
	return nil
}

// URL returns how a tenant connects.
func (d *Database) URL(tenant, password string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role(tenant), password), Path: "/" + role(tenant),
		Host: net.JoinHostPort(d.master.Host, strconv.Itoa(d.master.Port)), RawQuery: "sslmode=verify-full&sslrootcert=system",
	}
	if d.master.TLS == nil {
		u.RawQuery = "sslmode=disable"
	}
	if d.master.Host[0] == '/' { // a socket's directory has no place in an authority
		u.Host, u.RawQuery = "", u.RawQuery+"&host="+url.QueryEscape(d.master.Host)+"&port="+strconv.Itoa(d.master.Port)
	}
	return u.String()
}

func mark(tenant string) string { return "gitopsd:" + tenant }

// standing is what there is of a tenant.
type standing struct {
	role     bool
	comment  string // the role's
	database bool
	owner    string // the database's
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
		LEFT JOIN pg_database d ON d.datname = n.name`, role(tenant)).
		Scan(&st.role, &st.comment, &st.database, &st.owner)
	return st, sqlFailure("look at database "+role(tenant), err)
}

// check fails if what there is is not the tenant's.
func (st standing) check(tenant string) error {
	name := role(tenant)
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

// exclusively does something to a tenant on one connection, while no other does,
// in any process. The lock goes with the connection.
func (d *Database) exclusively(ctx context.Context, tenant string, do func(*pgx.Conn) error) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return sqlFailure("connect to the cluster", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(hashtextextended($1, 0))", mark(tenant)); err != nil {
		return sqlFailure("wait for another change of "+role(tenant), err)
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

// Ensure makes the tenant's role, with the password (letters and digits) and at
// most so many connections, and its database.
func (d *Database) Ensure(ctx context.Context, tenant, password string, connections int) error {
	return d.exclusively(ctx, tenant, func(conn *pgx.Conn) error {
		st, err := look(ctx, conn, tenant)
		if err != nil {
			return err
		}
		if err := st.check(tenant); err != nil {
			return err
		}
		if err := d.ensureRole(ctx, conn, tenant, password, connections, st.role); err != nil {
			return sqlFailure("make role "+role(tenant), err)
		}
		name := pgx.Identifier{role(tenant)}.Sanitize()
		statements := []string{
			"REVOKE ALL ON DATABASE " + name + " FROM PUBLIC",
			"COMMENT ON DATABASE " + name + " IS '" + mark(tenant) + "'",
		}
		if !st.database { // not in a transaction
			statements = append([]string{"CREATE DATABASE " + name + " OWNER " + name}, statements...)
		}
		for _, statement := range statements {
			if _, err := conn.Exec(ctx, statement); err != nil {
				return sqlFailure("make database "+role(tenant), err)
			}
		}
		return nil
	})
}

// ensureRole makes or changes the role, in one transaction with its mark.
func (d *Database) ensureRole(ctx context.Context, conn *pgx.Conn, tenant, password string, connections int, exists bool) error {
	name := pgx.Identifier{role(tenant)}.Sanitize()
	verb := "CREATE"
	if exists {
		verb = "ALTER"
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, statement := range []string{
			fmt.Sprintf("%s ROLE %s LOGIN CONNECTION LIMIT %d PASSWORD '%s'", verb, name, connections, password),
			"COMMENT ON ROLE " + name + " IS '" + mark(tenant) + "'",
			// Who is no superuser makes databases only for a role it belongs to.
			"GRANT " + name + " TO " + pgx.Identifier{d.master.User}.Sanitize(),
		} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// Has reports whether the tenant's role, and its database, are there.
func (d *Database) Has(ctx context.Context, tenant string) (role, database bool, err error) {
	st, err := look(ctx, d.pool, tenant)
	return st.role, st.database, err
}

// Drop removes the tenant's database and role, whoever is connected.
func (d *Database) Drop(ctx context.Context, tenant string) error {
	return d.exclusively(ctx, tenant, func(conn *pgx.Conn) error {
		st, err := look(ctx, conn, tenant)
		if err != nil {
			return err
		}
		if err := st.check(tenant); err != nil {
			return err
		}
		name := pgx.Identifier{role(tenant)}.Sanitize()
		if st.role { // no new connections while it goes
			if _, err := conn.Exec(ctx, "ALTER ROLE "+name+" NOLOGIN"); err != nil {
				return sqlFailure("close role "+role(tenant), err)
			}
		}
		if _, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			return sqlFailure("drop database "+role(tenant), err)
		}
		if !st.role {
			return nil
		}
		return sqlFailure("drop role "+role(tenant), d.dropRole(ctx, conn, tenant))
	})
}

// dropRole removes the role. Other tenants may have granted it something in
// their databases, which would keep it: that is taken back first.
func (d *Database) dropRole(ctx context.Context, conn *pgx.Conn, tenant string) error {
	name := pgx.Identifier{role(tenant)}.Sanitize()
	_, err := conn.Exec(ctx, "DROP ROLE IF EXISTS "+name)
	if code(err) != "2BP01" { // dependent_objects_still_exist
		return err
	}
	rows, err := conn.Query(ctx, `SELECT DISTINCT d.datname FROM pg_shdepend s
		JOIN pg_database d ON d.oid = s.dbid OR s.classid = 'pg_database'::regclass AND d.oid = s.objid
		WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1)`,
		role(tenant))
	if err != nil {
		return err
	}
	databases, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, database := range databases {
		if err := d.disown(ctx, name, database); err != nil {
			return fmt.Errorf("take back what it has in database %s: %w", database, err)
		}
	}
	_, err = conn.Exec(ctx, "DROP ROLE IF EXISTS "+name)
	return err
}

func (d *Database) disown(ctx context.Context, name, database string) error {
	c := d.pool.Config().ConnConfig.Copy()
	d.master.apply(c, database)
	if err := d.master.login(ctx, c); err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, c)
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

// sqlFailure says what was being done, without the statement: it may hold a password.
func sqlFailure(what string, err error) error {
	if err == nil {
		return nil
	}
	kind := fault.Transient
	switch c := code(err); {
	case c == "":
		return fmt.Errorf("%s: %w", what, err)
	case c == "28P01", c == "28000", c == "42501": // wrong password, not let in, not allowed
		kind = fault.Invalid
	case c == "53300", c == "55006", c == "55P03", c[:2] == "08", c[:2] == "57": // full, in use, connections, shut down
	case c == "23505", c == "42710", c == "42P04": // another made it at the same time
		kind = fault.Conflict
	}
	return fault.Errorf(kind, "%s: %w", what, err)
}
