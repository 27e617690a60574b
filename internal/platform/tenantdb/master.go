package tenantdb

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Master says how the role that makes tenants' roles and databases connects.
type Master struct {
	Host     string // or the directory of a socket
	Port     int    // 0: 5432
	User     string
	Database string // any that is there and that tenants may not enter
	// Password returns what to log in with now: it may live for some minutes only.
	Password func(context.Context) (string, error)
	TLS      *tls.Config // nil: none, as on one machine
	// Roots is a file of the certificates that Postgres' own programs check the
	// server's against; "": those of the system.
	Roots string
}

// unset are settings that come before what a tenant set for its database and
// role: with these it could keep everybody from connecting, itself as well, or
// have the master act as somebody else.
func unset() map[string]string {
	return map[string]string{
		"local_preload_libraries": "", "tcp_user_timeout": "0", "default_transaction_read_only": "off", "role": "none",
		"statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0", "idle_session_timeout": "0",
	}
}

// Connect connects the master to a database. Nothing that a tenant has set for it,
// or made in it, takes effect.
func (m Master) Connect(ctx context.Context, database string) (*pgx.Conn, error) {
	c, err := m.config(database)
	if err != nil {
		return nil, err
	}
	maps.Copy(c.RuntimeParams, unset())
	c.RuntimeParams["search_path"] = "pg_catalog"
	if err := m.login(ctx, c); err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, c)
}

func (m Master) config(database string) (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig("")
	if err != nil {
		return nil, err
	}
	m.apply(c, database)
	return c, nil
}

func (m Master) apply(c *pgx.ConnConfig, database string) {
	c.Host, c.Port, c.User, c.Database, c.TLSConfig = m.Host, uint16(m.port()), m.User, database, m.TLS //nolint:gosec // a port
	c.Fallbacks, c.ConnectTimeout = nil, 10*time.Second
}

func (m Master) login(ctx context.Context, c *pgx.ConnConfig) (err error) {
	c.Password, err = m.Password(ctx)
	return err
}

func (m Master) port() int {
	if m.Port == 0 {
		return 5432
	}
	return m.Port
}

// url returns how a role connects to the database of its name.
func (m Master) url(role, password string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, password), Path: "/" + role,
		Host: net.JoinHostPort(m.Host, strconv.Itoa(m.port())), RawQuery: "sslmode=verify-full&sslrootcert=system",
	}
	if m.TLS == nil {
		u.RawQuery = "sslmode=disable"
	}
	if m.socket() { // a directory has no place in an authority
		u.Host, u.RawQuery = "", u.RawQuery+"&host="+url.QueryEscape(m.Host)+"&port="+strconv.Itoa(m.port())
	}
	return u.String()
}

func (m Master) socket() bool { return strings.HasPrefix(m.Host, "/") }

// environment is how Postgres' own programs connect as a role. Arguments are seen
// by everyone on the machine.
func (m Master) environment(role, password string) []string {
	env := []string{
		"PGHOST=" + m.Host, "PGPORT=" + strconv.Itoa(m.port()), "PGUSER=" + role, "PGPASSWORD=" + password,
		"PGCONNECT_TIMEOUT=10", "PGSSLMODE=disable",
	}
	if m.TLS != nil {
		roots := m.Roots
		if roots == "" {
			roots = "system"
		}
		env = append(env, "PGSSLMODE=verify-full", "PGSSLROOTCERT="+roots)
	}
	settings := unset()
	var words []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		words = append(words, "-c "+name+"="+settings[name])
	}
	return append(env, "PGOPTIONS="+strings.Join(words, " "))
}
