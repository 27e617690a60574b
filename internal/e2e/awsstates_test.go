package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	gosync "sync"
	"syscall"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	infra "github.com/gitopsd/gitopsd/infra/platform"
	tenants "github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/pipeline/asl"
	"github.com/gitopsd/gitopsd/internal/pipeline/sfnrun/sfnruntest"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest/provider"
)

// onStates is a cell whose machines are run by state machines. Their tasks are carried
// out by the real program as functions and containers, which know of the cell what its
// own parts know, and nothing of each other's disks.
type onStates struct {
	*onAWS
	functions map[string]*sfnruntest.Function // by ARN
	log       *os.File

	mu       gosync.Mutex
	starting func(task string, container *exec.Cmd) // called with the next container; nil: left alone
}

func newOnStates(t *testing.T) *onStates {
	w := &onStates{onAWS: newOnAWS(t), functions: map[string]*sfnruntest.Function{}}
	var err error
	w.log, err = os.Create(filepath.Join(filepath.Dir(w.data), "workers.log"))
	w.must(err)
	t.Cleanup(func() {
		w.log.Close()
		if text, err := os.ReadFile(w.log.Name()); err == nil && t.Failed() {
			t.Logf("the workers' log:\n%s", tail(string(text), 60))
		}
	})
	states := httptest.NewServer(sfnruntest.NewAccount(t, w.machines(), w.answer))
	t.Cleanup(states.Close)
	w.environment = append(w.environment, "AWS_ENDPOINT_URL_SFN="+states.URL)
	w.daemon("stepfunctions")

	secret, err := secretsmanager.NewFromConfig(w.cell.AWS()).CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{
		Name: awssdk.String(w.names().ConfigurationName()), SecretString: awssdk.String(w.configuration()),
	})
	w.must(err)
	for name, path := range map[string]string{"task": noGo(t), "compile": os.Getenv("PATH")} {
		w.functions[w.names().FunctionARN(name)] = sfnruntest.NewFunction(t, func() *exec.Cmd {
			return w.worker("task lambda", "PATH="+path, "GITOPSD_CELL_SECRET="+*secret.ARN)
		})
	}
	return w
}

// names has the names of the cell's parts.
func (w *onStates) names() infra.Config {
	return infra.Config{Cell: w.outputs.Shared.Cell, Account: awstest.Account, Region: awstest.Region}
}

// machines returns the documents, by the ARNs of their state machines, which become
// the cell's.
func (w *onStates) machines() map[string]string {
	w.t.Helper()
	names, all := w.names(), pipeline.Machines()
	documents := map[string]string{}
	w.outputs.Machines = map[string]string{}
	for _, m := range all {
		d, err := asl.Document(m, all, asl.Targets{
			Function: names.FunctionARN("task"), Compiler: names.FunctionARN("compile"), StateMachine: names.MachineARN,
			Cluster: names.ClusterARN(), TaskDefinition: names.PulumiFamily(), Container: infra.Container, CapacityProvider: names.CapacityProvider(),
		})
		w.must(err)
		arn := names.MachineARN(m.Name, m.Version)
		documents[arn] = string(d)
		w.outputs.Machines[fmt.Sprintf("%s-v%d", m.Name, m.Version)] = arn
	}
	w.outputs.Control = "repo: " + w.repo + "\nbuildCache: " + buildCache + "\n"
	return documents
}

// configuration is what the cell tells its own parts.
func (w *onStates) configuration() string {
	w.t.Helper()
	text, err := json.Marshal(w.outputs)
	w.must(err)
	return string(text)
}

// worker is the program as a part of the cell, with a disk of its own.
func (w *onStates) worker(command string, environment ...string) *exec.Cmd {
	disk, err := os.MkdirTemp(filepath.Dir(w.data), "worker-")
	if err != nil {
		w.t.Error(err)
	}
	c := exec.Command(filepath.Join(binDir, "gitopsd"), strings.Fields(command)...)
	c.Env = slices.Concat(w.environment, []string{"TMPDIR=" + disk, "GITOPSD_VOLUMES=" + w.cell.Volumes()}, environment)
	c.Stdout, c.Stderr = w.log, w.log
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return c
}

// answer has a function or a container carry a task out.
func (w *onStates) answer(resource string, input json.RawMessage) (any, *sfnruntest.TaskError) {
	if resource != sfnruntest.RunTask {
		return w.functions[resource].Invoke(input)
	}
	of := sfnruntest.ReadContainer(w.t, input)
	container := w.worker("", "GITOPSD_CELL_CONFIGURATION="+w.configuration(), "GITOPSD_ORIGIN_SECRET="+awstest.OriginSecret)
	return sfnruntest.Run(w.t, container, of, func(c *exec.Cmd) {
		w.mu.Lock()
		starting := w.starting
		w.starting = nil
		w.mu.Unlock()
		if starting != nil {
			starting(of.Task(), c)
		}
	})
}

// noGo is where programs are found by who has no go command.
func noGo(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(dir, filepath.Base(program))); err != nil {
			dirs = append(dirs, dir)
		}
	}
	return strings.Join(dirs, string(os.PathListSeparator))
}

// TestOnAWSByStateMachines: a tenant's file is provisioned, updated, deployed and
// deprovisioned by the state machines' documents and what stands for AWS, and leaves
// nothing behind.
func TestOnAWSByStateMachines(t *testing.T) {
	w := newOnStates(t)
	w.probe("apps/one")
	w.tenant("one", "apps/one")
	first := w.commit("Add one")
	w.provisionedDespiteKill(first)
	w.serves("one", "/version", "v1")
	w.post("one", "/row", "row")
	w.post("one", "/key", "key")

	w.equal("memory before", w.memory("one"), "512")
	w.tenant("one", "apps/one", "  compute: {memory: 256}\n")
	update := w.commit("Give one less memory")
	w.timed("updated", func() { w.done(update) })
	w.equal("memory after", w.memory("one"), "256")

	// From here on no request may fail.
	before := w.provider.Counts()
	l := w.startLoad(2, "one")
	w.version("apps/one", "v2")
	edit := w.commit("Edit the app of one")
	w.timed("deployed", func() { w.done(edit) })
	w.serves("one", "/version", "v2")

	w.version("apps/one", "v3")
	w.write("tenants/one.yaml", strings.Replace(tenantFile("one", "apps/one", "  compute: {memory: 256}\n"),
		"path: apps/one\n", "path: apps/one\n    env: {FAULT: crash}\n", 1))
	broken := w.commit("Crash at the start")
	if text, code := w.wait(broken); code != 1 || !strings.Contains(text, "one failed in AwaitHealthy") {
		t.Errorf("the release that crashes ended with %d:\n%s", code, text)
	}
	w.equal("version after a release that failed", w.get("one", "/version"), "v2")
	l.stop(t)
	w.equal("rows", w.get("one", "/rows"), "row")
	w.equal("key", w.get("one", "/key"), "key")
	if after := w.provider.Counts(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("deploys had Pulumi do something: %v, before %v", after, before)
	}

	w.remove("tenants/one.yaml")
	gone := w.commit("Delete one, the last one")
	w.eventually(30*time.Second, "somebody can approve that no tenant is left", func() error {
		if _, errs, code := w.cli("approve", gone); code != 0 {
			return errors.New(errs)
		}
		return nil
	})
	w.timed("deprovisioned", func() { w.done(gone) })
	w.receipt("one")
	r, _, err := w.request(http.MethodGet, "one", "/version", "")
	w.must(err)
	w.must(expectStatus(r, http.StatusNotFound))
	left, err := w.cell.Left(t.Context(), "one")
	w.must(err)
	if live := w.provider.Live(); len(left)+len(live) > 0 {
		t.Errorf("left of one: %v %v", left, live)
	}
	for _, commit := range []string{first, update, edit, broken, gone} {
		w.oneTerminalStatus(commit)
	}
}

// provisionedDespiteKill waits for a commit that adds a tenant. The first container
// dies in the middle of what Pulumi does, all of it at once.
func (w *onStates) provisionedDespiteKill(commit string) {
	w.t.Helper()
	held := w.provider.Hold(provider.Create, "aws:efs/accessPoint:AccessPoint", provider.After)
	killed := make(chan string, 1)
	w.mu.Lock()
	w.starting = func(task string, c *exec.Cmd) {
		<-held.Reached
		if err := syscall.Kill(-c.Process.Pid, syscall.SIGKILL); err != nil {
			w.t.Error(err)
		}
		time.AfterFunc(2*time.Second, held.Release)
		killed <- task
	}
	w.mu.Unlock()
	w.start()
	w.timed("provisioned, though killed", func() { w.done(commit) })
	w.equal("the task whose container was killed", <-killed, "EnsureInfrastructure")
	if twice := w.provider.Duplicates(); len(twice) > 0 {
		w.t.Errorf("made twice: %q", twice)
	}
}

// timed logs how long something takes.
func (w *onStates) timed(what string, do func()) {
	w.t.Helper()
	began := time.Now()
	do()
	w.t.Logf("%s: %s", what, time.Since(began).Round(time.Millisecond))
}

// memory returns the MiB that the tasks of a tenant's service may take.
func (w *onStates) memory(tenant string) string {
	w.t.Helper()
	api, name := ecs.NewFromConfig(w.cell.AWS()), tenants.Config{
		Shared: w.outputs.Shared, Tenant: platform.Config{Tenant: tenant},
	}.ServiceName()
	services, err := api.DescribeServices(w.t.Context(), &ecs.DescribeServicesInput{
		Cluster: &w.outputs.Shared.ClusterARN, Services: []string{name},
	})
	w.must(err)
	if len(services.Services) != 1 {
		w.t.Fatalf("services named %s: %v", name, services.Services)
	}
	task, err := api.DescribeTaskDefinition(w.t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: services.Services[0].TaskDefinition})
	w.must(err)
	return fmt.Sprint(*task.TaskDefinition.ContainerDefinitions[0].Memory)
}
