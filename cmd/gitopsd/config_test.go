package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/internal/fault"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, says string }{
		"nothing":                   {"", ""},
		"only a comment":            {"# later\n", ""},
		"local":                     {"platform: local\nengine: dbos\n", ""},
		"a cell":                    {"platform: aws\naws: {cell: a, region: eu-west-1}\n", ""},
		"all of a cell":             {"platform: aws\nengine: stepfunctions\naws: {configurationFile: f, originSecretFile: o, volumes: /v, edge: wildcard, drift: heal, caBundle: b, pulumi: {dir: /p, memory: 600}}\n", ""},
		"machines without a cell":   {"engine: stepfunctions\naws:\n  region: eu-west-1\n  machines: {deploy-v1: arn}\n", ""},
		"unknown key":               {"repo: .\nplatforms: aws\n", `c.yaml:2: unknown key "platforms"`},
		"unknown key below":         {"aws:\n  pulumi:\n    mem: 3\n", `c.yaml:3: unknown key "mem"`},
		"another type":              {"repo: .\nruns: many\n", "c.yaml:2: cannot unmarshal !!str `many` into int"},
		"no YAML":                   {"repo: [\n", "c.yaml:1: did not find expected node content"},
		"twice":                     {"repo: a\nrepo: b\n", `c.yaml:2: mapping key "repo" already defined at line 1`},
		"two documents":             {"repo: a\n---\nrepo: b\n", "c.yaml: there is more than one document"},
		"unknown platform":          {"repo: .\n\nplatform: azure\n", `c.yaml:3: platform: "azure" is none of local, aws`},
		"unknown engine":            {"engine: cron\n", `c.yaml:1: engine: "cron" is none of dbos, stepfunctions`},
		"no address of TLS":         {"edgeTLS:\n  redirect: true\n", `c.yaml:1: edgeTLS: addr: "" is not host:port`},
		"no URL of a CA":            {"edgeTLS: {addr: ':443', ca: pebble}\n", `c.yaml:1: edgeTLS: ca: "pebble" is not an https URL`},
		"a negative limit":          {"edgeLimits: {rate: -1}\n", "c.yaml:1: edgeLimits: limits: a negative number"},
		"the edge of a cell":        {"platform: aws\naws: {cell: a}\nedgeTLS: {addr: ':443'}\n", "c.yaml:3: edgeTLS: on platform aws the edge is the cell's"},
		"unknown edge":              {"platform: aws\naws:\n  cell: a\n  edge: shared\n", `c.yaml:4: aws.edge: "shared" is none of`},
		"unknown drift":             {"platform: aws\naws:\n  cell: a\n  drift: ignore\n", `c.yaml:4: aws.drift: "ignore" is none of`},
		"no cell":                   {"platform: aws\n", "c.yaml: aws: it does not say which cell"},
		"two cells":                 {"platform: aws\naws:\n  cell: a\n  configuration: b\n", "c.yaml:4: aws.configuration: aws.cell says the same"},
		"an edge of its own":        {"platform: aws\nedgeAddr: :80\naws: {cell: a}\n", "c.yaml:2: edgeAddr: on platform aws the edge is the cell's"},
		"a domain of its own":       {"platform: aws\naws: {cell: a}\ndomain: x.example\n", "c.yaml:3: domain: on platform aws the domain is the cell's"},
		"files on AWS":              {"platform: aws\naws: {cell: a}\nallowFileSources: true\n", "c.yaml:3: allowFileSources: it is for platform local"},
		"little memory":             {"platform: aws\naws:\n  cell: a\n  pulumi: {memory: 100}\n", "c.yaml:4: aws.pulumi.memory: one run takes 550 MiB"},
		"machines of a cell":        {"platform: aws\naws:\n  cell: a\n  machines: {deploy-v1: arn}\n", "c.yaml:4: aws.machines: the cell says which there are"},
		"a machine without version": {"engine: stepfunctions\naws:\n  machines:\n    deploy: arn\n", "c.yaml:4: aws.machines.deploy: it names no version"},
		"no machines":               {"engine: stepfunctions\n", "c.yaml:1: engine: which state machines there are is not known"},
		"a cell, locally":           {"aws:\n  cell: a\n", "c.yaml:2: aws.cell: it is of platform aws, and the platform is local"},
		"Pulumi, locally":           {"engine: stepfunctions\naws:\n  machines: {deploy-v1: arn}\n  pulumi: {memory: 600}\n", "c.yaml:4: aws.pulumi: it is of platform aws"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, "c.yaml", c.text)
			_, err := readConfig(path)
			switch {
			case c.says == "" && err != nil:
				t.Fatal(err)
			case c.says == "":
				return
			case !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.says):
				t.Errorf("error is %v, want one that says %q", err, c.says)
			}
		})
	}
}

// Every key is in the documentation.
func TestConfigurationIsDocumented(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("..", "..", configDocs))
	if err != nil {
		t.Fatal(err)
	}
	var look func(reflect.Type)
	look = func(of reflect.Type) {
		for i := range of.NumField() {
			f := of.Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if key == "" || key == "-" {
				continue
			}
			if f.Type == reflect.TypeFor[githubConfig]() || f.Type == reflect.TypeFor[gitConfig]() {
				continue // docs/github.md
			}
			if !strings.Contains(string(b), "`"+key+"`") {
				t.Errorf("%s says nothing of %s", configDocs, key)
			}
			if f.Type.Kind() == reflect.Struct && f.Type.PkgPath() == of.PkgPath() {
				look(f.Type)
			}
		}
	}
	look(reflect.TypeFor[config]())
}

func TestStateMachines(t *testing.T) {
	t.Parallel()
	got, err := stateMachines(map[string]string{"deploy-v2": "d2", "deploy-v10": "d10", "restore-v1": "r1", "deploy-v1": "d1"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"deploy": {"d10", "d2", "d1"}, "restore": {"r1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("state machines (-want +got):\n%s", diff)
	}
	for _, key := range []string{"deploy", "deploy-v", "deploy-v0", "deploy-vx", "-v1"} {
		if _, err := stateMachines(map[string]string{key: "arn"}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestACellsEdge(t *testing.T) {
	t.Parallel()
	env := map[string]string{envDomain: "apps.example", envVolumes: "/mnt/tenants", envOriginSecret: strings.Repeat("s", 32)}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	c, err := cellEdge(lookup)
	if err != nil || c.Routes != "/mnt/tenants/.edge/routes" || !c.Origin || !c.Remote || c.Secret != env[envOriginSecret] {
		t.Errorf("it is %+v, %v", c, err)
	}
	delete(env, envOriginSecret)
	if _, err := cellEdge(lookup); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), envOriginSecret) {
		t.Errorf("without a secret: %v", err)
	}
}
