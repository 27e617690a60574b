package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"

	"github.com/gitopsd/gitopsd/internal/platform/durable"
	"github.com/gitopsd/gitopsd/internal/platform/local/cgroup"
)

// maxProcesses bounds the processes and threads of an instance's app. A Go
// program has a thread a processor and one for each system call that blocks.
const maxProcesses = 512

// limits is the agent's type of the same shape.
type limits struct {
	Memory int64    `json:"memory,omitempty"`
	Groups []string `json:"groups,omitempty"`
}

// findGroups returns where instances' control groups are, or nil if there can be
// none. Instances that outlived an earlier control plane stay where that put them.
func (d *Driver) findGroups() *cgroup.Root {
	file := d.path("groups.json")
	var root cgroup.Root
	if b, err := os.ReadFile(file); err == nil && json.Unmarshal(b, &root) == nil && root.Exists() {
		return &root
	}
	sum := sha256.Sum256([]byte(d.dir))
	found, err := cgroup.Find(hex.EncodeToString(sum[:4]))
	if err == nil {
		err = durable.WriteJSON(file, found, 0o600, durable.Owner{})
	}
	if err != nil {
		d.c.Logger.Info("without control groups, instances are bound by rlimits alone",
			"reason", strings.ReplaceAll(err.Error(), "\n", "; "))
		return nil
	}
	return found
}

// limit says how an instance's app is bound, and returns the control group that
// its agent is to start in, or "".
func (d *Driver) limit(st *state, name string, l *limits) (string, error) {
	l.Memory = int64(st.Config.Compute.Memory) << 20
	if d.groups == nil || st.UID == 0 {
		return "", nil
	}
	group, err := d.groups.Ensure(name, cgroup.Limits{
		Memory: l.Memory, Processes: maxProcesses, Shares: st.Config.Compute.CPU,
	}, st.owner())
	l.Groups = group.Apps
	return group.Agent, err
}

// stopProcess ends a process of the platform and removes its control groups, if
// it has any: without processes they are nothing but names.
func (d *Driver) stopProcess(ctx context.Context, name string) error {
	if err := d.runner.Stop(ctx, name, stopGrace); err != nil {
		return err
	}
	if d.groups == nil || !strings.HasPrefix(name, agentPrefix) {
		return nil
	}
	if err := d.groups.Remove(name); err != nil {
		d.c.Logger.Warn("control group not removed", "process", name, "error", err)
	}
	return nil
}
