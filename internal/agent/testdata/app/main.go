// Command app is what the agent's tests run: a small app whose behaviour the
// release's own environment decides.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	fmt.Println("starting", os.Getenv("VERSION"))
	if os.Getenv("MODE") == "exit" {
		fmt.Fprintln(os.Stderr, "panic: no such table: users")
		os.Exit(3)
	}
	if os.Getenv("MODE") == "once" { // fails until a file appears
		if _, err := os.Stat(os.Getenv("HOME") + "/ready"); err != nil {
			fmt.Println("not ready yet")
			os.Exit(4)
		}
	}
	if os.Getenv("MODE") == "hog" {
		hog()
	}
	delay, _ := time.ParseDuration(os.Getenv("DELAY"))
	time.Sleep(delay)
	port := os.Getenv("PORT")
	if fixed := os.Getenv("FIXED"); fixed != "" { // an app that takes no notice of PORT
		port = fixed
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	server := &http.Server{Handler: routes()}
	stopped := make(chan struct{})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		defer close(stopped)
		<-ctx.Done()
		fmt.Println("stopping", os.Getenv("VERSION"))
		if os.Getenv("MODE") == "deaf" {
			select {}
		}
		bounded, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = server.Shutdown(bounded)
	}()
	_ = server.Serve(l)
	<-stopped
}

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		switch os.Getenv("MODE") {
		case "hang":
			<-r.Context().Done()
		case "500":
			http.Error(w, "no", http.StatusInternalServerError)
		case "redirect":
			http.Redirect(w, r, "/", http.StatusFound)
		case "crashloop":
			time.AfterFunc(20*time.Millisecond, func() { os.Exit(7) })
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Gitopsd-Agent", "forged")
		fmt.Fprint(w, os.Getenv("VERSION"))
	})
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("X-Version", os.Getenv("VERSION"))
		_, _ = w.Write(b)
	})
	mux.HandleFunc("POST /refuse", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge) // without reading the body
	})
	mux.HandleFunc("GET /env", func(w http.ResponseWriter, r *http.Request) {
		dir, _ := os.Getwd()
		entries, _ := os.ReadDir(os.Getenv("TMPDIR"))
		_ = os.WriteFile(os.Getenv("TMPDIR")+"/left", nil, 0o600)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"env": os.Environ(), "pid": os.Getpid(), "pgid": syscall.Getpgrp(), "dir": dir, "tmp": len(entries),
		})
	})
	mux.HandleFunc("GET /parent", func(w http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", os.Getppid()))
		if err != nil {
			b = []byte(err.Error())
		}
		_, _ = w.Write(b)
	})
	mux.HandleFunc("GET /header", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"host": r.Host, "uri": r.RequestURI, "header": r.Header})
	})
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		d, _ := time.ParseDuration(r.URL.Query().Get("d"))
		time.Sleep(d)
		fmt.Fprint(w, os.Getenv("VERSION"))
	})
	mux.HandleFunc("GET /trailer", func(w http.ResponseWriter, r *http.Request) { // for two seconds
		w.Header().Set("Trailer", "X-Sum")
		sum := 0
		for range 200 {
			n, _ := fmt.Fprint(w, os.Getenv("VERSION"))
			sum += n
			_ = http.NewResponseController(w).Flush()
			time.Sleep(10 * time.Millisecond)
		}
		w.Header().Set("X-Sum", strconv.Itoa(sum))
	})
	mux.HandleFunc("GET /early", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprint(w, "body")
		w.Header().Set("X-Sum", "4")
	})
	mux.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { os.Exit(9) })
	mux.HandleFunc("/hog", func(http.ResponseWriter, *http.Request) { hog() })
	mux.HandleFunc("POST /bomb", func(w http.ResponseWriter, r *http.Request) {
		n := 0
		for ; n < 2000; n++ {
			if err := exec.Command("/bin/sleep", "300").Start(); err != nil {
				break
			}
		}
		fmt.Fprint(w, n)
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"status", "limits", "oom_score_adj"} {
			b, _ := os.ReadFile("/proc/self/" + name)
			_, _ = w.Write(b)
		}
	})
	mux.HandleFunc("POST /spawn", func(w http.ResponseWriter, r *http.Request) {
		cmd := exec.Command("/bin/sleep", "300")
		cmd.Stdout = os.Stdout
		if err := cmd.Start(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, cmd.Process.Pid)
	})
	mux.HandleFunc("POST /orphan", func(w http.ResponseWriter, r *http.Request) {
		if err := exec.Command("/bin/sh", "-c", "setsid sleep 0.05 &").Run(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("GET /print", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		for i := range n {
			fmt.Printf("line %d %0*d\n", i, 1000, 0)
		}
	})
	mux.HandleFunc("GET /events", events)
	mux.HandleFunc("GET /upgrade", upgrade)
	return mux
}

// hog takes memory, and uses it, until there is no more.
func hog() {
	var kept [][]byte
	for range 4096 {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		kept = append(kept, b)
	}
	fmt.Println("got", len(kept), "MiB")
}

// events is a server-sent stream that ends when the client does.
func events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for i := 0; ; i++ {
		fmt.Fprintf(w, "data: %s %d\n\n", os.Getenv("VERSION"), i)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// upgrade switches protocols as a WebSocket does and echoes lines.
func upgrade(w http.ResponseWriter, r *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_ = rw.Flush()
	lines := bufio.NewScanner(rw)
	for lines.Scan() {
		fmt.Fprintf(conn, "%s %s\n", os.Getenv("VERSION"), lines.Text())
	}
}
