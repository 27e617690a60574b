package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/fault"
)

// ledgerName is the ledger's database in the cell's Aurora.
const ledgerName = "gitopsd"

// database returns where the cell's ledger is, made if it is not there. Its user's
// password rotates: each connection is made with the one that counts then.
func (x *cell) database(ctx context.Context) (database, error) {
	host, port, err := net.SplitHostPort(x.Database)
	if err != nil {
		return database{}, fault.Errorf(fault.Invalid, "the cell's database %q is not host:port", x.Database)
	}
	config := tlsOf(host, x.roots)
	login := func(ctx context.Context, c *pgx.ConnConfig) error {
		word, err := x.master.get(ctx)
		if err != nil {
			return err
		}
		c.Password, c.TLSConfig, c.Fallbacks = word, config, nil
		return nil
	}
	at := func(name string) string { // without TLS: login says better
		return fmt.Sprintf("host='%s' port='%s' user=%s dbname=%s sslmode=disable", quoteDSN(host), quoteDSN(port), tenant.MasterUser, name)
	}
	d := database{url: at(ledgerName), login: login}
	return d, d.ensure(ctx, at("postgres"))
}

// quoteDSN escapes a value that stands in quotes.
func quoteDSN(value string) string { return strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) }

// ensure makes the database from another one of the server.
func (d database) ensure(ctx context.Context, from string) error {
	c, err := pgx.ParseConfig(from)
	if err != nil {
		return fault.Errorf(fault.Invalid, "the URL of the cell's database cannot be parsed")
	}
	c.ConnectTimeout = 10 * time.Second
	if err := d.login(ctx, c); err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return fault.Errorf(fault.Transient, "connect to the cell's database: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var there bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, ledgerName).Scan(&there); err != nil {
		return fault.Errorf(fault.Transient, "look for the ledger: %w", err)
	}
	if there {
		return nil
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+ledgerName)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && (refused.Code == "42P04" || refused.Code == "23505") {
		return nil // another made it at the same time
	}
	if err != nil {
		return fault.Errorf(fault.Transient, "make the ledger's database: %w", err)
	}
	return nil
}

// tlsOf returns how a connection to a host is encrypted; nil for this machine itself,
// which nothing leaves.
func tlsOf(host string, roots *x509.CertPool) *tls.Config {
	if ip := net.ParseIP(host); host == "localhost" || strings.HasPrefix(host, "/") || ip != nil && ip.IsLoopback() {
		return nil
	}
	return &tls.Config{ServerName: host, RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// rootsWith returns the system's certificates and those in a file: RDS has roots of
// its own.
func rootsWith(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // the system's
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "aws.caBundle: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "read the system's certificates: %w", err)
	}
	if !bytes.Contains(b, []byte("BEGIN CERTIFICATE")) || !pool.AppendCertsFromPEM(b) {
		return nil, fault.Errorf(fault.Invalid, "aws.caBundle: %s holds no certificate", file)
	}
	return pool, nil
}

// masterPassword returns the password of the database's master user now.
func (x *cell) masterPassword(ctx context.Context) (string, error) {
	text, err := x.secret(ctx, x.MasterSecret)
	if err != nil {
		return "", err
	}
	var master struct {
		Password string `json:"password"`
	}
	if json.Unmarshal([]byte(text), &master) != nil || master.Password == "" { // whose error would quote it
		return "", fault.Errorf(fault.Invalid, "secret %s holds no password", x.MasterSecret)
	}
	return master.Password, nil
}

// passwordAge is how long a password is used before it is read again. RDS changes it
// now and then; for as long a connection may be refused, which is tried again.
const passwordAge = 10 * time.Second

// password is one that changes.
type password struct {
	read func(context.Context) (string, error)

	mu   sync.Mutex
	word string
	at   time.Time
}

// get returns the password. One that was read is used on where it cannot be read.
func (p *password) get(ctx context.Context) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.at) < passwordAge {
		return p.word, nil
	}
	word, err := p.read(ctx)
	if err != nil {
		if p.word != "" && !fault.Is(err, fault.NotFound) {
			return p.word, nil
		}
		return "", err
	}
	p.word, p.at = word, time.Now()
	return word, nil
}
