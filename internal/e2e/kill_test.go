package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The control plane is killed in the middle of each machine, at many states;
// when it is up again everything ends as if nothing had happened, and no
// request to a running tenant fails meanwhile.
func TestKilledControlPlaneResumes(t *testing.T) {
	w := newWorld(t)
	w.probe("apps/steady")
	w.tenant("steady", "apps/steady")
	commit := w.commit("Add steady")
	w.start()
	w.done(commit)
	w.post("steady", "/row", "kept")
	l := w.startLoad(4, "steady")

	for round, state := range []string{"EnsureInfrastructure", "EnsureDatabase", "Deploy/Compile", "Deploy/Publish"} {
		name := fmt.Sprintf("fresh-%d", round)
		w.tenant(name, "apps/steady")
		commit = w.commit("Add " + name)
		w.killAt(commit, name, state)
		w.start()
		w.done(commit)
		w.equal("version of "+name, w.get(name, "/version"), strings.TrimSpace(w.get("steady", "/version")))
		w.oneTerminalStatus(commit)
		w.instances(name, 1)
	}
	for round, state := range []string{"Compile", "Bundle", "Publish", "AwaitHealthy"} {
		version := fmt.Sprintf("edit-%d", round)
		w.version("apps/steady", version)
		commit = w.commit("Edit " + version)
		w.killAt(commit, "steady", state)
		w.start()
		w.done(commit)
		w.equal("version after the kill at "+state, w.get("steady", "/version"), version)
		w.equal("rows after the kill at "+state, w.get("steady", "/rows"), "kept")
		w.oneTerminalStatus(commit)
		w.instances("steady", 1)
	}
	for round, state := range []string{"Drain", "DestroyInfrastructure", "DropDatabase", "VerifyAbsent"} {
		name := fmt.Sprintf("fresh-%d", round)
		w.remove("tenants/" + name + ".yaml")
		commit = w.commit("Delete " + name)
		w.killAt(commit, name, state)
		w.start()
		w.done(commit)
		w.absent(name)
		w.oneTerminalStatus(commit)
	}
	l.stop(t)
}

// killAt kills the control plane once the commit's run for the tenant is in the
// state, or has passed it.
func (w *world) killAt(commit, tenant, state string) {
	w.t.Helper()
	reached := ""
	w.eventually(2*time.Minute, tenant+" is in "+state, func() error {
		out, _, code := w.cli("describe", tenant, "-o", "json")
		if code != 0 {
			return fmt.Errorf("describe: exit %d", code)
		}
		var d struct {
			Runs []struct {
				Commit, Status, State string
				Events                []struct{ State string }
			}
		}
		if err := json.Unmarshal([]byte(out), &d); err != nil {
			return err
		}
		for _, run := range d.Runs {
			if run.Commit != commit {
				continue
			}
			reached = run.State + " (" + run.Status + ")"
			for _, e := range run.Events {
				if e.State == state || strings.HasSuffix(e.State, "/"+state) {
					return nil
				}
			}
		}
		return fmt.Errorf("it is in %q", reached)
	})
	w.kill()
	w.t.Logf("killed with %s in %s", tenant, reached)
	r, _, err := w.request(http.MethodGet, "steady", "/version", "")
	w.must(err)
	w.must(expectStatus(r, http.StatusOK))
}

// instances checks how many agents of a tenant run: none lost, none doubled.
func (w *world) instances(tenant string, want int) {
	w.t.Helper()
	var own []string
	for line := range strings.Lines(w.processes()) {
		if strings.Contains(line, "gitopsd-agent") && strings.Contains(line, "/instances/"+tenant+"/") {
			own = append(own, line)
		}
	}
	if len(own) != want {
		w.t.Errorf("%s has %d agents, want %d:\n%s", tenant, len(own), want, strings.Join(own, ""))
	}
}
