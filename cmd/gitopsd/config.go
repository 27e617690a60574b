package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"

	"gopkg.in/yaml.v3"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
)

// config is what the daemon is told; flags and the config file fill it.
type config struct {
	Repo        string     `yaml:"repo"` // path or URL
	Branch      string     `yaml:"branch"`
	Data        string     `yaml:"data"`   // directory
	Domain      string     `yaml:"domain"` // tenants are at <name>.<domain>
	EdgeAddr    string     `yaml:"edgeAddr"`
	ConsoleAddr string     `yaml:"consoleAddr"`
	Brake       plan.Brake `yaml:"brake"`
	Runs        int        `yaml:"runs"`       // at a time
	BuildCache  string     `yaml:"buildCache"` // of compiled packages; below Data if ""

	ConsoleURL string       `yaml:"consoleURL"` // what browsers and the forge call the console
	PublicRead bool         `yaml:"publicRead"` // anybody may read the console's pages
	GitHub     githubConfig `yaml:"github"`
	Git        gitConfig    `yaml:"git"`

	AllowFileSources bool `yaml:"allowFileSources"` // tenants' files may name repositories of this machine
}

func defaults() config {
	return config{
		Repo: ".", Branch: "main", Data: ".gitopsd", Domain: "localhost",
		EdgeAddr: "127.0.0.1:8080", ConsoleAddr: "127.0.0.1:8090",
		Brake: plan.DefaultBrake, Runs: 4 * runtime.GOMAXPROCS(0),
	}
}

// unknownKey is what the YAML library says of a key that config has no field for.
var unknownKey = regexp.MustCompile(`field (\S+) not found in type \S+`)

// readConfig reads a configuration file over the defaults.
func readConfig(path string) (config, error) {
	c := defaults()
	f, err := os.Open(path)
	if err != nil {
		return c, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	decoder := yaml.NewDecoder(f)
	decoder.KnownFields(true)
	if err := decoder.Decode(&c); err != nil {
		var typeErr *yaml.TypeError
		if errors.As(err, &typeErr) {
			return c, fault.Errorf(fault.Invalid, "%s: %s", path, unknownKey.ReplaceAllString(typeErr.Errors[0], `unknown key "$1"`)).
				WithHint("docs/config.md lists the keys")
		}
		return c, fault.Errorf(fault.Invalid, "%s: %w", path, err)
	}
	return c, nil
}
