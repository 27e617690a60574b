package postgresd

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
)

// unset are settings that come before what a tenant set for its database and
// role: with these it could keep everybody from connecting, itself as well.
func unset() map[string]string {
	return map[string]string{
		"local_preload_libraries": "", "tcp_user_timeout": "0", "default_transaction_read_only": "off",
		"statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0",
	}
}

// options are the same for programs, as PGOPTIONS.
func options() string {
	var words []string
	for name, value := range unset() {
		words = append(words, "-c "+name+"="+value)
	}
	return "PGOPTIONS=" + strings.Join(words, " ")
}

// Dump writes the tenant's database to path, in pg_dump's custom format. The
// file is the caller's alone. It has all the data, whatever the tenant may not
// read or connect to itself: what cannot be saved could not be taken away either.
func (s *Server) Dump(ctx context.Context, tenant, path string) error {
	if err := s.exclusively(ctx, tenant, func(conn *pgx.Conn) error { return s.reopen(ctx, conn, tenant) }); err != nil {
		return fmt.Errorf("prepare the dump of %s: %w", Role(tenant), err)
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := s.command(ctx, "pg_dump", "--format=custom", "--no-password", "--lock-wait-timeout=60s",
		"--role="+reader, "--dbname="+s.url(Master, "", Role(tenant)))
	cmd.Env = append(cmd.Env, "PGPASSWORD="+s.c.MasterPassword, options()) // arguments are seen by everyone
	cmd.Stdout = out
	var complaint strings.Builder
	cmd.Stderr = &complaint
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("pg_dump of %s: %w: %s", Role(tenant), err, strings.TrimSpace(complaint.String()))
	}
	return out.Sync()
}

// reopen lets the master into the tenant's database and the reader to its large
// objects, to which no right extends that all of a role's have.
func (s *Server) reopen(ctx context.Context, conn *pgx.Conn, tenant string) error {
	name := pgx.Identifier{Role(tenant)}.Sanitize()
	var closed bool
	err := conn.QueryRow(ctx, `SELECT datconnlimit <> -1 OR NOT datallowconn OR NOT has_database_privilege(datname, 'CONNECT')
		FROM pg_database WHERE datname = $1`, Role(tenant)).Scan(&closed)
	if err != nil {
		return err
	}
	statements := []string{"GRANT " + name + " TO " + reader}
	if closed {
		statements = append(statements, "GRANT CONNECT ON DATABASE "+name+" TO "+name,
			"ALTER DATABASE "+name+" ALLOW_CONNECTIONS true CONNECTION LIMIT -1")
	}
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return s.reopenObjects(ctx, tenant)
}

// reopenObjects gives the tenant back the large objects that it may not read.
func (s *Server) reopenObjects(ctx context.Context, tenant string) error {
	config, err := pgx.ParseConfig(s.url(Master, s.c.MasterPassword, Role(tenant)))
	if err != nil {
		return err
	}
	for name, value := range unset() {
		config.RuntimeParams[name] = value
	}
	config.RuntimeParams["search_path"] = "pg_catalog" // nothing of the tenant's is called
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	name := pgx.Identifier{Role(tenant)}.Sanitize()
	_, err = conn.Exec(ctx, `DO $do$ DECLARE o oid; BEGIN
		FOR o IN SELECT m.oid FROM pg_largeobject_metadata m WHERE m.lomacl IS NOT NULL AND NOT EXISTS (
			SELECT FROM aclexplode(m.lomacl) a WHERE a.grantee = m.lomowner AND a.privilege_type = 'SELECT')
		LOOP
			EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO `+name+`', o);
		END LOOP;
	END $do$`)
	return err
}
