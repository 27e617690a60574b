package aws_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/infra/platform"
	"github.com/gitopsd/gitopsd/infra/tenant"
	aws "github.com/gitopsd/gitopsd/internal/platform/aws"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest/provider"
)

// cellConfig returns a cell with everything.
func cellConfig() platform.Config {
	c := platform.Default()
	c.Account, c.Region, c.Domain, c.OriginSecret = awstest.Account, awstest.Region, "apps.example", originSecret
	c.Network.Zones = []string{"eu-west-1a", "eu-west-1b", "eu-west-1c"}
	c.Images = platform.Images{ControlPlane: "x/control@sha256:1", Runtime: "x/runtime@sha256:2", Compiler: "x/compiler@sha256:3"}
	c.AlarmTopic = "arn:aws:sns:eu-west-1:" + awstest.Account + ":alarms"
	c.Machines = []platform.Machine{{Name: "deploy", Version: 1, Document: `{"StartAt":"a","States":{"a":{"Type":"Succeed"}}}`}}
	return c
}

func cellStack(c platform.Config) aws.Stack {
	return aws.Stack{Project: platform.Project, Name: platform.StackName(c.Cell), Program: platform.Program(c), Settings: c.Settings()}
}

// TestRealCell takes a cell's stack through its life, and makes a tenant of what it
// tells.
func TestRealCell(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	c := cellConfig()
	var out map[string]any
	t.Logf("up: %s", timed(func() { out = e.up(t, cellStack(c)) }))
	cell, err := platform.ReadOutputs(out)
	if err != nil {
		t.Fatal(err)
	}
	e.secret(t, originSecret)
	made := e.provider.Counts()
	t.Logf("%d resources; nothing changed: %s", made[provider.Create], timed(func() { e.up(t, cellStack(c)) }))
	if now := e.provider.Counts(); !maps.Equal(made, now) {
		t.Errorf("without a change: %v, then %v", made, now)
	}
	one := tenantConfig("acme", func(c *tenant.Config) {
		c.Shared = platform.SharedOf(cell, originSecret)
		c.Secrets = nil
	})
	if _, err := tenant.ReadOutputs(e.up(t, stackFor(one))); err != nil {
		t.Error(err)
	}
	if err := e.Destroy(t.Context(), cellStack(c)); err == nil || !strings.Contains(err.Error(), "protect") {
		t.Errorf("destroyed a cell that is protected: %v", err)
	}
	e.destroy(t, stackFor(one))
	c.Unprotected = true
	e.up(t, cellStack(c))
	t.Logf("destroy: %s", timed(func() { e.destroy(t, cellStack(c)) }))
	e.leaves(t, cellStack(c))
}
