package tenant_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/agent"
)

// TestAgentUnderstandsItsContainer: what the container's environment tells is
// what the agent reads, all of it, and enough.
func TestAgentUnderstandsItsContainer(t *testing.T) {
	t.Parallel()
	task := one(t, run(t, config(func(c *tenant.Config) { c.Tenant.Compute.IdleAfter = 15 * time.Minute })), "aws:ecs/taskDefinition:TaskDefinition")
	var containers []struct {
		Environment []struct{ Name, Value string }
		Secrets     []struct{ Name, ValueFrom string }
	}
	if err := json.Unmarshal([]byte(task.Inputs["containerDefinitions"].StringValue()), &containers); err != nil {
		t.Fatal(err)
	}
	var environ []string
	for _, v := range containers[0].Environment {
		environ = append(environ, v.Name+"="+v.Value)
	}
	arn := shared().SecretPrefix + "acme-AbCdEf"
	for _, v := range containers[0].Secrets {
		value, ok := map[string]string{
			arn + ":controlKey::": "control", arn + ":edgeKey::": "edge", arn + ":environment::": `{"DATABASE_URL":"postgres://"}`,
		}[v.ValueFrom]
		if !ok {
			t.Errorf("%s is taken from %s", v.Name, v.ValueFrom)
		}
		environ = append(environ, v.Name+"="+value)
	}
	c, err := agent.FromEnvironment(environ)
	if err != nil {
		t.Fatal(err)
	}
	if c.Tenant != "acme" || c.Volume != tenant.VolumePath || c.Listen != ":8080" || c.Control != ":8081" ||
		c.ControlKey != "control" || c.EdgeKey != "edge" || !c.Stdout || time.Duration(c.IdleAfter) != 15*time.Minute {
		t.Errorf("the agent reads %+v", c)
	}
}
