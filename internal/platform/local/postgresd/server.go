package postgresd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/durable"
	"github.com/gitopsd/gitopsd/internal/platform/local/process"
	"github.com/gitopsd/gitopsd/internal/platform/tenantdb"
)

// Master is the role that makes tenants' roles and databases, and the name of
// the database it owns: the ledger's.
const Master = "gitopsd"

// Config configures a server.
type Config struct {
	Dir            string        // of its data; its parents must be traversable for Owner
	Owner          durable.Owner // the user it runs as, never root; zero for the own one
	SuperPassword  string        // letters and digits, as is
	MasterPassword string        // this one
	Runner         *process.Runner
	Logger         *slog.Logger
	Progress       func(string)
}

// Server is a running Postgres.
type Server struct {
	c         Config
	bin       string
	ports     process.Ports
	databases *tenantdb.Databases
}

// Check reports what would keep Open from working that only the user can
// change: a missing installation.
func Check(dir string) error {
	_, err := find(dir + "/data")
	return err
}

// Open has the server running and set up.
func Open(ctx context.Context, c Config) (*Server, error) {
	s := &Server{c: c}
	if err := os.MkdirAll(c.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	var err error
	if s.bin, err = find(s.data()); err != nil {
		return nil, err
	}
	if err := s.create(ctx); err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	status, err := c.Runner.Ensure(ctx, s.service())
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	s.ports = status.Ports
	if err := s.setUp(ctx); err != nil {
		return nil, fmt.Errorf("set up postgres: %w", err)
	}
	return s, s.openDatabases(ctx)
}

// Close ends the connections to the server, which goes on running.
func (s *Server) Close() { s.databases.Close() }

// LedgerURL returns how the control plane connects to its own database.
func (s *Server) LedgerURL() string { return s.url(Master, s.c.MasterPassword, Master) }

// Databases returns the tenants' databases.
func (s *Server) Databases() *tenantdb.Databases { return s.databases }

func (s *Server) openDatabases(ctx context.Context) (err error) {
	s.databases, err = tenantdb.Open(ctx, tenantdb.Config{
		Master: tenantdb.Master{
			Host: "127.0.0.1", Port: s.ports["postgres"], User: Master, Database: Master,
			Password: func(context.Context) (string, error) { return s.c.MasterPassword, nil },
		},
		Command: s.command, Strays: s.c.Runner,
	})
	return err
}

func (s *Server) url(role, password, database string) string {
	user := url.User(role)
	if password != "" {
		user = url.UserPassword(role, password)
	}
	u := url.URL{
		Scheme: "postgres", User: user,
		Host: s.ports.Addr("postgres"), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// setUp makes the master role and the ledger's database, and closes the
// server's own databases to everyone else.
func (s *Server) setUp(ctx context.Context) error {
	if s.sealed(ctx) {
		return nil
	}
	super, err := s.awaitSuperuser(ctx)
	if err != nil {
		return err
	}
	defer super.Close(context.WithoutCancel(ctx))
	for _, step := range []struct{ unless, do string }{
		// A statement of a setUp that was killed ends before this one begins.
		{``, `SELECT pg_advisory_lock(0)`},
		{
			`SELECT FROM pg_roles WHERE rolname = '` + Master + `'`,
			`CREATE ROLE ` + Master + ` LOGIN CREATEDB CREATEROLE`,
		},
		{``, `ALTER ROLE ` + Master + ` PASSWORD '` + s.c.MasterPassword + `'`},
		{
			`SELECT FROM pg_database WHERE datname = '` + Master + `'`,
			`CREATE DATABASE ` + Master + ` OWNER ` + Master,
		},
		{
			`SELECT FROM pg_roles WHERE rolname = '` + tenantdb.Reader + `'`,
			`CREATE ROLE ` + tenantdb.Reader + ` NOLOGIN BYPASSRLS`,
		},
		{``, `GRANT pg_read_all_data TO ` + tenantdb.Reader},
		{``, `GRANT ` + tenantdb.Reader + ` TO ` + Master + ` WITH ADMIN OPTION`},
		{``, `REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC`},
		{``, `REVOKE ALL ON DATABASE ` + Master + ` FROM PUBLIC`}, // last: it is what sealed looks at
	} {
		if step.unless != "" {
			tag, err := super.Exec(ctx, step.unless)
			if err != nil {
				return err
			}
			if tag.RowsAffected() > 0 {
				continue
			}
		}
		if _, err := super.Exec(ctx, step.do); err != nil {
			return err
		}
	}
	if !s.sealed(ctx) {
		return fault.Errorf(fault.Stalled, "the role %s cannot do its work", Master)
	}
	return nil
}

// sealed reports whether setUp has been through.
func (s *Server) sealed(ctx context.Context) bool {
	master, err := pgx.Connect(ctx, s.LedgerURL())
	if err != nil {
		return false
	}
	defer master.Close(context.WithoutCancel(ctx))
	var open int
	var reads bool
	err = master.QueryRow(ctx, `SELECT count(*), EXISTS (SELECT FROM pg_roles
			WHERE rolname = '`+tenantdb.Reader+`' AND rolbypassrls AND pg_has_role(oid, 'MEMBER') AND pg_has_role(oid, 'pg_read_all_data', 'MEMBER'))
		FROM pg_database WHERE datname IN ('postgres', 'template1', '`+Master+`')
		AND has_database_privilege('pg_monitor', datname, 'CONNECT')`).Scan(&open, &reads) // as good as anyone: PUBLIC's privileges alone
	return err == nil && open == 0 && reads
}

// awaitSuperuser connects as soon as the server answers.
func (s *Server) awaitSuperuser(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second) // crash recovery takes its time
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.url("postgres", s.c.SuperPassword, "postgres"))
		if err == nil {
			return conn, nil
		}
		if refused := new(pgconn.PgError); errors.As(err, &refused) && refused.Code == "28P01" { // invalid_password
			return nil, fault.Errorf(fault.Invalid, "the superuser's password does not fit the data in %s", s.data())
		}
		if err := s.c.Runner.Ended("postgres"); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fault.Errorf(fault.Stalled, "not ready in time: %w", err).
				WithHint("see %s", s.c.Runner.LogFile("postgres"))
		case <-tick.C:
		}
	}
}
