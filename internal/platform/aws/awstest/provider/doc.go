// Package provider plays Pulumi's provider of AWS, so that the real engine runs
// our real programs: it answers the engine's calls for every aws:* token of
// infra/, keeps what was made in a registry, and makes in a played AWS, through
// the SDK, what is played there.
//
// It is as strict as AWS where that bites: a name that is taken is refused, what
// is in use is not deleted, what cannot be changed is replaced. What happened is
// in a journal, and a test can have a call fail, wait, or end without its answer.
//
// The engine finds it by PULUMI_DEBUG_PROVIDERS: see Provider.Env.
package provider
