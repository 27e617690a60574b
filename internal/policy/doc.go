// Package policy reads and applies gitopsd.yaml, what a repository says of
// itself: how much one commit may delete, who may approve, which keys sign,
// what tenants may ask for, and rules in CEL.
//
// A policy is immutable once read. It comes from a commit or a pull request, so
// it is hostile until read: size, nesting, what aliases stand for, the number
// and length of rules and what evaluating one may cost are all bounded, and a
// rule can neither see nor reach anything but the step it judges. The bounds are
// counted, not timed, so that the same step is judged the same everywhere.
//
// What is not known to be allowed is refused: a file with a problem is no
// policy, a rule that cannot be evaluated refuses the step, and a signature
// that cannot be verified is none.
package policy
