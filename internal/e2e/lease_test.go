package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A control plane that loses its lease ends at once, and tenants go on being
// served; the next one takes up what runs.
func TestLostLease(t *testing.T) {
	w := newWorld(t)
	w.probe("apps/steady")
	w.tenant("steady", "apps/steady")
	commit := w.commit("Add steady")
	w.start()
	w.done(commit)
	version := w.get("steady", "/version")
	l := w.startLoad(4, "steady")

	w.takeLease()
	ended := make(chan error, 1)
	go func(up *exec.Cmd) { ended <- up.Wait() }(w.up)
	select {
	case err := <-ended:
		w.up = nil
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
			t.Errorf("up ended with %v, want a failure", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("up goes on without the lease")
	}
	r, body, err := w.request(http.MethodGet, "steady", "/version", "")
	w.must(err)
	w.must(expectStatus(r, http.StatusOK))
	w.equal("version without a control plane", body, version)

	w.start()
	w.instances("steady", 1)
	w.version("apps/steady", "after")
	w.done(w.commit("Edit"))
	w.equal("version", w.get("steady", "/version"), "after")
	l.stop(t)
}

// takeLease does to the lease what another daemon's Acquire does.
func (w *world) takeLease() {
	w.t.Helper()
	var keys struct {
		Master string `json:"postgresMaster"`
	}
	b, err := os.ReadFile(filepath.Join(w.data, "secrets/keys.json"))
	w.must(err)
	w.must(json.Unmarshal(b, &keys))
	b, err = os.ReadFile(filepath.Join(w.data, "postgres/data/postmaster.pid"))
	w.must(err)
	lines := strings.Split(string(b), "\n") // the port is on the fourth
	conn, err := pgx.Connect(context.Background(),
		fmt.Sprintf("postgres://gitopsd:%s@127.0.0.1:%s/gitopsd?sslmode=disable", keys.Master, lines[3]))
	w.must(err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(context.Background(), `UPDATE gitopsd.leases SET holder = 'test', token = token + 1`)
	w.must(err)
}
