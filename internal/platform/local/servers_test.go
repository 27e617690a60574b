package local_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// readJSON reads a file below the data directory.
func (p *place) readJSON(t *testing.T, v any, parts ...string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{p.dir}, parts...)...))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

func (p *place) keys(t *testing.T) (keys struct{ PostgresSuper, RedisAdmin string }) {
	t.Helper()
	p.readJSON(t, &keys, "secrets", "keys.json")
	return keys
}

func (p *place) port(t *testing.T, process string) int {
	t.Helper()
	var record struct{ Ports map[string]int }
	p.readJSON(t, &record, "run", process+".json")
	return record.Ports[process]
}

// super connects to Postgres as the superuser.
func (p *place) super(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://postgres:%s@127.0.0.1:%d/postgres",
		p.keys(t).PostgresSuper, p.port(t, "postgres")))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func (p *place) exec(t *testing.T, statements ...string) {
	t.Helper()
	conn := p.super(t)
	defer conn.Close(t.Context())
	for _, s := range statements {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// foreignDatabase makes a database of the tenant's name that is not the tenant's.
func (p *place) foreignDatabase(t *testing.T, tenant string) func() {
	p.exec(t, `CREATE DATABASE "t_`+tenant+`"`)
	return func() { p.exec(t, `DROP DATABASE "t_`+tenant+`"`) }
}

// foreignRole makes a role of the tenant's name that is not the tenant's.
func (p *place) foreignRole(t *testing.T, tenant string) func() {
	p.exec(t, `CREATE ROLE "t_`+tenant+`"`)
	return func() { p.exec(t, `DROP ROLE "t_`+tenant+`"`) }
}

// admin connects to Redis as its admin.
func (p *place) admin(t *testing.T) *redis.Client {
	t.Helper()
	return redis.NewClient(&redis.Options{
		Addr:     fmt.Sprintf("127.0.0.1:%d", p.port(t, "redis")),
		Username: "gitopsd", Password: p.keys(t).RedisAdmin,
	})
}

// foreignUser makes a Redis user of the tenant's name that is not the tenant's.
func (p *place) foreignUser(t *testing.T, tenant string) func() {
	c := p.admin(t)
	if err := c.ACLSetUser(t.Context(), "t_"+tenant, "on", ">x", "~*", "+@read").Err(); err != nil {
		t.Fatal(err)
	}
	return func() {
		defer c.Close()
		if n, err := c.ACLDelUser(t.Context(), "t_"+tenant).Result(); err != nil || n != 1 {
			t.Errorf("the user in the way is gone: %d, %v", n, err)
		}
	}
}
