package aws_test

import (
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest/provider"
)

// TestRealTenant takes a tenant's stack through its life on the real engine.
func TestRealTenant(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	c := tenantConfig("acme")
	began := time.Now()
	out, err := e.Up(t.Context(), stackFor(c))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("up: %s", time.Since(began))
	if _, err := tenant.ReadOutputs(out); err != nil {
		t.Error(err)
	}
	made := e.provider.Counts()[provider.Create]
	t.Logf("made %d", made)
	began = time.Now()
	if _, err := e.Up(t.Context(), stackFor(c)); err != nil {
		t.Fatal(err)
	}
	t.Logf("again: %s %v", time.Since(began), e.provider.Counts())
	began = time.Now()
	if changes, err := e.Preview(t.Context(), stackFor(c)); err != nil || len(changes) > 0 {
		t.Fatal(changes, err)
	}
	t.Logf("preview: %s %v", time.Since(began), e.provider.Counts())
	began = time.Now()
	if changes, err := e.Drift(t.Context(), stackFor(c)); err != nil || len(changes) > 0 {
		t.Fatal(changes, err)
	}
	t.Logf("drift: %s %v", time.Since(began), e.provider.Counts())
	began = time.Now()
	if err := e.Destroy(t.Context(), stackFor(c)); err != nil {
		t.Fatal(err)
	}
	t.Logf("destroy: %s %v", time.Since(began), e.provider.Counts())
	if live := e.provider.Live(); len(live) > 0 {
		t.Errorf("left: %v", live)
	}
}
