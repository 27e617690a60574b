package tenantdb

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// Config says where a Postgres is, and how its programs are run.
type Config struct {
	Master Master
	// Command returns pg_dump or pg_restore, of the server's version or a later
	// one; nil: as on the PATH.
	Command func(ctx context.Context, name string, args ...string) *exec.Cmd
	// Strays finds a program whose caller was killed; nil: none outlives its caller,
	// as in a container.
	Strays Strays
}

// Strays are programs that outlive who started them.
type Strays interface {
	// Mark returns what a program has in its environment, to be found by its name.
	Mark(name string) string
	// EndStrays ends those of the name.
	EndStrays(ctx context.Context, name string) error
}

// Databases are the tenants' databases in one Postgres.
type Databases struct {
	c    Config
	pool *pgxpool.Pool // of the master, in its own database
}

// Open returns the databases of a Postgres. It does not connect yet.
func Open(ctx context.Context, c Config) (*Databases, error) {
	config, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	config.MaxConns, config.MaxConnIdleTime, config.MaxConnLifetime = 8, time.Minute, time.Hour
	c.Master.apply(config.ConnConfig, c.Master.Database)
	config.BeforeConnect = c.Master.login
	if c.Command == nil {
		c.Command = onPath
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	return &Databases{c: c, pool: pool}, nil
}

// Close ends the connections.
func (d *Databases) Close() { d.pool.Close() }

// URL returns how a tenant connects.
func (d *Databases) URL(tenant, password string) string {
	return d.c.Master.url(Role(tenant), password)
}

// Role returns the name of a tenant's role, and of its database.
func Role(tenant string) string { return "t_" + tenant }

func mark(tenant string) string { return "gitopsd:" + tenant }

// quoted returns a name as it stands in a statement.
func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// exclusively does something to a tenant on one connection, while no other does,
// in any process. The lock is the server's and goes with the connection: a
// statement that goes on after its caller was killed keeps the next caller
// waiting until it ends.
func (d *Databases) exclusively(ctx context.Context, name string, do func(*pgx.Conn) error) error {
	if len(name) > tenant.MaxName || !nameForm.MatchString(name) {
		return fault.Errorf(fault.Invalid, "tenant %q: want a DNS label of at most %d bytes", name, tenant.MaxName)
	}
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return failure("connect to Postgres", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(hashtextextended($1, 0))", mark(name)); err != nil {
		return failure("wait for another change of "+Role(name), err)
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

// run executes statements, each on its own.
func run(ctx context.Context, conn *pgx.Conn, statements ...string) error {
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

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
		LEFT JOIN pg_database d ON d.datname = n.name`, Role(tenant)).
		Scan(&st.role, &st.comment, &st.database, &st.owner)
	return st, failure("look at database "+Role(tenant), err)
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

// own returns what there is of a tenant, all of which must be its own.
func own(ctx context.Context, q queries, tenant string) (standing, error) {
	st, err := look(ctx, q, tenant)
	if err == nil {
		err = st.check(tenant)
	}
	return st, err
}

// Has reports whether the tenant's role, and its database, are there.
func (d *Databases) Has(ctx context.Context, tenant string) (role, database bool, err error) {
	st, err := look(ctx, d.pool, tenant)
	return st.role, st.database, err
}

// Version returns the server's version, such as 15.8.
func (d *Databases) Version(ctx context.Context) (string, error) {
	var v string
	err := d.pool.QueryRow(ctx, "SELECT split_part(current_setting('server_version'), ' ', 1)").Scan(&v)
	return v, failure("ask for the version of Postgres", err)
}

// Ensure makes the tenant's role, with the password (letters and digits) and at
// most so many connections, and its database.
func (d *Databases) Ensure(ctx context.Context, tenant, password string, connections int) error {
	return d.exclusively(ctx, tenant, func(conn *pgx.Conn) error {
		st, err := own(ctx, conn, tenant)
		if err != nil {
			return err
		}
		if err := d.ensureRole(ctx, conn, tenant, password, connections, st.role); err != nil {
			return failure("make role "+Role(tenant), err)
		}
		if !st.database {
			return failure("make database "+Role(tenant), create(ctx, conn, tenant, Role(tenant), Role(tenant), ""))
		}
		return failure("close database "+Role(tenant), closed(ctx, conn, tenant, Role(tenant)))
	})
}

// create makes a database that is entered by its owner only: of nothing, or of
// another one that nobody is connected to.
func create(ctx context.Context, conn *pgx.Conn, tenant, name, owner, template string) error {
	statement := "CREATE DATABASE " + quoted(name) + " OWNER " + quoted(owner) + " ALLOW_CONNECTIONS false"
	if template != "" {
		statement += " TEMPLATE " + quoted(template)
	}
	if err := run(ctx, conn, statement); err != nil { // not in a transaction
		return err
	}
	return closed(ctx, conn, tenant, name)
}

// closed has a database entered by its owner only, and marked as of the tenant.
func closed(ctx context.Context, conn *pgx.Conn, tenant, name string) error {
	return run(ctx, conn,
		"REVOKE ALL ON DATABASE "+quoted(name)+" FROM PUBLIC",
		"COMMENT ON DATABASE "+quoted(name)+" IS '"+mark(tenant)+"'",
		"ALTER DATABASE "+quoted(name)+" ALLOW_CONNECTIONS true")
}

// ensureRole makes or changes the role, in one transaction with its mark.
func (d *Databases) ensureRole(ctx context.Context, conn *pgx.Conn, tenant, password string, connections int, exists bool) error {
	name := quoted(Role(tenant))
	verb := "CREATE"
	if exists {
		verb = "ALTER"
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		return run(ctx, tx.Conn(),
			fmt.Sprintf("%s ROLE %s LOGIN CONNECTION LIMIT %d PASSWORD '%s'", verb, name, connections, password),
			"COMMENT ON ROLE "+name+" IS '"+mark(tenant)+"'",
			d.join(tenant, d.c.Master.User)) // to make a database for it, and to drop that
	})
}

// join has a role belong to the tenant's.
func (d *Databases) join(tenant, member string) string {
	return "GRANT " + quoted(Role(tenant)) + " TO " + quoted(member)
}
