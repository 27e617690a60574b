package console

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

const (
	shownEvents    = 200
	shownReceipts  = 10
	shownResources = 100
)

// tenantShown is what a tenant's page shows.
type tenantShown struct {
	Detail
	Domains    []platform.Domain // of its own
	Drift      *platform.Drift
	Facts      []fact // of what is applied
	RefusedFor *failureShown
	Agents     []agentShown
	History    []runShown
	Proofs     []receiptShown
	MoreProofs int
	Retry      bool
}

// fact is a name and a value.
type fact struct{ Name, Value string }

// agentShown is an instance and what it says of itself.
type agentShown struct {
	platform.Instance
	Phase    string
	Output   string // of the release that failed
	Withheld bool
}

// runShown is a run and its history.
type runShown struct {
	pipeline.Run
	Lasted  time.Duration
	Events  []pipeline.Event
	Left    int // events that are not shown
	Failure *failureShown
}

// receiptShown is a receipt and how many of its resources are not shown.
type receiptShown struct {
	pipeline.Receipt
	Left int
}

func (s *Server) tenantPage(ctx context.Context, r *http.Request, who reader) (page, error) {
	d, err := s.detail(ctx, r.PathValue("name"))
	if err != nil {
		return page{}, err
	}
	outputs := &budget{hidden: !who.SignedIn}
	t := tenantShown{Detail: d, Domains: d.own()}
	if d.Condition != nil {
		t.Drift = d.Condition.Drift
	}
	if d.Applied != nil && d.Applied.Tenant != nil {
		t.Facts = facts(d.Applied.Tenant)
		t.Retry = d.Applied.Failing && !d.Applied.InProgress
	}
	if d.Refused != nil {
		t.RefusedFor = failureOf(d.Refused.Failure, d.Refused.Problems, outputs)
	}
	for _, i := range d.Instances {
		t.Agents = append(t.Agents, agent(i, outputs))
	}
	p := page{Title: d.Name, Template: "tenant", Refresh: later}
	for _, run := range d.Runs {
		t.History = append(t.History, history(run, outputs))
		if !run.Status.Terminal() {
			p.Refresh = soon
		}
	}
	shown := d.Receipts[:min(len(d.Receipts), shownReceipts)]
	t.MoreProofs = len(d.Receipts) - len(shown)
	for _, receipt := range shown {
		proof := receiptShown{Receipt: receipt, Left: max(len(receipt.Resources)-shownResources, 0)}
		proof.Resources = receipt.Resources[:len(receipt.Resources)-proof.Left]
		t.Proofs = append(t.Proofs, proof)
	}
	p.Data = t
	return p, nil
}

func agent(i platform.Instance, outputs *budget) agentShown {
	a := agentShown{Instance: i, Phase: i.Report.Phase}
	if !i.Running {
		a.Phase = "not running"
	}
	if tail := i.Report.FailureTail; len(tail) > 0 {
		a.Output, a.Withheld = outputs.output(strings.Join(tail, "\n")), outputs.hidden
	}
	return a
}

func history(run Run, outputs *budget) runShown {
	shown := runShown{Run: run.Run, Failure: failureOf(run.Failure, nil, outputs)}
	if !run.Started.IsZero() && !run.Finished.IsZero() {
		shown.Lasted = run.Finished.Sub(run.Started)
	}
	for i, e := range run.Events {
		if e.Kind == pipeline.Entered && i+1 < len(run.Events) && run.Events[i+1].State == e.State {
			continue // what came of it is the next line
		}
		shown.Events = append(shown.Events, e)
	}
	// The end says most.
	shown.Left = max(len(shown.Events)-shownEvents, 0)
	shown.Events = shown.Events[shown.Left:]
	return shown
}

// facts says what a tenant's file asks for.
func facts(t *tenant.Tenant) []fact {
	list := []fact{
		{"App", source(t.App)},
		{"Health check", t.App.Health},
		{"Domains", names(t.Domains)},
		{"Environment", names(slices.Sorted(maps.Keys(t.App.Env)))}, // names alone
		{"Secrets", names(t.App.Secrets)},
		{"Labels", labels(t.Labels)},
		{"Compute", string(t.Isolation.Compute) + ", " + t.Compute.String()},
		{"Database", enabled(t.Database.Enabled, fmt.Sprintf("%s, %s", t.Isolation.Database, plural(t.Database.Connections, "connection")))},
		{"Cache", enabled(t.Cache.Enabled, string(t.Isolation.Cache))},
		{"Edge", string(t.Isolation.EdgeSharing())},
		{"Deletion", t.Deletion.String()},
	}
	return slices.DeleteFunc(list, func(f fact) bool { return f.Value == "" })
}

func source(a tenant.App) string {
	switch {
	case a.Path != "":
		return a.Path
	case a.Git != nil:
		return strings.TrimSpace(a.Git.URL + " at " + a.Git.Ref + " " + a.Git.Path)
	case a.Design != nil:
		return "a design of " + plural(len(a.Design.Models), "model")
	}
	return ""
}

func names(list []string) string {
	shown := list[:min(len(list), shownList)]
	return strings.TrimSpace(strings.Join(shown, ", ") + " " + more(len(list), len(shown)))
}

func labels(m map[string]string) string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, k+"="+m[k])
	}
	return names(list)
}

func enabled(on bool, how string) string {
	if !on {
		return "none"
	}
	return how
}
