package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// leastMemory is what one run of Pulumi takes, in MiB.
const leastMemory = 550

// check says which values cannot be, alone or together; f has them.
func (c config) check(f *yamlFile) error {
	for _, one := range []struct {
		key, value string
		of         []string
	}{
		{"platform", c.Platform, []string{onLocal, onAWS}},
		{"engine", c.Engine, []string{byDBOS, byStepFunctions}},
		{"aws.edge", c.AWS.Edge, []string{"tenant", "dedicated", "wildcard"}},
		{"aws.drift", c.AWS.Drift, []string{"report", "heal"}},
	} {
		if !slices.Contains(one.of, one.value) {
			return f.wrong(one.key, "%q is none of %s", one.value, strings.Join(one.of, ", "))
		}
	}
	for key := range c.AWS.Machines {
		if _, _, ok := machineKey(key); !ok {
			return f.wrong("aws.machines."+key, "it names no version of a machine").WithHint("write <name>-v<version>, such as deploy-v1")
		}
	}
	if c.Platform == onAWS {
		return c.checkAWS(f)
	}
	return c.checkLocal(f)
}

func (c config) checkLocal(f *yamlFile) error {
	byArn := c.Engine == byStepFunctions
	for _, key := range []string{
		"cell", "configuration", "configurationFile", "originSecretFile", "volumes", "edge", "drift", "caBundle", "pulumi", "machines", "region",
	} {
		if key = "aws." + key; f.has(key) && !(byArn && (key == "aws.machines" || key == "aws.region")) {
			return f.wrong(key, "it is of platform %s, and the platform is %s", onAWS, c.Platform).WithHint("add platform: %s, or take the key away", onAWS)
		}
	}
	if byArn && len(c.AWS.Machines) == 0 {
		return f.wrong("engine", "which state machines there are is not known: platform %s has none", c.Platform).
			WithHint("give their ARNs as aws.machines, or add platform: %s", onAWS)
	}
	return c.checkEdge(f)
}

func (c config) checkAWS(f *yamlFile) error {
	var given []string
	for _, key := range []string{"aws.cell", "aws.configuration", "aws.configurationFile"} {
		if f.has(key) {
			given = append(given, key)
		}
	}
	for _, key := range []string{"edgeAddr", "edgeTLS", "edgeLimits"} {
		if f.has(key) {
			return f.wrong(key, "on platform %s the edge is the cell's", onAWS).WithHint("take the key away")
		}
	}
	switch {
	case len(given) == 0:
		return f.wrong("aws", "it does not say which cell").WithHint("add aws.cell: <name of the cell>")
	case len(given) > 1:
		return f.wrong(given[1], "%s says the same", given[0]).WithHint("keep one of them")
	case f.has("domain"):
		return f.wrong("domain", "on platform %s the domain is the cell's", onAWS).WithHint("take the key away")
	case len(c.AWS.Machines) > 0:
		return f.wrong("aws.machines", "the cell says which there are").WithHint("take the key away")
	case c.AWS.Pulumi.Memory < leastMemory:
		return f.wrong("aws.pulumi.memory", "one run takes %d MiB", leastMemory)
	case c.AllowFileSources:
		return f.wrong("allowFileSources", "it is for platform %s", onLocal).WithHint("take the key away")
	}
	return nil
}

// machineKey splits <name>-v<version>.
func machineKey(key string) (name string, version int, ok bool) {
	at := strings.LastIndex(key, "-v")
	if at < 1 {
		return "", 0, false
	}
	version, err := strconv.Atoi(key[at+len("-v"):])
	return key[:at], version, err == nil && version > 0
}

// stateMachines returns the ARNs of each machine's state machines, by its name,
// that of its newest version first.
func stateMachines(all map[string]string) (map[string][]string, error) {
	type versioned struct {
		version int
		arn     string
	}
	found := map[string][]versioned{}
	for key, arn := range all {
		name, version, ok := machineKey(key)
		if !ok {
			return nil, fault.Errorf(fault.Invalid, "state machine %q names no version of a machine", key)
		}
		found[name] = append(found[name], versioned{version, arn})
	}
	out := make(map[string][]string, len(found))
	for name, versions := range found {
		slices.SortFunc(versions, func(a, b versioned) int { return b.version - a.version })
		for _, v := range versions {
			out[name] = append(out[name], v.arn)
		}
	}
	return out, nil
}
