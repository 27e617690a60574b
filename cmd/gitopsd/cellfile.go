package main

import (
	"context"
	"fmt"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"gopkg.in/yaml.v3"

	infra "github.com/gitopsd/gitopsd/infra/platform"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/pipeline/asl"
)

const cellDocs = "docs/cell.md"

// cellFile is what a cell is made from, as its file says.
type cellFile struct {
	infra.Config `yaml:",inline"`
	// Own is the configuration of the control plane's own parts in the cell.
	Own cellControl `yaml:"control"`
	// State is where Pulumi keeps what it knows of the cell: s3:// or file://; a
	// bucket of the account's if "".
	State string `yaml:"state"`
}

// cellControl is what the control plane's own parts in a cell are told, and which
// parts there are.
type cellControl struct {
	config `yaml:",inline"`
	Daemon bool `yaml:"daemon"` // runs in the cell
}

// own are the keys that the control plane's parts in a cell may be given. They have no
// files, and the cell tells the rest.
var own = []string{
	"repo", "branch", "brake", "runs", "engine", "consoleAddr", "consoleURL", "publicRead", "daemon",
	"github.repository", "github.apiURL", "github.interval", "github.app.id", "github.app.installation",
}

// readCell reads a cell's file over the defaults.
func readCell(name string) (cellFile, error) {
	c := cellFile{Config: infra.Default(), Own: cellControl{config: defaults(), Daemon: true}}
	f, err := openYAML(name, cellDocs, &c)
	if err != nil {
		return c, err
	}
	if !f.has("control") {
		return c, nil
	}
	_, control := member(f.root.Content[0], "control")
	if err := onlyOwn(f, control, "control"); err != nil {
		return c, err
	}
	if !f.has("control.repo") {
		return c, f.wrong("control", "it does not say which repository").WithHint("add control.repo, or leave control out: then the cell follows none")
	}
	if strings.HasPrefix(c.Own.Repo, ".") || strings.HasPrefix(c.Own.Repo, "/") {
		return c, f.wrong("control.repo", "%s is a path of this machine", c.Own.Repo).WithHint("give the repository's URL")
	}
	if f.has("control.engine") && c.Own.Engine != byStepFunctions {
		return c, f.wrong("control.engine", "what runs in a cell has %s carry runs out", byStepFunctions).WithHint("take the key away")
	}
	told := *control
	told.Content = nil
	for i := 0; i+1 < len(control.Content); i += 2 {
		if control.Content[i].Value != "daemon" { // is for whoever makes the parts
			told.Content = append(told.Content, control.Content[i:i+2]...)
		}
	}
	b, err := yaml.Marshal(&told)
	c.Control, c.Daemon = string(b), c.Own.Daemon
	return c, err
}

// onlyOwn refuses keys that the parts in a cell have no use for.
func onlyOwn(f *yamlFile, mapping *yaml.Node, at string) error {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key := at + "." + mapping.Content[i].Value
		known, above := false, false
		for _, k := range own {
			known = known || key == "control."+k || strings.HasPrefix(key, "control.brake.")
			above = above || strings.HasPrefix("control."+k, key+".")
		}
		switch value := mapping.Content[i+1]; {
		case above && value.Kind == yaml.MappingNode:
			if err := onlyOwn(f, value, key); err != nil {
				return err
			}
		case !known:
			return f.wrong(key, "it is not for what runs in a cell").WithHint("%s lists what is", cellDocs)
		}
	}
	return nil
}

// complete fills in what the file leaves out and AWS knows, and what is never in it.
func (c *cellFile) complete(ctx context.Context, a awssdk.Config) error {
	who, err := sts.NewFromConfig(a).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return fault.Errorf(fault.Invalid, "ask AWS who this is: %w", err).WithHint("log in to the account, or choose its profile with AWS_PROFILE")
	}
	account := awssdk.ToString(who.Account)
	if c.Account != "" && c.Account != account {
		return fault.Errorf(fault.Invalid, "the cell is of account %s, and these credentials are of %s", c.Account, account).
			WithHint("choose the account's profile with AWS_PROFILE")
	}
	c.Account, c.Region = account, a.Region
	return c.machines()
}

// machines writes the machines' documents for the cell.
func (c *cellFile) machines() error {
	all := pipeline.Machines()
	targets := asl.Targets{
		Function: c.FunctionARN("task"), StateMachine: c.MachineARN, Cluster: c.ClusterARN(), TaskDefinition: c.PulumiFamily(),
		Container: infra.Container, CapacityProvider: c.CapacityProvider(),
	}
	if c.Images.Compiler != "" {
		targets.Compiler = c.FunctionARN("compile")
	}
	c.Machines = nil
	for _, m := range all {
		document, err := asl.Document(m, all, targets)
		if err != nil {
			return fmt.Errorf("machine %s: %w", m.Name, err)
		}
		c.Machines = append(c.Machines, infra.Machine{Name: m.Name, Version: m.Version, Document: string(document)})
	}
	return nil
}
