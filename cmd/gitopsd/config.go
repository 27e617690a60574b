package main

import (
	"runtime"

	"github.com/gitopsd/gitopsd/internal/plan"
)

// config is what the daemon is told; flags and the config file fill it.
type config struct {
	Repo        string     `yaml:"repo"` // path or URL
	Branch      string     `yaml:"branch"`
	Data        string     `yaml:"data"`   // directory
	Domain      string     `yaml:"domain"` // tenants are at <name>.<domain>
	EdgeAddr    string     `yaml:"edgeAddr"`
	EdgeTLS     edgeTLS    `yaml:"edgeTLS"`
	EdgeLimits  edgeLimits `yaml:"edgeLimits"`
	ConsoleAddr string     `yaml:"consoleAddr"`
	Brake       plan.Brake `yaml:"brake"`
	Runs        int        `yaml:"runs"`       // at a time
	BuildCache  string     `yaml:"buildCache"` // of compiled packages; below Data if ""

	Platform string    `yaml:"platform"` // where tenants live
	Engine   string    `yaml:"engine"`   // what runs machines
	AWS      awsConfig `yaml:"aws"`

	ConsoleURL string       `yaml:"consoleURL"` // what browsers and the forge call the console
	PublicRead bool         `yaml:"publicRead"` // anybody may read the console's pages
	GitHub     githubConfig `yaml:"github"`
	Git        gitConfig    `yaml:"git"`

	AllowFileSources bool `yaml:"allowFileSources"` // tenants' files may name repositories of this machine

	cell *cell // on AWS
}

// The platforms and engines there are.
const (
	onLocal = "local"
	onAWS   = "aws"

	byDBOS          = "dbos"
	byStepFunctions = "stepfunctions"
)

// awsConfig says which cell's tenants the daemon looks after, and how.
type awsConfig struct {
	Region            string           `yaml:"region"`            // else as the SDK finds it
	Cell              string           `yaml:"cell"`              // whose configuration is in the secret that platform up made
	Configuration     string           `yaml:"configuration"`     // that secret's name or ARN, where it is another
	ConfigurationFile string           `yaml:"configurationFile"` // what the secret would have
	OriginSecretFile  string           `yaml:"originSecretFile"`  // else from the cell's secret
	Volumes           string           `yaml:"volumes"`           // where the cell's file system is mounted
	Edge              string           `yaml:"edge"`              // of tenants that ask for none
	Drift             string           `yaml:"drift"`             // what is done about it
	CABundle          string           `yaml:"caBundle"`          // file of certificates that count beside the system's
	Pulumi            pulumiConfig     `yaml:"pulumi"`
	Machines          machineAddresses `yaml:"machines"` // of state machines, where no cell tells them
}

// pulumiConfig says what Pulumi may take.
type pulumiConfig struct {
	Dir    string `yaml:"dir"`    // below Data if ""
	Memory int    `yaml:"memory"` // of all runs together, in MiB
}

// machineAddresses are ARNs of state machines by <name>-v<version>.
type machineAddresses map[string]string

func defaults() config {
	return config{
		Repo: ".", Branch: "main", Data: ".gitopsd", Domain: "localhost",
		EdgeAddr: "127.0.0.1:8080", ConsoleAddr: "127.0.0.1:8090",
		Brake: plan.DefaultBrake, Runs: 4 * runtime.GOMAXPROCS(0),
		Platform: onLocal, Engine: byDBOS,
		AWS: awsConfig{Volumes: "/mnt/tenants", Edge: "tenant", Drift: "report", Pulumi: pulumiConfig{Memory: 2048}},
	}
}

const configDocs = "docs/config.md"

// readConfig reads a configuration file over the defaults.
func readConfig(path string) (config, error) {
	c := defaults()
	f, err := openYAML(path, configDocs, &c)
	if err != nil {
		return c, err
	}
	return c, c.check(f)
}
