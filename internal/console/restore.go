package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
)

// maxOrder bounds the body of a request that is JSON, in bytes.
const maxOrder = 4 << 10

func (s *Server) snapshots(w http.ResponseWriter, r *http.Request) error {
	list, err := s.config.Platform.Snapshots(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	return answer(w, orEmpty(list))
}

// removeSnapshots is for tenants that are gone: for others, their snapshots are
// the way back.
func (s *Server) removeSnapshots(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	switch _, err := s.config.Ledger.Tenant(r.Context(), name); {
	case err == nil:
		return fault.Errorf(fault.Conflict, "%s is not gone: its snapshots stay", name).
			WithHint("see how it is with: gitopsd describe %s", name)
	case !fault.Is(err, fault.NotFound):
		return fmt.Errorf("read tenant %s: %w", name, err)
	}
	if err := s.config.Platform.RemoveSnapshots(r.Context(), name); err != nil {
		return err
	}
	s.config.Log.Info("snapshots removed", "tenant", name)
	return answer(w, Purged{Tenant: name})
}

// restore queues a run; without a name in the request, of the newest snapshot.
func (s *Server) restore(w http.ResponseWriter, r *http.Request) error {
	var order Restore
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder)).Decode(&order)
	if err != nil && !errors.Is(err, io.EOF) { // an empty body asks for the newest
		return fault.Errorf(fault.Invalid, "read the request: %w", err)
	}
	order.Tenant = r.PathValue("name")
	if order.Snapshot, err = s.choose(r.Context(), order.Tenant, order.Snapshot); err != nil {
		return err
	}
	if order.Run, err = s.config.Loop.Restore(r.Context(), order.Tenant, order.Snapshot); err != nil {
		return err
	}
	s.config.Log.Info("restore asked for", "tenant", order.Tenant, "snapshot", order.Snapshot, "run", order.Run)
	return answer(w, order)
}

// choose returns the named snapshot's name, or the newest's, if there is one.
func (s *Server) choose(ctx context.Context, name, wanted string) (string, error) {
	list, err := s.config.Platform.Snapshots(ctx, name)
	switch {
	case err != nil:
		return "", err
	case len(list) == 0:
		return "", fault.Errorf(fault.NotFound, "%s has no snapshots", name)
	case wanted == "":
		return list[0].Name, nil
	case !slices.ContainsFunc(list, func(one platform.Snapshot) bool { return one.Name == wanted }):
		return "", fault.Errorf(fault.NotFound, "%s has no snapshot %q", name, wanted).
			WithHint("see which there are with: gitopsd snapshots %s", name)
	}
	return wanted, nil
}

// purge ends a grace period; the loop does the rest.
func (s *Server) purge(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if err := s.config.Ledger.EndGrace(r.Context(), name); err != nil {
		return err
	}
	s.config.Loop.Wake()
	s.config.Log.Info("grace period ended", "tenant", name)
	return answer(w, Purged{Tenant: name})
}
