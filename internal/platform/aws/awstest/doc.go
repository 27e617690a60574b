// Package awstest plays AWS for tests, over HTTP. What moto knows is moto's, a
// process of its own that others wrote: S3, Secrets Manager, IAM, EFS, Route 53
// and the rest. What it does not know, or where a rule is to be kept, is played
// here. Requests are read into, and answers written from, the SDK's own types,
// so that a field the SDK does not have cannot be in them; and the answers are
// held against those of ministack, another's AWS.
//
//	SDK ─► Server ─ rates, latencies, counts ─┬─► ECS ─► Host: processes ─► agents
//	                                          │     └─► CloudMap ─► DNS (SRV)
//	                                          ├─► CloudFront, key-value stores, ACM
//	                                          ├─► AutoScaling, Logs, ElastiCache ─► Redis
//	                                          └─► moto
//	viewer ─► front (the CDN's two functions) ─┬─► bucket in moto
//	                                           └─► the real edge ─► agents
//
// A Cell is all of it, with a Postgres whose master is no superuser, and a
// directory for EFS.
//
// What is played here keeps the rules that bite: a group that is being modified
// takes no change, a quota is a quota, a distribution is slow and not deleted
// while it is enabled, a change needs the ETag of what it changes, a service is
// not made twice, a suspended target raises nothing. How long things take is
// settable, and next to nothing unless it is set.
package awstest
