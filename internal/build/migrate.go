package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gitopsd/gitopsd/internal/build/design"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/release"
)

// Migrate implements pipeline.Builder. Each migration has a transaction of its
// own: those before one that fails stay, and are not run again. A database that
// is ahead of the release, as after a revert, is left as it is.
func (b *Builder) Migrate(ctx context.Context, in pipeline.Build, digest, databaseURL string) (pipeline.Migrated, error) {
	volume := release.Open(in.Volume)
	m, err := volume.Manifest(digest)
	if err != nil {
		return pipeline.Migrated{}, fmt.Errorf("migrate %s: %w", in.Tenant.Name, err)
	}
	seed := in.Tenant.Database.Seed
	if len(m.Schema) == 0 && len(m.Migrations) == 0 && (seed == "" || databaseURL == "") {
		return pipeline.Migrated{}, nil
	}
	if databaseURL == "" {
		return pipeline.Migrated{}, fault.Errorf(fault.Invalid, "migrate %s: the app needs a database, and the tenant has none", in.Tenant.Name).
			WithHint("set spec.database.enabled: true")
	}
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		// The error may quote the password.
		return pipeline.Migrated{}, fault.Errorf(fault.Stalled, "migrate %s: the database's URL cannot be read", in.Tenant.Name)
	}
	// A lock that an open transaction of the app holds must not stop everything
	// behind it: the migration gives up, and is tried again.
	config.RuntimeParams["lock_timeout"] = "5s"
	config.RuntimeParams["application_name"] = "gitopsd migrate"
	config.ConnectTimeout = 10 * time.Second

	var applied []string
	switch {
	case len(m.Schema) > 0:
		applied, err = migrateDesign(ctx, config, m.Schema)
	case len(m.Migrations) > 0:
		applied, err = migrateFiles(ctx, config, filepath.Join(volume.Dir(), "releases", digest, "migrations"), m.Migrations)
	}
	if err == nil && seed != "" {
		var seeded bool
		if seeded, err = b.seed(ctx, config, in.Commit, seed); seeded {
			applied = append(applied, seed)
		}
	}
	if err != nil {
		return pipeline.Migrated{}, fmt.Errorf("migrate %s: %w", in.Tenant.Name, err)
	}
	return pipeline.Migrated{Applied: applied}, nil
}

func migrateDesign(ctx context.Context, config *pgx.ConnConfig, schema json.RawMessage) ([]string, error) {
	var tables []design.Table
	if err := json.Unmarshal(schema, &tables); err != nil {
		return nil, fault.Errorf(fault.Stalled, "the release's schema cannot be read: %w", err)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, databaseError(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	applied, err := design.Migrate(ctx, conn, tables)
	if err != nil {
		return nil, databaseError(err)
	}
	return applied, nil
}

// databaseError gives an error of Postgres its kind. What the statement itself
// brought about is for the caller to know: here it is Invalid.
func databaseError(err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		var connect *pgconn.ConnectError
		if errors.As(err, &connect) {
			return fault.Errorf(fault.Transient, "the database cannot be reached: %w", err)
		}
		return err // cancelled, or the connection broke: Stalled or Transient
	}
	switch {
	case pg.Code == "55P03": // lock_not_available
		return fault.Errorf(fault.Transient, "a lock that is needed stayed with another transaction: %w", err)
	case pg.Code == "40001", pg.Code == "40P01", pg.Code == "55006": // serialization, deadlock, in use
		return fault.Errorf(fault.Transient, "%w", err)
	case strings.HasPrefix(pg.Code, "08"), strings.HasPrefix(pg.Code, "53"), strings.HasPrefix(pg.Code, "57P"),
		strings.HasPrefix(pg.Code, "28"), pg.Code == "3D000": // connection, resources, shutdown, authorization, no database
		return fault.Errorf(fault.Transient, "the database does not take us: %w", err)
	}
	return fault.Errorf(fault.Invalid, "%w", err).WithDetail(describe(pg))
}

// describe returns all that Postgres says of an error.
func describe(pg *pgconn.PgError) string {
	lines := []string{fmt.Sprintf("%s: %s (SQLSTATE %s)", pg.Severity, pg.Message, pg.Code)}
	for _, part := range []struct{ name, text string }{
		{"detail", pg.Detail}, {"hint", pg.Hint}, {"where", pg.Where}, {"table", pg.TableName}, {"constraint", pg.ConstraintName},
	} {
		if part.text != "" {
			lines = append(lines, part.name+": "+part.text)
		}
	}
	return strings.Join(lines, "\n")
}
