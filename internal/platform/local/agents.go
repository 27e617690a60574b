package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/platform/local/process"
	"github.com/gitopsd/gitopsd/internal/release"
)

// pollWait is how long an agent is asked to hold an answer back.
const pollWait = 20 * time.Second

// ask sends a request to a process of the platform on this machine and returns
// the answer's status and at most 1 MB of its body.
func ask(ctx context.Context, method, url, key string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return 0, nil, err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	req.Close = true // no idle connections to thousands of agents
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, body, err
}

// agentUp fails unless the agent on that control port is up.
func agentUp(ctx context.Context, control string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	status, _, err := ask(ctx, http.MethodGet, "http://"+control+"/-/runtime", "")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d", status)
	}
	return err
}

// ring has the agent look for a new release, or environment, at once.
func (d *Driver) ring(ctx context.Context, tenant, control string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	status, _, err := ask(ctx, http.MethodPost, "http://"+control+"/-/ring", d.keys.derive("control", tenant))
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("status %d", status)
	}
	return err
}

// report returns what the agent says; with a seq, as soon as that pointer came
// to an end, or pollWait is over.
func (d *Driver) report(ctx context.Context, tenant, control string, seq uint64) (platform.AgentReport, error) {
	var report platform.AgentReport
	url, patience := "http://"+control+"/-/app", 2*time.Second
	if seq > 0 {
		url += fmt.Sprintf("?seq=%d&wait=%s", seq, pollWait)
		patience += pollWait
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	status, body, err := ask(ctx, http.MethodGet, url, d.keys.derive("control", tenant))
	switch {
	case err != nil:
		return report, err
	case status != http.StatusOK:
		return report, fmt.Errorf("status %d: %.200s", status, body)
	}
	return report, json.Unmarshal(body, &report)
}

// agents returns the state of the processes of a tenant's instances, ordered.
func (d *Driver) agents(tenant string) ([]process.Status, error) {
	st, err := d.known(tenant)
	if err != nil {
		return nil, err
	}
	agents := make([]process.Status, st.count())
	for n := range agents {
		agents[n] = d.runner.Status(agentName(tenant, n))
	}
	return agents, nil
}

// Instances implements platform.Platform. An instance that does not answer has
// an empty report.
func (d *Driver) Instances(ctx context.Context, tenant string) ([]platform.Instance, error) {
	agents, err := d.agents(tenant)
	if err != nil {
		return nil, err
	}
	instances := make([]platform.Instance, len(agents))
	var group errgroup.Group
	for n, agent := range agents {
		instances[n] = platform.Instance{Name: instanceName(tenant, n), Running: agent.Running}
		if !agent.Running {
			continue
		}
		instances[n].Addr, instances[n].Since = agent.Ports.Addr("listen"), agent.Since
		group.Go(func() error {
			report, err := d.report(ctx, tenant, agent.Ports.Addr("control"), 0)
			if err != nil {
				d.c.Logger.Warn("instance does not answer", "tenant", tenant, "instance", instances[n].Name, "error", err)
				return nil
			}
			instances[n].Report = report
			return nil
		})
	}
	return instances, group.Wait()
}

// AwaitRelease implements platform.Platform.
func (d *Driver) AwaitRelease(ctx context.Context, tenant string, p release.Pointer) error {
	agents, err := d.agents(tenant)
	if err != nil {
		return err
	}
	group, asked := errgroup.WithContext(ctx)
	for n := range agents {
		group.Go(func() error {
			if err := d.awaitInstance(asked, tenant, n, p); err != nil {
				return fmt.Errorf("%s: %w", instanceName(tenant, n), err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return d.offerAll(ctx, tenant)
}

// awaitInstance waits until one instance serves the pointer's release, or a
// later one. An instance that does not answer may be about to be started again.
func (d *Driver) awaitInstance(ctx context.Context, tenant string, n int, p release.Pointer) error {
	rung, last := false, error(nil)
	for {
		control := d.runner.Status(agentName(tenant, n)).Ports.Addr("control") // anew: it may have moved
		var report platform.AgentReport
		err := error(nil)
		if !rung {
			err = d.ring(ctx, tenant, control)
			rung = err == nil
		}
		if err == nil {
			report, err = d.report(ctx, tenant, control, p.Seq)
		}
		switch {
		case err != nil && ctx.Err() == nil:
			if st, err := d.load(tenant); err == nil && st != nil && n >= st.count() {
				return nil // it went with the load
			}
			last, rung = err, false
		case err == nil && report.Seq >= p.Seq:
			return nil
		case err == nil && report.FailedSeq >= p.Seq:
			return fault.Errorf(fault.Stalled, "release %.12s failed: %s", report.Failed, report.Failure).
				WithDetail(strings.Join(report.FailureTail, "\n"))
		}
		wait := time.Duration(0)
		if err != nil {
			wait = 50 * time.Millisecond
		}
		select {
		case <-ctx.Done():
			return notServing(p, report, errors.Join(last, context.Cause(ctx)))
		case <-time.After(wait):
		}
	}
}

func notServing(p release.Pointer, report platform.AgentReport, cause error) error {
	if errors.Is(cause, context.Canceled) {
		return fmt.Errorf("release %.12s: %w", p.SHA256, cause)
	}
	return fault.Errorf(fault.Stalled, "release %.12s does not serve in time (%s): %w", p.SHA256, report.Phase, cause)
}
