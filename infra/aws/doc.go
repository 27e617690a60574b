// Package aws has the AWS resources that our Pulumi programs use, as typed
// structs, registered by their tokens: the parts of the provider that we need
// and no more.
//
// The generated SDK would do the same with a hundred megabytes of source. What
// it gives beyond is given here: secrets are marked by the programs, and the
// names and types of inputs are checked against the provider's own package by
// the tests (see infra/check).
//
// Rules:
//
//   - A field's pulumi tag is the input's name. A zero value is left out, unless
//     the tag says ",zero": then zero means something else than "not given".
//   - Tags are the scope's, on every resource that takes tags.
//   - Every resource is pinned to Version of the provider.
package aws
