package pipeline

import "time"

// Names of the states that other parts of the program look for.
const (
	StateGenerate = "Generate"
	StateCompile  = "Compile"
	StateBundle   = "Bundle"
	StatePublish  = "Publish"
	StateSnapshot = "Snapshot"
	StateGrace    = "Grace"
)

var (
	// quick suits what a local service answers within seconds.
	quick = Retry{Attempts: 5, Base: 200 * time.Millisecond, Cap: 5 * time.Second}
	// patient suits what depends on slow or throttling services.
	patient = Retry{Attempts: 6, Base: time.Second, Cap: 30 * time.Second}
)

// Machines returns the four machines.
func Machines() []Machine {
	return []Machine{provision(), deploy(), deprovision(), restore()}
}

func provision() Machine {
	return Machine{
		Name: "provision", Version: 1, Start: "Validate",
		Comment: "Makes a tenant's infrastructure what its file says, then deploys its app.",
		States: []State{
			{Name: "Validate", Task: "Validate", Timeout: 10 * time.Second, Retry: quick, Next: "Assemble"},
			{Name: "Assemble", Task: "Assemble", Timeout: 10 * time.Second, Retry: quick, Next: "EnsureInfrastructure"},
			{Name: "EnsureInfrastructure", Task: "EnsureInfrastructure", Timeout: 30 * time.Minute, Retry: patient, Waits: true, Next: "EnsureDatabase"},
			{Name: "EnsureDatabase", Task: "EnsureDatabase", Timeout: time.Minute, Retry: patient, Next: "EnsureCacheUser"},
			{Name: "EnsureCacheUser", Task: "EnsureCacheUser", Timeout: 10 * time.Minute, Retry: patient, Next: "RecordInfrastructure"},
			{Name: "RecordInfrastructure", Task: "RecordInfrastructure", Timeout: 10 * time.Second, Retry: quick, Next: "Deploy"},
			{Name: "Deploy", Machine: "deploy"},
		},
	}
}

func deploy() Machine {
	return Machine{
		Name: "deploy", Version: 1, Start: StateGenerate,
		Comment: "Builds a tenant's app, migrates its database and swaps the running binary.",
		States: []State{
			{Name: StateGenerate, Task: "Generate", Timeout: 2 * time.Minute, Retry: quick, Next: "AlreadyBuilt"},
			{
				Name: "AlreadyBuilt", Comment: "A revert finds its release on the volume.",
				Choice: []Branch{{State: StateGenerate, Field: "built", Equals: true, Next: "Migrate"}}, Next: StateCompile,
			},
			{Name: StateCompile, Task: "Compile", Timeout: 10 * time.Minute, Retry: quick, Next: StateBundle},
			{Name: StateBundle, Task: "Bundle", Timeout: 2 * time.Minute, Retry: quick, Next: "Migrate"},
			{Name: "Migrate", Task: "Migrate", Timeout: 10 * time.Minute, Retry: quick, Next: StatePublish},
			{Name: StatePublish, Task: "Publish", Timeout: 30 * time.Second, Retry: quick, Next: "AwaitHealthy"},
			{Name: "AwaitHealthy", Task: "AwaitHealthy", Timeout: 5 * time.Minute, Retry: quick, Catch: "Restore", Next: "Record"},
			{Name: "Record", Task: "RecordRelease", Timeout: 30 * time.Second, Retry: quick},
			{
				Name: "Restore", Comment: "Points back at the release that served before.",
				Task: "Restore", Timeout: 30 * time.Second, Retry: quick, Next: "Unhealthy",
			},
			{Name: "Unhealthy", Fail: true},
		},
	}
}

func deprovision() Machine {
	return Machine{
		Name: "deprovision", Version: 2, Start: "RemoveRoute",
		Comment: "Takes a tenant out of traffic; after the grace period, takes everything away and proves it.",
		States: []State{
			{Name: "RemoveRoute", Task: "RemoveRoute", Timeout: time.Minute, Retry: patient, Next: "Drain"},
			{Name: "Drain", Task: "Drain", Timeout: 5 * time.Minute, Retry: patient, Next: StateSnapshot},
			{
				Name: StateSnapshot, Comment: "Of all that was written, and by no app kept from being read.",
				Task: "Snapshot", Timeout: time.Hour, Retry: patient, Next: StateGrace,
			},
			{Name: StateGrace, Task: "Grace", Timeout: 10 * time.Second, Retry: quick, Next: "GraceOver"},
			{
				Name: "GraceOver", Comment: "Within the grace period the data stays, and the run ends here.",
				Choice: []Branch{{State: StateGrace, Field: "over", Equals: false, Next: "Entomb"}}, Next: "DestroyInfrastructure",
			},
			{Name: "Entomb", Task: "Entomb", Timeout: 10 * time.Second, Retry: quick},
			{Name: "DestroyInfrastructure", Task: "DestroyInfrastructure", Timeout: 30 * time.Minute, Retry: patient, Waits: true, Next: "DropCacheUser"},
			{Name: "DropCacheUser", Task: "DropCacheUser", Timeout: 10 * time.Minute, Retry: patient, Next: "DropDatabase"},
			{Name: "DropDatabase", Task: "DropDatabase", Timeout: 5 * time.Minute, Retry: patient, Next: "RemoveReleases"},
			{Name: "RemoveReleases", Task: "RemoveReleases", Timeout: 5 * time.Minute, Retry: patient, Next: "VerifyAbsent"},
			{Name: "VerifyAbsent", Task: "VerifyAbsent", Timeout: time.Minute, Retry: patient, Next: "Receipt"},
			{Name: "Receipt", Task: "Receipt", Timeout: 10 * time.Second, Retry: quick},
		},
	}
}

// restore has two ways back: where its data were not touched yet, a tenant that
// fails is brought back as it is; from there on, what it had before is put back
// first. Both end with infrastructure that is known to be what the run's file says.
func restore() Machine {
	return Machine{
		Name: "restore", Version: 1, Start: "Validate",
		Comment: "Puts a snapshot's data in the place of a tenant's; if that fails, brings the tenant back with what it had.",
		States: []State{
			{Name: "Validate", Task: "Validate", Timeout: 10 * time.Second, Retry: quick, Next: "VerifySnapshot"},
			{Name: "VerifySnapshot", Task: "VerifySnapshot", Timeout: 30 * time.Minute, Retry: quick, Catch: "ReturnDatabase", Next: StateSnapshot},
			{
				Name: StateSnapshot, Comment: "Of what is there now, so that the restore can be undone.",
				Task: "Snapshot", Timeout: time.Hour, Retry: patient, Catch: "ReturnDatabase", Next: "RemoveRoute",
			},
			{Name: "RemoveRoute", Task: "RemoveRoute", Timeout: time.Minute, Retry: patient, Catch: "ReturnDatabase", Next: "Drain"},
			{Name: "Drain", Task: "Drain", Timeout: 5 * time.Minute, Retry: patient, Catch: "ReturnDatabase", Next: "RestoreData"},
			{
				Name: "RestoreData", Comment: "All or nothing.",
				Task: "RestoreData", Timeout: 2 * time.Hour, Retry: quick, Catch: "ReturnDatabase", Next: "MigrateData",
			},
			{
				Name: "MigrateData", Comment: "To what the release needs that served before, and will again.",
				Task: "MigrateData", Timeout: 10 * time.Minute, Retry: quick, Catch: "StopAgain", Next: "Assemble",
			},
			{Name: "Assemble", Task: "Assemble", Timeout: 10 * time.Second, Retry: quick, Catch: "StopAgain", Next: "EnsureDatabase"},
			{Name: "EnsureDatabase", Task: "EnsureDatabase", Timeout: time.Minute, Retry: patient, Catch: "StopAgain", Next: "EnsureCacheUser"},
			{Name: "EnsureCacheUser", Task: "EnsureCacheUser", Timeout: 10 * time.Minute, Retry: patient, Catch: "StopAgain", Next: "EnsureInfrastructure"},
			{Name: "EnsureInfrastructure", Task: "EnsureInfrastructure", Timeout: 30 * time.Minute, Retry: patient, Waits: true, Catch: "StopAgain", Next: "AwaitServing"},
			{Name: "AwaitServing", Task: "AwaitServing", Timeout: 5 * time.Minute, Retry: quick, Catch: "StopAgain", Next: "RecordInfrastructure"},
			{Name: "RecordInfrastructure", Task: "RecordInfrastructure", Timeout: 10 * time.Second, Retry: quick},

			{Name: "StopAgain", Task: "Drain", Timeout: 5 * time.Minute, Retry: patient, Catch: "ReturnDatabase", Next: "ReturnData"},
			{
				Name: "ReturnData", Comment: "Puts back what there was when the run began.",
				Task: "ReturnData", Timeout: 2 * time.Hour, Retry: patient, Catch: "ReturnDatabase", Next: "ReturnDatabase",
			},
			{Name: "ReturnDatabase", Task: "EnsureDatabase", Timeout: time.Minute, Retry: patient, Next: "ReturnCacheUser"},
			{Name: "ReturnCacheUser", Task: "EnsureCacheUser", Timeout: 10 * time.Minute, Retry: patient, Next: "ReturnInfrastructure"},
			{Name: "ReturnInfrastructure", Task: "EnsureInfrastructure", Timeout: 30 * time.Minute, Retry: patient, Waits: true, Next: "ReturnRecord"},
			{Name: "ReturnRecord", Task: "RecordInfrastructure", Timeout: 10 * time.Second, Retry: quick, Next: "NotRestored"},
			{Name: "NotRestored", Fail: true},
		},
	}
}
