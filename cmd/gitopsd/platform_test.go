package main

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	infra "github.com/gitopsd/gitopsd/infra/platform"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest/provider"
)

const smallCell = `domain: apps.example
network: {zones: [eu-west-1a, eu-west-1b]}
`

func TestCellFileIsChecked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, says string }{
		"small":                {smallCell, ""},
		"control":              {smallCell + "control:\n  repo: https://github.com/acme/tenants\n  brake: {tenants: 5}\n  github: {app: {id: 1, installation: 2}}\n", ""},
		"unknown key":          {"domain: x\nnetwork:\n  zone: [a]\n", `cell.yaml:3: unknown key "zone"`},
		"a secret":             {"domain: x\noriginSecret: hush\n", `cell.yaml:2: unknown key "originSecret"`},
		"machines":             {"machines: []\n", `cell.yaml:1: unknown key "machines"`},
		"control, misspelt":    {"control:\n  repo: x\n  brnach: y\n", `cell.yaml:3: unknown key "brnach"`},
		"control of no repo":   {"control: {branch: main}\n", "cell.yaml:1: control: it does not say which repository"},
		"a path":               {"control: {repo: /srv/tenants}\n", "cell.yaml:1: control.repo: /srv/tenants is a path"},
		"a file in a cell":     {"control:\n  repo: https://x/y\n  github:\n    tokenFile: /x\n", "cell.yaml:4: control.github.tokenFile: it is not for what runs in a cell"},
		"a platform in a cell": {"control:\n  repo: https://x/y\n  platform: aws\n", "cell.yaml:3: control.platform: it is not for"},
		"engine of a daemon":   {"control:\n  repo: https://x/y\n  engine: dbos\n", "cell.yaml:3: control.engine: what runs in a cell has stepfunctions"},
		"keys of AWS":          {"control:\n  repo: https://x/y\n  aws: {cell: b}\n", "cell.yaml:3: control.aws: it is not for"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := readCell(write(t, "cell.yaml", c.text))
			if c.says == "" && err != nil || c.says != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("error is %v, want %q", err, c.says)
			}
		})
	}
}

// A cell whose control plane follows something has a daemon, unless its file says
// otherwise; the parts are not told which parts there are.
func TestCellDaemon(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		smallCell: false,
		smallCell + "control: {repo: https://x/y}\n":                true,
		smallCell + "control: {repo: https://x/y, daemon: false}\n": false,
		smallCell + "control: {daemon: true, repo: https://x/y}\n":  true,
	} {
		c, err := readCell(write(t, "cell.yaml", text))
		if err != nil || c.Daemon != want {
			t.Errorf("%s: daemon %v, %v", text, c.Daemon, err)
		}
		own := defaults()
		if _, err := parseYAML("control", configDocs, []byte(c.Control), &own); err != nil {
			t.Errorf("what the parts are told, %q: %v", c.Control, err)
		} else if c.Control != "" && own.Repo != "https://x/y" {
			t.Errorf("the parts are told %q", c.Control)
		}
	}
}

// A cell's file has the keys that its outputs and its JSON have.
func TestCellFileKeys(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("..", "..", cellDocs))
	if err != nil {
		t.Fatal(err)
	}
	var look func(reflect.Type)
	look = func(of reflect.Type) {
		for i := range of.NumField() {
			f := of.Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			inJSON, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case key == "-":
				continue
			case key != inJSON:
				t.Errorf("%s.%s is %q in YAML and %q in JSON", of.Name(), f.Name, key, inJSON)
			case !strings.Contains(string(b), "`"+key+"`"):
				t.Errorf("%s says nothing of %s", cellDocs, key)
			}
			if f.Type.Kind() == reflect.Struct {
				look(f.Type)
			}
		}
	}
	look(reflect.TypeFor[infra.Config]())
	for _, key := range own {
		if key = key[strings.LastIndex(key, ".")+1:]; !strings.Contains(string(b), "`"+key+"`") && !strings.Contains(string(b), key+":") {
			t.Errorf("%s says nothing of %s", cellDocs, key)
		}
	}
}

// account is a played account of AWS with the real engine of Pulumi before it.
type account struct {
	*testing.T
	aws      *awstest.Server
	provider *provider.Provider
	env      []string
	file     string
}

func newAccount(t *testing.T, cell string) *account {
	t.Helper()
	bin, err := filepath.Abs(filepath.Join("..", "..", "bin"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bin, "pulumi")); err != nil {
		if os.Getenv("GITOPSD_TEST_AWS") != "" {
			t.Fatal("the Pulumi CLI is not here: scripts/pulumi builds it")
		}
		t.Skip("the Pulumi CLI is not here: make test-aws builds it, and runs this test")
	}
	a := &account{T: t, aws: awstest.New(t, awstest.StartMoto(t)), provider: provider.Start(t, provider.Config{Account: awstest.Account, Region: awstest.Region})}
	a.env = append(os.Environ(),
		"PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "XDG_CACHE_HOME="+t.TempDir(), "HOME="+t.TempDir(),
		"AWS_ENDPOINT_URL="+a.aws.URL, "AWS_REGION="+awstest.Region, "AWS_ACCESS_KEY_ID=AKIDTEST", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true")
	for k, v := range a.provider.Env() {
		a.env = append(a.env, k+"="+v)
	}
	a.file = filepath.Join(t.TempDir(), "cell.yaml")
	a.write(cell)
	return a
}

func (a *account) write(cell string) {
	a.Helper()
	if err := os.WriteFile(a.file, []byte(cell), 0o600); err != nil {
		a.Fatal(err)
	}
}

// gitopsd runs a command on the cell's file.
func (a *account) gitopsd(args ...string) (stdout, stderr string, code int) {
	a.Helper()
	c := exec.Command("gitopsd", append(append([]string{"platform"}, args...), "-c", a.file)...)
	c.Env = a.env
	var out, errs strings.Builder
	c.Stdout, c.Stderr = &out, &errs
	_ = c.Run() // its code tells
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

// done runs a command that must not fail.
func (a *account) done(args ...string) (stdout, stderr string) {
	a.Helper()
	out, errs, code := a.gitopsd(args...)
	if code != exitDone {
		a.Fatalf("gitopsd platform %v ends with %d:\n%s%s", args, code, out, errs)
	}
	return out, errs
}

// refused runs a command that must fail with a code, and say something.
func (a *account) refused(code int, says string, args ...string) {
	a.Helper()
	out, errs, got := a.gitopsd(args...)
	if got != code || !strings.Contains(errs, says) {
		a.Errorf("gitopsd platform %v ends with %d, want %d and %q:\n%s%s", args, got, code, says, out, errs)
	}
}

func contains(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s does not say %q:\n%s", what, part, text)
		}
	}
}

// TestPlatform takes a cell through its life on the real engine.
func TestPlatform(t *testing.T) {
	t.Parallel()
	a := newAccount(t, smallCell)
	out, _ := a.done("preview")
	contains(t, "the first preview", out, "create         s3/bucket:Bucket snapshots", "create         rds/cluster:Cluster database")
	if live := a.provider.Live(); len(live) > 0 {
		t.Fatalf("a preview makes %v", live)
	}
	out, errs := a.done("up")
	contains(t, "the first up", errs, "Delegate apps.example to ", "create         s3/bucket:Bucket state")
	contains(t, "the first up", out, "cell a of 123456789012 in eu-west-1", "control-plane", "Build the images and push them")
	a.bootstrapped()
	if out, _ = a.done("preview"); out != "cell a is as its file says\n" {
		t.Errorf("nothing changed, and the preview says:\n%s", out)
	}

	second := smallCell + "images: {controlPlane: x/control@sha256:1, runtime: x/runtime@sha256:2, compiler: x/compiler@sha256:3}\n" +
		"control:\n  repo: https://github.com/acme/tenants\n  branch: live\nlogDays: 7\n"
	a.write(second)
	out, _ = a.done("preview")
	contains(t, "the second preview", out, "create         lambda/function:Function sync", "create         sfn/stateMachine:StateMachine deploy-v1",
		"update         cloudwatch/logGroup:LogGroup logs-edge: retentionInDays")
	out, _ = a.done("up")
	contains(t, "the second up", out, "secret gitopsd/a/configuration", "put-secret-value --secret-id gitopsd/a/credentials")
	out, _ = a.done("up", "-o", "json")
	var cell infra.Outputs
	if err := json.Unmarshal([]byte(out), &cell); err != nil {
		t.Fatal(err)
	}
	if cell.Control != "repo: https://github.com/acme/tenants\nbranch: live\n" || cell.Machines["restore-v1"] == "" || cell.WebhookURL == "" {
		t.Errorf("the cell tells %+v", cell)
	}
	if machines, err := stateMachines(cell.Machines); err != nil || len(machines) != 4 {
		t.Errorf("machines: %v, %v", machines, err)
	}
	a.refused(exitInvalid, "unprotected: true", "destroy", "--yes")
	a.write(second + "unprotected: true\n")
	a.refused(exitInvalid, "if it is meant: --yes", "destroy")
	a.done("up") // a destroy before it would fail for what is protected
	a.tenant("acme")
	a.refused(exitFailed, "cell a has 1 tenant: acme", "destroy", "--yes")
	a.tenant("")
	out, _ = a.done("destroy", "--yes")
	contains(t, "the destroy", out, "cell a is gone", "secret gitopsd/a/roots", "s3://gitopsd-123456789012-eu-west-1-state")
	for _, live := range a.provider.Live() {
		t.Errorf("left: %+v", live)
	}
}

// bootstrapped looks at what the stack hangs on.
func (a *account) bootstrapped() {
	a.Helper()
	api := s3.NewFromConfig(a.aws.Config(), func(o *s3.Options) { o.UsePathStyle = true })
	bucket := awssdk.String("gitopsd-123456789012-eu-west-1-state")
	if v := must(api.GetBucketVersioning(a.Context(), &s3.GetBucketVersioningInput{Bucket: bucket}))(a.T); v.Status != "Enabled" {
		a.Errorf("versioning of the state: %s", v.Status)
	}
	if b := must(api.GetPublicAccessBlock(a.Context(), &s3.GetPublicAccessBlockInput{Bucket: bucket}))(a.T); !*b.PublicAccessBlockConfiguration.BlockPublicPolicy {
		a.Error("the state may be made public")
	}
	list := must(api.ListObjectsV2(a.Context(), &s3.ListObjectsV2Input{Bucket: bucket, Prefix: awssdk.String(".pulumi/stacks/gitopsd-platform/")}))(a.T)
	if len(list.Contents) == 0 {
		a.Error("there is no state")
	}
	secret := must(secretsmanager.NewFromConfig(a.aws.Config()).GetSecretValue(a.Context(), &secretsmanager.GetSecretValueInput{SecretId: awssdk.String("gitopsd/a/roots")}))(a.T)
	var kept roots
	if err := json.Unmarshal([]byte(*secret.SecretString), &kept); err != nil {
		a.Fatal(err)
	}
	for _, o := range list.Contents {
		text := must(api.GetObject(a.Context(), &s3.GetObjectInput{Bucket: bucket, Key: o.Key}))(a.T)
		state := string(must(io.ReadAll(text.Body))(a.T))
		text.Body.Close()
		if strings.Contains(state, kept.Origin) || strings.Contains(state, kept.Passphrase) {
			a.Errorf("%s has a secret as it is", *o.Key)
		}
	}
}

// tenant has the cell have a record of one tenant, or of none.
func (a *account) tenant(name string) {
	a.Helper()
	api := s3.NewFromConfig(a.aws.Config(), func(o *s3.Options) { o.UsePathStyle = true })
	bucket := awssdk.String(infra.Config{Account: awstest.Account, Region: awstest.Region, Cell: "a"}.StateBucket())
	if name == "" {
		must(api.DeleteObject(a.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: awssdk.String("tenants/acme.json")}))(a.T)
		return
	}
	if err := ensureBucket(a.Context(), a.aws.Config(), awstest.Account, *bucket); err != nil { // the provider makes none
		a.Fatal(err)
	}
	must(api.PutObject(a.Context(), &s3.PutObjectInput{Bucket: bucket, Key: awssdk.String("tenants/" + name + ".json"), Body: strings.NewReader("{}")}))(a.T)
}

// A cell is made in its own account.
func TestPlatformOfAnotherAccount(t *testing.T) {
	t.Parallel()
	a := newAccount(t, smallCell+"account: \"999999999999\"\n")
	a.refused(exitInvalid, "the cell is of account 999999999999, and these credentials are of 123456789012", "up")
}

// What needs the go command goes to the function that has it.
func TestMachinesOfACell(t *testing.T) {
	t.Parallel()
	c, err := readCell(write(t, "cell.yaml", smallCell+"images: {controlPlane: x@sha256:1, compiler: y@sha256:2}\n"))
	if err != nil {
		t.Fatal(err)
	}
	c.Account, c.Region = "123456789012", "eu-west-1"
	if err := c.machines(); err != nil {
		t.Fatal(err)
	}
	for _, m := range c.Machines {
		if m.Name == "deploy" {
			contains(t, "the document of deploy", m.Document, c.FunctionARN("compile"), c.FunctionARN("task"))
		}
		if m.Name == "provision" {
			contains(t, "the document of provision", m.Document, c.ClusterARN(), c.PulumiFamily(), c.MachineARN("deploy", 1))
		}
	}
	if len(c.Machines) < 4 {
		t.Errorf("%d machines", len(c.Machines))
	}
}
