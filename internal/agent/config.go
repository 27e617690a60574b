package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Config is what an agent is told at its start. It holds keys, so its file
// must be readable by its owner alone. In a container there is none: see
// FromEnvironment.
type Config struct {
	Tenant   string `json:"tenant"`
	Instance string `json:"instance"` // e.g. "acme-0"
	Volume   string `json:"volume"`   // the tenant's volume; read, never written
	Local    string `json:"local"`    // a local directory of this instance's own: copies, temporary files, app.log
	Listen   string `json:"listen"`   // host:port of the public port
	Control  string `json:"control"`  // host:port of /-/runtime, /-/app and /-/ring

	// EdgeKey, unless empty, is what every request on the public port must
	// carry in X-Gitopsd-Edge. ControlKey is the bearer token of /-/app and /-/ring.
	EdgeKey    string `json:"edgeKey,omitempty"`
	ControlKey string `json:"controlKey"`

	// Environment is a file with a JSON object of strings: DATABASE_URL and the
	// like, and the tenant's secrets. It is read at every start of the app.
	Environment string `json:"environment,omitempty"`

	// Stdout has what the app prints go to standard output as well as to app.log.
	Stdout bool `json:"stdout,omitempty"`

	Poll         Duration `json:"poll,omitzero"`         // between two looks at the pointer; default 1s
	StartTimeout Duration `json:"startTimeout,omitzero"` // for a new app to be healthy; default 30s
	Drain        Duration `json:"drain,omitzero"`        // for requests to a replaced app to end; default 30s
	StopGrace    Duration `json:"stopGrace,omitzero"`    // between SIGTERM and SIGKILL; default 30s
	Hold         Duration `json:"hold,omitzero"`         // a request waits this long for a crashed app; default 10s
	Limits       Limits   `json:"limits,omitzero"`

	// IdleAfter is for how long there must be no request, and none in flight, before
	// the app is stopped; the next request starts it again. 0, the default: never.
	IdleAfter Duration `json:"idleAfter,omitzero"`
	// Linger is for how long the public port stays open once the agent was told
	// to stop: as long as others may take to learn of it. Default 0.
	Linger Duration `json:"linger,omitzero"`

	values map[string]string // instead of Environment: of a container
	hidden bool              // the keys are in the process's environment
	alone  bool              // the process is the agent's own
}

// Load reads a configuration file and fills in the defaults.
func Load(path string) (Config, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Config{}, fmt.Errorf("load configuration: %w", err)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return Config{}, fmt.Errorf("load configuration: %s has mode %#o but holds keys: chmod 600 it", path, perm)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("load configuration: %w", err)
	}
	var c Config
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("load configuration %s: %w", path, err)
	}
	return c, nil
}

// complete fills in defaults and says what is missing.
func (c Config) complete() (Config, error) {
	var errs []error
	for _, f := range []struct{ key, value string }{
		{"tenant", c.Tenant},
		{"volume", c.Volume},
		{"local", c.Local},
		{"listen", c.Listen},
		{"control", c.Control},
		{"controlKey", c.ControlKey},
	} {
		if f.value == "" {
			errs = append(errs, fmt.Errorf("configuration lacks %s", f.key))
		}
	}
	for _, d := range []struct {
		value    *Duration
		fallback time.Duration
	}{
		{&c.Poll, time.Second},
		{&c.StartTimeout, 30 * time.Second},
		{&c.Drain, 30 * time.Second},
		{&c.StopGrace, 30 * time.Second},
		{&c.Hold, 10 * time.Second},
		{&c.IdleAfter, 0},
		{&c.Linger, 0},
	} {
		if *d.value == 0 {
			*d.value = Duration(d.fallback)
		}
		if *d.value < 0 {
			errs = append(errs, fmt.Errorf("configuration has a negative duration %s", time.Duration(*d.value)))
		}
	}
	if c.Instance == "" {
		c.Instance = c.Tenant
	}
	return c, errors.Join(errs...)
}

// Duration is a time.Duration that is written like "1.5s" in JSON.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}
