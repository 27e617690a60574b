package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/platform/local/process"
	"github.com/gitopsd/gitopsd/internal/platform/tenantdb"
	"github.com/gitopsd/gitopsd/internal/platform/tenantkeys"
)

// Inventory implements platform.Platform. It asks the servers, the kernel and
// the file system.
func (d *Driver) Inventory(ctx context.Context, tenant string) ([]platform.Resource, error) {
	st, err := d.load(tenant)
	if err != nil {
		return nil, err
	}
	var found []platform.Resource
	add := func(kind, name string, present bool) {
		found = append(found, platform.Resource{Kind: kind, Name: name, Present: present})
	}
	role, database, err := d.postgres.Databases().Has(ctx, tenant)
	if err != nil {
		return nil, err
	}
	add("database", tenantdb.Role(tenant), database)
	add("role", tenantdb.Role(tenant), role)
	left, err := d.postgres.Databases().Leftover(ctx, tenant)
	if err != nil {
		return nil, err
	}
	if left.Fresh || left.Former || left.Copy {
		add("database", "copy of "+tenantdb.Role(tenant), true)
	}
	if begun, _, err := d.redis.Keys().Restoring(ctx, tenant); err != nil {
		return nil, err
	} else if begun {
		add("cache-keys", "restore of "+tenantkeys.Prefix(tenant)+"*", true)
	}
	if noticed, err := d.hasNotice(ctx, tenant); err != nil {
		return nil, err
	} else if noticed {
		add("notice", tenant, true)
	}
	for _, look := range []struct {
		kind, name string
		present    func(context.Context, string) (bool, error)
	}{
		{"cache-user", tenantkeys.User(tenant), d.redis.HasTenant},
		{"cache-keys", tenantkeys.Prefix(tenant) + "*", d.redis.Keys().Has},
		{"dns", tenant, d.hasName},
		{"route", tenant, d.hasRoute},
		{"bucket", d.bucket(tenant), onDisk(d.bucket(tenant))},
		{"volume", d.volume(tenant), onDisk(d.volume(tenant))},
		{"instance-dir", d.instances(tenant), onDisk(d.instances(tenant))},
		{"secrets", d.secretsFile(tenant), onDisk(d.secretsFile(tenant))},
		{"state", d.stateFile(tenant), onDisk(d.stateFile(tenant))},
	} {
		present, err := look.present(ctx, tenant)
		if err != nil {
			return nil, fmt.Errorf("inventory of %s: %s: %w", tenant, look.kind, err)
		}
		add(look.kind, look.name, present)
	}
	processes, err := d.processes(tenant, st)
	if err != nil {
		return nil, fmt.Errorf("inventory of %s: %w", tenant, err)
	}
	return append(found, processes...), nil
}

// processes returns the tenant's agents, and whatever runs as its user. Once
// nothing says how many instances there were, the first stands for all.
func (d *Driver) processes(tenant string, st *state) ([]platform.Resource, error) {
	live, err := d.runner.Live(agentPrefix + tenant + ".")
	if err != nil {
		return nil, err
	}
	names := []string{agentName(tenant, 0)}
	for _, n := range d.instanceNumbers(tenant) {
		names = append(names, agentName(tenant, n))
	}
	for name := range live {
		names = append(names, name)
	}
	slices.Sort(names)
	var found []platform.Resource
	for _, name := range slices.Compact(names) {
		instance := strings.Replace(strings.TrimPrefix(name, agentPrefix), ".", "-", 1)
		found = append(found, platform.Resource{Kind: "process", Name: instance, Present: len(live[name]) > 0})
	}
	uid := "none"
	present := false
	if st != nil && st.UID != 0 {
		pids, err := process.UserProcesses(st.UID)
		if err != nil {
			return nil, err
		}
		uid, present = strconv.Itoa(st.UID), len(pids) > 0
	}
	return append(found, platform.Resource{Kind: "user-processes", Name: uid, Present: present}), nil
}

func onDisk(path string) func(context.Context, string) (bool, error) {
	return func(context.Context, string) (bool, error) {
		_, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
}

func (d *Driver) hasName(ctx context.Context, tenant string) (bool, error) {
	_, exists, err := d.lookUp(ctx, tenant)
	return exists, err
}
