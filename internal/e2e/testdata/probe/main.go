// Command probe is a tenant's app for tests: it keeps rows and keys, and tries
// to reach what it is told to.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
)

type app struct {
	db     *pgxpool.Pool
	cache  *redis.Client
	prefix string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	db, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		log.Fatal(err)
	}
	a := &app{db: db, cache: redis.NewClient(options), prefix: os.Getenv("REDIS_PREFIX")}
	if options := os.Getenv("FAULT"); options == "crash" {
		log.Fatal("this release crashes at start")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", a.health)
	mux.HandleFunc("/version", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, Version)
	})
	mux.HandleFunc("POST /row", a.addRow)
	mux.HandleFunc("GET /rows", a.rows)
	mux.HandleFunc("POST /key", a.setKey)
	mux.HandleFunc("GET /key", a.key)
	mux.HandleFunc("GET /env", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(os.Environ()) })
	mux.HandleFunc("GET /headers", func(w http.ResponseWriter, r *http.Request) { _ = json.NewEncoder(w).Encode(r.Header) })
	mux.HandleFunc("POST /try/postgres", tryPostgres)
	mux.HandleFunc("POST /try/redis", tryRedis)
	mux.HandleFunc("POST /try/read", tryRead)
	mux.HandleFunc("POST /try/get", tryGet)
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), Handler: mux}
	go func() {
		<-ctx.Done()
		shutdown, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = server.Shutdown(shutdown)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

func (a *app) health(w http.ResponseWriter, r *http.Request) {
	if os.Getenv("FAULT") == "unhealthy" {
		http.Error(w, "told to be unhealthy", http.StatusInternalServerError)
		return
	}
	if err := a.db.Ping(r.Context()); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func fail(w http.ResponseWriter, err error) bool {
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
	}
	return err != nil
}

func (a *app) addRow(w http.ResponseWriter, r *http.Request) {
	text, _ := io.ReadAll(r.Body)
	_, err := a.db.Exec(r.Context(), "INSERT INTO rows (text) VALUES ($1)", string(text))
	fail(w, err)
}

func (a *app) rows(w http.ResponseWriter, r *http.Request) {
	rows, err := a.db.Query(r.Context(), "SELECT text FROM rows ORDER BY id")
	if fail(w, err) {
		return
	}
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if !fail(w, err) {
		_, _ = io.WriteString(w, strings.Join(texts, ","))
	}
}

func (a *app) setKey(w http.ResponseWriter, r *http.Request) {
	text, _ := io.ReadAll(r.Body)
	fail(w, a.cache.Set(r.Context(), a.prefix+"key", string(text), 0).Err())
}

func (a *app) key(w http.ResponseWriter, r *http.Request) {
	text, err := a.cache.Get(r.Context(), a.prefix+"key").Result()
	if !fail(w, err) {
		_, _ = io.WriteString(w, text)
	}
}

// tryPostgres connects with the tenant's own credentials to another database.
func tryPostgres(w http.ResponseWriter, r *http.Request) {
	config, err := pgx.ParseConfig(os.Getenv("DATABASE_URL"))
	if fail(w, err) {
		return
	}
	config.Database = r.FormValue("database")
	conn, err := pgx.ConnectConfig(r.Context(), config)
	if fail(w, err) {
		return
	}
	defer conn.Close(r.Context())
	_, err = conn.Exec(r.Context(), r.FormValue("query"))
	fail(w, err)
}

// tryRedis runs a command as the tenant's own user.
func tryRedis(w http.ResponseWriter, r *http.Request) {
	options, _ := redis.ParseURL(os.Getenv("REDIS_URL"))
	client := redis.NewClient(options)
	defer client.Close()
	var args []any
	for _, word := range strings.Fields(r.FormValue("command")) {
		args = append(args, word)
	}
	got, err := client.Do(r.Context(), args...).Result()
	if !fail(w, err) {
		_ = json.NewEncoder(w).Encode(got)
	}
}

// tryRead reads a file, or lists a directory.
func tryRead(w http.ResponseWriter, r *http.Request) {
	path := r.FormValue("path")
	if entries, err := os.ReadDir(path); err == nil {
		for _, e := range entries {
			_, _ = io.WriteString(w, e.Name()+"\n")
		}
		return
	}
	text, err := os.ReadFile(path)
	if !fail(w, err) {
		_, _ = w.Write(text)
	}
}

// tryGet asks an address on this machine, with any headers.
func tryGet(w http.ResponseWriter, r *http.Request) {
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, r.FormValue("url"), nil)
	if fail(w, err) {
		return
	}
	answer, err := http.DefaultClient.Do(request)
	if fail(w, err) {
		return
	}
	defer answer.Body.Close()
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, answer.Body)
}
