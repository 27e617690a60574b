package postgresd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// A restore fills a database beside the tenant's (fresh), then the two change
// places, and what was there before (former) stays until all of the restore is
// done. No tenant's name has a dot, so neither is another tenant's.
func fresh(tenant string) string  { return Role(tenant) + ".new" }
func former(tenant string) string { return Role(tenant) + ".old" }

// Leftover is what a restore that did not come to its end has left.
type Leftover struct {
	Fresh  bool // a database that was being filled
	Former bool // the one that was there before: a restored one has its place
	Closed bool // the tenant's database takes no connections
}

// Leftover looks what a restore of the tenant has left.
func (s *Server) Leftover(ctx context.Context, tenant string) (Leftover, error) {
	left, _, err := leftover(ctx, s.master, tenant)
	return left, err
}

// leftover also reports whether the tenant's database is there. A database of
// a restore's name that is not the tenant's is a fault.Conflict.
func leftover(ctx context.Context, q queries, tenant string) (left Leftover, database bool, err error) {
	var foreign string
	err = q.QueryRow(ctx, `SELECT coalesce(bool_or(datname = $1), false), coalesce(bool_or(datname = $2), false),
			coalesce(bool_or(datname = $3 AND NOT datallowconn), false), coalesce(bool_or(datname = $3), false),
			coalesce(min(datname) FILTER (WHERE datname <> $3 AND pg_get_userbyid(datdba) <> $3), '')
		FROM pg_database WHERE datname IN ($1, $2, $3)`, fresh(tenant), former(tenant), Role(tenant)).
		Scan(&left.Fresh, &left.Former, &left.Closed, &database, &foreign)
	switch {
	case err != nil:
		return left, database, fmt.Errorf("look at database %s: %w", Role(tenant), err)
	case foreign != "":
		return left, database, fault.Errorf(fault.Conflict, "database %s exists and does not belong to %s", foreign, Role(tenant)).
			WithHint("remove or rename it")
	}
	return left, database, nil
}

// Restore fills a fresh database beside the tenant's with what pg_dump wrote.
// All of it is done by the tenant's own role, over a connection of its own: what
// a dump runs (functions in its constraints) gets no power that the tenant has
// not. The password (letters and digits) is the role's from then on.
func (s *Server) Restore(ctx context.Context, tenant, password string, dump *os.File) error {
	err := s.exclusively(ctx, tenant, func(conn *pgx.Conn) error {
		return s.makeFresh(ctx, conn, tenant, password)
	})
	if err != nil {
		return fmt.Errorf("make database %s: %w", fresh(tenant), err)
	}
	return s.fill(ctx, tenant, password, dump)
}

func (s *Server) makeFresh(ctx context.Context, conn *pgx.Conn, tenant, password string) error {
	st, err := look(ctx, conn, tenant)
	if err != nil {
		return err
	}
	if err := st.check(tenant); err != nil {
		return err
	}
	if !st.role {
		return fault.Errorf(fault.NotFound, "role %s is not there", Role(tenant))
	}
	if err := s.dropFresh(ctx, conn, tenant); err != nil {
		return err
	}
	role, name := pgx.Identifier{Role(tenant)}.Sanitize(), pgx.Identifier{fresh(tenant)}.Sanitize()
	for _, statement := range []string{
		"ALTER ROLE " + role + " LOGIN PASSWORD '" + password + "'", // the tenant may have changed it
		"CREATE DATABASE " + name + " OWNER " + role,
		"REVOKE ALL ON DATABASE " + name + " FROM PUBLIC",
		"COMMENT ON DATABASE " + name + " IS '" + mark(tenant) + "'",
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// dropFresh drops what a restore before has left, and ends whoever fills it.
func (s *Server) dropFresh(ctx context.Context, conn *pgx.Conn, tenant string) error {
	left, _, err := leftover(ctx, conn, tenant)
	if err != nil || !left.Fresh {
		return err
	}
	if err := s.c.Runner.EndStrays(ctx, filler(tenant)); err != nil { // it goes on when its caller is killed
		return err
	}
	return drop(ctx, conn, fresh(tenant))
}

// filler is the name of the process that fills a tenant's fresh database.
func filler(tenant string) string { return "pg-restore." + tenant }

func drop(ctx context.Context, conn *pgx.Conn, database string) error {
	if _, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{database}.Sanitize()+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop database %s: %w", database, err)
	}
	return nil
}

// fill runs pg_restore. Owners and privileges are left out: everything is to
// belong to the tenant, and roles that were granted something may be gone.
func (s *Server) fill(ctx context.Context, tenant, password string, dump *os.File) error {
	cmd := s.command(ctx, "pg_restore", "--no-password", "--no-owner", "--no-privileges",
		"--exit-on-error", "--single-transaction", "--dbname="+s.url(Role(tenant), "", fresh(tenant)))
	cmd.Env = append(cmd.Env, "PGPASSWORD="+password, s.c.Runner.Mark(filler(tenant)),
		options()) // before what the tenant set for its role
	cmd.Stdin = dump
	var complaint strings.Builder
	cmd.Stderr = &complaint
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("pg_restore into %s: %w", fresh(tenant), ctx.Err())
	}
	kind, said := fault.Transient, strings.TrimSpace(complaint.String())
	if broken(err, said) {
		kind = fault.Stalled
	}
	return fault.Errorf(kind, "pg_restore into %s: %w", fresh(tenant), err).WithDetail(said)
}

// broken reports whether pg_restore failed for what the dump holds, rather than
// for want of a server that answers.
func broken(err error, said string) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() < 0 {
		return false
	}
	for _, passing := range []string{"connection to server", "server closed the connection", "terminating connection", "no connection"} {
		if strings.Contains(said, passing) {
			return false
		}
	}
	return true
}

// Swap puts the database that Restore filled in the tenant's database's place,
// in one transaction, whoever is connected. Settle ends what it begins.
func (s *Server) Swap(ctx context.Context, tenant string) error {
	err := s.exclusively(ctx, tenant, func(conn *pgx.Conn) error {
		left, database, err := leftover(ctx, conn, tenant)
		switch {
		case err != nil:
			return err
		case left.Former || !left.Fresh:
			return fault.Errorf(fault.Stalled, "there is no database to put in place, or one before it is not settled")
		case !database:
			return rename(ctx, conn, tenant, step{fresh(tenant), Role(tenant)})
		}
		if err := empty(ctx, conn, Role(tenant)); err != nil {
			return err
		}
		return rename(ctx, conn, tenant, step{Role(tenant), former(tenant)}, step{fresh(tenant), Role(tenant)})
	})
	if err != nil {
		return fmt.Errorf("put database %s in place: %w", fresh(tenant), err)
	}
	return nil
}

// Settle ends what a restore has left. If it put a database in place, done says
// whether that one stays; else the one that was there before takes its place again.
func (s *Server) Settle(ctx context.Context, tenant string, done func() (bool, error)) error {
	err := s.exclusively(ctx, tenant, func(conn *pgx.Conn) error {
		left, database, err := leftover(ctx, conn, tenant)
		if err != nil {
			return err
		}
		if left.Former {
			stays, err := done()
			if err != nil {
				return err
			}
			if !stays || !database {
				err = s.undo(ctx, conn, tenant, database)
			} else {
				err = drop(ctx, conn, former(tenant))
			}
			if err != nil {
				return err
			}
		}
		if left.Closed {
			if _, err := conn.Exec(ctx, "ALTER DATABASE "+pgx.Identifier{Role(tenant)}.Sanitize()+" ALLOW_CONNECTIONS true"); err != nil {
				return err
			}
		}
		return s.dropFresh(ctx, conn, tenant)
	})
	if err != nil {
		return fmt.Errorf("settle database %s: %w", Role(tenant), err)
	}
	return nil
}

// undo gives the former database its place again.
func (s *Server) undo(ctx context.Context, conn *pgx.Conn, tenant string, database bool) error {
	back := []step{{former(tenant), Role(tenant)}}
	if database {
		if err := s.dropFresh(ctx, conn, tenant); err != nil {
			return err
		}
		if err := empty(ctx, conn, Role(tenant)); err != nil {
			return err
		}
		back = append([]step{{Role(tenant), fresh(tenant)}}, back...)
	}
	return rename(ctx, conn, tenant, back...)
}

// empty has nobody connected to a database, for good.
func empty(ctx context.Context, conn *pgx.Conn, database string) error {
	if _, err := conn.Exec(ctx, "ALTER DATABASE "+pgx.Identifier{database}.Sanitize()+" ALLOW_CONNECTIONS false"); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = $1 AND pg_has_role(usesysid, 'MEMBER')`, database)
	return err
}

// step is one database's new name.
type step struct{ from, to string }

// rename gives databases new names in one transaction, after which the one with
// the tenant's name takes connections.
func rename(ctx context.Context, conn *pgx.Conn, tenant string, steps ...step) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, st := range steps {
			from, to := pgx.Identifier{st.from}.Sanitize(), pgx.Identifier{st.to}.Sanitize()
			if _, err := tx.Exec(ctx, "ALTER DATABASE "+from+" RENAME TO "+to); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, "ALTER DATABASE "+pgx.Identifier{Role(tenant)}.Sanitize()+" ALLOW_CONNECTIONS true")
		return err
	})
}

// Tables returns of how many tables a dump holds the rows.
func (s *Server) Tables(ctx context.Context, dump *os.File) (int, error) {
	cmd := s.command(ctx, "pg_restore", "--list")
	cmd.Stdin = dump
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("pg_restore --list: %w", err)
	}
	return strings.Count(string(out), " TABLE DATA "), nil
}

// Version returns the server's version, such as 15.8.
func (s *Server) Version(ctx context.Context) (string, error) {
	var v string
	err := s.master.QueryRow(ctx, "SHOW server_version").Scan(&v)
	v, _, _ = strings.Cut(v, " ")
	return v, err
}
