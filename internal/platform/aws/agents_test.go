package aws_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	infra "github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/fault"
	aws "github.com/gitopsd/gitopsd/internal/platform/aws"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
	"github.com/gitopsd/gitopsd/internal/platform/platformtest"
	"github.com/gitopsd/gitopsd/internal/release"
)

// startAgent starts the real agent, as a task's container would, and returns
// where its ports really are.
func startAgent(t *testing.T, program, volume, key string) map[int]string {
	t.Helper()
	dir := t.TempDir()
	at := map[int]string{infra.TrafficPort: freeAddr(t), infra.ControlPort: freeAddr(t)}
	b, _ := json.Marshal(map[string]any{
		"tenant": "acme", "volume": volume, "local": dir, "listen": at[infra.TrafficPort],
		"control": at[infra.ControlPort], "controlKey": key, "poll": "1h",
	})
	config := filepath.Join(dir, "agent.json")
	if err := os.WriteFile(config, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-config", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	return at
}

func TestAgentsAreAsked(t *testing.T) {
	agent := filepath.Join(t.TempDir(), "gitopsd-agent")
	build := exec.Command("go", "build", "-o", agent, "github.com/gitopsd/gitopsd/cmd/gitopsd-agent")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	app := platformtest.Compile(t)
	v := release.Open(t.TempDir())
	publish := func(text string, env map[string]string) release.Pointer {
		t.Helper()
		digest, err := platformtest.Stage(v, release.Manifest{Tenant: "acme", Build: text, Env: env, Health: "/healthz"}, app, text)
		if err != nil {
			t.Fatal(err)
		}
		p, err := v.Publish(digest, strings.Repeat("a", 40))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	s := awstest.New(t, "")
	tasks := s.PlayTasks()
	agents := aws.NewAgents(s.Config(), slog.New(slog.DiscardHandler))
	service := aws.Service{Tenant: "acme", Cluster: "cell1", Name: "acme", Namespace: "cell1.internal", Discovery: "acme", ControlKey: "key"}
	await := func(p release.Pointer, patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return agents.Await(ctx, service, p)
	}

	one := publish("one", nil)
	if err := await(one, 300*time.Millisecond); !fault.Is(err, fault.Stalled) {
		t.Errorf("where no task runs: %v, want Stalled", err)
	}
	for _, id := range []string{"t1", "t2"} {
		tasks.Run(id, infra.Container, startAgent(t, agent, v.Dir(), "key"))
	}
	tasks.Register("t1", "127.0.0.1")
	if err := await(one, time.Second); !fault.Is(err, fault.Stalled) {
		t.Errorf("with a task that is not known yet: %v, want Stalled", err)
	}
	tasks.Register("t2", "127.0.0.1")
	if err := await(one, 20*time.Second); err != nil {
		t.Fatalf("one: %v", err)
	}
	two := publish("two", nil)
	if err := await(two, 20*time.Second); err != nil {
		t.Fatalf("two: %v", err)
	}
	instances, err := agents.Instances(t.Context(), service)
	if err != nil || len(instances) != 2 {
		t.Fatalf("instances: %+v, %v", instances, err)
	}
	for _, i := range instances {
		if !i.Running || i.Report.Release != two.SHA256 || i.Addr == "" {
			t.Errorf("instance: %+v", i)
		}
	}
	err = await(publish("bad", map[string]string{"BROKEN": "1"}), 30*time.Second)
	if r := fault.RecordOf(err); !fault.Is(err, fault.Stalled) || !strings.Contains(r.Detail, "broken on purpose") {
		t.Errorf("a release that fails: %v", err)
	}
	service.ControlKey = "wrong"
	if err := await(two, time.Second); !fault.Is(err, fault.Stalled) {
		t.Errorf("with another key: %v, want Stalled", err)
	}
}
