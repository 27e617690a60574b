package main

import (
	"context"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/console/consoletest"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

const brakeTenants = 1

var brake = plan.Brake{Tenants: brakeTenants, Percent: 10}

// Commits of the states below.
const (
	goodSHA   = "600d000000000000000000000000000000000000"
	badSHA    = "bad0000000000000000000000000000000000000"
	heldSHA   = "4e1d000000000000000000000000000000000000"
	passedSHA = "9a55ed0000000000000000000000000000000000"
	openSHA   = "09e4000000000000000000000000000000000000"
	acmeBuild = "ac3e111111111111111111111111111111111111111111111111111111111111"
)

// states are the states a daemon can be in, by name, seen at a time.
func states() map[string]func(now time.Time) consoletest.State {
	return map[string]func(time.Time) consoletest.State{
		"empty": func(time.Time) consoletest.State { return consoletest.State{} },
		"busy":  busy,
		"plan":  planned,
		"saved": saved,
	}
}

// spec is a tenant's file with the defaults filled in.
func spec(name string) *tenant.Tenant {
	return &tenant.Tenant{
		Name: name, Labels: map[string]string{"plan": "pro", "team": "red"},
		App:       tenant.App{Path: "apps/" + name, Health: "/healthz", Secrets: []string{"STRIPE_KEY"}},
		Domains:   []string{"shop." + name + ".example"},
		Compute:   tenant.Compute{CPU: 256, Memory: 512, Scale: tenant.Scale{Min: 2, Max: 4, TargetCPU: 60}, IdleAfter: 15 * time.Minute},
		Isolation: tenant.Isolation{Compute: tenant.Shared, Database: tenant.Shared, Cache: tenant.Shared},
		Database:  tenant.Database{Enabled: true, Connections: 10},
		Deletion:  tenant.Deletion{Grace: 168 * time.Hour},
	}
}

// compileFailure is what a hostile app makes of a compiler's output.
var compileFailure = &fault.Record{
	Kind: fault.Invalid, Message: "compile broken: the app does not compile",
	Detail: "main.go:3:24: cannot use \"x\" as int value\n\x1b]0;title\x07main.go:9:1: missing return",
	Hint:   "mend it and commit",
}

func busy(now time.Time) consoletest.State {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	failed := &pipeline.Run{
		ID: "broken-bad-1", Tenant: "broken", Commit: badSHA, Operation: plan.Deploy, Status: pipeline.Failed,
		State: "Deploy/Compile", Failure: compileFailure, Queued: ago(3 * time.Hour), Started: ago(3 * time.Hour), Finished: ago(3*time.Hour - 700*time.Millisecond),
	}
	s := consoletest.State{
		Head: goodSHA,
		Records: []console.Record{
			{
				Name: "acme", Phase: "Ready", Accepted: ago(3 * time.Hour), Deployed: ago(90 * time.Minute),
				Applied: plan.Applied{Tenant: spec("acme"), Commit: goodSHA, Release: acmeBuild, DoneInfra: "i", DoneApp: "a", Infra: "i", App: "a"},
			},
			{
				Name: "broken", Phase: "Failed", Accepted: ago(3 * time.Hour), Run: failed,
				Applied: plan.Applied{Tenant: &tenant.Tenant{Name: "broken"}, Commit: badSHA, Failing: true},
			},
			{
				Name: "moving", Phase: "Deploying", Accepted: ago(72 * time.Hour),
				Run:     &pipeline.Run{Operation: plan.Deploy, Status: pipeline.Running, State: "Compile"},
				Applied: plan.Applied{Tenant: &tenant.Tenant{Name: "moving"}, Commit: openSHA, InProgress: true},
			},
		},
		Refusals: map[string]console.Refusal{"acme": {
			Commit:   sync.Commit{SHA: badSHA, Subject: "Break \x1b[31mthings"},
			Failure:  &fault.Record{Kind: fault.Invalid, Message: "tenants/acme.yaml:3:1: unknown key \"specs\""},
			Problems: tenant.Problems{{File: "tenants/acme.yaml", Line: 3, Column: 1, Message: "unknown key \"specs\"", Hint: "did you mean \"spec\"?"}},
		}},
		Instances: []platform.Instance{
			{Name: "acme-0", Addr: "127.0.0.1:4001", Running: true, Report: platform.AgentReport{
				Phase: "serving", Release: acmeBuild, Commit: goodSHA, Since: ago(90 * time.Minute), InFlight: 3, Restarts: 1, Memory: 20 << 20,
				Health: "runtime healthy, app serving",
				Failed: "0000000badbad", Failure: "exit status 1", FailureTail: []string{"panic: no", "goroutine 1"},
			}},
			{Name: "acme-1"},
		},
		Conditions: map[string]platform.Condition{"acme": {
			Domains: []platform.Domain{{Host: "acme.localhost", State: platform.DomainServed}, {
				Host: "shop.acme.example", State: platform.DomainPending, Records: []platform.DNSRecord{
					{Name: "shop.acme.example", Type: "CNAME", Value: "d1.cloudfront.net"}, {Name: "_x.shop.acme.example", Type: "CNAME", Value: "_y.acm-validations.aws"},
				},
			}},
			Drift: &platform.Drift{At: ago(3 * time.Hour), Changes: map[string]int{"create": 1, "update": 2}},
		}},
		Runs:       append(runsOf(ago), *failed),
		Events:     eventsOf(ago),
		Tombstones: []pipeline.Tombstone{{Tenant: "late", Commit: goodSHA, At: ago(3 * time.Hour), PurgeAfter: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Snapshot: "/data/late"}},
		Receipts: []pipeline.Receipt{{Tenant: "gone", Commit: goodSHA, At: ago(3 * time.Hour), Resources: []platform.Resource{
			{Kind: "database", Name: "t_gone"}, {Kind: "volume", Name: "gone"},
		}}},
		Commits: commitsOf(ago),
		Logs:    [][]byte{[]byte("one\n"), []byte("two\n")},
	}
	return s
}

// sameFile is in the script of the plan, too: what it says is applied.
const sameFile = `apiVersion: gitopsd.dev/v1
kind: Tenant
metadata:
  name: same
spec:
  app:
    design:
      models:
        - name: task
          fields:
            - {name: title, type: string}
`

// planned is what the script of the plan is compared with.
func planned(time.Time) consoletest.State {
	parse := func(name string) *tenant.Tenant {
		t, problems := tenant.Parse("tenants/"+name+".yaml", []byte(strings.Replace(sameFile, "name: same", "name: "+name, 1)))
		if len(problems) > 0 {
			panic(problems)
		}
		return t
	}
	done := func(t *tenant.Tenant) console.Record {
		infra, app := tenant.InfraDigest(t), tenant.AppDigest(t, "")
		return console.Record{Name: t.Name, Applied: plan.Applied{
			Tenant: t, Commit: goodSHA, Infra: infra, App: app, DoneInfra: infra, DoneApp: app,
		}}
	}
	kept := parse("kept")
	kept.Deletion.Protect = true
	code := parse("code")
	code.App = tenant.App{Path: "apps/code", Health: "/healthz"}
	return consoletest.State{Head: goodSHA, Records: []console.Record{
		done(code), done(parse("deleted")), done(parse("dropped")), done(kept), done(parse("larger")), done(parse("same")),
	}}
}

func runsOf(ago func(time.Duration) time.Time) []pipeline.Run {
	return []pipeline.Run{
		{
			ID: "acme-good-1", Tenant: "acme", Commit: goodSHA, Operation: plan.Deploy, Status: pipeline.Succeeded, State: "Record",
			Release: acmeBuild, Queued: ago(90 * time.Minute), Started: ago(90 * time.Minute), Finished: ago(90*time.Minute - 1260*time.Millisecond),
		},
		{ID: "acme-old-1", Tenant: "acme", Commit: openSHA, Operation: plan.Provision, Status: pipeline.Superseded, Queued: ago(72 * time.Hour)},
	}
}

func eventsOf(ago func(time.Duration) time.Time) []pipeline.Event {
	event := func(seq int64, state string, kind pipeline.EventKind, try int, took time.Duration, message string) pipeline.Event {
		return pipeline.Event{
			Run: "acme-good-1", Seq: seq, At: time.Date(2026, 1, 2, 3, 4, int(seq), 0, time.UTC),
			State: state, Kind: kind, Try: try, Took: took, Message: message,
		}
	}
	return []pipeline.Event{
		event(1, "Generate", pipeline.Entered, 1, 0, ""),
		event(2, "Generate", pipeline.Retrying, 1, 20*time.Millisecond, "the mirror is busy"),
		event(3, "Generate", pipeline.Completed, 2, 40*time.Millisecond, ""),
		event(4, "Compile", pipeline.Entered, 1, 0, ""),
		event(5, "Compile", pipeline.Completed, 1, 1200*time.Millisecond, ""),
		event(6, "Record", pipeline.Entered, 1, 0, ""),
	}
}

func commitsOf(ago func(time.Duration) time.Time) []sync.Progress {
	commit := func(sha, subject string, age time.Duration) sync.Commit {
		return sync.Commit{SHA: sha, Subject: subject, Author: "Ann <ann@example.com>", When: ago(age)}
	}
	item := func(name string, op plan.Operation, reason string, status pipeline.Status) sync.ItemProgress {
		return sync.ItemProgress{Item: sync.Item{Tenant: name, Operation: op, Reason: reason}, Status: status}
	}
	good := item("acme", plan.Deploy, "app changed", pipeline.Succeeded)
	good.State, good.Release = "Record", acmeBuild
	broken := item("broken", plan.Deploy, "app changed", pipeline.Failed)
	broken.State, broken.Cause = "Compile", compileFailure
	invalid := item("typo", "", "invalid file", pipeline.Failed)
	invalid.Failure = &fault.Record{Kind: fault.Invalid, Message: "tenants/typo.yaml:5:3: unknown key \"ap\""}
	invalid.Problems = tenant.Problems{
		{File: "tenants/typo.yaml", Line: 5, Column: 3, Message: "unknown key \"ap\"", Hint: "did you mean \"app\"?"},
		{File: "tenants/typo.yaml", Line: 9, Column: 1, Message: "unknown key \"spek\""},
	}
	running := item("moving", plan.Deploy, "app changed", pipeline.Running)
	running.State = "Compile"
	return []sync.Progress{
		{Commit: commit(heldSHA, "Delete nearly all", 72*time.Hour), Hold: &sync.Hold{
			Reason: plan.HoldBrake, Message: "the commit would delete 9 of 10 tenants; to carry it out: gitopsd approve 4e1d000",
		}},
		{
			Commit: commit(goodSHA, "Greet politely", 3*time.Hour), Items: []sync.ItemProgress{good, item("label", "", "no change", pipeline.Succeeded)},
			Status: &sync.CommitStatus{State: sync.StateSuccess, Description: "1 deploy, 1 unchanged: done"},
		},
		{
			Commit: commit(badSHA, "Break \x1b[31mthings", 3*time.Hour), Items: []sync.ItemProgress{broken, good, invalid},
			Status: &sync.CommitStatus{State: sync.StateFailure, Description: "2 of 3 failed: broken: compile broken: the app does not compile"},
		},
		{Commit: commit(openSHA, "Move", 72*time.Hour), Items: []sync.ItemProgress{running}},
		{Commit: commit(passedSHA, "In between", 72*time.Hour), SupersededBy: goodSHA},
	}
}

// carryOut does what the loop does once a commit was approved.
func carryOut(ctx context.Context, world *consoletest.World) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-world.Woken():
		}
		world.Update(func(s *consoletest.State) {
			carryOutRestores(s)
			for i := range s.Commits {
				p := &s.Commits[i]
				if p.Hold != nil && s.Approvals[p.Commit.SHA] != "" {
					p.Hold = nil
					p.Items = []sync.ItemProgress{{
						Item: sync.Item{Tenant: "acme", Operation: plan.Deprovision, Reason: "file deleted"}, Status: pipeline.Succeeded,
					}}
				}
			}
		})
	}
}
