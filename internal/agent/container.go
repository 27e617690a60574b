package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// variablePrefix begins the names of all that a container tells its agent.
const variablePrefix = "GITOPSD_"

// FromEnvironment returns the configuration that the variables (name=value) of a
// container describe. Those with the agent's prefix that it does not know are
// refused; others mean nothing, and no app gets to see any of them.
//
//	GITOPSD_TENANT       the tenant
//	GITOPSD_INSTANCE     the instance; default: the host's name
//	GITOPSD_VOLUME       the tenant's volume, mounted read-only
//	GITOPSD_LOCAL        a directory of the instance's own; default: below the temporary directory
//	GITOPSD_LISTEN       host:port of the public port
//	GITOPSD_CONTROL      host:port of the control port
//	GITOPSD_CONTROL_KEY  Config.ControlKey
//	GITOPSD_EDGE_KEY     Config.EdgeKey
//	GITOPSD_ENVIRONMENT  what the app is given, as a JSON object of strings
//	GITOPSD_LOG          "stdout": what the app prints goes there as well
//	GITOPSD_IDLE_AFTER   Config.IdleAfter
//	GITOPSD_LINGER       Config.Linger
//	GITOPSD_PROCESSES    Config.Limits.Processes
func FromEnvironment(environ []string) (Config, error) {
	c := Config{hidden: true, values: map[string]string{}}
	texts := map[string]*string{
		"TENANT": &c.Tenant, "INSTANCE": &c.Instance, "VOLUME": &c.Volume, "LOCAL": &c.Local,
		"LISTEN": &c.Listen, "CONTROL": &c.Control, "CONTROL_KEY": &c.ControlKey, "EDGE_KEY": &c.EdgeKey,
	}
	durations := map[string]*Duration{"IDLE_AFTER": &c.IdleAfter, "LINGER": &c.Linger}
	var errs []error
	for _, variable := range environ {
		full, value, _ := strings.Cut(variable, "=")
		name, ours := strings.CutPrefix(full, variablePrefix)
		switch {
		case !ours:
		case texts[name] != nil:
			*texts[name] = value
		case durations[name] != nil:
			if err := durations[name].UnmarshalText([]byte(value)); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", full, err))
			}
		case name == "PROCESSES":
			var err error
			if c.Limits.Processes, err = strconv.Atoi(value); err != nil || c.Limits.Processes < 0 {
				errs = append(errs, fmt.Errorf("%s is %q, which is no number of processes", full, value))
			}
		case name == "ENVIRONMENT":
			if err := json.Unmarshal([]byte(value), &c.values); err != nil {
				// The decoder's own message could quote a secret.
				errs = append(errs, fmt.Errorf("%s is not a JSON object of strings", full))
			}
		case name == "LOG":
			if c.Stdout = value == "stdout"; !c.Stdout {
				errs = append(errs, fmt.Errorf("%s is %q; it can be %q", full, value, "stdout"))
			}
		default:
			errs = append(errs, fmt.Errorf("%s is no variable of the agent's", full))
		}
	}
	if c.Instance == "" {
		c.Instance, _ = os.Hostname()
	}
	if c.Local == "" && c.Tenant != "" {
		c.Local = filepath.Join(os.TempDir(), "gitopsd", c.Tenant)
	}
	if err := errors.Join(errs...); err != nil {
		return Config{}, fmt.Errorf("configuration from the environment: %w", err)
	}
	return c, nil
}

// check asks the agent whose control port is given whether the runtime is well:
// a container's health check, for images that have no other program.
func check(control string) error {
	_, port, err := net.SplitHostPort(control)
	if err != nil {
		return fmt.Errorf("control port: %w", err)
	}
	client := http.Client{Timeout: 4 * time.Second}
	res, err := client.Get("http://" + net.JoinHostPort("127.0.0.1", port) + "/-/runtime")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the agent answers %s", res.Status)
	}
	return nil
}
