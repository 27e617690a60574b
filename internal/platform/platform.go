// Package platform is the contract between the pipeline and the place where
// tenants really live. A driver makes each part real: local (processes on one
// machine) or aws. platformtest.Exercise states, as a test, what every driver
// must do.
//
// Rules for every method of a driver:
//
//   - Idempotent: calling it again, also after a call that died half-way, ends
//     in the same state. Names are deterministic, so what a dead call left
//     behind is adopted, never doubled.
//   - Scoped: it touches what belongs to the named tenant and nothing else.
//     A resource of the right name that is not marked as this tenant's is a
//     fault.Conflict, never adopted and never destroyed.
//   - Errors have a fault.Kind. Destroying what is not there is no error.
//   - Credentials are made and kept by the driver; they are returned to no one
//     but Database, whose caller must not store or log them.
package platform

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/release"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// Platform is what a driver implements.
type Platform interface {
	// EnsureInfrastructure makes the tenant's own parts: volume, bucket, DNS
	// records, routes, and instances (agents) that are running.
	// Instances need no release yet; until one is healthy the route answers 503.
	// A tenant that was drained before comes back with its data.
	EnsureInfrastructure(ctx context.Context, c Config) error
	// EnsureDatabase makes the tenant's role and database, or, when the tenant
	// has none, nothing.
	EnsureDatabase(ctx context.Context, c Config) error
	// EnsureCacheUser makes the tenant's Redis user, or nothing.
	EnsureCacheUser(ctx context.Context, c Config) error

	// Database returns the tenant's own connection URL, or "" if it has none.
	Database(ctx context.Context, tenant string) (string, error)
	// Volume returns where the tenant's releases are published.
	Volume(ctx context.Context, tenant string) (*release.Volume, error)
	// UploadStatic puts a release's static assets into the tenant's bucket,
	// beside those of other releases; ActivateStatic makes them the ones served.
	UploadStatic(ctx context.Context, tenant, digest string) error
	ActivateStatic(ctx context.Context, tenant, digest string) error
	// MissingSecrets returns those of the names the tenant has no value for.
	MissingSecrets(ctx context.Context, tenant string, names []string) ([]string, error)
	// AwaitRelease tells the instances that the pointer moved, then waits until
	// each reports the release at p.Seq or later as serving. It returns
	// fault.Stalled, with the app's last output as detail, as soon as one
	// reports that this release failed; ctx bounds the wait.
	AwaitRelease(ctx context.Context, tenant string, p release.Pointer) error

	// Snapshot saves the tenant's data (database, keys), its current release and
	// the assets served, and returns where: a path whose last element is its name.
	// Without data, "". Once the data are being destroyed it returns the last one
	// that was taken. Only the newest few
	// are kept, where one that was verified counts as new.
	Snapshot(ctx context.Context, tenant string) (string, error)
	// Snapshots returns a tenant's snapshots, newest first, those of a tenant
	// that is gone as well: nothing but RemoveSnapshots takes all of them away.
	Snapshots(ctx context.Context, tenant string) ([]Snapshot, error)
	// VerifySnapshot reports whether a snapshot can be restored: fault.NotFound if
	// the tenant has none of the name, fault.Invalid if its files are not those
	// that were saved.
	VerifySnapshot(ctx context.Context, tenant, name string) error
	// RestoreSnapshot puts the data of a verified snapshot in the place of the
	// tenant's, which exists and should be drained; of what the snapshot has no
	// database, the tenant's stays. Its release is put back on the volume, without
	// becoming current. One that fails or is killed leaves the data as they were,
	// from the next RestoreSnapshot, EnsureDatabase or Snapshot on.
	RestoreSnapshot(ctx context.Context, tenant, name string) error
	// RemoveSnapshots removes all of a tenant's snapshots.
	RemoveSnapshots(ctx context.Context, tenant string) error
	// RemoveRoute takes the tenant out of traffic and DNS: its hosts answer 503
	// until it comes back, or is entombed.
	RemoveRoute(ctx context.Context, tenant string) error
	// Entomb has the hosts of a drained tenant answer 410, until it comes back or
	// its infrastructure is destroyed; then they are nobody's, and answer 404.
	Entomb(ctx context.Context, tenant string) error
	// Drain stops the tenant's instances once nothing is in flight; data stays.
	Drain(ctx context.Context, tenant string) error
	DestroyInfrastructure(ctx context.Context, tenant string) error // but releases
	DropCacheUser(ctx context.Context, tenant string) error         // and its keys
	DropDatabase(ctx context.Context, tenant string) error          // and its role
	RemoveReleases(ctx context.Context, tenant string) error        // and the volume
	// Inventory looks (never remembers) for every kind of thing a tenant can
	// have and returns one Resource a kind and name, present or absent.
	// It is the proof in a receipt: snapshots are the one thing not in it.
	Inventory(ctx context.Context, tenant string) ([]Resource, error)

	// Instances returns what the tenant's agents report, ordered by instance.
	Instances(ctx context.Context, tenant string) ([]Instance, error)
	// Condition returns how far the tenant's domains are, and what was found otherwise
	// than it was made.
	Condition(ctx context.Context, tenant string) (Condition, error)
	// Logs writes the tenant's app output, oldest first; with follow it goes on
	// until ctx ends.
	Logs(ctx context.Context, tenant string, w io.Writer, follow bool) error
}

// Config is a tenant's infrastructure: what Assemble makes of its file.
type Config struct {
	Tenant    string            `json:"tenant"`
	Labels    map[string]string `json:"labels,omitempty"`
	Hosts     []string          `json:"hosts"` // <tenant>.<platform domain> first, then its domains
	Compute   tenant.Compute    `json:"compute"`
	Isolation tenant.Isolation  `json:"isolation"`
	Database  tenant.Database   `json:"database"`
	Cache     tenant.Cache      `json:"cache"`
}

// Assemble turns a tenant's file into infrastructure configuration. domain is
// the platform's, under which every tenant has a host.
func Assemble(t *tenant.Tenant, domain string) Config {
	hosts := []string{t.Name + "." + domain}
	for _, d := range t.Domains {
		if !slices.Contains(hosts, d) {
			hosts = append(hosts, d)
		}
	}
	return Config{
		Tenant: t.Name, Labels: t.Labels, Hosts: hosts, Compute: t.Compute,
		Isolation: t.Isolation, Database: t.Database, Cache: t.Cache,
	}
}

// Resource is one thing a tenant has or had.
type Resource struct {
	Kind    string `json:"kind"` // e.g. "database", "role", "cache-user", "process"
	Name    string `json:"name"`
	Present bool   `json:"present"`
}

func (r Resource) String() string {
	state := "absent"
	if r.Present {
		state = "present"
	}
	return fmt.Sprintf("%s %s: %s", r.Kind, r.Name, state)
}

// Snapshot is what was saved of a tenant at a time.
type Snapshot struct {
	Name     string    `json:"name"` // unique among the tenant's, and sorts by time
	At       time.Time `json:"at"`
	Bytes    int64     `json:"bytes"`
	Keys     int       `json:"keys"`
	Database bool      `json:"database"`
	Release  string    `json:"release,omitempty"` // digest of the one that was current
}

// Instance is one agent and what it says of itself.
type Instance struct {
	Name    string      `json:"name"` // e.g. "acme-0"
	Addr    string      `json:"addr"` // host:port that serves traffic
	Running bool        `json:"running"`
	Since   time.Time   `json:"since,omitzero"`
	Report  AgentReport `json:"report"`
}

// Condition is what a tenant's file and its infrastructure do not tell: what others
// have still to do, or did.
type Condition struct {
	Domains []Domain `json:"domains"`         // in the order of Config.Hosts
	Drift   *Drift   `json:"drift,omitempty"` // nil: not looked for yet, or nobody else can change anything
}

// Domain is a host of a tenant's and how far it is.
type Domain struct {
	Host  string      `json:"host"`
	State DomainState `json:"state"`
	// Problem says why it failed.
	Problem string `json:"problem,omitempty"`
	// Records are what the domain's own zone must have: the platform cannot set them.
	Records []DNSRecord `json:"records,omitempty"`
}

// DomainState is how far a host is.
type DomainState string

// The states of a host.
const (
	DomainServed  DomainState = "served"  // requests for it are taken
	DomainPending DomainState = "pending" // waits for its records, or for its tenant to run
	DomainFailed  DomainState = "failed"  // no certificate could be had
)

// DNSRecord is a record of a zone.
type DNSRecord struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
}

// Drift is what was found otherwise than it was made.
type Drift struct {
	At      time.Time      `json:"at"`                // of the look
	Changes map[string]int `json:"changes,omitempty"` // how many resources would be set right, by the kind of change; none: no drift
	Healed  bool           `json:"healed,omitempty"`  // they were
	Failure string         `json:"failure,omitempty"` // why the look, or the healing, failed
}

// String says what was found, in a few words.
func (d Drift) String() string {
	var said []string
	for _, kind := range slices.Sorted(maps.Keys(d.Changes)) {
		said = append(said, fmt.Sprintf("%d to %s", d.Changes[kind], kind))
	}
	text := strings.Join(said, ", ")
	switch {
	case text == "" && d.Failure == "":
		return "none"
	case text == "":
		return d.Failure
	case d.Failure != "":
		return text + "; " + d.Failure
	case d.Healed:
		return text + "; set right"
	}
	return text
}

// AgentReport is what an agent answers at /-/app. The agent's own type of the
// same JSON shape is the source; a test holds them equal.
type AgentReport struct {
	Phase       string    `json:"phase"`             // waiting, starting, serving, asleep, failing
	Release     string    `json:"release,omitempty"` // serving, or asleep after it did
	Seq         uint64    `json:"seq,omitempty"`     // pointer that release came from
	Commit      string    `json:"commit,omitempty"`
	Since       time.Time `json:"since,omitzero"` // the serving release took traffic
	InFlight    int64     `json:"inFlight"`
	Restarts    int       `json:"restarts"`
	Wakes       int       `json:"wakes,omitempty"`       // from sleep
	Memory      int64     `json:"memory,omitempty"`      // resident, of the serving app's first process; bytes
	CPUSeconds  float64   `json:"cpuSeconds,omitempty"`  // used by it, and by children it waited for
	FailedSeq   uint64    `json:"failedSeq,omitempty"`   // last pointer that did not get healthy
	Failed      string    `json:"failed,omitempty"`      // its release
	Failure     string    `json:"failure,omitempty"`     // why, in one line
	FailureTail []string  `json:"failureTail,omitempty"` // the app's last lines, at most 20
	Health      string    `json:"health"`                // of runtime and app, in one line
}

// Health says how runtime and app of the instance are, in one line: an app that
// fails does not make its runtime ill, nor the other way round.
func (i Instance) Health() string {
	switch {
	case !i.Running:
		return "runtime not running"
	case i.Report.Health == "":
		return "runtime does not answer"
	}
	return i.Report.Health
}

// Ready reports whether a request to the instance gets its answer from the app:
// one that serves, or one that sleeps, which a request starts.
func (r AgentReport) Ready() bool { return r.Phase == "serving" || r.Phase == "asleep" }
