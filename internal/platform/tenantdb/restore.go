package tenantdb

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

// Leftover is what a restore or a dump that did not come to its end has left.
type Leftover struct {
	Fresh  bool // a database that was being filled
	Former bool // the one that was there before: a restored one has its place
	Copy   bool // one that was being dumped
	Closed bool // the tenant's database takes no connections
}

// Leftover looks what a restore or a dump of the tenant has left.
func (d *Databases) Leftover(ctx context.Context, tenant string) (Leftover, error) {
	left, _, err := d.leftover(ctx, d.pool, tenant)
	return left, err
}

// leftover also reports whether the tenant's database is there. A database of
// a restore's name that is not the tenant's is a fault.Conflict.
func (d *Databases) leftover(ctx context.Context, q queries, tenant string) (left Leftover, database bool, err error) {
	var foreign string
	err = q.QueryRow(ctx, `SELECT coalesce(bool_or(datname = $1), false), coalesce(bool_or(datname = $2), false),
			coalesce(bool_or(datname = $4), false),
			coalesce(bool_or(datname = $3 AND NOT datallowconn), false), coalesce(bool_or(datname = $3), false),
			coalesce(min(datname) FILTER (WHERE datname <> $3 AND pg_get_userbyid(datdba) <> CASE datname WHEN $4 THEN $5 ELSE $3 END), '')
		FROM pg_database WHERE datname IN ($1, $2, $3, $4)`, fresh(tenant), former(tenant), Role(tenant), copied(tenant), d.c.Master.User).
		Scan(&left.Fresh, &left.Former, &left.Copy, &left.Closed, &database, &foreign)
	switch {
	case err != nil:
		return left, database, failure("look at database "+Role(tenant), err)
	case foreign != "":
		return left, database, fault.Errorf(fault.Conflict, "database %s exists and does not belong to %s", foreign, Role(tenant)).
			WithHint("remove or rename it")
	}
	return left, database, nil
}

// Restore fills a fresh database beside the tenant's with what Dump wrote. All of
// it is done by the tenant's own role, over a connection of its own: what a dump
// runs (functions in its constraints) gets no power that the tenant has not. The
// password (letters and digits) is the role's from then on.
func (d *Databases) Restore(ctx context.Context, tenant, password string, dump *os.File) error {
	err := d.exclusively(ctx, tenant, func(conn *pgx.Conn) error {
		return d.makeFresh(ctx, conn, tenant, password)
	})
	if err != nil {
		return failure("make database "+fresh(tenant), err)
	}
	if err := d.fill(ctx, tenant, password, dump); err != nil {
		return err
	}
	own := d.c.Master
	own.User, own.Password = Role(tenant), func(context.Context) (string, error) { return password, nil }
	conn, err := own.Connect(ctx, fresh(tenant))
	if err != nil {
		return failure("finish database "+fresh(tenant), err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return failure("finish database "+fresh(tenant), force(ctx, conn))
}

func (d *Databases) makeFresh(ctx context.Context, conn *pgx.Conn, tenant, password string) error {
	st, err := own(ctx, conn, tenant)
	if err != nil {
		return err
	}
	if !st.role {
		return fault.Errorf(fault.NotFound, "role %s is not there", Role(tenant))
	}
	if err := d.dropFresh(ctx, conn, tenant); err != nil {
		return err
	}
	// The tenant may have changed the password.
	if err := run(ctx, conn, "ALTER ROLE "+quoted(Role(tenant))+" LOGIN PASSWORD '"+password+"'"); err != nil {
		return err
	}
	return create(ctx, conn, tenant, fresh(tenant), Role(tenant), "")
}

// dropFresh drops what a restore before has left, and ends whoever fills it.
func (d *Databases) dropFresh(ctx context.Context, conn *pgx.Conn, tenant string) error {
	left, _, err := d.leftover(ctx, conn, tenant)
	if err != nil || !left.Fresh {
		return err
	}
	if d.c.Strays != nil {
		if err := d.c.Strays.EndStrays(ctx, filler(tenant)); err != nil {
			return err
		}
	}
	return drop(ctx, conn, fresh(tenant))
}

// filler is the name of the process that fills a tenant's fresh database.
func filler(tenant string) string { return "pg-restore." + tenant }

// fill runs pg_restore. Owners and privileges are left out: everything is to
// belong to the tenant, and roles that were granted something may be gone.
func (d *Databases) fill(ctx context.Context, tenant, password string, dump *os.File) error {
	cmd := d.c.Command(ctx, "pg_restore", "--no-password", "--no-owner", "--no-privileges",
		"--exit-on-error", "--single-transaction", "--dbname="+fresh(tenant))
	cmd.Env = append(cmd.Env, d.c.Master.environment(Role(tenant), password)...)
	if d.c.Strays != nil {
		cmd.Env = append(cmd.Env, d.c.Strays.Mark(filler(tenant)))
	}
	cmd.Stdin = dump
	var complaint strings.Builder
	cmd.Stderr = &complaint
	err := cmd.Run()
	if err == nil {
		return nil
	}
	what := "pg_restore into " + fresh(tenant)
	if ctx.Err() == nil && broken(err, complaint.String()) {
		return fault.Errorf(fault.Stalled, "%s: %w", what, err).WithDetail(strings.TrimSpace(complaint.String()))
	}
	return programFailure(ctx, what, err, complaint.String())
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
func (d *Databases) Swap(ctx context.Context, tenant string) error {
	err := d.exclusively(ctx, tenant, func(conn *pgx.Conn) error {
		left, database, err := d.leftover(ctx, conn, tenant)
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
	return failure(fmt.Sprintf("put database %s in place", fresh(tenant)), err)
}

// Settle ends what a restore or a dump has left. If a restore put a database in
// place, done says whether that one stays; else the one that was there before
// takes its place again.
func (d *Databases) Settle(ctx context.Context, tenant string, done func() (bool, error)) error {
	err := d.exclusively(ctx, tenant, func(conn *pgx.Conn) error {
		left, database, err := d.leftover(ctx, conn, tenant)
		if err != nil {
			return err
		}
		if left.Former {
			stays, err := done()
			if err != nil {
				return err
			}
			if !stays || !database {
				err = d.undo(ctx, conn, tenant, database)
			} else {
				err = drop(ctx, conn, former(tenant))
			}
			if err != nil {
				return err
			}
		}
		if left.Closed {
			if err := closed(ctx, conn, tenant, Role(tenant)); err != nil { // it may have been made only just
				return err
			}
		}
		if left.Copy {
			if err := drop(ctx, conn, copied(tenant)); err != nil {
				return err
			}
		}
		return d.dropFresh(ctx, conn, tenant)
	})
	return failure("settle database "+Role(tenant), err)
}

// undo gives the former database its place again.
func (d *Databases) undo(ctx context.Context, conn *pgx.Conn, tenant string, database bool) error {
	back := []step{{former(tenant), Role(tenant)}}
	if database {
		if err := d.dropFresh(ctx, conn, tenant); err != nil {
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
	if err := run(ctx, conn, "ALTER DATABASE "+quoted(database)+" ALLOW_CONNECTIONS false"); err != nil {
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
			if err := run(ctx, tx.Conn(), "ALTER DATABASE "+quoted(st.from)+" RENAME TO "+quoted(st.to)); err != nil {
				return err
			}
		}
		return run(ctx, tx.Conn(), "ALTER DATABASE "+quoted(Role(tenant))+" ALLOW_CONNECTIONS true")
	})
}

// Tables returns of how many tables a dump holds the rows.
func (d *Databases) Tables(ctx context.Context, dump *os.File) (int, error) {
	cmd := d.c.Command(ctx, "pg_restore", "--list")
	cmd.Stdin = dump
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("pg_restore --list: %w", err)
	}
	return strings.Count(string(out), " TABLE DATA "), nil
}

// onPath returns a program of the PATH's, with nothing of ours in its environment.
func onPath(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LANG=C", "LC_ALL=C", "TZ=UTC", "HOME=/nonexistent"}
	return cmd
}
