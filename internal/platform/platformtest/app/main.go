// Command app is what the conformance suite publishes as a tenant's release. It
// does what it is asked to, with all that a tenant's process has: so a test can
// try, as the tenant itself, what a tenant must not be able to do.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

func main() {
	if os.Getenv("BROKEN") != "" {
		fmt.Println("broken on purpose")
		os.Exit(3)
	}
	fmt.Println("app started, release", os.Getenv("RELEASE"))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /env", func(w http.ResponseWriter, _ *http.Request) { reply(w, os.Environ(), nil) })
	mux.HandleFunc("POST /sql", sql)
	mux.HandleFunc("POST /redis", cache)
	mux.HandleFunc("POST /read", read)
	mux.HandleFunc("POST /write", write)
	mux.HandleFunc("POST /slow", slow)
	mux.HandleFunc("POST /stray", stray)
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), Handler: mux}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		_ = server.Shutdown(context.Background())
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fmt.Println(err)
		os.Exit(1)
	}
}

func reply(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	_ = json.NewEncoder(w).Encode(v)
}

// sql runs a query (q) in a database (url; else the own one) and returns the rows.
func sql(w http.ResponseWriter, r *http.Request) {
	url := r.FormValue("url")
	if url == "" {
		url = os.Getenv("DATABASE_URL")
	}
	conn, err := pgx.Connect(r.Context(), url)
	if err != nil {
		reply(w, nil, err)
		return
	}
	defer conn.Close(context.WithoutCancel(r.Context()))
	rows, err := conn.Query(r.Context(), r.FormValue("q"))
	if err != nil {
		reply(w, nil, err)
		return
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		values, err := row.Values()
		return fmt.Sprint(values...), err
	})
	reply(w, all, err)
}

// cache runs a Redis command (arg, repeated).
func cache(w http.ResponseWriter, r *http.Request) {
	options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		reply(w, nil, err)
		return
	}
	client := redis.NewClient(options)
	defer client.Close()
	_ = r.ParseForm()
	var args []any
	for _, a := range r.Form["arg"] {
		args = append(args, a)
	}
	v, err := client.Do(r.Context(), args...).Result()
	reply(w, fmt.Sprint(v), err)
}

// read returns the content of a file, or the names in a directory.
func read(w http.ResponseWriter, r *http.Request) {
	path := r.FormValue("path")
	if entries, err := os.ReadDir(path); err == nil {
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		reply(w, names, nil)
		return
	}
	b, err := os.ReadFile(path)
	reply(w, string(b), err)
}

// write writes a file.
func write(w http.ResponseWriter, r *http.Request) {
	reply(w, "written", os.WriteFile(r.FormValue("path"), []byte(r.FormValue("content")), 0o600))
}

// slow answers after a while, however the app is told to stop meanwhile.
func slow(w http.ResponseWriter, r *http.Request) {
	d, err := time.ParseDuration(r.FormValue("for"))
	if err == nil {
		time.Sleep(d)
	}
	reply(w, "done", err)
}

// stray leaves a process behind, in a session of its own.
func stray(w http.ResponseWriter, _ *http.Request) {
	cmd := exec.Command("sleep", "300")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err := cmd.Start()
	if err != nil {
		reply(w, nil, err)
		return
	}
	reply(w, strings.TrimSpace(fmt.Sprint(cmd.Process.Pid)), nil)
}
