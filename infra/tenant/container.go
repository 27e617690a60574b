package tenant

import (
	"maps"
	"strconv"
)

// lingerTime is for how long an agent that was told to stop goes on taking
// requests: Cloud Map's records live 5 s, and whoever read one may use it.
const lingerTime = "8s"

// maxProcesses bounds the threads of a tenant's user, whom the kernel counts over
// all of its containers on a host. The agent imposes it on the app alone: a
// limit of the container would be the agent's, too.
const maxProcesses = 2048

// agentEnvironment returns what the container's environment tells the agent, in
// the names that internal/agent reads; a test has it read them.
func (c Config) agentEnvironment() map[string]string {
	env := maps.Clone(c.Environment)
	if env == nil {
		env = make(map[string]string)
	}
	if after := c.Tenant.Compute.IdleAfter; after > 0 {
		env["GITOPSD_IDLE_AFTER"] = after.String()
	}
	maps.Copy(env, map[string]string{
		"GITOPSD_TENANT":    c.Tenant.Tenant,
		"GITOPSD_VOLUME":    VolumePath,
		"GITOPSD_LISTEN":    ":" + strconv.Itoa(TrafficPort),
		"GITOPSD_CONTROL":   ":" + strconv.Itoa(ControlPort),
		"GITOPSD_LOG":       "stdout",
		"GITOPSD_LINGER":    lingerTime,
		"GITOPSD_PROCESSES": strconv.Itoa(maxProcesses),
	})
	return env
}

// AgentSecrets returns the Config.Secrets that the agent needs, of the tenant's
// one secret in Secrets Manager, whose value is a JSON object with the keys
// controlKey, edgeKey and environment. The app is given the last one's content.
func AgentSecrets(arn string) map[string]string {
	return map[string]string{
		"GITOPSD_CONTROL_KEY": arn + ":controlKey::",
		"GITOPSD_EDGE_KEY":    arn + ":edgeKey::",
		"GITOPSD_ENVIRONMENT": arn + ":environment::",
	}
}

// HealthCommand asks the agent whether the runtime is well. The image needs no
// other program than the agent, in its PATH.
func HealthCommand() []string { return []string{"CMD", "gitopsd-agent", "-check"} }
