package awstest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	infra "github.com/gitopsd/gitopsd/infra/tenant"
)

// Processes is a Host whose containers are processes of this machine: the image
// of tenants is the agent, whatever it is called. What a container finds inside
// itself is elsewhere on a machine that it shares: its ports, its volumes and its
// own directory; their places are put into the variables that name them.
type Processes struct {
	Dir     string                                                                    // of what containers write themselves
	Secret  func(ctx context.Context, valueFrom string) (string, error)               // for Secrets of a container
	Mount   func(ctx context.Context, v types.EFSVolumeConfiguration) (string, error) // where an access point's directory is
	Logs    func(group, stream string) (write func(line string), err error)           // where awslogs goes
	Program func() (string, error)                                                    // what the image runs
}

// container is a running process.
type container struct {
	cmd    *exec.Cmd
	ports  map[int]int
	exited chan struct{}
	output sync.WaitGroup
	check  string // URL
	dir    string
}

// Start implements Host.
func (p *Processes) Start(ctx context.Context, s Spec) (Container, error) {
	c := &container{ports: make(map[int]int), exited: make(chan struct{}), dir: filepath.Join(p.Dir, s.Task)}
	program, err := p.Program()
	if err != nil {
		return nil, fmt.Errorf("CannotPullContainerError: %w", err)
	}
	env, err := p.environment(ctx, s)
	if err != nil {
		return nil, err
	}
	for _, m := range s.Container.PortMappings {
		if c.ports[int(*m.ContainerPort)], err = freePort(); err != nil {
			return nil, err
		}
	}
	if err := p.place(ctx, s, c, env); err != nil {
		return nil, err
	}
	write, err := p.log(s)
	if err != nil {
		return nil, err
	}
	c.cmd = exec.Command(program)
	c.cmd.Dir, c.cmd.Env = c.dir, []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + c.dir}
	for k, v := range env {
		c.cmd.Env = append(c.cmd.Env, k+"="+v)
	}
	if c.cmd.SysProcAttr, err = userOf(awssdk.ToString(s.Container.User)); err != nil {
		return nil, err
	}
	return c, c.run(write)
}

// environment returns a container's variables, secrets among them.
func (p *Processes) environment(ctx context.Context, s Spec) (map[string]string, error) {
	env := make(map[string]string)
	for _, v := range s.Container.Environment {
		env[*v.Name] = *v.Value
	}
	for _, v := range s.Container.Secrets {
		value, err := p.Secret(ctx, *v.ValueFrom)
		if err != nil {
			return nil, fmt.Errorf("ResourceInitializationError: unable to pull secrets or registry auth: %w", err)
		}
		env[*v.Name] = value
	}
	return env, nil
}

// place puts what the container has inside where it is on this machine.
func (p *Processes) place(ctx context.Context, s Spec, c *container, env map[string]string) error {
	for _, m := range s.Container.MountPoints {
		for _, v := range s.Definition.Volumes {
			if awssdk.ToString(v.Name) != awssdk.ToString(m.SourceVolume) || v.EfsVolumeConfiguration == nil {
				continue
			}
			dir, err := p.Mount(ctx, *v.EfsVolumeConfiguration)
			if err != nil {
				return fmt.Errorf("ResourceInitializationError: failed to invoke EFS utils commands: %w", err)
			}
			if awssdk.ToString(m.ContainerPath) == infra.VolumePath {
				env["GITOPSD_VOLUME"] = dir
			}
		}
	}
	env["GITOPSD_LISTEN"] = net.JoinHostPort("127.0.0.1", strconv.Itoa(c.ports[infra.TrafficPort]))
	env["GITOPSD_CONTROL"] = net.JoinHostPort("127.0.0.1", strconv.Itoa(c.ports[infra.ControlPort]))
	env["GITOPSD_LOCAL"] = c.dir
	if env["GITOPSD_INSTANCE"] == "" {
		env["GITOPSD_INSTANCE"] = s.Task[:12] // a container's host name
	}
	c.check = "http://" + env["GITOPSD_CONTROL"] + "/-/runtime"
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	attr, err := userOf(awssdk.ToString(s.Container.User))
	if err != nil || attr.Credential == nil {
		return err
	}
	return os.Chown(c.dir, int(attr.Credential.Uid), int(attr.Credential.Gid))
}

// log returns where a container's output goes.
func (p *Processes) log(s Spec) (func(string), error) {
	l := s.Container.LogConfiguration
	if l == nil || l.LogDriver != types.LogDriverAwslogs {
		return func(string) {}, nil
	}
	stream := l.Options["awslogs-stream-prefix"] + "/" + *s.Container.Name + "/" + s.Task
	write, err := p.Logs(l.Options["awslogs-group"], stream)
	if err != nil {
		return nil, fmt.Errorf("CannotStartContainerError: failed to initialize logging driver: %w", err)
	}
	return write, nil
}

// userOf returns how to run as uid:gid, which only root can.
func userOf(user string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if user == "" || os.Geteuid() != 0 {
		return attr, nil
	}
	uid, gid, _ := strings.Cut(user, ":")
	u, err := strconv.ParseUint(uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("CannotStartContainerError: user %q", user)
	}
	g, err := strconv.ParseUint(gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("CannotStartContainerError: user %q", user)
	}
	attr.Credential = &syscall.Credential{Uid: uint32(u), Gid: uint32(g)}
	return attr, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// run starts the process and has its lines written.
func (c *container) run(write func(string)) error {
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	c.cmd.Stdout, c.cmd.Stderr = in, in
	err = c.cmd.Start()
	in.Close()
	if err != nil {
		out.Close()
		return fmt.Errorf("CannotStartContainerError: %w", err)
	}
	c.output.Go(func() {
		defer out.Close()
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadString('\n')
			if line = strings.TrimSuffix(line, "\n"); line != "" {
				write(line)
			}
			if err != nil {
				return
			}
		}
	})
	go func() {
		_ = c.cmd.Wait()                                      // how it ended is in its state
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) // a container takes all of its processes along
		c.output.Wait()
		close(c.exited)
	}()
	return nil
}

func (c *container) Host() string            { return "127.0.0.1" }
func (c *container) Ports() map[int]int      { return c.ports }
func (c *container) Exited() <-chan struct{} { return c.exited }

func (c *container) Healthy() bool {
	client := http.Client{Timeout: 2 * time.Second}
	res, err := client.Get(c.check)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode == http.StatusOK
}

func (c *container) Stop(grace time.Duration, now <-chan struct{}) int {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // or it has ended
	select {
	case <-c.exited:
	case <-now:
	case <-time.After(grace):
	}
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) // the group is its own
	<-c.exited
	_ = os.RemoveAll(c.dir)
	return c.cmd.ProcessState.ExitCode()
}

// BuildAgent returns what compiles the agent, at its first call, into dir.
func BuildAgent(dir string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		return build(filepath.Join(dir, "gitopsd-agent"), "github.com/gitopsd/gitopsd/cmd/gitopsd-agent")
	})
}

func build(out, program string) (string, error) {
	cmd := exec.Command("go", "build", "-o", out, program)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", program, err, text)
	}
	return out, os.Chmod(out, 0o755)
}

// openDir makes a directory that ends with the test and that other users may enter.
func openDir(tb testing.TB, pattern string) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/tmp", pattern)
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			tb.Errorf("remove %s: %v", dir, err)
		}
	})
	return dir
}
