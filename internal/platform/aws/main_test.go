package aws_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/postgres/postgrestest"
)

// server is a Postgres with a role rds, which may make roles and databases and
// is no superuser.
var server *postgrestest.Server

func TestMain(m *testing.M) {
	beProcess()
	if place := os.Getenv(restoreEnv); place != "" {
		fmt.Fprintln(os.Stderr, restoreOften(context.Background(), place))
		os.Exit(1)
	}
	postgrestest.Main(m, func(s *postgrestest.Server) {
		server = s
		if err := likeRDS(s); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	})
}

func likeRDS(s *postgrestest.Server) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, q := range []string{
		"CREATE ROLE rds LOGIN CREATEDB CREATEROLE",
		"GRANT pg_monitor, pg_signal_backend TO rds",
		"ALTER DATABASE postgres OWNER TO rds",
		"ALTER DATABASE template1 OWNER TO rds",
		"CREATE DATABASE ledger OWNER rds",
	} {
		if _, err := conn.Exec(ctx, q); err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
	}
	return nil
}

func socketOf(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get("host")
}
