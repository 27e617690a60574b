package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

const (
	shownRuns = 5
	maxSecret = 64 << 10 // bytes
)

func (s *Server) tenants(w http.ResponseWriter, r *http.Request) error {
	list, err := s.summaries(r.Context())
	if err != nil {
		return err
	}
	return answer(w, list)
}

func (s *Server) summaries(ctx context.Context) ([]Summary, error) {
	records, err := s.config.Ledger.Tenants(ctx)
	if err != nil {
		return nil, fmt.Errorf("read tenants: %w", err)
	}
	refusals, err := s.config.Ledger.Refusals(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("read refusals: %w", err)
	}
	list := make([]Summary, len(records))
	for i, rec := range records {
		var refused *Refusal
		if found, ok := refusals[rec.Name]; ok {
			refused = &found
		}
		list[i] = s.summary(rec, refused)
	}
	return list, nil
}

func (s *Server) summary(r Record, refused *Refusal) Summary {
	sum := Summary{
		Name: r.Name, Phase: r.Phase, Message: messageOf(r, refused), Release: r.Release, Commit: r.Commit,
		Accepted: r.Accepted, Deployed: r.Deployed, Pull: r.Pull,
	}
	if !r.Deleted {
		sum.URL = s.url(r.Name + "." + s.config.Domain)
	}
	return sum
}

// url returns where a host of a tenant is reached.
func (s *Server) url(host string) string {
	_, port, err := net.SplitHostPort(s.config.Edge)
	switch {
	case err != nil:
		return "https://" + host + "/"
	case port == "80":
		return "http://" + host + "/"
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}

func (s *Server) tenant(w http.ResponseWriter, r *http.Request) error {
	d, err := s.detail(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	return answer(w, d)
}

// detail gathers all there is to know of a tenant.
func (s *Server) detail(ctx context.Context, name string) (Detail, error) {
	d := Detail{Summary: Summary{Name: name}}
	refusals, err := s.config.Ledger.Refusals(ctx, []string{name})
	if err != nil {
		return d, fmt.Errorf("read refusals: %w", err)
	}
	if found, ok := refusals[name]; ok {
		d.Refused = &found
	}
	if d.Receipts, err = s.config.Ledger.Receipts(ctx, name); err != nil {
		return d, fmt.Errorf("read receipts: %w", err)
	}
	rec, err := s.config.Ledger.Tenant(ctx, name)
	switch {
	case err == nil:
		d.Summary, d.Applied = s.summary(rec, d.Refused), &rec.Applied
		s.addHosts(&d)
		if err := s.addInstances(ctx, &d); err != nil {
			return d, err
		}
		s.addCondition(ctx, &d)
	case !fault.Is(err, fault.NotFound):
		return d, fmt.Errorf("read tenant %s: %w", name, err)
	case !notThere(&d):
		return d, noTenant(name)
	}
	return d, s.addHistory(ctx, &d)
}

func noTenant(name string) error {
	return fault.Errorf(fault.NotFound, "there is no tenant %s", name).WithHint("see all with: gitopsd get tenants")
}

// notThere describes a tenant that the ledger has not; false if there is
// nothing to tell of it.
func notThere(d *Detail) bool {
	switch {
	case d.Refused != nil && (len(d.Receipts) == 0 || d.Refused.Commit.When.After(d.Receipts[0].At)):
		d.Phase, d.Commit, d.Message = PhaseRefused, d.Refused.Commit.SHA, refusedBy(*d.Refused)
	case len(d.Receipts) > 0:
		last := d.Receipts[0]
		d.Phase, d.Commit = PhaseGone, last.Commit
		d.Message = "taken away; the receipt says what was verified absent"
		d.Refused = nil // what was refused before is of no consequence
	default:
		return false
	}
	return true
}

func (s *Server) addHosts(d *Detail) {
	if d.Applied.Tenant == nil || d.Applied.Deleted {
		return
	}
	for _, host := range platform.Assemble(d.Applied.Tenant, s.config.Domain).Hosts {
		d.URLs = append(d.URLs, s.url(host))
	}
}

// addInstances asks the agents. What is recorded is worth showing even when
// they do not answer.
func (s *Server) addInstances(ctx context.Context, d *Detail) error {
	var err error
	d.Instances, err = s.config.Platform.Instances(ctx, d.Name)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		d.InstancesError = err.Error()
	}
	return nil
}

// addCondition adds what others have to do, or did, if the platform can tell.
func (s *Server) addCondition(ctx context.Context, d *Detail) {
	c, err := s.config.Platform.Condition(ctx, d.Name)
	switch {
	case err == nil:
		d.Condition = &c
	case !fault.Is(err, fault.NotFound) && ctx.Err() == nil:
		s.config.Log.Warn("condition not known", "tenant", d.Name, "error", err)
	}
}

// own returns the domains that are the tenant's and not the platform's.
func (d Detail) own() []platform.Domain {
	if d.Condition == nil || len(d.Condition.Domains) < 2 {
		return nil
	}
	return d.Condition.Domains[1:]
}

func (s *Server) addHistory(ctx context.Context, d *Detail) error {
	ledger := s.config.Ledger
	runs, err := ledger.Runs(ctx, d.Name, shownRuns)
	if err != nil {
		return fmt.Errorf("read runs of %s: %w", d.Name, err)
	}
	for _, run := range runs {
		run.Spec = nil // what was accepted is in Applied
		events, err := ledger.Events(ctx, run.ID, 0)
		if err != nil {
			return fmt.Errorf("read events of %s: %w", run.ID, err)
		}
		d.Runs = append(d.Runs, Run{run, orEmpty(events)})
	}
	stones, err := ledger.Tombstones(ctx)
	if err != nil {
		return fmt.Errorf("read tombstones: %w", err)
	}
	for _, t := range stones {
		if t.Tenant == d.Name {
			d.Tombstone = &t
		}
	}
	return nil
}

func (s *Server) retry(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if err := s.config.Loop.Retry(r.Context(), name); err != nil {
		return err
	}
	s.config.Log.Info("retry asked for", "tenant", name)
	return answer(w, struct {
		Tenant string `json:"tenant"`
	}{name})
}

func (s *Server) setSecret(w http.ResponseWriter, r *http.Request) error {
	name, key := r.PathValue("name"), r.PathValue("key")
	if !regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`).MatchString(name) || len(name) > tenant.MaxName {
		return fault.Errorf(fault.Invalid, "%q cannot be a tenant's name", name)
	}
	if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`).MatchString(key) {
		return fault.Errorf(fault.Invalid, "%q cannot be a secret's name", key).
			WithHint("letters, digits and _, such as STRIPE_KEY")
	}
	value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSecret))
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		return fault.Errorf(fault.Invalid, "the value is larger than %d KiB: %w", maxSecret>>10, err)
	case err != nil:
		return fault.Errorf(fault.Transient, "read the value: %w", err)
	case len(value) == 0:
		return fault.Errorf(fault.Invalid, "the value is empty")
	case slices.Contains(value, 0):
		return fault.Errorf(fault.Invalid, "the value has a NUL byte, which no environment variable can have")
	}
	if err := s.config.Secrets.SetSecret(r.Context(), name, key, string(value)); err != nil {
		return fmt.Errorf("set secret %s of %s: %w", key, name, err)
	}
	s.config.Log.Info("secret set", "tenant", name, "secret", key)
	stored := Stored{Tenant: name, Name: key}
	rec, err := s.config.Ledger.Tenant(r.Context(), name)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return fmt.Errorf("the value is set; read tenant %s: %w", name, err)
	}
	if stored.Known = err == nil; stored.Known && rec.Tenant != nil {
		stored.Wanted = slices.Contains(rec.Tenant.App.Secrets, key)
	}
	return answer(w, stored)
}

func (s *Server) receipts(w http.ResponseWriter, r *http.Request) error {
	list, err := s.config.Ledger.Receipts(r.Context(), "")
	if err != nil {
		return fmt.Errorf("read receipts: %w", err)
	}
	return answer(w, orEmpty(list))
}

func (s *Server) tombstones(w http.ResponseWriter, r *http.Request) error {
	list, err := s.config.Ledger.Tombstones(r.Context())
	if err != nil {
		return fmt.Errorf("read tombstones: %w", err)
	}
	return answer(w, orEmpty(list))
}

// orEmpty makes a list that JSON shows as [] rather than null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
