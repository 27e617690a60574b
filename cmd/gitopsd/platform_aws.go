package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	infra "github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/aws"
)

var _ driver = (*aws.Driver)(nil)

// openAWS makes the platform of a cell; the ledger is in its Aurora.
func (d *daemon) openAWS(ctx context.Context, _ func(string)) (err error) {
	if d.Data, err = filepath.Abs(d.Data); err != nil {
		return fmt.Errorf("find data directory: %w", err)
	}
	if err := os.MkdirAll(d.Data, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	if d.database, err = d.cell.database(ctx); err != nil {
		return err
	}
	origin, err := d.originSecret(ctx)
	if err != nil {
		return err
	}
	master, err := d.cell.masterRole()
	if err != nil {
		return err
	}
	stacks, err := d.stacks(master)
	if err != nil {
		return err
	}
	cacheHost, _, err := net.SplitHostPort(d.cell.CacheEndpoint)
	if err != nil {
		return fault.Errorf(fault.Invalid, "the cell's cache %q is not host:port", d.cell.CacheEndpoint)
	}
	dumps, err := private(d.Data, "dumps")
	if err != nil {
		return err
	}
	login := aws.CacheLogin(d.cell.aws, d.cell.Shared.CacheControlUser)
	a, err := aws.Open(ctx, aws.Config{
		Cell: d.cell.Outputs, OriginSecret: origin, AWS: d.cell.aws, Stacks: stacks, Volumes: d.AWS.Volumes,
		Edge: infra.Edge(d.AWS.Edge), Master: master, Temp: dumps,
		Keys: aws.KeysConfig{
			Addr: d.cell.CacheEndpoint, User: d.cell.Shared.CacheControlUser,
			Password: login(d.cell.CacheEndpoint), PasswordOf: login, TLS: tlsOf(cacheHost, d.cell.roots),
		},
		Drift: aws.DriftConfig{Heal: d.AWS.Drift == "heal"}, Logger: d.log,
	})
	if err != nil {
		return err
	}
	d.platform = a
	return nil
}

// families are those of the cell's tasks that run Pulumi.
func (x *cell) families() []string {
	if x.DaemonTask == "" { // the cell was made before it had one
		return []string{x.PulumiTask}
	}
	return []string{x.PulumiTask, x.DaemonTask}
}

// masterRole is the role that makes tenants' roles and databases.
func (x *cell) masterRole() (aws.Master, error) {
	host, text, err := net.SplitHostPort(x.Database)
	if err == nil {
		var port int
		if port, err = strconv.Atoi(text); err == nil {
			return aws.Master{
				Host: host, Port: port, User: infra.MasterUser, Database: ledgerName, Password: x.master.get,
				TLS: tlsOf(host, x.roots), Roots: x.bundle,
			}, nil
		}
	}
	return aws.Master{}, fault.Errorf(fault.Invalid, "the cell's database %q is not host:port", x.Database)
}

// stacks is Pulumi, whose state is in the cell's bucket.
func (d *daemon) stacks(master aws.Master) (aws.Stacks, error) {
	x := d.cell
	backend := "s3://" + x.State
	files, err := aws.OpenFiles(backend, x.aws)
	if err != nil {
		return nil, err
	}
	dir := d.AWS.Pulumi.Dir
	if dir == "" {
		dir = filepath.Join(d.Data, "pulumi")
	}
	return aws.NewPulumi(aws.PulumiConfig{
		Dir: dir, Backend: backendURL(backend, x.aws), Secrets: "awskms:///" + x.Shared.KMSKey + "?region=" + x.Shared.Region,
		Env: map[string]string{"AWS_REGION": x.aws.Region}, MemoryMiB: d.AWS.Pulumi.Memory, Locks: aws.NewLeases(master), Files: files,
		Dead: aws.DeadHere(aws.DeadTask(x.aws, x.Shared.ClusterARN, x.families()...)), Adopter: aws.NewAdopter(aws.AdopterConfig{AWS: x.aws, Account: x.Shared.Account}), Logger: d.log,
	})
}
