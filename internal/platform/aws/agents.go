package aws

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	sdtypes "github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"
	"golang.org/x/sync/errgroup"

	infra "github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/release"
)

const (
	pollWait    = 20 * time.Second // how long an agent is asked to hold an answer back
	briefWait   = 2 * time.Second  // for an answer that nothing holds back
	betweenAsks = 200 * time.Millisecond
)

// Service is where one tenant's instances are.
type Service struct {
	Tenant     string
	Cluster    string // ARN or name
	Name       string // of the ECS service
	Namespace  string // Cloud Map's
	Discovery  string // the tenant's name in it
	ControlKey string // of the tenant's agents
}

// Agents talks to the agents in tenants' containers: the doorbell, and what they
// report. Cloud Map knows each task's address and the port of its traffic, and
// ECS the port of its control: on a shared host both differ from task to task.
type Agents struct {
	ecs       *ecs.Client
	discovery *servicediscovery.Client
	log       *slog.Logger
}

// NewAgents returns the agents of tenants.
func NewAgents(c awssdk.Config, log *slog.Logger) *Agents {
	return &Agents{ecs: ecs.NewFromConfig(c), discovery: servicediscovery.NewFromConfig(c), log: log}
}

// agent is one task.
type agent struct {
	task    string // ID
	running bool
	since   time.Time
	addr    string // host:port of traffic
	control string // host:port; "" as long as Cloud Map does not know the task
}

// find returns a service's tasks that are to run, ordered by their start.
func (a *Agents) find(ctx context.Context, s Service) ([]agent, error) {
	var arns []string
	pages := ecs.NewListTasksPaginator(a.ecs, &ecs.ListTasksInput{
		Cluster: awssdk.String(s.Cluster), ServiceName: awssdk.String(s.Name), DesiredStatus: ecstypes.DesiredStatusRunning,
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failure("list tasks of "+s.Tenant, err)
		}
		arns = append(arns, page.TaskArns...)
	}
	if len(arns) == 0 {
		return nil, nil
	}
	known, err := a.addresses(ctx, s)
	if err != nil {
		return nil, err
	}
	var agents []agent
	for some := range slices.Chunk(arns, 100) { // as many as one call describes
		out, err := a.ecs.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: awssdk.String(s.Cluster), Tasks: some})
		if err != nil {
			return nil, failure("look at tasks of "+s.Tenant, err)
		}
		for _, t := range out.Tasks {
			agents = append(agents, taskAgent(t, known))
		}
	}
	slices.SortFunc(agents, func(a, b agent) int { return cmp.Or(a.since.Compare(b.since), strings.Compare(a.task, b.task)) })
	return agents, nil
}

// addresses returns the hosts that Cloud Map knows, by task.
func (a *Agents) addresses(ctx context.Context, s Service) (map[string]string, error) {
	out, err := a.discovery.DiscoverInstances(ctx, &servicediscovery.DiscoverInstancesInput{
		NamespaceName: awssdk.String(s.Namespace), ServiceName: awssdk.String(s.Discovery),
		HealthStatus: sdtypes.HealthStatusFilterAll, MaxResults: awssdk.Int32(1000),
	})
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, failure("discover instances of "+s.Tenant, err)
	}
	known := make(map[string]string)
	for _, i := range out.Instances {
		known[awssdk.ToString(i.InstanceId)] = i.Attributes["AWS_INSTANCE_IPV4"]
	}
	return known, nil
}

func taskAgent(t ecstypes.Task, known map[string]string) agent {
	one := agent{task: path.Base(awssdk.ToString(t.TaskArn)), running: awssdk.ToString(t.LastStatus) == "RUNNING", since: awssdk.ToTime(t.StartedAt)}
	host := known[one.task]
	for _, c := range t.Containers {
		if awssdk.ToString(c.Name) != infra.Container || host == "" {
			continue
		}
		for _, b := range c.NetworkBindings {
			at := net.JoinHostPort(host, strconv.Itoa(int(awssdk.ToInt32(b.HostPort))))
			switch awssdk.ToInt32(b.ContainerPort) {
			case infra.TrafficPort:
				one.addr = at
			case infra.ControlPort:
				one.control = at
			}
		}
	}
	return one
}

// Instances returns what the tenant's agents report. One that does not answer
// has an empty report.
func (a *Agents) Instances(ctx context.Context, s Service) ([]platform.Instance, error) {
	agents, err := a.find(ctx, s)
	if err != nil {
		return nil, err
	}
	instances := make([]platform.Instance, len(agents))
	var group errgroup.Group
	group.SetLimit(32)
	for n, one := range agents {
		instances[n] = platform.Instance{Name: s.Tenant + "-" + strconv.Itoa(n), Addr: one.addr, Running: one.running, Since: one.since}
		group.Go(func() error {
			report, err := a.report(ctx, s, one, 0)
			if err != nil {
				a.log.Warn("instance does not answer", "tenant", s.Tenant, "task", one.task, "error", err)
				return nil
			}
			instances[n].Report = report
			return nil
		})
	}
	return instances, group.Wait()
}

// Await has every agent of the service look for the pointer's release, and
// waits until each serves it or a later one. Tasks come and go meanwhile: those
// that are to run at the end count. One that reports a failure ends the wait.
func (a *Agents) Await(ctx context.Context, s Service, p release.Pointer) error {
	serving := make(map[string]bool)
	var last error
	for {
		agents, err := a.find(ctx, s)
		if err == nil {
			var waiting []agent
			for _, one := range agents {
				if !serving[one.task] {
					waiting = append(waiting, one)
				}
			}
			if len(agents) > 0 && len(waiting) == 0 {
				return nil
			}
			var done []string
			done, err = a.askAll(ctx, s, waiting, p)
			for _, task := range done {
				serving[task] = true
			}
			if len(agents) == 0 {
				err = errors.New("no task runs")
			}
			if len(done) > 0 && err == nil {
				continue // were these all?
			}
		}
		if err != nil && !fault.Kind.Retryable(fault.KindOf(err)) && ctx.Err() == nil {
			return err
		}
		last = cmp.Or(err, last)
		select {
		case <-ctx.Done():
			return unserved(p, last, context.Cause(ctx))
		case <-time.After(betweenAsks):
		}
	}
}

func unserved(p release.Pointer, last, cause error) error {
	if errors.Is(cause, context.Canceled) {
		return fmt.Errorf("release %.12s: %w", p.SHA256, cause)
	}
	return fault.Errorf(fault.Stalled, "release %.12s does not serve in time: %w", p.SHA256, errors.Join(last, cause))
}

// askAll returns those of the agents that serve the pointer's release.
func (a *Agents) askAll(ctx context.Context, s Service, agents []agent, p release.Pointer) ([]string, error) {
	done := make([]string, len(agents))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(64)
	for n, one := range agents {
		group.Go(func() error {
			report, err := a.ringAndAsk(ctx, s, one, p.Seq)
			switch {
			case err != nil:
				a.log.Debug("instance does not answer yet", "tenant", s.Tenant, "task", one.task, "error", err)
			case report.Seq >= p.Seq:
				done[n] = one.task
			case report.FailedSeq >= p.Seq:
				return fault.Errorf(fault.Stalled, "release %.12s failed: %s", report.Failed, report.Failure).
					WithDetail(strings.Join(report.FailureTail, "\n"))
			}
			return nil
		})
	}
	err := group.Wait()
	return slices.DeleteFunc(done, func(task string) bool { return task == "" }), err
}

func (a *Agents) ringAndAsk(ctx context.Context, s Service, one agent, seq uint64) (platform.AgentReport, error) {
	status, _, err := a.ask(ctx, s, one, http.MethodPost, "/-/ring", briefWait)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("ring: status %d", status)
	}
	if err != nil {
		return platform.AgentReport{}, err
	}
	return a.report(ctx, s, one, seq)
}

// report returns what the agent says; with a seq, as soon as that pointer came
// to an end, or pollWait is over.
func (a *Agents) report(ctx context.Context, s Service, one agent, seq uint64) (platform.AgentReport, error) {
	var report platform.AgentReport
	target, patience := "/-/app", briefWait
	if seq > 0 {
		target += fmt.Sprintf("?seq=%d&wait=%s", seq, pollWait)
		patience += pollWait
	}
	status, body, err := a.ask(ctx, s, one, http.MethodGet, target, patience)
	switch {
	case err != nil:
		return report, err
	case status != http.StatusOK:
		return report, fmt.Errorf("status %d: %.200s", status, body)
	}
	return report, json.Unmarshal(body, &report)
}

// ask sends a request to an agent, with the tenant's key, and returns the
// answer's status and at most 1 MB of its body.
func (a *Agents) ask(ctx context.Context, s Service, one agent, method, target string, patience time.Duration) (int, []byte, error) {
	if one.control == "" {
		return 0, nil, errors.New("its address is not known yet")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+one.control+target, nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.ControlKey)
	req.Close = true // no idle connections to thousands of agents
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, body, err
}
