// Package awstest plays AWS for tests, over HTTP: what moto knows is moto's, a
// process of its own that others wrote; what it does not know (user groups of
// ElastiCache, key-value stores, distribution tenants, tasks of ECS that run) is
// played here. Requests are read into, and answers written from, the SDK's own
// types, so that a field the SDK does not have cannot be in them.
//
// What is played here keeps the rules that bite: a group that is being modified
// takes no change, a quota is a quota, a distribution is slow and not deleted
// while it is enabled, and calls are throttled when a test asks for it.
package awstest
