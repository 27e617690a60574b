package console_test

import (
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/console/consoletest"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

const (
	third  = "3333333333333333333333333333333333333333"
	fourth = "4444444444444444444444444444444444444444"
	serves = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

	compilerOutput = "./main.go:41:9: undefined: greet\n./main.go:57:2: missing return"
	lastLines      = "listening on 127.0.0.1:34121\npanic: runtime error: index out of range [3] with length 3"
)

var began = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func after(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }

// sized is a tenant with everything set that its page shows.
func sized(name string) *tenant.Tenant {
	return &tenant.Tenant{
		Name: name, Labels: map[string]string{"plan": "pro"}, Domains: []string{"app." + name + ".example"},
		App:       tenant.App{Path: "apps/" + name, Health: "/healthz", Env: map[string]string{"GREETING": "env-value"}, Secrets: []string{"STRIPE_KEY"}},
		Compute:   tenant.Compute{CPU: 256, Memory: 512, Scale: tenant.Scale{Min: 1, Max: 4, TargetCPU: 60}, IdleAfter: 15 * time.Minute},
		Isolation: tenant.Isolation{Compute: tenant.Shared, Database: tenant.Dedicated, Cache: tenant.Shared},
		Database:  tenant.Database{Enabled: true, Connections: 10}, Cache: tenant.Cache{Enabled: true}, Deletion: tenant.Deletion{Grace: 168 * time.Hour},
	}
}

// everyState is a world in which a page shows all it can.
func everyState() consoletest.State {
	broken := &fault.Record{
		Kind: fault.Invalid, Message: "the app does not compile", Hint: "mend it and push again; the release before goes on serving", Detail: compilerOutput,
	}
	problems := tenant.Problems{
		{File: "tenants/umbrella.yaml", Line: 7, Column: 11, Message: "memory must be at least 64", Hint: "in MiB, such as 512"},
		{File: "tenants/umbrella.yaml", Line: 12, Column: 3, Message: `unknown key "databse"`, Hint: `did you mean "database"?`},
	}
	invalid := &fault.Record{Kind: fault.Invalid, Message: problems[0].String(), Detail: problems.Error()}
	applied := plan.Applied{Tenant: sized("acme"), Commit: first, Infra: "i", App: "a", DoneInfra: "i", DoneApp: "a", Release: serves}
	failing := plan.Applied{Tenant: sized("globex"), Commit: third, Infra: "i", App: "b", DoneInfra: "i", DoneApp: "a", Release: serves, Failing: true}
	stopped := plan.Applied{Tenant: sized("hooli"), Commit: third, Deleted: true, PurgeAfter: began.Add(168 * time.Hour)}
	preview := applied
	preview.Tenant = sized("acme-pr-12")
	failedRun := pipeline.Run{
		ID: "run-globex-3", Tenant: "globex", Commit: third, Operation: plan.Deploy, Status: pipeline.Failed, State: "Compile", Failure: broken,
		Queued: after(0), Started: after(1), Finished: after(4),
	}
	running := pipeline.Run{ID: "run-initech-4", Tenant: "initech", Commit: fourth, Operation: plan.Provision, Status: pipeline.Running, State: "EnsureDatabase", Queued: after(60), Started: after(61)}
	return consoletest.State{
		Head: fourth, Health: sync.Health{Head: fourth},
		Records: []console.Record{
			{Name: "acme", Phase: "Ready", Applied: applied, Accepted: after(0), Deployed: after(3)},
			{Name: "acme-pr-12", Phase: "Ready", Applied: preview, Accepted: after(0), Deployed: after(3), Pull: 12},
			{Name: "globex", Phase: "Failed", Applied: failing, Accepted: after(0), Deployed: after(-9000), Run: &failedRun},
			{Name: "hooli", Phase: "Stopped", Applied: stopped, Accepted: after(0)},
			{Name: "initech", Phase: "Provisioning", Applied: plan.Applied{Tenant: sized("initech"), Commit: fourth, InProgress: true}, Accepted: after(60), Run: &running},
			{Name: "umbrella", Phase: "Ready", Applied: plan.Applied{Tenant: sized("umbrella"), Commit: first, Release: serves}, Accepted: after(-900), Deployed: after(-890)},
		},
		Refusals: map[string]console.Refusal{"umbrella": {
			Commit: sync.Commit{SHA: third, Subject: "Give umbrella less memory", Author: "Bob Example", When: after(0)}, Failure: invalid, Problems: problems,
		}},
		Runs: []pipeline.Run{
			running, failedRun,
			{ID: "run-acme-1", Tenant: "acme", Commit: first, Operation: plan.Deploy, Status: pipeline.Succeeded, State: "Record", Release: serves, Queued: after(0), Started: after(0), Finished: after(3)},
			{ID: "run-acme-0", Tenant: "acme", Commit: second, Operation: plan.Provision, Status: pipeline.Superseded, Queued: after(-100)},
		},
		Events: append(history("run-acme-1", "Generate", "Compile", "Bundle", "Migrate", "Publish", "AwaitHealthy", "Record"),
			pipeline.Event{Run: "run-globex-3", Seq: 1, At: after(1), State: "Generate", Kind: pipeline.Completed, Took: 31 * time.Millisecond},
			pipeline.Event{Run: "run-globex-3", Seq: 2, At: after(4), State: "Compile", Kind: pipeline.Errored, Try: 2, Took: 2200 * time.Millisecond, Message: "the app does not compile"}),
		Receipts: []pipeline.Receipt{{Tenant: "vandelay", Commit: third, Run: "run-vandelay-9", At: after(0), Snapshot: "snapshots/vandelay/20260304", Resources: []platform.Resource{
			{Kind: "database", Name: "t_vandelay"}, {Kind: "role", Name: "t_vandelay"}, {Kind: "volume", Name: "volumes/vandelay"},
		}}},
		Tombstones: []pipeline.Tombstone{{Tenant: "hooli", Commit: third, At: after(5), PurgeAfter: began.Add(168 * time.Hour), Snapshot: "snapshots/hooli/20260304"}},
		Instances: []platform.Instance{
			{Name: "acme-0", Addr: "127.0.0.1:34001", Running: true, Report: platform.AgentReport{Phase: "serving", Release: serves, Commit: first, Since: after(3), InFlight: 31}},
			{Name: "globex-0", Addr: "127.0.0.1:34003", Running: true, Report: platform.AgentReport{
				Phase: "serving", Release: serves, Commit: first, Since: after(-9000), Restarts: 2, Failed: strings.Repeat("ab", 32),
				Failure: "exited with status 2 before it was healthy", FailureTail: strings.Split(lastLines, "\n"),
			}},
		},
		Conditions: map[string]platform.Condition{"acme": {
			Domains: []platform.Domain{{Host: "acme.localhost", State: platform.DomainServed}, {
				Host: "app.acme.example", State: platform.DomainPending, Records: []platform.DNSRecord{
					{Name: "app.acme.example", Type: "CNAME", Value: "d1.cloudfront.net"}, {Name: "_x.app.acme.example", Type: "CNAME", Value: "_y.acm-validations.aws"},
				},
			}},
			Drift: &platform.Drift{At: after(0), Changes: map[string]int{"update": 2}},
		}},
		Commits: commitsInEveryState(broken, invalid, problems),
		Reports: []review.Report{planned(), {
			Pull: review.Pull{Number: 11, Title: "Rename globex", Author: "eve", Head: second, Branch: "main", Draft: true, Fork: true},
			Base: fourth, State: sync.StateFailure, Description: "Conflicts with main: tenants/globex.yaml", Conflicts: []string{"tenants/globex.yaml"}, At: after(0),
		}},
	}
}

func history(run string, states ...string) []pipeline.Event {
	var all []pipeline.Event
	for i, state := range states {
		all = append(all,
			pipeline.Event{Run: run, Seq: int64(2 * i), At: after(i), State: state, Kind: pipeline.Entered},
			pipeline.Event{Run: run, Seq: int64(2*i + 1), At: after(i + 1), State: state, Kind: pipeline.Completed, Took: time.Duration(i+1) * 97 * time.Millisecond})
	}
	return all
}

func commitsInEveryState(broken, invalid *fault.Record, problems tenant.Problems) []sync.Progress {
	item := func(name string, op plan.Operation, status pipeline.Status, reason string) sync.ItemProgress {
		return sync.ItemProgress{Item: sync.Item{Tenant: name, Operation: op, Reason: reason}, Status: status}
	}
	globex, umbrella := item("globex", plan.Deploy, pipeline.Failed, "app changed"), item("umbrella", "", pipeline.Failed, "invalid file")
	globex.State, globex.Cause = "Compile", broken
	umbrella.Failure, umbrella.Problems = invalid, problems
	acme := item("acme", plan.Deploy, pipeline.Succeeded, "app changed")
	acme.Release = serves
	initech := item("initech", plan.Provision, pipeline.Running, "new tenant")
	initech.State = "EnsureDatabase"
	commit := func(sha, subject, author string, at int) sync.Commit {
		return sync.Commit{SHA: sha, Subject: subject, Author: author, When: after(at)}
	}
	status := func(s sync.CommitState, text string) *sync.CommitStatus {
		return &sync.CommitStatus{State: s, Description: text}
	}
	const brake = "the commit would delete 5 of 12 tenants, more than the brake allows (3, or 10 %): acme, globex, hooli, initech, umbrella"
	return []sync.Progress{
		{Commit: commit("5"+fourth[1:], "Tidy up", "Eve Example", 90), Hold: &sync.Hold{Reason: plan.HoldBrake, Message: brake}, Status: status(sync.StatePending, "Held: "+brake)},
		{
			Commit: commit(fourth, "Add initech, and bring globex up to date", "Ann Example", 60),
			Items:  []sync.ItemProgress{item("globex", plan.Deploy, pipeline.Queued, "app changed"), initech},
			Status: status(sync.StatePending, "1 deploy, 1 provision: in progress"),
		},
		{
			Commit: commit(third, "Greet people by name; give umbrella less memory", "Bob Example", 0),
			Items: []sync.ItemProgress{
				acme, globex, item("hooli", plan.Deprovision, pipeline.Succeeded, "file deleted; data is kept for 168h0m0s"), item("initrode", "", pipeline.Succeeded, "no change"), umbrella,
			},
			Status: status(sync.StateFailure, "2 of 5 failed: globex: the app does not compile"),
		},
		{Commit: commit(second, "Try something", "Bob Example", -100), SupersededBy: third},
		{Commit: commit(first, "Add acme", "Ann Example", -900), Items: []sync.ItemProgress{acme}, Status: status(sync.StateSuccess, "1 deploy: done")},
	}
}

// planned is the plan of a pull request that shows every kind of thing.
func planned() review.Report {
	return review.Report{
		Pull: review.Pull{Number: 12, Title: "Give acme its own database; drop hooli", Author: "ann", URL: "https://github.com/example/tenants/pull/12", Head: third, Branch: "main", Labels: []string{"preview"}},
		Base: fourth, State: sync.StateFailure, Description: "1 of 4 refused: umbrella: tenants/umbrella.yaml:7:11: memory must be at least 64", At: after(30),
		Hold: "the commit would delete 4 of 12 tenants, more than the brake allows (3, or 10 %): hooli and others", Notes: []string{"Changes gitopsd.yaml, the policy of this repository: every tenant is looked at again."},
		Previews: []review.PreviewShown{{Tenant: "acme-pr-12", URL: "http://acme-pr-12.localhost:8080/", Head: third, Expires: began.Add(24 * time.Hour)}},
		Steps: []review.StepShown{
			{
				Step:         plan.Step{Tenant: "acme", Operation: plan.Update, Reason: "infrastructure changed", Changes: []string{"app.env.GREETING", "isolation.database"}},
				Consequences: []plan.Consequence{{Effect: plan.Restart, Field: "app.env.GREETING", From: "hello", To: "hi", Text: "The app restarts, without dropping a request."}, {Effect: plan.Cost, Field: "isolation.database", From: "shared", To: "dedicated", Text: "The database moves to a server of its own."}},
				Migrations: []review.Migration{
					{Name: "00007_drop_notes.sql", SQL: "ALTER TABLE tasks\n    DROP COLUMN notes;", Verdict: "destructive", Why: []string{"The column notes of tasks is dropped, with what is in it."}},
					{Name: "00008_index.sql", SQL: "CREATE INDEX CONCURRENTLY tasks_due ON tasks (due);", Verdict: "safe"},
				},
			},
			{
				Step:         plan.Step{Tenant: "hooli", Operation: plan.Deprovision, Reason: "file deleted; data is kept for 168h0m0s"},
				Consequences: []plan.Consequence{{Effect: plan.DataLoss, Text: "After the grace period its database, its keys and its files are destroyed."}, {Effect: plan.Downtime, Text: "Its addresses stop answering."}},
			},
			{
				Step:     plan.Step{Tenant: "umbrella", Reason: "invalid file", Failure: &fault.Record{Kind: fault.Invalid, Message: "tenants/umbrella.yaml:7:11: memory must be at least 64"}},
				Problems: tenant.Problems{{File: "tenants/umbrella.yaml", Line: 7, Column: 11, Message: "memory must be at least 64", Hint: "in MiB, such as 512"}},
			},
			{Step: plan.Step{Tenant: "vandelay", Operation: plan.Provision, Reason: "brought back: its data is restored", Restores: true}},
		},
	}
}
